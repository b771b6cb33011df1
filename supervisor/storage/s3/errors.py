"""The one table of what S3 says when it refuses, and what that means; and what boto3 raises where nobody said anything.

Source: "Error responses" in the S3 API reference, STS's and KMS's common errors, and the codes that S3-compatible
servers (MinIO, Ceph, R2, Backblaze B2) have beside them.
"""

import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path
from traceback import walk_tb
from typing import Any

import botocore.exceptions as boto
from botocore.parsers import ResponseParserError
from urllib3.exceptions import LocationValueError, ProtocolError, TimeoutError

from supervisor.storage import Denied, Invalid, Missing, Passing, StorageError, disk_error
from supervisor.storage.uri import split_s3

# What botocore lets through where it reads a body: cut short, reset, stalled, or with a bit wrong.
BROKEN_OFF = (
    boto.IncompleteReadError,
    boto.ReadTimeoutError,
    boto.ResponseStreamingError,
    boto.FlexibleChecksumError,
    ProtocolError,
    TimeoutError,
    ResponseParserError,
)
REPLACED = "the object was replaced while it was being read"
_LONGEST = 300  # characters of what a server says
_PRECONDITION_FAILED = 412


class BucketMissing(Missing):
    """It is the bucket that does not exist."""


class Expired(Denied):
    """The credentials have expired."""


class BadSignature(Denied):
    """The credentials are wrong, or the server sees another request than the one that was signed."""


class Mismatch(Passing):
    """What arrived is not what its checksum says: bits were lost, or the server counts otherwise."""


class NotTaken(Invalid):
    """The server never does what was asked: it does not know a header, a value or an operation."""


class Unsigned(Exception):
    """There is nothing to sign a request with. error: why."""

    def __init__(self, error: StorageError) -> None:
        super().__init__(str(error))
        self.error = error

    def about(self, uri: str) -> StorageError:
        """The error of a request for that object."""
        return type(self.error)(f"{uri}: {self.error}", self.error.hint)


class WebPage(Exception):
    """The answer is a web page, whatever its status."""


class Verb(Enum):
    """What was asked for."""

    READ = auto()
    LIST = auto()
    WRITE = auto()


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A request, as far as its errors need it. local: the file on this side, if there is one."""

    verb: Verb
    uri: str
    version: str | None = None
    local: Path | None = None


@dataclass(frozen=True, kw_only=True)
class Meaning:
    """What a refusal is. words: in place of the server's own, of {uri}, {bucket}, {version}; hint: what to do."""

    kind: type[StorageError]
    words: str | None = None
    hint: str | None = None


_REGION = (
    "set AWS_DEFAULT_REGION to the bucket's region, and AWS_ENDPOINT_URL to where the bucket is if it is not AWS's"
)
_NO_SUCH_VERSION = Meaning(
    kind=Missing,
    words="{uri}: there is no version {version} of this object",
    hint="the version that the event names was removed, or its bucket keeps no versions: send an event without "
    "versionId, or name the object itself",
)
_NO_SUCH_OBJECT = Meaning(kind=Missing, words="{uri}: no such object")


def _all(kind: type[StorageError], *codes: str) -> dict[str, Meaning]:
    return dict.fromkeys(codes, Meaning(kind=kind))


# fmt: off
_BY_CODE: Mapping[str, Meaning] = {
    # gone the next time, perhaps
    **_all(Passing, "SlowDown", "SlowDownRead", "SlowDownWrite", "Throttling", "ThrottlingException",
           "ThrottledException", "RequestThrottled", "RequestThrottledException", "RequestLimitExceeded",
           "TooManyRequests", "TooManyRequestsException", "BandwidthLimitExceeded", "LimitExceededException",
           "PriorRequestNotComplete", "TransactionInProgressException", "KMS.ThrottlingException"),
    **_all(Passing, "InternalError", "InternalFailure", "InternalServerError", "ServiceUnavailable", "ServiceFailure",
           "ServerBusy", "Busy", "OperationAborted", "ConditionalRequestConflict", "RequestTimeout",
           "RequestTimeoutException", "XMinioServerNotInitialized", "IDPCommunicationError",
           "IDPCommunicationErrorException"),
    **_all(Mismatch, "BadDigest", "XAmzContentSHA256Mismatch", "XAmzContentChecksumMismatch", "IncompleteBody"),
    "RequestTimeTooSkewed": Meaning(kind=Passing, hint="set this machine's clock"),
    # A bucket younger than a day, whose name not all of AWS's DNS servers know.
    "TemporaryRedirect": Meaning(kind=Passing),
    "NoSuchUpload": Meaning(kind=Passing, words="{uri}: the upload in parts was ended by somebody else",
                            hint="run the job again; a lifecycle rule that ends uploads should give them a day"),
    # not there
    "NoSuchKey": _NO_SUCH_OBJECT,
    "NoSuchBucket": Meaning(kind=BucketMissing, words="{uri}: there is no bucket {bucket}"),
    "NoSuchAccessPoint": Meaning(kind=BucketMissing, words="{uri}: there is no access point {bucket}"),
    "NoSuchVersion": _NO_SUCH_VERSION,
    # not allowed
    **_all(Denied, "AccessDenied", "AccessDeniedException", "AllAccessDisabled", "AccountProblem", "InvalidAccessKeyId",
           "InvalidToken", "TokenRefreshRequired", "InvalidSecurity", "InvalidPayer",
           "NotSignedUp", "OptInRequired", "UnauthorizedAccess", "MissingAuthenticationToken", "MissingSecurityHeader",
           "CredentialsNotSupported", "UnrecognizedClientException", "InvalidClientTokenId", "InvalidIdentityToken",
           "InvalidIdentityTokenException", "IDPRejectedClaim", "RegionDisabledException"),
    **_all(BadSignature, "SignatureDoesNotMatch"),
    **_all(Expired, "ExpiredToken", "ExpiredTokenException", "TokenExpired"),
    **_all(Denied, "QuotaExceeded", "InsufficientStorage", "XMinioStorageFull", "XMinioAdminBucketQuotaExceeded"),
    "InvalidObjectState": Meaning(kind=Denied, words="{uri}: the object is archived; restore it first"),
    # not possible
    **_all(NotTaken, "NotImplemented", "InvalidArgument", "InvalidRequest", "MethodNotAllowed", "MissingContentLength",
           "MalformedTrailerError", "UnsupportedArgument"),
    "PermanentRedirect": Meaning(kind=Invalid, hint=_REGION),
    "AuthorizationHeaderMalformed": Meaning(kind=Invalid, hint=_REGION),
    "IllegalLocationConstraintException": Meaning(kind=Invalid, hint=_REGION),
}

_BY_STATUS: Mapping[int, Meaning] = {
    **dict.fromkeys((401, 402, 403, 407, 451, 511), Meaning(kind=Denied)),
    **dict.fromkeys((404, 410), Meaning(kind=Missing)),
    **dict.fromkeys((408, 425, 429), Meaning(kind=Passing)),
    **dict.fromkeys((400, 405, 411, 415, 417, 501, 505, 506, 510), Meaning(kind=NotTaken)),
    **dict.fromkeys((301, 307, 308), Meaning(kind=Invalid, hint=_REGION)),
    507: Meaning(kind=Denied),  # its disks are full
    508: Meaning(kind=Invalid),  # it redirects to itself
}
# fmt: on
_LEAST_SERVER_ERROR = 500


def of_code(code: str, status: int) -> Meaning:
    """The meaning of a refusal by its code, else by its status: a server error passes unless it is known not to."""
    if code in _BY_CODE:
        return _BY_CODE[code]
    if code.startswith("KMS."):  # the key is disabled, gone, or not for this role
        return Meaning(kind=Denied)
    return _BY_STATUS.get(status) or Meaning(kind=Passing if status >= _LEAST_SERVER_ERROR else Invalid)


def status_of(error: boto.ClientError) -> int:
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def code_of(error: boto.ClientError) -> str:
    """The code in the answer's body; the status where there is none."""
    return str(error.response.get("Error", {}).get("Code") or status_of(error))


def may_pass(error: boto.ClientError) -> bool:
    return issubclass(of_code(code_of(error), status_of(error)).kind, Passing)


def is_precondition_failed(error: boto.ClientError) -> bool:
    return code_of(error) == "PreconditionFailed" or status_of(error) == _PRECONDITION_FAILED


def refusal(error: boto.ClientError, asked: Asked) -> StorageError:
    """The error that a refusal of S3's is."""
    answer: Mapping[str, Any] = error.response.get("Error", {})
    code, status = code_of(error), status_of(error)
    said = " ".join(str(answer.get("Message") or "").split())[:_LONGEST]
    meaning = of_code(code, status)
    headers = error.response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    if asked.version and (answer.get("ArgumentName") == "versionId" or headers.get("x-amz-delete-marker") == "true"):
        meaning = _NO_SUCH_VERSION
    elif meaning is _BY_STATUS[404] and asked.verb is Verb.READ:
        meaning = _NO_SUCH_OBJECT
    if meaning.words:
        words = meaning.words.format(uri=asked.uri, bucket=split_s3(asked.uri)[0], version=asked.version)
        return meaning.kind(words, meaning.hint)
    reason = f"{asked.uri}: S3 says {code}" + (f": {said}" if said else "")
    if asked.verb is Verb.READ and code in ("403", "AccessDenied"):
        reason += " (also of a missing object, where there is no s3:ListBucket)"
    return meaning.kind(reason, meaning.hint)


@contextmanager
def sorted_errors(asked: Asked) -> Iterator[None]:
    """Raises what boto3 and its transfer manager raise as the StorageError that fits."""
    try:
        yield
    except boto.ClientError as error:
        raise refusal(error, asked) from error
    except Unsigned as unsigned:
        raise unsigned.about(asked.uri) from unsigned
    except WebPage as error:
        raise Invalid(
            f"{asked.uri}: the endpoint answers with a web page, not as S3 does",
            "check AWS_ENDPOINT_URL, and whether a proxy or a login page stands in front of it",
        ) from error
    except (boto.BotoCoreError, ValueError, *BROKEN_OFF) as error:
        raise from_client(error, asked.uri) from error
    except OSError as error:
        raise disk_error(error, asked.local or Path(asked.uri)) from error
    except (AttributeError, TypeError, LookupError) as error:
        if not _is_botocores(error):
            raise
        raise Invalid(
            f"{asked.uri}: the endpoint's answer cannot be read: {type(error).__name__}: {error}",
            "check that AWS_ENDPOINT_URL is an S3 endpoint",
        ) from error


def _is_botocores(error: Exception) -> bool:
    """Whether botocore has stumbled, over an answer that is none of S3's; else the fault is ours."""
    *_, (frame, _) = walk_tb(error.__traceback__)
    return str(frame.f_globals.get("__name__")).startswith(("botocore", "s3transfer"))


def from_client(error: Exception, uri: str) -> StorageError:
    """What botocore raises where there was no answer, or none that can be read."""
    match error:
        case boto.SSLError():
            return _from_tls(error, uri)
        case boto.HTTPClientError() if isinstance(error.kwargs.get("error"), (LocationValueError, UnicodeError)):
            return Invalid(f"{uri}: the endpoint's address cannot be used: {error.kwargs['error']}")
        case ResponseParserError():
            return Passing(f"{uri}: the answer is no whole XML: {_first_line(error)}")
        case boto.ConnectionError() | boto.HTTPClientError() | _ if isinstance(error, _NO_ANSWER):
            return Passing(f"{uri}: {_first_line(error)}")
        case boto.ProfileNotFound() | boto.NoCredentialsError() | boto.PartialCredentialsError():
            return Denied(f"{uri}: {error}")
        case _:
            return Invalid(f"{uri}: {_first_line(error)}")


# No connection at all, and what comes after one.
_NO_ANSWER = (boto.ConnectionError, boto.HTTPClientError, *BROKEN_OFF)
# What OpenSSL says of a peer that speaks no TLS, or none that we do.
_NO_TLS = frozenset({"WRONG_VERSION_NUMBER", "UNSUPPORTED_PROTOCOL", "NO_PROTOCOLS_AVAILABLE", "HTTP_REQUEST",
                     "TLSV1_ALERT_PROTOCOL_VERSION", "SSLV3_ALERT_HANDSHAKE_FAILURE"})  # fmt: skip


def _from_tls(error: boto.SSLError, uri: str) -> StorageError:
    """A certificate that is not trusted stays so; a handshake that breaks off is a broken connection."""
    cause: Any = error.kwargs.get("error")
    while cause is not None and not isinstance(cause, ssl.SSLError):
        cause = next((each for each in getattr(cause, "args", ()) if isinstance(each, BaseException)), None)
    if isinstance(cause, ssl.SSLError) and not isinstance(cause, ssl.SSLCertVerificationError):
        if getattr(cause, "reason", None) in _NO_TLS:
            return Invalid(f"{uri}: the endpoint speaks no TLS that we do: {cause.reason}", "check AWS_ENDPOINT_URL")
        return Passing(f"{uri}: {_first_line(error)}")
    return Invalid(f"{uri}: the endpoint's certificate is not trusted (AWS_CA_BUNDLE): {_first_line(error)}")


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:_LONGEST]
