"""AWS as the batch commands use it: clients, and what went wrong with them as failures."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    NoCredentialsError,
    NoRegionError,
    PartialCredentialsError,
    ProfileNotFound,
    SSOError,
    TokenRetrievalError,
)

from supervisor.failures import BadUsage, Failure, InputDenied, PassingTrouble

_LOG_IN = "log in (aws sso login, aws configure) or set AWS_PROFILE"


class NotThere(BadUsage):
    """AWS does not know what it was asked for. said: AWS's own words."""

    def __init__(self, message: str, hint: str, said: str) -> None:
        super().__init__(message, hint)
        self.said = said


def connect(service: str = "batch", region: str | None = None) -> Any:
    """A client of that AWS service. region: another than the environment's.

    Raises BadUsage or InputDenied without a region or credentials, before any call.
    """
    import boto3

    with errors():
        session = boto3.Session()
        client = session.client(cast("Any", service), region_name=region)
        if session.get_credentials() is None:
            raise InputDenied("no AWS credentials", _LOG_IN)
    return client


@contextmanager
def errors(what: str | None = None) -> Iterator[None]:
    """Turns what AWS or the way to it says into a Failure. what: what could not be done, the message's beginning."""
    try:
        yield
    except (BotoCoreError, ClientError) as error:
        raise failure(error, what) from None


def failure(error: BotoCoreError | ClientError, what: str | None = None) -> Failure:
    """An error of a call as a failure, on one line."""
    before = f"{what}: " if what else ""
    if isinstance(error, ClientError):
        answer = error.response.get("Error", {})
        code, status = answer.get("Code", "error"), error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        said = f"{before}AWS says {code}: {' '.join(answer.get('Message', '').split())}"
        if re.search("Denied|Token|Signature|Auth", code):
            return InputDenied(said, "log in again, or check the policy of the role that you use")
        if status >= 500 or re.search("Throttl|TooManyRequests|RequestLimit", code):
            return PassingTrouble(said, "try again")
        if re.search("NotFound", code):
            return NotThere(said, "correct what AWS names", " ".join(answer.get("Message", "").split()))
        return BadUsage(said, "correct what AWS names")
    said = " ".join(str(error).split())
    match error:
        case NoRegionError():
            return BadUsage(f"{before}no AWS region", "set AWS_DEFAULT_REGION")
        case NoCredentialsError() | PartialCredentialsError() | ProfileNotFound() | SSOError() | TokenRetrievalError():
            return InputDenied(f"{before}{said}", _LOG_IN)
    return PassingTrouble(f"{before}AWS cannot be asked: {said}", "check the network, the region and AWS_ENDPOINT_URL")
