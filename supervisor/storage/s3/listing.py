"""A listing to its end, also where the server leaves out how to go on.

S3 gives a thousand keys at a time, percent-encoded, and a token for the next thousand. Servers were seen that give no
token, the same one again, a page twice, keys that are encoded otherwise than they say, or an answer to ListObjects
where ListObjectsV2 was asked. What has come in key order so far goes on after its last key; where that is not sure, the
listing ends in an error: never in half, and never without end.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from enum import Enum, auto
from typing import Any
from urllib.parse import unquote, unquote_plus

from supervisor.storage import Invalid, Object
from supervisor.storage.s3.bucket import etag
from supervisor.storage.s3.errors import NotTaken

# Pages in a row without a key, of a server that says that there are more.
_EMPTY = 1_000
_PAGE = 1_000
_HINT = "name the objects in a manifest (JOB_MANIFEST), or bring the server up to date"
# Directory buckets (S3 Express) are listed in no order, and know no StartAfter.
_DIRECTORY = "--x-s3"
# Keys of doubtful spelling that are looked at.
_ASKED = 5
_ESCAPE = re.compile(r"%[0-9A-Fa-f]{2}")
# What no encoding leaves as it is.
_RAW = re.compile(r"[^!-~]|%(?![0-9A-Fa-f]{2})")


class _Way(Enum):
    """How the next page is asked for."""

    TOKEN = auto()
    START_AFTER = auto()
    MARKER = auto()  # as ListObjects, all that servers of before 2016 know


class Listing:
    """Iterates over what lies below a prefix."""

    def __init__(
        self,
        ask: Callable[[str, Mapping[str, Any]], Any],
        is_there: Callable[[str], bool],
        uri: str,
        bucket: str,
        prefix: str,
        after: str | None,
    ) -> None:
        """ask: an operation of boto3's with arguments, raises StorageErrors; is_there: whether there is an object of
        that key; after: a key."""
        self._ask = ask
        self._uri, self._bucket, self._prefix, self._after = uri, bucket, prefix, after or ""
        self._spelling = _Spelling(is_there, prefix)
        self._way, self._token = _Way.TOKEN, ""
        self._last = self._after
        self._page: frozenset[str] = frozenset()  # the keys of the last one
        self._is_ordered = not bucket.endswith(_DIRECTORY)
        self._circle = _Circle()

    def __iter__(self) -> Iterator[Object]:
        empty = 0
        while True:
            try:
                answer = self._answer()
            except NotTaken as refusal:
                self._try_otherwise(refusal)
                continue
            keys = self._spelling.keys(answer, self._uri)
            fresh = self._fresh([key for key in keys if key.startswith(self._prefix)])
            for key in fresh:
                found = keys[key]
                modified = found.get("LastModified")
                yield Object(
                    uri=f"s3://{self._bucket}/{key}",
                    size=found.get("Size"),
                    etag=etag(found.get("ETag")),
                    modified=modified.timestamp() if isinstance(modified, datetime) else None,
                )
            if not _has_more(answer):
                return
            empty = 0 if keys else empty + 1
            if empty > _EMPTY:
                raise self._no_way_on(f"{_EMPTY:,} pages in a row are empty")
            self._go_on(answer.get("NextContinuationToken") or "", keys, fresh)

    def _answer(self) -> Any:
        call = {"Prefix": self._prefix, "EncodingType": "url"}
        if self._way is _Way.MARKER:
            return self._ask("list_objects", {**call, "Marker": self._last})
        if self._way is _Way.TOKEN and self._token:
            return self._ask("list_objects_v2", {**call, "ContinuationToken": self._token})
        if self._last and not self._bucket.endswith(_DIRECTORY):
            return self._ask("list_objects_v2", {**call, "StartAfter": self._last})
        return self._ask("list_objects_v2", call)

    def _fresh(self, keys: list[str]) -> list[str]:
        """Those that have not been listed yet, as far as the order and the last page can tell."""
        if self._way is not _Way.TOKEN:
            keys = [key for key in keys if key > self._last]
        elif not self._goes_on_in_order(keys):
            keys = [key for key in keys if key not in self._page and key > self._after]
        if keys:
            self._is_ordered = self._is_ordered and self._goes_on_in_order(keys)
            self._last = keys[-1]
        return keys

    def _goes_on_in_order(self, keys: list[str]) -> bool:
        return not keys or (keys[0] > self._last and keys == sorted(keys))

    def _go_on(self, token: str, keys: Mapping[str, Any], fresh: list[str]) -> None:
        """Settles how to ask for the next page."""
        goes_round = bool(keys) and (keys.keys() <= self._page or self._circle.closes(keys))
        self._page = frozenset(keys)
        if self._way is not _Way.MARKER and token and token != self._token and not goes_round:
            self._way, self._token = _Way.TOKEN, token
            return
        if self._way is _Way.TOKEN:
            self._way = _Way.START_AFTER
        elif not fresh and self._way is _Way.START_AFTER:
            self._way = _Way.MARKER
        elif not fresh:
            raise self._no_way_on("the same keys come again")
        if not (self._is_ordered and self._last):
            raise self._no_way_on("there is no token for the next page, or the same one again")

    def _try_otherwise(self, refusal: NotTaken) -> None:
        """A server that does not know ListObjectsV2, or its own token any more."""
        if self._way is _Way.MARKER or (self._last and not self._is_ordered):
            raise refusal
        self._way = _Way.START_AFTER if self._token else _Way.MARKER
        self._token = ""

    def _no_way_on(self, why: str) -> Invalid:
        return Invalid(
            f"{self._uri}: the server's listing comes to no end: it says that there are more objects than the "
            f"{'first' if self._last == self._after else f'ones up to {self._last!r}'}, but {why}",
            _HINT,
        )


def _has_more(answer: Mapping[str, Any]) -> bool:
    """Where the server does not say, a token or a full page does."""
    is_truncated = answer.get("IsTruncated")
    if is_truncated is None:
        return bool(answer.get("NextContinuationToken")) or len(answer.get("Contents") or ()) >= _PAGE
    return bool(is_truncated)


class _Circle:
    """Notices pages that come round again, in constant memory (Brent's algorithm)."""

    def __init__(self) -> None:
        self._kept: tuple[int, str, str] | None = None
        self._since, self._power = 0, 1

    def closes(self, keys: Mapping[str, Any]) -> bool:
        page = (len(keys), min(keys), max(keys))
        if page == self._kept:
            return True
        self._since += 1
        if self._since == self._power:
            self._kept, self._since, self._power = page, 0, 2 * self._power
        return False


class _Spelling:
    """How a server writes keys in a listing: encoded, as it was asked to, or as they are, whatever it says.

    XML has no room for control characters, so that S3 is asked for encoded keys, where "+" is a space.
    """

    def __init__(self, is_there: Callable[[str], bool], prefix: str) -> None:
        self._is_there = is_there
        self._prefix = prefix
        self._undeclared: bool | None = None  # whether keys that are not said to be encoded are

    def keys(self, answer: Mapping[str, Any], uri: str) -> dict[str, Any]:
        """The page's objects by key, in the order in which they came."""
        listed = answer.get("Contents") or ()
        try:
            written = [each["Key"] for each in listed]
            together = "/".join(written)
        except (LookupError, TypeError):
            raise Invalid(f"{uri}: the server's listing holds an object without a key", _HINT) from None
        decode = self._decoding(written, together, answer.get("EncodingType") == "url")
        return dict(zip(map(decode, written) if decode else written, listed, strict=True))

    def _decoding(self, written: list[str], together: str, is_declared: bool) -> Callable[[str], str] | None:
        if _RAW.search(together) or not ("%" in together or "+" in together):
            return None
        if not is_declared and not self._are_encoded(written):
            return None
        return unquote if "%20" in together else unquote_plus

    def _are_encoded(self, written: list[str]) -> bool:
        """Whether keys are encoded although the server does not say so: "%2B" is a plus sign then."""
        doubtful = [key for key in written if _ESCAPE.search(key)]
        if not doubtful:
            return any(not k.startswith(self._prefix) and unquote_plus(k).startswith(self._prefix) for k in written)
        if self._undeclared is None:
            self._undeclared = any(map(self._is_encoded, doubtful[:_ASKED]))
        return self._undeclared

    def _is_encoded(self, key: str) -> bool:
        return not self._is_there(key) and self._is_there(unquote(key))
