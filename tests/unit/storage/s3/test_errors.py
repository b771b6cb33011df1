"""The one table of S3's errors, and what boto3 raises where nobody said anything."""

import ssl
from typing import Any

import botocore.exceptions as boto
import pytest
from botocore.parsers import ResponseParserError
from botocore.retries.standard import ThrottledRetryableChecker, TransientRetryableChecker
from urllib3.exceptions import LocationParseError
from urllib3.exceptions import SSLError as BrokenTls

from supervisor.storage import Denied, Full, Invalid, Missing, Passing, StorageError, on_input, on_output
from supervisor.storage.s3.errors import (
    _BY_CODE,
    Asked,
    BucketMissing,
    NotTaken,
    Unsigned,
    Verb,
    of_code,
    sorted_errors,
)

URI = "s3://recordings/in/a.wav"


def refused(code: str, status: int, message: str = "so it is", **answer: Any) -> boto.ClientError:
    headers = answer.pop("headers", {})
    response: Any = {
        "Error": {"Code": code, "Message": message, **answer},
        "ResponseMetadata": {"HTTPStatusCode": status, "HTTPHeaders": headers},
    }
    return boto.ClientError(response, "GetObject")


def told(error: Exception, verb: Verb = Verb.READ, version: str | None = None) -> StorageError:
    with pytest.raises(StorageError) as raised, sorted_errors(Asked(verb=verb, uri=URI, version=version)):
        raise error
    return raised.value


@pytest.mark.parametrize("verb", Verb)
@pytest.mark.parametrize("code", _BY_CODE)
def test_each_code_is_told_in_one_line_with_its_object(code: str, verb: Verb) -> None:
    error = told(refused(code, 400, "two\nlines"), verb, "v1")
    assert isinstance(error, _BY_CODE[code].kind)
    assert str(error).startswith(URI)
    assert len(str(error).splitlines()) == 1
    for failure in (on_input(error), on_output(error)):
        assert failure.hint == (error.hint or failure.advice)


@pytest.mark.parametrize(
    "code",
    [
        *vars(ThrottledRetryableChecker)["_THROTTLED_ERROR_CODES"],
        *vars(TransientRetryableChecker)["_TRANSIENT_ERROR_CODES"],
    ],
)
def test_what_boto3_tries_again_may_pass(code: str) -> None:
    if code in ("ProvisionedThroughputExceededException", "EC2ThrottledException"):  # DynamoDB's, EC2's
        return
    assert of_code(code, 400).kind is Passing


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        *((status, Passing) for status in (408, 425, 429, 500, 502, 503, 504, 509, 520, 521, 522, 524, 529, 599)),
        *((status, NotTaken) for status in (400, 405, 411, 415, 417, 501, 505, 506, 510)),
        *((status, Denied) for status in (401, 402, 403, 407, 451, 507, 511)),
        *((status, Missing) for status in (404, 410)),
        *((status, Invalid) for status in (301, 302, 307, 409, 413, 414, 416, 422, 431, 508)),
    ],
)
@pytest.mark.parametrize("code", ["", "SomethingNew"])
def test_a_code_that_nobody_knows_is_sorted_by_its_status(code: str, status: int, kind: type[StorageError]) -> None:
    assert of_code(code, status).kind is kind


def test_a_code_says_more_than_its_status() -> None:
    assert of_code("NotImplemented", 503).kind is NotTaken
    assert of_code("AccessDenied", 500).kind is Denied
    assert of_code("SlowDown", 403).kind is Passing


@pytest.mark.parametrize(
    ("code", "kind"),
    [("KMS.DisabledException", Denied), ("KMS.SomethingNew", Denied), ("KMS.ThrottlingException", Passing)],
)
def test_what_is_wrong_with_a_key_of_kms_is_a_denial(code: str, kind: type[StorageError]) -> None:
    assert type(told(refused(code, 400))) is kind


def test_what_is_missing_is_told_apart() -> None:
    assert str(told(refused("NoSuchKey", 404))) == f"{URI}: no such object"
    assert isinstance(told(refused("NoSuchBucket", 404)), BucketMissing)
    version = told(refused("NoSuchVersion", 404), version="1")
    assert "no version 1" in str(version)
    assert "versionId" in on_input(version).hint
    assert "no such object" not in str(version)


def test_a_404_is_a_missing_object_where_one_was_to_be_read_alone() -> None:
    assert "no such object" in str(told(refused("404", 404, "Not Found")))
    assert "S3 says 404: Not Found" in str(told(refused("404", 404, "Not Found"), Verb.WRITE))


def test_a_delete_marker_is_a_version_that_is_gone() -> None:
    marker = refused("MethodNotAllowed", 405, headers={"x-amz-delete-marker": "true"})
    assert "no version v1" in str(told(marker, version="v1"))
    assert isinstance(told(refused("MethodNotAllowed", 405)), NotTaken)


def test_what_a_server_says_is_cut_to_a_line() -> None:
    error = told(refused("InvalidRequest", 400, "long " * 1000))
    assert len(str(error)) < 400


@pytest.mark.parametrize("answer", [{}, {"Code": None, "Message": None}, {"Code": "", "Message": ""}])
def test_an_answer_without_a_code_is_told_by_its_status(answer: dict[str, Any]) -> None:
    response: Any = {"Error": answer, "ResponseMetadata": {"HTTPStatusCode": 503}}
    error = boto.ClientError(response, "GetObject")
    assert "S3 says 503" in str(told(error))


# nobody said anything


def by_tls(cause: Exception) -> boto.SSLError:
    return boto.SSLError(endpoint_url="https://s3", error=BrokenTls(cause))


def reason(error: ssl.SSLError, why: str) -> ssl.SSLError:
    error.reason = why
    return error


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (boto.EndpointConnectionError(endpoint_url="http://s3", error=OSError()), Passing, "Could not connect"),
        (boto.ConnectTimeoutError(endpoint_url="http://s3"), Passing, "Connect timeout"),
        (boto.ReadTimeoutError(endpoint_url="http://s3"), Passing, "Read timeout"),
        (boto.ProxyConnectionError(proxy_url="http://proxy"), Passing, "proxy"),
        (boto.IncompleteReadError(actual_bytes=1, expected_bytes=2), Passing, "1 read"),
        (boto.FlexibleChecksumError(error_msg="Expected checksum"), Passing, "checksum"),
        (boto.HTTPClientError(error=OSError("broken")), Passing, "broken"),
        (boto.HTTPClientError(error=LocationParseError("http://a:99999")), Invalid, "address cannot be used"),
        (boto.HTTPClientError(error=UnicodeError("label too long")), Invalid, "address cannot be used"),
        (by_tls(ssl.SSLCertVerificationError("unable to get local issuer")), Invalid, "certificate is not trusted"),
        (by_tls(ssl.SSLEOFError("EOF occurred")), Passing, "EOF occurred"),
        (by_tls(reason(ssl.SSLError("x"), "WRONG_VERSION_NUMBER")), Invalid, "speaks no TLS"),
        (ResponseParserError("Unable to parse response\nb'<html>'"), Passing, "Unable to parse response"),
        (boto.NoCredentialsError(), Denied, "Unable to locate credentials"),
        (boto.ProfileNotFound(profile="nobody"), Denied, "nobody"),
        (boto.NoRegionError(), Invalid, "region"),
        (boto.MissingDependencyException(msg="botocore[crt]"), Invalid, "crt"),
        (OSError(28, "No space left on device"), Full, "No space left"),
        (Unsigned(Passing("credentials: busy")), Passing, "credentials: busy"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_what_boto3_raises_is_sorted(error: Exception, kind: type[StorageError], words: str) -> None:
    found = told(error)
    assert type(found) is kind
    assert words in str(found)
    assert len(str(found).splitlines()) == 1


def test_an_answer_that_botocore_stumbles_over_is_none_of_s3s() -> None:
    answer: Any = {"Error": "a text where an element was due"}
    with pytest.raises(Invalid, match="answer cannot be read"), sorted_errors(Asked(verb=Verb.READ, uri=URI)):
        boto.ClientError(answer, "GetObject")


def test_a_mistake_of_ours_stays_one() -> None:
    with pytest.raises(KeyError), sorted_errors(Asked(verb=Verb.READ, uri=URI)):
        vars(Asked)["ours"]
