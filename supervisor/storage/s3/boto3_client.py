"""S3 through boto3: the judge of what obstore could not do, and all that obstore is not asked for.

boto3 tries again what may pass, as AWS_MAX_ATTEMPTS and AWS_RETRY_MODE say. It does so up to the head of an answer: a
body that breaks off is asked for again here.
"""

import hashlib
import itertools
import random
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urljoin, urlsplit

import botocore.exceptions as boto
from botocore.httpchecksum import StreamingChecksumBody
from s3transfer.manager import TransferConfig, TransferManager

from supervisor.storage import Changed, Exists, Invalid, Missing, Object, Passing
from supervisor.storage.s3 import errors
from supervisor.storage.s3.bucket import Bucket, etag, is_md5
from supervisor.storage.s3.errors import Asked, NotTaken, Verb, code_of, of_code, sorted_errors, status_of
from supervisor.storage.s3.listing import Listing
from supervisor.storage.s3.place import Session, Target, is_awss, split

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

T = TypeVar("T")

MIB = 1024 * 1024
RETRY_SECONDS = 180
_PIECE = 256 * 1024
# A larger file goes in parts of this size, 4 at once.
_PART = 32 * MIB
_TRANSFER = TransferConfig(
    multipart_threshold=_PART, multipart_chunksize=_PART, max_request_concurrency=4, max_submission_concurrency=1
)
# What is sent twice, at most, to see whether a server knows If-None-Match.
_PROOF = MIB
# Uploads in parts that are begun anew, where others write the same object.
_CONFLICTS = 3
# Seconds before a second try that is ours, at most; it doubles with each, up to _LONGEST_PAUSE.
_PAUSE, _LONGEST_PAUSE = 0.5, 15.0
_MOST_REDIRECTS = 3
# How S3 says that an object's ETag is not the MD5 of its bytes.
_KMS = ("aws:kms", "aws:kms:dsse")
_PARTIAL, _REDIRECT, _TEMPORARY_REDIRECT, _CLIENT_ERROR, _NOT_FOUND, _NO_SUCH_RANGE = 206, 300, 307, 400, 404, 416
_NO_OBJECT = (_NOT_FOUND, 405)
_HTML = re.compile(rb"\s*<(!doctype html|html)", re.IGNORECASE)


class Boto3Client:
    """One client of boto3's. Every method may be called from many threads."""

    def __init__(self, session: Session, attempts: int) -> None:
        """attempts: how often one request is tried at most."""
        self._session = session
        self._attempts = attempts

    @cached_property
    def client(self) -> "S3Client":
        first = self._attempts == self._session.attempts
        return self._instructed(self._session.first if first else self._session.client(self._attempts))

    @cached_property
    def _creating(self) -> "S3Client":
        """The same, all of whose uploads make a new object or none: s3transfer has no argument for it."""
        client = self._instructed(self._session.client(self._attempts))
        for operation in ("PutObject", "CompleteMultipartUpload"):
            client.meta.events.register(f"before-parameter-build.s3.{operation}", _only_if_none)
        return client

    def _instructed(self, client: "S3Client") -> "S3Client":
        events: Any = client.meta.events
        events.register("after-call.s3", _refuse_web_page)
        events.register_first("needs-retry.s3.HeadBucket", _end_the_search)
        events.register("needs-retry.s3", _follow)
        events.register("needs-retry.s3", self._try_again)
        return client

    # looking

    def stat(self, at: Target, version: str | None, bucket: Bucket) -> Object:
        with self._errors(Asked(verb=Verb.READ, uri=at.uri, version=version)):
            try:
                head: Any = self.client.head_object(**_call(at, version))
            except boto.ClientError as error:
                if errors.may_pass(error) or (status_of(error) == _NOT_FOUND and version is None and bucket.exists):
                    raise
            else:
                if "ContentLength" in head:
                    return _object(at, version, head, head["ContentLength"])
        return self.stat_by_get(at, version)

    def stat_by_get(self, at: Target, version: str | None) -> Object:
        """What a GET of one byte says: it tells as much as a HEAD, and where it is refused the answer has a body, with
        the reason: a missing bucket or key, expired credentials, another region."""
        with self._errors(Asked(verb=Verb.READ, uri=at.uri, version=version)):
            try:
                found: Any = self.client.get_object(Range="bytes=0-0", **_call(at, version))
            except boto.ClientError as error:
                if not _is_beyond_the_end(error):
                    raise
                return self._empty(at, version, error)
            found["Body"].close()
            return _object(at, version, found, _whole_size(found))

    def _empty(self, at: Target, version: str | None, refused: boto.ClientError) -> Object:
        """An object without a first byte; the bucket's region is known by now."""
        try:
            head: Any = self.client.head_object(**_call(at, version))
        except boto.ClientError:
            return _object(at, version, refused.response, 0)
        return _object(at, version, head, head.get("ContentLength", 0))

    # reading

    def read(
        self, source: Object, at: Target, bucket: Bucket, part: range | None, write: Callable[[bytes, int], None]
    ) -> Object:
        """Writes a part of the object, or all of it, just as stat saw it, and returns it as it was read, with its size
        where that is all of it. NoRanges where the server has no parts."""
        with self._errors(Asked(verb=Verb.READ, uri=at.uri, version=source.version)):
            return self._again(lambda: self._read(source, at, bucket, part, write))

    def _read(
        self, source: Object, at: Target, bucket: Bucket, part: range | None, write: Callable[[bytes, int], None]
    ) -> Object:
        answer = self._get(source, at, bucket, part)
        tag = etag(answer.get("ETag"))
        if source.etag and tag and tag != source.etag:
            self._expect_unchanged(source, at)  # a server that does not know If-Match, or has several ETags
        is_checked = part is None and is_md5(source, bucket)
        start, stop = (part.start, part.stop) if part else (0, source.size)
        if is_checked and tag == source.etag:
            stop = answer.get("ContentLength", stop)  # some say another length to a HEAD; the MD5 will tell
        digest = hashlib.md5(usedforsecurity=False)
        end = start
        with closing(answer["Body"]) as body:
            for piece in body.iter_chunks(_PIECE):
                if stop is not None and end + len(piece) > stop:
                    raise _Broken(f"{at.uri}: more than {stop - start} bytes arrive")
                write(piece, end)
                end += len(piece)
                if is_checked:
                    digest.update(piece)
        if stop is not None and end != stop:
            raise _Broken(f"{at.uri}: {end - start} of {stop - start} bytes arrived")
        if source.etag and not tag:
            self._expect_unchanged(source, at)
        if is_checked and digest.hexdigest() != source.etag:
            if not _is_vouched_for(answer):
                raise _Broken(f"{at.uri}: the bytes that arrive are not those of its ETag, which is their MD5")
            bucket.etag_is_md5 = False
        size = end if part is None else source.size
        return replace(source, size=size, media_type=answer.get("ContentType"), metadata=_metadata(answer))

    def _get(self, source: Object, at: Target, bucket: Bucket, part: range | None) -> Any:
        call = _call(at, source.version)
        if part is not None:
            call["Range"] = f"bytes={part.start}-{part.stop - 1}"
        pinned = {"IfMatch": f'"{source.etag}"'} if source.etag and bucket.heeds_if_match else {}
        try:
            answer: Any = self.client.get_object(**{**call, **pinned})
        except boto.ClientError as error:
            if not (pinned and errors.is_precondition_failed(error)):
                raise
            self._expect_unchanged(source, at)
            bucket.heeds_if_match = False
            answer = self.client.get_object(**call)
        if part is not None and answer["ResponseMetadata"]["HTTPStatusCode"] != _PARTIAL:
            answer["Body"].close()
            raise NoRanges
        return answer

    def _expect_unchanged(self, source: Object, at: Target) -> None:
        """Raises Changed where the object is not what it was: asked in both ways in which it may have been seen, for
        some servers have other ETags in a listing than for a HEAD, or refuse the right one."""
        call = _call(at, source.version)
        if etag(self.client.head_object(**call).get("ETag")) == source.etag:
            return
        if source.version is None and self._listed_etag(at) == source.etag:
            return
        raise Changed(f"{at.uri}: {errors.REPLACED}")

    def _listed_etag(self, at: Target) -> str | None:
        try:
            listed = self.client.list_objects_v2(Bucket=at.bucket, Prefix=at.key, MaxKeys=1).get("Contents", [])
        except boto.ClientError:
            return None
        return next((etag(each.get("ETag")) for each in listed if each.get("Key") == at.key), None)

    # listing

    def list(self, uri: str, after: str | None) -> Iterator[Object]:
        bucket, prefix = split(uri)

        def page(operation: str, call: Mapping[str, Any]) -> Any:
            with self._errors(Asked(verb=Verb.LIST, uri=uri)):
                return self._again(lambda: self._page(operation, uri, Bucket=bucket, **call))

        yield from Listing(page, partial(self._is_there, bucket), uri, bucket, prefix, after)

    def _page(self, operation: str, uri: str, **call: Any) -> Any:
        answer = getattr(self.client, operation)(**call)
        if answer.keys() <= {"ResponseMetadata"}:
            raise _Broken(f"{uri}: the answer to a listing was empty")
        return answer

    # writing

    def upload(self, source: Path | bytes, at: Target, media_type: str, metadata: Mapping[str, str]) -> str | None:
        """The new object's ETag, which s3transfer does not tell of one that went in parts."""
        with self._errors(_writing(source, at)):
            return _sent(self.client, source, at, media_type, metadata)

    def create(
        self, source: Path | bytes, at: Target, media_type: str, metadata: Mapping[str, str], bucket: Bucket
    ) -> str | None:
        """By If-None-Match. A server that does not know it is looked at just before the upload: there two that
        create one object at the same moment both succeed."""
        if bucket.heeds_if_none_match is None and is_awss(self.client):
            bucket.heeds_if_none_match = True
        if not bucket.heeds_if_none_match:
            self._refuse_if_there(at, bucket)
        if bucket.heeds_if_none_match is False:
            return self.upload(source, at, media_type, metadata)
        try:
            made = self._create(source, at, media_type, metadata, bucket)
        except NotTaken:
            if bucket.heeds_if_none_match:
                raise
            made = self.upload(source, at, media_type, metadata)  # whose refusal, if it is one, is the one to tell
            bucket.heeds_if_none_match = False
            return made
        if bucket.heeds_if_none_match is None and _size(source) <= _PROOF:
            bucket.heeds_if_none_match = self._is_refused_now(source, at, media_type, metadata)
        return made

    def _create(
        self, source: Path | bytes, at: Target, media_type: str, metadata: Mapping[str, str], bucket: Bucket
    ) -> str | None:
        with self._errors(_writing(source, at)):
            for _ in range(_CONFLICTS):
                try:
                    return _sent(self._creating, source, at, media_type, metadata)
                except boto.ClientError as error:
                    if errors.is_precondition_failed(error):
                        retried = error.response.get("ResponseMetadata", {}).get("RetryAttempts", 0)
                        if retried and (made := self.same(source, at, media_type, metadata)):
                            return made  # by this very call, whose first answer was lost
                        if bucket.heeds_if_none_match is None and not self._is_there(at.bucket, at.key):
                            raise NotTaken(f"{at.uri}: the server refuses If-None-Match, and there is none") from error
                        raise Exists(f"{at.uri}: there is such an object already") from error
                    if code_of(error) != "ConditionalRequestConflict":
                        raise
                time.sleep(_pause(1))
        raise Passing(f"{at.uri}: others write the same object again and again")

    def _is_there(self, bucket: str, key: str) -> bool:
        try:
            self.client.head_object(Bucket=bucket, Key=key)
        except (boto.ClientError, boto.BotoCoreError, errors.Unsigned):
            return False
        return True

    def same(self, source: Path | bytes, at: Target, media_type: str, metadata: Mapping[str, str]) -> str | None:
        """The ETag of the object where it is just what was to be written; None where it is another, or none."""
        try:
            head: Any = self.client.head_object(**_call(at))
        except (boto.ClientError, boto.BotoCoreError):
            return None
        tag = etag(head.get("ETag"))
        theirs = (head.get("ContentLength"), head.get("ContentType"), _metadata(head))
        if theirs != (_size(source), media_type, dict(metadata)):
            return None
        is_same = _size(source) > _PART or head.get("ServerSideEncryption") in _KMS or tag == _md5(source)
        return tag if is_same else None

    def _refuse_if_there(self, at: Target, bucket: Bucket) -> None:
        try:
            self.stat(at, None, bucket)
        except Missing as missing:
            if isinstance(missing, errors.BucketMissing):
                raise
            return
        raise Exists(f"{at.uri}: there is such an object already")

    def _is_refused_now(
        self, source: Path | bytes, at: Target, media_type: str, metadata: Mapping[str, str]
    ) -> bool | None:
        """Whether the server knows If-None-Match: the same object once more, which changes nothing either way."""
        try:
            _sent(self._creating, source, at, media_type, metadata)
        except boto.ClientError as error:
            return True if errors.is_precondition_failed(error) else None
        except (boto.BotoCoreError, OSError, errors.Unsigned):
            return None
        return False

    def probe(self, uri: str) -> None:
        # A multipart upload begun and given up needs s3:PutObject, as a result does, but never becomes an object.
        bucket, prefix = split(uri)
        call: dict[str, Any] = {"Bucket": bucket, "Key": prefix + "_status/probe"}
        sums = {"ChecksumAlgorithm": "CRC32"} if self._session.sends_checksums else {}  # as s3transfer has it
        with self._errors(Asked(verb=Verb.WRITE, uri=uri)):
            upload = self.client.create_multipart_upload(**{**call, **sums}).get("UploadId")
            if not upload:
                raise Invalid(f"{uri}: the server began an upload in parts without saying which")
            self.client.abort_multipart_upload(**call, UploadId=upload)

    # errors

    @contextmanager
    def _errors(self, asked: Asked) -> Iterator[None]:
        """Sorted errors, with what only this client knows of them."""
        try:
            with sorted_errors(asked):
                yield
        except errors.Expired as error:
            if not self._session.credentials.are_renewable:
                raise
            raise Passing(f"{error} (new ones have not come in time)") from error
        except (NotTaken, errors.BadSignature, errors.Mismatch) as error:
            error.hint = error.hint or self._hint(asked.verb)
            raise

    def _hint(self, verb: Verb) -> str | None:
        """Backblaze B2, R2, GCS and Storj refuse the checksums that AWS's SDKs send since 2025."""
        if is_awss(self.client):
            return None
        told = "some servers do not take the checksums of AWS's newer SDKs: set "
        if verb is Verb.WRITE and self._session.sends_checksums:
            return told + "AWS_REQUEST_CHECKSUM_CALCULATION=when_required; else check the credentials and the endpoint"
        if verb is Verb.READ and self._session.checks_answers:
            return told + "AWS_RESPONSE_CHECKSUM_VALIDATION=when_required; else check the credentials and the endpoint"
        return None

    def _again(self, ask: Callable[[], T]) -> T:
        """Tries of ours: for what botocore does not try again, since the head of the answer was in order."""
        began = time.monotonic()
        for attempt in itertools.count(1):
            try:
                return ask()
            except (_Broken, *errors.BROKEN_OFF):
                if attempt >= self._attempts or time.monotonic() - began > RETRY_SECONDS:
                    raise
            time.sleep(_pause(attempt))
        raise AssertionError  # it counts for ever

    def _try_again(self, response: Any, attempts: int, **_: Any) -> float | None:
        """Where the table says that it may pass, and botocore has not heard of it: OperationAborted, BadDigest, …"""
        if response is None or attempts >= self._attempts or not 300 <= response[0].status_code < 500:
            return None
        code = str(response[1].get("Error", {}).get("Code") or "")
        may_pass = issubclass(of_code(code, response[0].status_code).kind, Passing)
        return _pause(attempts) if may_pass else None


class NoRanges(Exception):
    """The server answers with the whole object where a range of it was asked for."""


class _Broken(Passing):
    """An answer whose body is not what its head said."""


def _pause(attempt: int) -> float:
    """Seconds before the next try, with jitter."""
    return random.uniform(0, min(_PAUSE * 2**attempt, _LONGEST_PAUSE))  # noqa: S311


def _sent(
    client: "S3Client", source: Path | bytes, at: Target, media_type: str, metadata: Mapping[str, str]
) -> str | None:
    """Raises what boto3 raises."""
    facts: dict[str, Any] = {"ContentType": media_type, "Metadata": dict(metadata)}
    if isinstance(source, bytes):
        return etag(client.put_object(Body=source, **_call(at), **facts).get("ETag"))
    if _size(source) > _PART:
        with TransferManager(client, _TRANSFER) as transfers:
            transfers.upload(str(source), at.bucket, at.key, extra_args=facts).result()
        return None
    with source.open("rb") as body:
        return etag(client.put_object(Body=body, **_call(at), **facts).get("ETag"))


def _writing(source: Path | bytes, at: Target) -> Asked:
    return Asked(verb=Verb.WRITE, uri=at.uri, local=source if isinstance(source, Path) else None)


def _call(at: Target, version: str | None = None) -> dict[str, Any]:
    return {"Bucket": at.bucket, "Key": at.key} | ({"VersionId": version} if version else {})


def _object(at: Target, version: str | None, answer: Mapping[str, Any], size: int | None) -> Object:
    """What the answer to a HEAD or a GET says of an object. version: the one that was asked for."""
    return Object(
        uri=at.uri,
        size=size,
        etag=etag(answer.get("ETag")),
        version=version,
        media_type=answer.get("ContentType"),
        metadata=_metadata(answer),
    )


def _metadata(answer: Mapping[str, Any]) -> dict[str, str]:
    """Names of headers have no case: servers written in Go capitalise them."""
    return {name.lower(): value for name, value in answer.get("Metadata", {}).items()}


def _whole_size(answer: Mapping[str, Any]) -> int | None:
    """Of the object, where the answer is to a range of it: "bytes 0-0/1234"; None where the server does not say."""
    if answer["ResponseMetadata"]["HTTPStatusCode"] != _PARTIAL:
        size: int | None = answer.get("ContentLength")
        return size
    total = str(answer.get("ContentRange", "")).rpartition("/")[2]
    return int(total) if total.isascii() and total.isdigit() else None


def _is_beyond_the_end(error: boto.ClientError) -> bool:
    return code_of(error) == "InvalidRange" or status_of(error) == _NO_SUCH_RANGE


def _is_vouched_for(answer: Mapping[str, Any]) -> bool:
    """Whether the bytes are right although their MD5 is not the ETag: boto3 has held them against another checksum, or
    the object is encrypted with a key of its owner's, where the ETag is no MD5."""
    return (
        isinstance(answer["Body"], StreamingChecksumBody)
        or answer.get("ServerSideEncryption") in _KMS
        or "SSECustomerAlgorithm" in answer
    )


def _size(source: Path | bytes) -> int:
    return len(source) if isinstance(source, bytes) else source.stat().st_size


def _md5(source: Path | bytes) -> str:
    if isinstance(source, bytes):
        return hashlib.md5(source, usedforsecurity=False).hexdigest()
    with source.open("rb") as reader:
        return hashlib.file_digest(reader, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def _only_if_none(params: dict[str, Any], **_: Any) -> None:
    params["IfNoneMatch"] = "*"


def _refuse_web_page(http_response: Any, model: Any, **_: Any) -> None:
    """A login page or a web server's own "not found" is no answer of S3's. An object of that type has an ETag."""
    if not hasattr(http_response, "raw"):  # the answer to a request that was not sent
        return
    # botocore makes a 500 of a 200 whose body is no XML.
    headers, status = http_response.headers, http_response.raw.status
    if any(name.lower().startswith("x-amz-") for name in headers):
        return
    if status < _REDIRECT and model.name in ("HeadObject", "GetObject"):
        is_page = "text/html" in headers.get("content-type", "") and "etag" not in headers
    else:
        is_page = (status < _CLIENT_ERROR or status in _NO_OBJECT) and bool(_HTML.match(http_response.content))
    if is_page:
        raise errors.WebPage


def _end_the_search(response: Any, **_: Any) -> None:
    """botocore asks for a bucket's region by a HEAD of it, and where that is redirected too without naming a region by
    another HEAD, until the stack is full. It takes this for an answer."""
    if response is not None:
        response[1]["ResponseMetadata"]["HTTPHeaders"].setdefault("x-amz-bucket-region", None)


def _follow(response: Any, request_dict: Any, **_: Any) -> float | None:
    """Goes where a 307 says, as S3 says it of a bucket that is a day old: botocore follows one to another region alone.
    The request is signed anew for the other host."""
    if response is None or response[0].status_code != _TEMPORARY_REDIRECT:
        return None
    here, there = response[0].url, urljoin(response[0].url, response[0].headers.get("Location", ""))
    redirects = request_dict["context"].setdefault("supervisor_redirects", [])
    is_elsewhere = urlsplit(request_dict["url"]).netloc != urlsplit(here).netloc  # botocore knows better
    safe = urlsplit(there).scheme in ("https", urlsplit(here).scheme)
    if is_elsewhere or there == here or not safe or len(redirects) >= _MOST_REDIRECTS:
        return None
    redirects.append(there)
    request_dict["url"] = there
    return 0.0
