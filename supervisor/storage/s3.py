"""S3 through boto3 and its classic transfer manager."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import boto3
import botocore.exceptions as boto
from botocore.config import Config
from s3transfer.exceptions import RetriesExceededError, S3DownloadFailedError
from s3transfer.manager import TransferConfig, TransferManager
from s3transfer.subscribers import BaseSubscriber

from supervisor.storage import Changed, Denied, Invalid, Missing, Object, Passing, StorageError, disk_error
from supervisor.storage.uri import split_s3

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

MIB = 1024 * 1024

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
        "IncompleteBody",
    }
)
_DENIED = frozenset({"ExpiredToken", "InvalidToken", "TokenRefreshRequired"})  # these come with status 400
_REPLACED = "the object was replaced while it was being read"
_CREDENTIALS = (
    boto.NoCredentialsError,
    boto.PartialCredentialsError,
    boto.CredentialRetrievalError,
    boto.ProfileNotFound,
    boto.TokenRetrievalError,
    boto.SSOError,
    boto.UnauthorizedSSOTokenError,
)


class S3:
    """Objects in S3, or in whatever AWS_ENDPOINT_URL[_S3] points to."""

    def __init__(self) -> None:
        with _sorted_errors("S3"):
            session = boto3.Session()
            self._client: S3Client = session.client("s3", config=_config(session))

    def stat(self, uri: str, version: str | None = None) -> Object:
        target = self._target(uri, version)
        with _sorted_errors(uri):
            try:
                head = self._client.head_object(**target)
            except boto.ClientError as error:
                if _status(error) >= 500:
                    raise
                # The answer to a HEAD has no body and so no reason; one byte by GET tells a missing bucket from a
                # missing key, and expired credentials from a bad request.
                self._client.get_object(Range="bytes=0-0", **target)["Body"].close()
                raise
        return Object(
            uri=uri,
            size=head["ContentLength"],
            etag=head.get("ETag", "").strip('"') or None,
            version=head.get("VersionId"),
            media_type=head.get("ContentType"),
            metadata=head.get("Metadata", {}),
        )

    def download(self, source: Object, target: Path) -> None:
        call = self._target(source.uri, source.version)
        bucket, key = call.pop("Bucket"), call.pop("Key")
        if source.etag:
            call["IfMatch"] = f'"{source.etag}"'
        with _sorted_errors(source.uri, target), _Transfers(self._client, _TRANSFER) as transfers:
            known = _Known(source)
            transfers.download(bucket, key, str(target), extra_args=call, subscribers=[known]).result()

    def upload(self, source: Path, uri: str, *, media_type: str, metadata: Mapping[str, str]) -> None:
        call = self._target(uri)
        extra = {
            "ContentType": media_type,
            "Metadata": {name: _ascii(value) for name, value in metadata.items()},
        }
        with _sorted_errors(uri, source), _Transfers(self._client, _TRANSFER) as transfers:
            transfers.upload(str(source), call["Bucket"], call["Key"], extra_args=extra).result()

    def probe(self, uri: str) -> None:
        # A multipart upload begun and given up needs s3:PutObject, as a result does, but never becomes an object.
        bucket, prefix = _split(uri)
        call: dict[str, Any] = {"Bucket": bucket, "Key": prefix + "_status/probe"}
        with _sorted_errors(uri):
            upload = self._client.create_multipart_upload(**call)
            self._client.abort_multipart_upload(**call, UploadId=upload["UploadId"])

    def _target(self, uri: str, version: str | None = None) -> dict[str, Any]:
        bucket, key = _split(uri)
        if not key:
            raise Invalid(f"{uri}: names a bucket, not an object")
        try:
            length = len(key.encode())
        except UnicodeEncodeError:
            raise Invalid(f"{uri}: the key is not UTF-8, as S3's keys are") from None
        if length > 1024:
            raise Invalid(f"{uri}: the key is longer than the 1,024 bytes that S3 takes")
        return {"Bucket": bucket, "Key": key} | ({"VersionId": version} if version else {})


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
    ours: dict[str, Any] = {"connect_timeout": 10, "read_timeout": 60}
    if core.get_config_variable("max_attempts") is None:
        ours["retries"] = {"mode": "standard", "total_max_attempts": 6}
    return Config(user_agent_extra="deepaas-batch", **ours)


def _split(uri: str) -> tuple[str, str]:
    try:
        return split_s3(uri)
    except ValueError as error:
        raise Invalid(str(error)) from None


def _ascii(value: str) -> str:
    """Metadata travels as HTTP headers: ASCII alone."""
    return value if value.isascii() and value.isprintable() else quote(value)


def _status(error: boto.ClientError) -> int:
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


@contextmanager
def _sorted_errors(uri: str, local: Path | None = None) -> Iterator[None]:
    try:
        yield
    except boto.ClientError as error:
        raise _from_answer(error, uri) from error
    except S3DownloadFailedError as error:
        raise Changed(f"{uri}: {_REPLACED}") from error
    except RetriesExceededError as error:
        raise Passing(f"{uri}: given up after retries: {error.last_exception}") from error
    except _CREDENTIALS as error:
        raise Denied(f"{uri}: {error}") from error
    except boto.SSLError as error:
        raise Invalid(f"{uri}: the endpoint's certificate is not trusted (AWS_CA_BUNDLE): {error}") from error
    except (
        boto.ConnectionError,  # no connection at all; HTTPClientError is what comes after one
        boto.HTTPClientError,
        boto.IncompleteReadError,
        boto.FlexibleChecksumError,
    ) as error:
        raise Passing(f"{uri}: {error}") from error
    except (boto.BotoCoreError, ValueError) as error:
        raise Invalid(f"{uri}: {error}") from error
    except OSError as error:
        raise disk_error(error, local or Path(uri)) from error


def _from_answer(error: boto.ClientError, uri: str) -> StorageError:
    code, status = str(error.response.get("Error", {}).get("Code", "")), _status(error)
    said = error.response.get("Error", {}).get("Message") or ""
    reason = f"{uri}: S3 says {code}" + (f": {said}" if said else "")
    if code in _PASSING or status >= 500 or status == 429:
        return Passing(reason)
    if code == "NoSuchBucket":
        return Missing(f"{uri}: there is no bucket {split_s3(uri)[0]}")
    if code in _MISSING or status == 404:
        return Missing(f"{uri}: no such object")
    if code == "PreconditionFailed" or status == 412:
        return Changed(f"{uri}: {_REPLACED}")
    if code == "InvalidObjectState":
        return Denied(f"{uri}: the object is archived; restore it first")
    if status == 403 and code in ("403", "AccessDenied"):
        return Denied(f"{reason} (also of a missing object, where there is no s3:ListBucket)")
    if status in (401, 403) or code in _DENIED:
        return Denied(reason)
    return Invalid(reason)
