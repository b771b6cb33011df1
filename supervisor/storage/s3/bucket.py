"""What is learnt of a bucket while a job runs."""

import html
import re
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from supervisor.storage import Missing, Object
from supervisor.storage.s3.errors import BucketMissing

T = TypeVar("T")

_MD5 = re.compile(r"[0-9a-f]{32}")
# Of one kind of request: after so many in a row that boto3 could do and obstore could not, boto3 is asked alone, for so
# many seconds.
_IN_VAIN = 20
_APART = 600.0
# Their ETags are never the MD5 of what a GET gives: S3 Express, and Object Lambda, which makes something else of it.
_NO_MD5 = ("--x-s3", "--ol-s3")


@dataclass
class Bucket:
    """Each fact is set from any thread, once.

    exists: seen to; etag_is_md5: not where objects are encrypted with a key of their owner's (SSE-KMS);
    heeds_if_match: not on SeaweedFS 3.97, which refuses the right ETag; heeds_range: answers with the range asked for;
    heeds_if_none_match: None where it is not known yet.
    """

    name: str
    exists: bool = False
    etag_is_md5: bool = True
    heeds_if_match: bool = True
    heeds_range: bool = True
    heeds_if_none_match: bool | None = None
    _in_vain: Counter[str] = field(default_factory=Counter)
    _apart_until: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.etag_is_md5 = not self.name.endswith(_NO_MD5)

    def shown(self, ask: Callable[[], T]) -> T:
        """What is asked of boto3; and that the bucket exists, where only the object is missing."""
        try:
            answer = ask()
        except BucketMissing:
            raise
        except Missing:
            self.exists = True
            raise
        self.exists = True
        return answer

    def is_worth(self, request: str) -> bool:
        """Whether obstore is to be asked for that kind of request."""
        return not self._apart_until or self._apart_until.get(request, 0.0) < time.monotonic()

    def went_well(self, request: str) -> None:
        self.exists = True
        if self._in_vain:
            self._in_vain.pop(request, None)

    def was_in_vain(self, request: str) -> None:
        self._in_vain[request] += 1
        if self._in_vain[request] >= _IN_VAIN:
            self._apart_until[request] = time.monotonic() + _APART
            self._in_vain.pop(request, None)


def etag(text: str | None) -> str | None:
    """An ETag as it is compared: without its quotes, however a server writes them, and whether it is weak or not."""
    return html.unescape(text or "").strip().removeprefix("W/").strip("\"'") or None


def is_md5(source: Object, bucket: Bucket) -> bool:
    """Whether the object's ETag is the MD5 of its bytes."""
    return bucket.etag_is_md5 and bool(_MD5.fullmatch(source.etag or ""))
