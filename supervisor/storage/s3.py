"""S3 through boto3 and its classic transfer manager, and what s3_obstore.py has to know of the place and its errors."""

import io
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

import boto3
import botocore.exceptions as boto
import tenacity
from botocore.config import Config
from botocore.credentials import ReadOnlyCredentials
from botocore.httpsession import get_cert_path
from botocore.parsers import ResponseParserError
from botocore.utils import parse_timestamp
from s3transfer.exceptions import RetriesExceededError, S3DownloadFailedError
from s3transfer.manager import TransferConfig, TransferManager
from s3transfer.subscribers import BaseSubscriber
from urllib3.exceptions import ProtocolError, TimeoutError

from supervisor.storage import Changed, Denied, Invalid, Missing, Object, Passing, StorageError, disk_error
from supervisor.storage.uri import split_s3

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import ListObjectsV2OutputTypeDef

MIB = 1024 * 1024
CONNECT_SECONDS = 10
READ_SECONDS = 60  # without a byte
RETRY_SECONDS = 180

# What botocore lets through where it reads a body, an error's or a listing's: cut short, reset, stalled.
_BROKEN_OFF = (boto.IncompleteReadError, ProtocolError, TimeoutError, ResponseParserError)

# What is in memory at once: 4 requests, and 16 pieces of 256 KiB on their way to the disk. A 2 GiB download then
# peaks at 72 MB; boto3's defaults (10 requests, 1,000 pieces) allow for 250 MiB more.
_TRANSFER = TransferConfig(
    multipart_threshold=32 * MIB,
    multipart_chunksize=32 * MIB,
    max_request_concurrency=4,
    max_submission_concurrency=1,
    io_chunksize=256 * 1024,
    max_io_queue_size=16,
)
_MISSING = frozenset({"404", "NoSuchKey", "NoSuchBucket", "NoSuchVersion", "MethodNotAllowed"})
_PASSING = frozenset(
    {
        "SlowDown",
        "Throttling",
        "ThrottlingException",
        "RequestLimitExceeded",
        "RequestTimeout",
        "InternalError",
        "ServiceUnavailable",
        "OperationAborted",
        "RequestTimeTooSkewed",
        "BadDigest",
        "XAmzContentSHA256Mismatch",
        "IncompleteBody",
    }
)
_DENIED = frozenset({"ExpiredToken", "InvalidToken", "TokenRefreshRequired"})  # these come with status 400
REPLACED = "the object was replaced while it was being read"
_CREDENTIALS = (
    boto.NoCredentialsError,
    boto.PartialCredentialsError,
    boto.CredentialRetrievalError,
    boto.ProfileNotFound,
    boto.TokenRetrievalError,
    boto.SSOError,
    boto.UnauthorizedSSOTokenError,
)


# An operation that nothing here uses.
_NEVER_SENT = "GetBucketAcl"


class BucketMissing(Missing):
    """It is the bucket that does not exist."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a bucket is to be asked, and as whom, as boto3 would.

    endpoint: with the bucket in its host name where virtual_host says so; authorities: PEM, None where there is no TLS.
    """

    bucket: str
    endpoint: str
    virtual_host: bool
    region: str
    credentials: ReadOnlyCredentials
    authorities: bytes | None


class S3:
    """Objects in S3, or in whatever AWS_ENDPOINT_URL[_S3] points to."""

    def __init__(self) -> None:
        with _sorted_errors("S3"):
            self._session = boto3.Session()
            parsers = self._session._session.get_component("response_parser_factory")
            parsers.set_parser_defaults(timestamp_parser=_timestamp)
            self._client: S3Client = self._session.client("s3", config=_config(self._session))
            self._credentials = self._session.get_credentials()
        self._client.meta.events.register(f"before-call.s3.{_NEVER_SENT}", _address)  # type: ignore[arg-type]

    @property
    def attempts(self) -> int:
        """How often one request is tried at most."""
        return int(self._client.meta.config.retries["total_max_attempts"])  # type: ignore[attr-defined]

    def credentials(self) -> ReadOnlyCredentials:
        """As they are now: those that expire are fetched anew in time."""
        with _sorted_errors("S3"):
            if self._credentials is None:
                raise boto.NoCredentialsError
            return self._credentials.get_frozen_credentials()

    def place(self, bucket: str, credentials: ReadOnlyCredentials) -> Place | None:
        """Where boto3 itself would turn to; None where that takes more than an address (S3 Express)."""
        with _sorted_errors(f"s3://{bucket}"):
            found: Any = self._client.get_bucket_acl(Bucket=bucket)
            url, signing = urlsplit(found["url"]), found["context"].get("signing", {})
            if signing.get("signing_name", "s3") != "s3":
                return None
            return Place(
                bucket=bucket,
                endpoint=f"{url.scheme}://{url.netloc}{url.path.removesuffix(bucket).rstrip('/')}",
                virtual_host=not url.path.endswith(f"/{bucket}"),
                region=signing.get("region") or self._client.meta.region_name,
                credentials=credentials,
                authorities=self._authorities() if url.scheme == "https" else None,
            )

    def _authorities(self) -> bytes:
        """Those that boto3 trusts: AWS_CA_BUNDLE or a profile's ca_bundle, else its own, as an image may have none."""
        bundle = self._session._session.get_config_variable("ca_bundle") or get_cert_path(True)
        try:
            return Path(str(bundle)).read_bytes()
        except OSError as error:
            raise Invalid(f"AWS_CA_BUNDLE: {bundle}: {error.strerror}") from error

    def stat(self, uri: str, version: str | None = None) -> Object:
        with _sorted_errors(uri):
            try:
                return self._head(uri, version)
            except boto.ClientError as error:
                if _status(error) >= 500:
                    raise
                self._explain(uri, version)
                raise

    def stat_after_refusal(self, uri: str, version: str | None = None) -> Object:
        """As stat, where another client's HEAD was refused just now: the reason first."""
        with _sorted_errors(uri):
            self._explain(uri, version)
            return self._head(uri, version)

    def _head(self, uri: str, version: str | None) -> Object:
        head = self._client.head_object(**_call(uri, version))
        if "ContentLength" not in head:
            raise Passing(f"{uri}: the answer to a HEAD was cut short")
        return Object(
            uri=uri,
            size=head["ContentLength"],
            etag=head.get("ETag", "").strip('"') or None,
            version=head.get("VersionId"),
            media_type=head.get("ContentType"),
            metadata=head.get("Metadata", {}),
        )

    def _explain(self, uri: str, version: str | None) -> None:
        """Raises what a GET of one byte is refused with: the answer to a HEAD has no body and so no reason. It tells a
        missing bucket from a missing key, and expired credentials from a bad request."""
        self._client.get_object(Range="bytes=0-0", **_call(uri, version))["Body"].close()

    def list(self, uri: str) -> Iterator[Object]:
        # boto3 asks for EncodingType=url and decodes it: XML has no room for a key's control characters.
        bucket, prefix = _split(uri)
        call: dict[str, Any] = {"Bucket": bucket, "Prefix": prefix}
        while True:
            with _sorted_errors(uri):
                page = self._page(call)
            for found in page.get("Contents", []):
                etag = found.get("ETag", "").strip('"') or None
                yield Object(uri=f"s3://{bucket}/{found['Key']}", size=found["Size"], etag=etag)
            if not page.get("IsTruncated"):
                return
            call["ContinuationToken"] = page["NextContinuationToken"]

    def _page(self, call: Mapping[str, Any]) -> "ListObjectsV2OutputTypeDef":
        """One page of a listing. botocore tries again what S3 refuses, but not a body that breaks off."""
        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(_BROKEN_OFF),
            stop=tenacity.stop_after_attempt(self.attempts) | tenacity.stop_after_delay(RETRY_SECONDS),
            wait=tenacity.wait_random_exponential(multiplier=0.5, max=15),
            reraise=True,
        )
        return retrying(self._client.list_objects_v2, **call)

    def download(self, source: Object, target: Path) -> None:
        call = _call(source.uri, source.version)
        bucket, key = call.pop("Bucket"), call.pop("Key")
        if source.etag:
            call["IfMatch"] = f'"{source.etag}"'
        with _sorted_errors(source.uri, target), _Transfers(self._client, _TRANSFER) as transfers:
            known = _Known(source)
            transfers.download(bucket, key, str(target), extra_args=call, subscribers=[known]).result()

    def upload(self, source: Path | bytes, uri: str, *, media_type: str, metadata: Mapping[str, str]) -> str | None:
        call = _call(uri)
        extra = {
            "ContentType": media_type,
            "Metadata": {name: header(value) for name, value in metadata.items()},
        }
        local = source if isinstance(source, Path) else None
        with _sorted_errors(uri, local), _Transfers(self._client, _TRANSFER) as transfers:
            body = io.BytesIO(source) if isinstance(source, bytes) else str(source)
            transfers.upload(body, call["Bucket"], call["Key"], extra_args=extra).result()
        return None  # the transfer manager does not say

    def probe(self, uri: str) -> None:
        # A multipart upload begun and given up needs s3:PutObject, as a result does, but never becomes an object.
        bucket, prefix = _split(uri)
        call: dict[str, Any] = {"Bucket": bucket, "Key": prefix + "_status/probe"}
        with _sorted_errors(uri):
            upload = self._client.create_multipart_upload(**call)
            self._client.abort_multipart_upload(**call, UploadId=upload["UploadId"])


class _Transfers(TransferManager):
    """Lets every GET ask for one ETag (If-Match): of itself the manager pins objects in several parts alone."""

    ALLOWED_DOWNLOAD_ARGS = [*TransferManager.ALLOWED_DOWNLOAD_ARGS, "IfMatch"]  # noqa: RUF012 - as the base has it


class _Known(BaseSubscriber):
    """Tells the transfer what stat saw, which saves it a HEAD."""

    def __init__(self, source: Object) -> None:
        self._source = source

    def on_queued(self, future: Any, **_: Any) -> None:
        future.meta.provide_transfer_size(self._source.size)
        future.meta.provide_object_etag(self._source.etag)


def _config(session: boto3.Session) -> Config:
    """Our defaults, where the user's AWS_MAX_ATTEMPTS, AWS_RETRY_MODE and profile say nothing."""
    core = session._session
    ours: dict[str, Any] = {"connect_timeout": CONNECT_SECONDS, "read_timeout": READ_SECONDS}
    if core.get_config_variable("max_attempts") is None:
        ours["retries"] = {"mode": "standard", "total_max_attempts": 6}
    return Config(user_agent_extra="deepaas-batch", **ours)


def _address(params: Any, **_: Any) -> tuple[Any, Any]:
    """Answers in S3's place with the request that was about to be sent: the one way to ask boto3 for an address, with
    all that it knows (AWS_ENDPOINT_URL, profiles, dual stack, dots in buckets, a bucket's region once redirected)."""
    return SimpleNamespace(status_code=200), {"url": params["url"], "context": params["context"]}


def target(uri: str) -> tuple[str, str]:
    """(bucket, key) of an object; raises Invalid where S3 could have no such object."""
    bucket, key = _split(uri)
    if not key:
        raise Invalid(f"{uri}: names a bucket, not an object")
    try:
        length = len(key.encode())
    except UnicodeEncodeError:
        raise Invalid(f"{uri}: the key is not UTF-8, as S3's keys are") from None
    if length > 1024:
        raise Invalid(f"{uri}: the key is longer than the 1,024 bytes that S3 takes")
    return bucket, key


def _call(uri: str, version: str | None = None) -> dict[str, Any]:
    bucket, key = target(uri)
    return {"Bucket": bucket, "Key": key} | ({"VersionId": version} if version else {})


def _split(uri: str) -> tuple[str, str]:
    try:
        return split_s3(uri)
    except ValueError as error:
        raise Invalid(str(error)) from None


def header(value: str) -> str:
    """Metadata travels as HTTP headers: ASCII alone."""
    return value if value.isascii() and value.isprintable() else quote(value)


def _timestamp(value: Any) -> datetime:
    """botocore's own takes 80 us, which a listing of a million objects pays a million times."""
    try:
        return datetime.fromisoformat(value)
    except (TypeError, ValueError):
        parsed: datetime = parse_timestamp(value)
        return parsed


def _status(error: boto.ClientError) -> int:
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


@contextmanager
def _sorted_errors(uri: str, local: Path | None = None) -> Iterator[None]:
    try:
        yield
    except boto.ClientError as error:
        answer = error.response.get("Error", {})
        raise from_answer(str(answer.get("Code", "")), answer.get("Message") or "", _status(error), uri) from error
    except S3DownloadFailedError as error:
        raise Changed(f"{uri}: {REPLACED}") from error
    except RetriesExceededError as error:
        raise Passing(f"{uri}: given up after retries: {error.last_exception}") from error
    except _CREDENTIALS as error:
        raise Denied(f"{uri}: {error}") from error
    except boto.SSLError as error:
        raise Invalid(f"{uri}: the endpoint's certificate is not trusted (AWS_CA_BUNDLE): {error}") from error
    except (
        boto.ConnectionError,  # no connection at all; HTTPClientError is what comes after one
        boto.HTTPClientError,
        boto.FlexibleChecksumError,
        *_BROKEN_OFF,
    ) as error:
        raise Passing(f"{uri}: {error}") from error
    except (boto.BotoCoreError, ValueError) as error:
        raise Invalid(f"{uri}: {error}") from error
    except OSError as error:
        raise disk_error(error, local or Path(uri)) from error


def from_answer(code: str, said: str, status: int, uri: str) -> StorageError:
    """The kind of S3's refusal. code, said: of the answer's body, else of its status line."""
    reason = f"{uri}: S3 says {code}" + (f": {said}" if said else "")
    if code in _PASSING or status >= 500 or status == 429:
        return Passing(reason)
    if code == "NoSuchBucket":
        return BucketMissing(f"{uri}: there is no bucket {split_s3(uri)[0]}")
    if code in _MISSING or status == 404:
        return Missing(f"{uri}: no such object")
    if code == "PreconditionFailed" or status == 412:
        return Changed(f"{uri}: {REPLACED}")
    if code == "InvalidObjectState":
        return Denied(f"{uri}: the object is archived; restore it first")
    if status == 403 and code in ("403", "AccessDenied"):
        return Denied(f"{reason} (also of a missing object, where there is no s3:ListBucket)")
    if status in (401, 403) or code in _DENIED:
        return Denied(reason)
    return Invalid(reason)
