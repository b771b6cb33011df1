"""S3, or whatever AWS_ENDPOINT_URL[_S3] points to, through two clients.

obstore_client.py  the bytes: plain HEADs, GETs and PUTs, several times what boto3 does on a core
boto3_client.py    all else, and the judge: what obstore could not do it does again, or says why it cannot be
place.py           where a bucket is and as whom it is asked, as boto3 has it; what of that obstore can do
credentials.py     whose; a credential service that is in trouble is waited for
errors.py          the one table of S3's errors
listing.py         a listing to its end, whatever the server leaves out
download.py        into a new local file, in ranges
bucket.py          what is learnt of a bucket while the job runs
"""

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property, partial
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

from supervisor import storage
from supervisor.storage import Invalid, Object, Settings, disk_error
from supervisor.storage.s3.boto3_client import Boto3Client, NoRanges
from supervisor.storage.s3.bucket import Bucket
from supervisor.storage.s3.download import HELPERS, RANGE, NewFile, in_ranges
from supervisor.storage.s3.obstore_client import NotPlain, NotServed, ObstoreClient
from supervisor.storage.s3.place import Session, Target, split, target

__all__ = ["S3"]

T = TypeVar("T")

# obstore has no timeout for a body on its way out but READ_SECONDS for all of it: 17 KB/s here, on each of 16 threads.
_SMALL_UPLOAD = 1024 * 1024


class S3:
    """Objects in S3. Every method may be called from many threads."""

    def __init__(self, settings: Settings | None = None) -> None:
        """settings: what the job says of its storages; by default what it was set up with."""
        self._session = Session(settings or storage.settings())
        self._boto3 = Boto3Client(self._session, self._session.attempts)
        self._obstore = ObstoreClient(self._session, self._boto3.client)
        self._buckets: dict[str, Bucket] = {}
        self._helpers = ThreadPoolExecutor(HELPERS, thread_name_prefix="range")

    @cached_property
    def _judge(self) -> Boto3Client:
        """boto3 after a try of obstore's: one less is left."""
        return Boto3Client(self._session, max(1, self._session.attempts - 1))

    def stat(self, uri: str, version: str | None = None) -> Object:
        at = target(uri)
        bucket = self._bucket(at.bucket)
        return self._by_obstore_first(
            "HEAD",
            bucket,
            lambda: self._obstore.head(at, version, bucket),
            lambda _: self._boto3.stat_by_get(at, version),
            lambda: self._boto3.stat(at, version, bucket),
        )

    def list(self, uri: str, *, after: str | None = None) -> Iterator[Object]:
        """after: S3's StartAfter; of a server that does not know it, what it gives too much is left out here."""
        bucket, _ = split(uri)
        if after is not None and not after.startswith(uri):
            raise Invalid(f"{after} is not below {uri}")
        key = None if after is None else split(after)[1]
        for found in self._boto3.list(uri, key):
            self._bucket(bucket).exists = True
            yield found

    def download(self, source: Object, target_path: Path) -> Object:
        at = target(source.uri)
        bucket = self._bucket(at.bucket)
        with NewFile(target_path) as file:
            if source.size is None or source.size <= RANGE or not bucket.heeds_range:
                return self._read(source, at, bucket, None, file)
            try:
                return in_ranges(source.size, lambda part: self._read(source, at, bucket, part, file), self._helpers)
            except NoRanges:
                bucket.heeds_range = False
                return self._read(source, at, bucket, None, file)

    def _read(self, source: Object, at: Target, bucket: Bucket, part: range | None, file: NewFile) -> Object:
        def by(client: Boto3Client) -> Object:
            read = client.read(source, at, bucket, part, file.write)
            if part is None:
                file.cut(read.size or 0)
            return read

        return self._by_obstore_first(
            "GET",
            bucket,
            lambda: self._obstore.read(source, at, bucket, part, file.write),
            lambda _: by(self._judge),
            lambda: by(self._boto3),
        )

    def upload(self, source: Path | bytes, uri: str, *, media_type: str, metadata: Mapping[str, str]) -> str | None:
        at, facts = target(uri), _headers(metadata)
        body = _small(source)
        if body is None:
            return self._boto3.upload(source, at, media_type, facts)
        return self._by_obstore_first(
            "PUT",
            self._bucket(at.bucket),
            lambda: self._obstore.put(at, body, media_type, facts, "overwrite"),
            lambda _: self._judge.upload(body, at, media_type, facts),
            lambda: self._boto3.upload(body, at, media_type, facts),
        )

    def create(self, source: Path | bytes, uri: str, *, media_type: str, metadata: Mapping[str, str]) -> str | None:
        """By If-None-Match: * of the PUT, or of the completion where it goes in parts: S3 promises that one of several
        succeeds. A server that does not know it (501, 400, or a header that it passes over, which is found out once a
        bucket) is asked by a HEAD just before the upload: there two at the same moment may both succeed."""
        at, facts = target(uri), _headers(metadata)
        bucket = self._bucket(at.bucket)
        body = _small(source)
        if body is None or not bucket.heeds_if_none_match:
            return self._boto3.create(source if body is None else body, at, media_type, facts, bucket)

        def judged(why: NotPlain) -> str | None:
            # obstore may have made the object, and only the answer been lost.
            made = None if why.was_refused else self._judge.same(body, at, media_type, facts)
            return made or self._judge.create(body, at, media_type, facts, bucket)

        return self._by_obstore_first(
            "PUT",
            bucket,
            lambda: self._obstore.put(at, body, media_type, facts, "create"),
            judged,
            lambda: self._boto3.create(body, at, media_type, facts, bucket),
        )

    def probe(self, uri: str) -> None:
        self._boto3.probe(uri)

    def _bucket(self, name: str) -> Bucket:
        known = self._buckets.get(name)
        return known if known is not None else self._buckets.setdefault(name, Bucket(name))

    def _by_obstore_first(
        self,
        request: str,
        bucket: Bucket,
        plainly: Callable[[], T],
        judged: Callable[[NotPlain], T],
        by_boto3: Callable[[], T],
    ) -> T:
        """plainly: obstore's way; judged: boto3's after it; by_boto3: boto3's, where obstore is not asked at all."""
        try:
            if not bucket.is_worth(request):
                raise NotServed
            answer = plainly()
        except NotServed:
            return bucket.shown(by_boto3)
        except NotPlain as why:
            answer = bucket.shown(partial(judged, why))
            bucket.was_in_vain(request)
            # A HEAD is judged by a GET, which has all of its tries.
            judge = self._boto3 if request == "HEAD" else self._judge
            self._obstore.look_again(bucket.name, judge.client)
        else:
            bucket.went_well(request)
        return answer


def _small(source: Path | bytes) -> bytes | None:
    """The bytes; None where they are too many for one request."""
    if isinstance(source, bytes):
        return source if len(source) <= _SMALL_UPLOAD else None
    try:
        with source.open("rb") as reader:
            body = reader.read(_SMALL_UPLOAD + 1)
    except OSError as error:
        raise disk_error(error, source) from error
    return body if len(body) <= _SMALL_UPLOAD else None


def _headers(metadata: Mapping[str, str]) -> dict[str, str]:
    """Metadata travels as HTTP headers: ASCII alone."""
    return {
        name: value if value.isascii() and value.isprintable() else quote(value) for name, value in metadata.items()
    }
