"""S3's bytes through obstore (Rust): looking at, reading and writing objects, several times what boto3 does on a core.

boto3 (s3.py) stays beside it. It says where a bucket is and with whose credentials; it lists, probes, writes what is
large, and serves keys that obstore cannot carry. And it is the judge: a refusal that does not say why (a HEAD's has no
body), or that another region's bucket is, is asked again through boto3, so that both clients' errors are the same in
kind and in words.
"""

import hashlib
import os
import random
import re
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, TypeVar
from xml.sax.saxutils import unescape

import obstore
import tenacity
from botocore.credentials import ReadOnlyCredentials
from obstore.exceptions import BaseError
from obstore.store import S3Store

from supervisor.storage import Changed, Missing, Object, Passing, StorageError, disk_error
from supervisor.storage.s3 import (
    CONNECT_SECONDS,
    MIB,
    READ_SECONDS,
    REPLACED,
    RETRY_SECONDS,
    S3,
    BucketMissing,
    Place,
    from_answer,
    header,
    target,
)

if TYPE_CHECKING:
    from obstore import GetOptions
    from obstore.store import S3Credential

T = TypeVar("T")

# A larger object is read in ranges of this size, by the thread that wants it and these, which all downloads share. Each
# range goes to the disk in pieces: 20 MB of memory. Ranges taken whole took 53 MB, and half as much CPU time again.
_RANGE = 8 * MIB
_HELPERS = 4
_PIECE = 256 * 1024
# obstore has no timeout for a body on its way out but READ_SECONDS for all of it: 17 KB/s here, on each of 16 threads.
_SMALL_UPLOAD = MIB
# Seconds before the second try, at most; tenacity, which sees to the others, costs 40 us a request.
_PAUSE = 0.5
# What obstore's Path refuses or rewrites. tests/integration/test_s3_obstore.py looks for more.
_ODD_SEGMENTS = frozenset({"", ".", ".."})
_IS_MD5 = re.compile(r"[0-9a-f]{32}")
_ODD = re.compile(r"[\x00-\x1f\x7f]")

# obstore says these in its errors' text alone (0.12); what it says otherwise is for the judge.
_STATUS = re.compile(r"status code: (\d{3}) ?([^:]*): (.*?)(?:\n\nDebug source:|\Z)", re.DOTALL)
_CODE = re.compile(r"<Code>([^<]*)</Code>")
_WORDS = re.compile(r"<Message>([^<]*)</Message>")
# The bucket is in another region, where boto3 finds it.
_ELSEWHERE = frozenset({"AuthorizationHeaderMalformed", "PermanentRedirect", "TemporaryRedirect", "Redirect", "301"})
_TRANSPORT = re.compile(r"HttpError \{\s*kind: (\w+)")
_CAUSE = re.compile(r"(?:message|error): \"([^\"\n]*)\"")


class ObstoreS3:
    """Objects in S3, or in whatever AWS_ENDPOINT_URL[_S3] points to. Every method may be called from many threads."""

    def __init__(self) -> None:
        self._boto = S3()
        self._stores: dict[str, _Store] = {}
        self._seen: set[str] = set()  # buckets that are known to exist
        self._opaque: set[str] = set()  # buckets whose ETags are no MD5: encrypted with a key of their owner's
        self._helpers = ThreadPoolExecutor(_HELPERS, thread_name_prefix="range")
        self._retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception(lambda e: isinstance(e, Passing) and not isinstance(e, Changed)),
            stop=tenacity.stop_after_attempt(self._boto.attempts - 1) | tenacity.stop_after_delay(RETRY_SECONDS),
            wait=tenacity.wait_random_exponential(multiplier=2 * _PAUSE, max=15),
            reraise=True,
        )

    def stat(self, uri: str, version: str | None = None) -> Object:
        bucket, key = target(uri)

        def ask(store: S3Store) -> Object:
            answer = obstore.get(store, key, options=_options({"head": True}, version))
            meta, facts = answer.meta, dict(answer.attributes)
            return Object(
                uri=uri,
                size=meta["size"],
                etag=(meta["e_tag"] or "").strip('"') or None,
                version=meta["version"],
                media_type=facts.pop("Content-Type", None),
                # The other headers that S3 keeps are capitalised; metadata's names are not.
                metadata={name: value for name, value in facts.items() if name == name.lower()},
            )

        if _is_odd(key):
            return self._boto.stat(uri, version)
        try:
            return self._asked(uri, ask)
        except _UnclearError:
            return self._judged(bucket, lambda: self._boto.stat_after_refusal(uri, version))

    def list(self, uri: str) -> Iterator[Object]:
        return self._boto.list(uri)

    def download(self, source: Object, target_path: Path) -> None:
        bucket, key = target(source.uri)
        if _is_odd(key) or source.size is None:
            self._boto.download(source, target_path)
            return
        try:
            with _NewFile(target_path) as file:
                self._copy(source, key, source.size, file)
        except _UnclearError:
            self._judged(bucket, lambda: self._boto.download(source, target_path))
            if source.size <= _RANGE and _md5(target_path) != source.etag:
                self._opaque.add(bucket)

    def upload(self, source: Path | bytes, uri: str, *, media_type: str, metadata: Mapping[str, str]) -> str | None:
        bucket, key = target(uri)
        body = None if _is_odd(key) else _small(source)
        if body is None:
            return self._boto.upload(source, uri, media_type=media_type, metadata=metadata)
        facts = {"Content-Type": media_type, **{name: header(value) for name, value in metadata.items()}}
        try:
            put = self._asked(uri, lambda store: obstore.put(store, key, body, attributes=facts, use_multipart=False))
            return (put["e_tag"] or "").strip('"') or None
        except _UnclearError:
            return self._judged(
                bucket, lambda: self._boto.upload(source, uri, media_type=media_type, metadata=metadata)
            )

    def probe(self, uri: str) -> None:
        self._boto.probe(uri)

    def _copy(self, source: Object, key: str, size: int, file: "_NewFile") -> None:
        """Writes the object's bytes, small ones by a single GET."""
        if size <= _RANGE:
            self._whole(source, key, size, file)
            return
        starts = deque(range(0, size, _RANGE))

        def work() -> None:
            try:
                while (start := _taken(starts)) is not None:
                    self._part(source, key, start, min(start + _RANGE, size), file)
            except BaseException:
                starts.clear()  # nobody goes on
                raise

        helpers = [self._helpers.submit(work) for _ in range(_HELPERS)]
        try:
            work()
        finally:
            # Those that other downloads kept from beginning are not waited for. Of the others none writes to the
            # descriptor any more once it is another file's.
            begun = [helper for helper in helpers if not helper.cancel()]
            wait(begun)
        for helper in begun:
            helper.result()

    def _whole(self, source: Object, key: str, size: int, file: "_NewFile") -> None:
        """Checks the MD5 that an ETag mostly is. TLS guards a body on its way; plain http and what S3 itself hands out
        wrong are guarded by this. 50 us for 32 KiB."""
        checked = bool(_IS_MD5.fullmatch(source.etag or "")) and target(source.uri)[0] not in self._opaque
        wrong: set[str] = set()

        def ask(store: S3Store) -> None:
            digest = hashlib.md5(usedforsecurity=False)
            at = 0
            for piece in _pieces(store, source, key, {}):
                file.write(piece, at)
                digest.update(piece)
                at += len(piece)
            _expect(size, at, source.uri)
            if checked and digest.hexdigest() != source.etag:
                if digest.hexdigest() in wrong:  # no chance, then; boto3 checks what other sum there is
                    raise _UnclearError(source.uri)
                wrong.add(digest.hexdigest())
                raise Passing(f"{source.uri}: the bytes that arrived are not those of its ETag")

        self._asked(source.uri, ask)

    def _part(self, source: Object, key: str, start: int, end: int, file: "_NewFile") -> None:
        def ask(store: S3Store) -> None:
            at = start
            for piece in _pieces(store, source, key, {"range": (start, end)}):
                file.write(piece, at)
                at += len(piece)
            _expect(end - start, at - start, source.uri)

        self._asked(source.uri, ask)

    def _asked(self, uri: str, ask: Callable[[S3Store], T]) -> T:
        """What the bucket answers, after retries where trouble may pass; _UnclearError where boto3 has to be asked."""
        bucket, _ = target(uri)

        def once() -> T:
            store = self._store(bucket)
            try:
                answer = ask(store.store)
            except (BaseError, OSError, ValueError) as error:
                raise self._sorted(str(error), uri, store.place) from None
            self._seen.add(bucket)
            return answer

        try:
            return once()
        except Passing as trouble:
            if isinstance(trouble, Changed) or self._boto.attempts < 2:
                raise
        time.sleep(random.uniform(0, _PAUSE))  # noqa: S311 - jitter
        return self._retrying(once)

    def _store(self, bucket: str) -> "_Store":
        """The bucket's client, of which there is one for as long as the credentials last."""
        credentials = self._boto.credentials()
        store = self._stores.get(bucket)
        if store is None or store.place.credentials != credentials:
            # Two threads may both make one: a second connection, no harm.
            place = self._boto.place(bucket, credentials)
            if place is None:
                raise _UnclearError(bucket)
            store = self._stores[bucket] = _Store.at(place)
        return store

    def _judged(self, bucket: str, ask: Callable[[], T]) -> T:
        try:
            answer = ask()
        except BucketMissing:
            raise
        except Missing:
            self._seen.add(bucket)
            raise
        # boto3 may have been redirected to the bucket's own region, and knows it from now on.
        self._stores.pop(bucket, None)
        self._seen.add(bucket)
        return answer

    def _sorted(self, text: str, uri: str, place: Place) -> Exception:
        """The kind of an error of obstore's, of which nothing but a code and S3's own words are passed on: its text
        runs over many lines."""
        if answer := _STATUS.search(text):
            status, reason, body = int(answer[1]), answer[2], answer[3]
            code, words = _CODE.search(body), _WORDS.search(body)
            if code and code[1] not in _ELSEWHERE:
                return from_answer(code[1], unescape(words[1]) if words else "", status, uri)
            if status >= 500 or status in (412, 429) or (status == 404 and target(uri)[0] in self._seen):
                return from_answer(str(status), reason, status, uri)
        elif (kind := _TRANSPORT.search(text)) and "ertificate" not in text:
            return _broken(kind[1], text, uri, place)
        return _UnclearError(uri)


class _UnclearError(Exception):
    """Refused for a reason that boto3 has to be asked for."""


@dataclass(frozen=True, kw_only=True)
class _Store:
    """One bucket's client, and what it was made from."""

    place: Place
    store: S3Store

    @classmethod
    def at(cls, place: Place) -> "_Store":
        store = S3Store(
            place.bucket,
            config={
                # obstore reads variables that mean nothing to boto3: what they could change is said here.
                "endpoint": place.endpoint,
                "aws_endpoint_url_s3": place.endpoint,
                "region": place.region,
                "virtual_hosted_style_request": place.virtual_host,
                "checksum_algorithm": "SHA256",
                "skip_signature": False,
                "unsigned_payload": False,
                "s3_express": False,
                "request_payer": False,
            },
            client_options={
                "user_agent": "deepaas-batch obstore",
                "allow_http": place.endpoint.startswith("http://"),
                "connect_timeout": timedelta(seconds=CONNECT_SECONDS),
                "read_timeout": timedelta(seconds=READ_SECONDS),
                "timeout": timedelta(hours=1),  # of a whole range; a stall ends earlier
                **({"root_certificate": place.authorities} if place.authorities else {}),
            },
            retry_config={"max_retries": 0},  # ours sorts the errors first
            credential_provider=lambda: _signing(place.credentials),
        )
        return cls(place=place, store=store)


def _signing(keys: ReadOnlyCredentials) -> "S3Credential":
    """They never expire for obstore: with new ones the bucket gets a new client."""
    return {
        "access_key_id": keys.access_key or "",
        "secret_access_key": keys.secret_key or "",
        "token": keys.token,
        "expires_at": None,
    }


def _pieces(store: S3Store, source: Object, key: str, options: "GetOptions") -> Iterator[bytes]:
    """The object's bytes just as stat saw it."""
    pinned = _options(options, source.version)
    if source.etag:
        pinned["if_match"] = f'"{source.etag}"'
    answer = obstore.get(store, key, options=pinned)
    etag = answer.meta["e_tag"]
    if source.etag and etag and etag.strip('"') != source.etag:  # a server that does not know If-Match
        raise Changed(f"{source.uri}: {REPLACED}")
    if answer.meta["size"] <= _PIECE:  # one call; each gives way to other threads
        yield answer.bytes().to_bytes()
    else:
        yield from answer.stream(min_chunk_size=_PIECE)


def _taken(starts: "deque[int]") -> int | None:
    try:
        return starts.popleft()
    except IndexError:
        return None


def _expect(size: int, arrived: int, uri: str) -> None:
    if arrived != size:
        raise Passing(f"{uri}: {arrived} of {size} bytes arrived")


def _md5(path: Path) -> str:
    try:
        with path.open("rb") as reader:
            return hashlib.file_digest(reader, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
    except OSError as error:
        raise disk_error(error, path) from error


def _options(options: "GetOptions", version: str | None) -> "GetOptions":
    return {**options, "version": version} if version else {**options}


def _is_odd(key: str) -> bool:
    return bool(_ODD.search(key)) or not _ODD_SEGMENTS.isdisjoint(key.split("/"))


def _broken(kind: str, text: str, uri: str, place: Place) -> StorageError:
    cause = _CAUSE.search(text)
    because = f": {cause[1]}" if cause else ""
    match kind:
        case "Connect":
            return Passing(f"{uri}: Could not connect to the endpoint {place.endpoint}{because}")
        case "Timeout":
            return Passing(f"{uri}: the endpoint {place.endpoint} did not go on for {READ_SECONDS} s")
        case _:
            return Passing(f"{uri}: the connection broke before the end{because}")


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


class _NewFile:
    """A new local file to be written by several threads, gone again where the block does not end well."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> "_NewFile":
        try:
            self._file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        except OSError as error:
            raise disk_error(error, self._path) from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            os.close(self._file)
        except OSError as broken:
            kind = OSError
            raise disk_error(broken, self._path) from broken
        finally:
            if kind:
                self._path.unlink(missing_ok=True)

    def write(self, piece: bytes, start: int) -> None:
        left = memoryview(piece)
        try:
            while left:
                written = os.pwrite(self._file, left, start)
                left, start = left[written:], start + written
        except OSError as error:
            raise disk_error(error, self._path) from error
