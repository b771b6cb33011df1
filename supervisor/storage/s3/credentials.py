"""As whom S3 is asked: botocore's chain of providers, and what to do while the service behind it is in trouble.

A role's credentials last for an hour or some. They come from a service: ECS's and EKS's container endpoint, EC2's
metadata service, STS, SSO, a program of the user's. One that answers 5xx or 429, or does not answer, is passing
trouble, at the start of a job and in its twelfth hour: it is asked again for PATIENCE seconds. What says no (4xx), and
what is not there at all, is denied.
"""

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import botocore.exceptions as boto
from botocore.config import Config
from botocore.credentials import ReadOnlyCredentials
from botocore.parsers import ResponseParserError
from botocore.session import Session
from botocore.utils import get_environ_proxies

from supervisor.storage import Denied, Passing, StorageError
from supervisor.storage.s3 import errors

# Seconds that a service in trouble is asked again for. Once they are over each request asks once, until it answers.
PATIENCE = 180.0
# A program says by its exit code that it failed, not whether it will again: at the start it gets so many seconds.
PROGRAM_PATIENCE = 20.0
# Seconds that STS or SSO gets to answer in.
_SECONDS = 15.0
# Seconds between two tries: at first, and at most.
_PAUSE, _LONGEST_PAUSE = 1.0, 15.0
# Seconds for which what a try came to is believed: by other threads that wait, and while the old credentials hold.
_BELIEVED = 10.0
_CLIENT_ERROR, _SERVER_ERROR, _PASSING = 400, 500, (408, 429)
# botocore's names of providers, and that which a profile's credential_source has for one of them.
_CONTAINER, _INSTANCE, _PROGRAM = "container-role", "iam-role", "custom-process"
_BY_NAME = {"Ec2InstanceMetadata": _INSTANCE}
# What no second try mends: somebody has to log in, or to correct the profile.
_LASTING = (
    boto.ProfileNotFound,
    boto.PartialCredentialsError,
    boto.InvalidConfigError,
    boto.UnauthorizedSSOTokenError,
    boto.SSOError,
    boto.TokenRetrievalError,
    boto.RefreshWithMFAUnsupportedError,
)
_ROLE = "give the job a role (jobRoleArn), or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"


class Credentials:
    """What botocore takes for credentials, and for their resolver. Asked by every request, from many threads.

    clock, sleep: time's own, but in tests.
    """

    method = "supervisor"

    def __init__(
        self,
        session: Session,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """session: which resolves its credentials by these from now on."""
        self._chain = chain = session.get_component("credential_provider")
        session.register_component("credential_provider", self)
        for service in ("sts", "sso", "sso-oidc", "signin"):
            session.register(f"before-parse.{service}", self._overhear)
        # Of the clients that botocore makes for these: they would wait for a minute, three times over.
        session.set_default_client_config(Config(connect_timeout=_SECONDS, read_timeout=_SECONDS))
        self._clock, self._sleep = clock, sleep
        self._status = 0  # of the last answer of those
        self._services = {
            _CONTAINER: _overheard(chain, _CONTAINER, "_fetcher"),
            _INSTANCE: _overheard(chain, _INSTANCE, "_role_fetcher"),
        }
        self._renewing = threading.Lock()
        self._found: Any = None
        self._last: ReadOnlyCredentials | None = None
        self._trouble: tuple[float, StorageError] | None = None  # since when, and what of
        self._next_try = 0.0

    def load_credentials(self) -> "Credentials":
        """As botocore's resolver: but they are looked for when they are needed, not when a client is made."""
        return self

    def get_deferred_property(self, name: str) -> Callable[[], Any]:
        """As botocore's; asked while a client is made, it looks for nothing."""
        return lambda: getattr(self._last, name, None)

    @property
    def are_renewable(self) -> bool:
        """Whether new ones come when these expire."""
        return hasattr(self._found, "refresh_needed")

    def get_frozen_credentials(self) -> ReadOnlyCredentials:
        """As they are now. Raises Unsigned: Denied, or Passing where their service has been in trouble for too long."""
        found, last = self._found, self._last
        if last is not None and not _is_due(found):
            return last
        if last is not None and not found.refresh_needed(0):
            # They hold for minutes yet: nobody waits for the one who renews them.
            if self._clock() >= self._next_try and self._renewing.acquire(blocking=False):
                try:
                    self._renew_early()
                finally:
                    self._renewing.release()
            return self._last or last
        with self._renewing:
            try:
                return self._renew()
            except StorageError as error:
                raise errors.Unsigned(error) from error

    def _overhear(self, **event: Any) -> None:
        self._status = event["response_dict"]["status_code"]

    def _renew_early(self) -> None:
        """One try, whose failure nobody hears of."""
        self._next_try = self._clock() + _BELIEVED
        with suppress(Exception):  # of any kind: the old ones hold
            self._last = self._found.get_frozen_credentials()

    def _renew(self) -> ReadOnlyCredentials:
        """Tries for as long as the trouble may pass, and has not taken too long yet."""
        if self._last is not None and not _is_due(self._found):
            return self._last  # another thread was here
        pause = _PAUSE
        while True:
            if self._trouble and self._clock() < self._next_try:
                raise _again(self._trouble[1])
            try:
                return self._fetch()
            except StorageError as error:
                since = self._clock()
                if self._trouble and isinstance(self._trouble[1], type(error)):
                    since = self._trouble[0]
                self._trouble = since, error
                self._next_try = self._clock() + _BELIEVED
                left = since + self._patience(error) - self._clock()
                if left <= 0:
                    raise
            self._sleep(min(pause, left))
            self._next_try = 0.0
            pause = min(2 * pause, _LONGEST_PAUSE)

    def _patience(self, error: StorageError) -> float:
        if isinstance(error, Passing):
            return PATIENCE
        return PROGRAM_PATIENCE if isinstance(error, _ProgramFailed) else 0.0

    def _fetch(self) -> ReadOnlyCredentials:
        """One try. Raises the StorageError that fits."""
        for service in filter(None, self._services.values()):
            service.heard.clear()
        try:
            if self._found is None:
                self._found = self._chain.load_credentials()
            if self._found is None:
                raise boto.NoCredentialsError
            frozen: ReadOnlyCredentials = self._found.get_frozen_credentials()
        except Exception as error:  # of any kind: programs and services hand out anything
            raise self._sorted(error) from error
        self._trouble, self._last = None, frozen
        return frozen

    def _sorted(self, error: Exception) -> StorageError:
        about = f"credentials: {_one_line(error)}"
        match error:
            case boto.ClientError():  # STS's or SSO's
                return _from_answer(error)
            case boto.NoCredentialsError():
                return self._why_none(about)
            case boto.CredentialRetrievalError() if error.kwargs["provider"] == _PROGRAM and not self._last:
                return _ProgramFailed(about, "run the profile's credential_process by hand")
            case boto.CredentialRetrievalError() | boto.MetadataRetrievalError():
                return self._from_service(str(error.kwargs.get("provider", _INSTANCE)), about)
            case boto.SSLError() | boto.ConnectionError() | boto.HTTPClientError():
                return errors.from_client(error, "credentials")
            case _ if isinstance(error, _LASTING):
                return Denied(about, _ROLE)
            case ResponseParserError():  # a gateway's answer
                about = f"credentials: the service answers {self._status}, and not as it should"
                return Denied(about) if _says_no(self._status) else Passing(about)
            case (
                LookupError() | TypeError() | AttributeError() | RuntimeError()
            ):  # parts are missing, or it has expired
                return Passing(f"credentials: the service's answer cannot be used: {_one_line(error)}")
            case _:
                about = f"credentials: {type(error).__name__}: {_one_line(error)}"
                return Passing(about) if self._last else Denied(about, _ROLE)

    def _from_service(self, provider: str, about: str) -> StorageError:
        """A service's refusal, of which botocore says no more than that there was one."""
        service = self._services.get(_BY_NAME.get(provider, provider))
        if self._last is None and (service is None or service is self._services[_INSTANCE]):
            return self._why_none(about)
        return Denied(about) if service and service.says_no() else Passing(about)

    def _why_none(self, about: str) -> StorageError:
        """No provider has any. EC2's metadata service gives none where it is not there, and where it is in trouble."""
        service = self._services[_INSTANCE]
        if service and service.is_in_trouble():
            return Passing(f"{about}: the instance's metadata service is in trouble ({service.heard[-1]})")
        return Denied(about, _ROLE)


class _ProgramFailed(Denied):
    """A credential_process that has never worked."""


class _Overheard:
    """An HTTP session of botocore's, and how its requests ended of late: a status each, or what was raised."""

    def __init__(self, session: Any, address: str) -> None:
        self._session = session
        self._direct = not get_environ_proxies(address)
        self.heard: list[int | Exception] = []

    def send(self, request: Any) -> Any:
        try:
            answer = self._session.send(request)
        except Exception as error:
            self.heard.append(error)
            raise
        self.heard.append(answer.status_code)
        return answer

    def says_no(self) -> bool:
        last = self.heard[-1] if self.heard else None
        return isinstance(last, int) and _says_no(last)

    def is_in_trouble(self) -> bool:
        """Whether the service is there and cannot answer; not asked through a proxy, whose 502 says nothing of it. One
        that gives no token, and refuses a request without, says so in the first of its answers."""
        statuses = [each for each in self.heard if isinstance(each, int)]
        if any(status in _PASSING or status >= _SERVER_ERROR for status in statuses):
            return self._direct
        return bool(self.heard) and isinstance(self.heard[-1], (boto.ReadTimeoutError, boto.ConnectionClosedError))


def _overheard(chain: Any, method: str, fetcher: str) -> _Overheard | None:
    """Listens to the requests of one provider; None where there is no such provider, or botocore has changed it."""
    for provider in chain.providers:
        asks: Any = getattr(provider, fetcher, None)
        if getattr(provider, "METHOD", None) == method and hasattr(asks, "_session"):
            address = asks.get_base_url() if hasattr(asks, "get_base_url") else ""
            asks._session = _Overheard(asks._session, address)
            listening: _Overheard = asks._session
            return listening
    return None


def _is_due(found: Any) -> bool:
    """Whether they expire in a quarter of an hour, as botocore has it; those that never do have no such question."""
    return bool(getattr(found, "refresh_needed", lambda: False)())


def _says_no(status: int) -> bool:
    return _CLIENT_ERROR <= status < _SERVER_ERROR and status not in _PASSING


def _from_answer(error: boto.ClientError) -> StorageError:
    meaning = errors.of_code(errors.code_of(error), errors.status_of(error))
    about = f"credentials: {error.operation_name}: {_one_line(error)}"
    return Passing(about) if issubclass(meaning.kind, Passing) else Denied(about)


def _again(error: StorageError) -> StorageError:
    """The same for another thread: an exception that is raised twice collects both tracebacks."""
    return type(error)(str(error), error.hint)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:500]
