"""Credentials from each kind of service, while it works, while it is in trouble, and where it says no."""

import json
import os
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from hashlib import sha1
from pathlib import Path

import pytest
from botocore.credentials import SSOProvider
from botocore.retries.standard import ExponentialBackoff
from botocore.session import get_session
from botocore.utils import ContainerMetadataFetcher

from supervisor.storage import Denied, Passing, StorageError, on_input, on_output
from supervisor.storage.s3 import credentials as module
from supervisor.storage.s3.credentials import Credentials
from supervisor.storage.s3.errors import Unsigned
from tests.faults.credential_services import (
    HANGS,
    KEYS,
    Answer,
    Service,
    in_seconds,
    of_a_container,
    of_an_instance,
    of_sso,
    of_sts,
    refused_by_sts,
)


@dataclass
class Clock:
    """Time that passes in sleep alone."""

    now: float = 0.0
    slept: list[float] = field(default_factory=list)

    def time(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


@pytest.fixture(autouse=True)
def job_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No credentials but the tests' own, and no pauses of botocore's."""
    for name in [name for name in os.environ if name.startswith("AWS_") or name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setattr(ContainerMetadataFetcher, "SLEEP_TIME", 0)
    monkeypatch.setattr(ContainerMetadataFetcher, "TIMEOUT_SECONDS", 0.2)
    monkeypatch.setattr(ExponentialBackoff, "delay_amount", lambda *_: 0)


@pytest.fixture
def service() -> Iterator[Service]:
    with Service(lambda _: Answer(status=404)) as service:
        yield service


@pytest.fixture
def container(service: Service, monkeypatch: pytest.MonkeyPatch) -> Service:
    monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{service.endpoint}/v2/credentials/a")
    return service


@pytest.fixture
def instance(service: Service, monkeypatch: pytest.MonkeyPatch) -> Service:
    monkeypatch.delenv("AWS_EC2_METADATA_DISABLED")
    monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", service.endpoint)
    return service


@pytest.fixture
def web_identity(service: Service, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Service:
    (tmp_path / "token").write_text("a.web.identity")
    monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(tmp_path / "token"))
    monkeypatch.setenv("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/job")
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", service.endpoint)
    return service


@pytest.fixture
def sso(service: Service, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Service:
    start = "https://example.awsapps.com/start"
    profile(monkeypatch, tmp_path, f"""
        sso_start_url = {start}
        sso_region = eu-west-1
        sso_account_id = 123456789012
        sso_role_name = job""")  # fmt: skip
    cache = tmp_path / "sso"
    cache.mkdir()
    token = {"startUrl": start, "region": "eu-west-1", "accessToken": "a-token", "expiresAt": in_seconds(3600)}
    (cache / f"{sha1(start.encode(), usedforsecurity=False).hexdigest()}.json").write_text(json.dumps(token))
    monkeypatch.setattr(SSOProvider, "_SSO_TOKEN_CACHE_DIR", str(cache))
    monkeypatch.setenv("AWS_ENDPOINT_URL_SSO", service.endpoint)
    return service


def profile(monkeypatch: pytest.MonkeyPatch, folder: Path, text: str) -> None:
    lines = [line.strip() for line in text.splitlines()]
    (folder / "config").write_text("\n".join(["[default]", *lines]))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(folder / "config"))


def program(monkeypatch: pytest.MonkeyPatch, folder: Path, source: str) -> None:
    """A credential_process."""
    path = folder / "program.py"
    path.write_text(source)
    profile(monkeypatch, folder, f"credential_process = {sys.executable} {path}")


def found(clock: Clock | None = None) -> Credentials:
    clock = clock or Clock()
    return Credentials(get_session(), clock.time, clock.sleep)


def why_none(credentials: Credentials) -> StorageError:
    with pytest.raises(Unsigned) as told:
        credentials.get_frozen_credentials()
    return told.value.about("s3://recordings/a.wav")


Answers = Callable[[Answer], Callable[[str], Answer]]
ALWAYS: Answers = lambda answer: lambda _: answer  # noqa: E731
# What each service says while it works, and how another answer is wrapped up.
SERVICES: dict[str, tuple[Callable[[float], Answer], Answers]] = {
    "container": (of_a_container, ALWAYS),
    "instance": (of_a_container, of_an_instance),
    "web_identity": (of_sts, ALWAYS),
    "sso": (of_sso, ALWAYS),
}
TROUBLE = {
    "500": Answer(status=500, body='{"code": "InternalServerError"}'),
    "503": Answer(status=503, body="<html>"),
    "429": Answer(status=429),
    "no answer": Answer(status=HANGS),
}


@pytest.fixture(params=SERVICES)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def each(kind: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Service:
    monkeypatch.setattr(module, "_SECONDS", 0.2)
    service: Service = request.getfixturevalue(kind)
    return service


def trouble_of(kind: str, name: str) -> Callable[[str], Answer]:
    """Answers as this service's trouble is; EC2's is in trouble at its role, not at its door."""
    return SERVICES[kind][1](TROUBLE[name])


def test_each_service_is_asked_once(kind: str, each: Service) -> None:
    works, wrap = SERVICES[kind]
    each.answer = wrap(works(3600))
    credentials = found()
    for _ in range(3):
        keys = credentials.get_frozen_credentials()
        assert (keys.access_key, keys.secret_key, keys.token) == tuple(KEYS.values())
    assert len(each.asked) == (3 if kind == "instance" else 1)


@pytest.mark.parametrize("name", ["500", "503", "429"])
def test_a_service_in_trouble_is_waited_for(name: str, kind: str, each: Service) -> None:
    works, wrap = SERVICES[kind]
    clock = Clock()
    each.answer = trouble_of(kind, name)

    def sleep(seconds: float) -> None:
        clock.sleep(seconds)
        if clock.now > 60:
            each.answer = wrap(works(3600))

    credentials = Credentials(get_session(), clock.time, sleep)
    assert credentials.get_frozen_credentials().access_key == KEYS["AccessKeyId"]
    assert 60 < clock.now < module.PATIENCE


@pytest.mark.parametrize("name", TROUBLE)
def test_a_service_that_stays_in_trouble_is_passing_trouble(
    name: str, kind: str, each: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    if name == "no answer":
        monkeypatch.setattr(module, "PATIENCE", 2.0)  # each try takes a while
    clock = Clock()
    each.answer = trouble_of(kind, name)
    error = why_none(found(clock))
    assert type(error) is Passing
    assert (on_input(error).code, on_output(error).code) == (75, 75)
    assert "s3://recordings/a.wav: credentials" in str(error)
    assert module.PATIENCE <= clock.now + 0.001 <= module.PATIENCE + 15


def test_nobody_at_the_containers_address_is_passing_trouble(
    container: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ECS has set the address: there is meant to be somebody."""
    monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://127.0.0.1:1/")
    assert type(why_none(found())) is Passing


def test_nobody_at_stss_address_is_passing_trouble(web_identity: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", "http://127.0.0.1:1")
    assert type(why_none(found())) is Passing


def test_nobody_at_the_instances_address_means_that_there_is_no_instance(
    instance: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://127.0.0.1:1")
    clock = Clock()
    error = why_none(found(clock))
    assert isinstance(error, Denied)
    assert "Unable to locate credentials" in str(error)
    assert clock.slept == []


def test_an_instances_service_that_gives_no_token_is_in_trouble(instance: Service) -> None:
    """What it says to a request without one is no refusal of the role."""
    instance.answer = lambda path: Answer(status=503 if path == "/latest/api/token" else 401)
    assert type(why_none(found())) is Passing


@pytest.mark.parametrize("status", [401, 500])
def test_a_token_file_of_a_containers_that_is_missing_is_denied(
    status: int, container: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    container.answer = lambda _: Answer(status=status)
    monkeypatch.setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", "/no/such/file")
    assert isinstance(why_none(found()), Denied)


def test_a_proxys_502_is_not_the_instances(instance: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", instance.endpoint)
    monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://169.254.169.254")
    instance.answer = lambda _: Answer(status=502)
    assert isinstance(why_none(found()), Denied)


_NO = {
    "container": [Answer(status=400), Answer(status=403), Answer(status=404)],
    "instance": [Answer(status=401), Answer(status=404), Answer(body='{"Code": "Failed", "Message": ""}')],
    "web_identity": [
        refused_by_sts(403, "AccessDenied"),
        refused_by_sts(400, "InvalidIdentityToken"),
        refused_by_sts(400, "ExpiredTokenException"),
        refused_by_sts(400, "ValidationError"),
        Answer(status=403, body="<html>a proxy's"),
    ],
    "sso": [Answer(status=401, body='{"message": "no"}'), Answer(status=403, body='{"message": "no"}')],
}  # fmt: skip


@pytest.mark.parametrize(("kind", "no"), [(kind, no) for kind, answers in _NO.items() for no in answers])
def test_a_service_that_says_no_is_not_asked_again(kind: str, no: Answer, request: pytest.FixtureRequest) -> None:
    service: Service = request.getfixturevalue(kind)
    service.answer = SERVICES[kind][1](no)
    clock = Clock()
    error = why_none(found(clock))
    assert isinstance(error, Denied)
    assert (on_input(error).code, on_output(error).code) == (77, 73)
    assert clock.slept == []


def test_an_identity_provider_that_cannot_be_reached_is_passing_trouble(web_identity: Service) -> None:
    web_identity.answer = lambda _: refused_by_sts(400, "IDPCommunicationError")
    assert type(why_none(found())) is Passing


@pytest.mark.parametrize("body", ["{}", "[]", "no JSON", '{"AccessKeyId": "a"}', ""])
def test_a_container_endpoint_that_answers_with_nonsense_is_passing_trouble(body: str, container: Service) -> None:
    container.answer = lambda _: Answer(body=body)
    assert type(why_none(found())) is Passing


def test_credentials_that_had_expired_when_they_came_are_passing_trouble(container: Service) -> None:
    container.answer = lambda _: of_a_container(-10)
    assert type(why_none(found())) is Passing


# what comes later


@pytest.mark.parametrize("name", ["500", "429"])
@pytest.mark.parametrize("left", [5 * 60, 14 * 60])
def test_old_credentials_are_used_for_as_long_as_they_hold(left: int, name: str, kind: str, each: Service) -> None:
    works, wrap = SERVICES[kind]
    clock = Clock()
    each.answer = wrap(works(left))
    credentials = found(clock)
    first = credentials.get_frozen_credentials()
    each.answer = trouble_of(kind, name)
    each.asked.clear()
    for _ in range(100):
        assert credentials.get_frozen_credentials() == first
        clock.now += 0.5
    assert clock.slept == []
    assert len(each.asked) < 60  # not with each request


@pytest.mark.parametrize("kind", [kind for kind in SERVICES if kind != "instance"])  # whose time botocore stretches
def test_credentials_are_renewed_before_they_expire(kind: str, each: Service) -> None:
    works, wrap = SERVICES[kind]
    each.answer = wrap(works(5 * 60))
    clock = Clock()
    credentials = found(clock)
    credentials.get_frozen_credentials()
    each.answer = wrap(works(3600))
    clock.now += 60
    credentials.get_frozen_credentials()
    each.asked.clear()
    for _ in range(10):
        credentials.get_frozen_credentials()
        clock.now += 60
    assert each.asked == []


@pytest.mark.parametrize("name", ["500", "429"])
def test_a_service_that_fails_once_the_old_ones_have_expired_is_passing_trouble(name: str, container: Service) -> None:
    """As in a job's twelfth hour."""
    clock = Clock()
    container.answer = lambda _: of_a_container(60)
    credentials = found(clock)
    credentials.get_frozen_credentials()
    container.answer = trouble_of("container", name)
    credentials._found._expiry_time = credentials._found._time_fetcher()
    error = why_none(credentials)
    assert type(error) is Passing
    assert clock.now >= module.PATIENCE
    container.answer = lambda _: of_a_container()
    clock.now += 11
    assert credentials.get_frozen_credentials().access_key == KEYS["AccessKeyId"]


def test_once_patience_is_over_nobody_waits_again(container: Service) -> None:
    clock = Clock()
    container.answer = lambda _: TROUBLE["500"]
    credentials = found(clock)
    why_none(credentials)
    waited, container.asked[:] = clock.now, []
    for _ in range(20):
        assert type(why_none(credentials)) is Passing
        clock.now += 1
    assert clock.now - waited == 20
    assert len(container.asked) <= 2 * ContainerMetadataFetcher.RETRY_ATTEMPTS


def test_many_threads_wait_for_one(container: Service) -> None:
    container.answer = lambda _: TROUBLE["500"]
    clock, lock = Clock(), threading.Lock()

    def sleep(seconds: float) -> None:
        with lock:
            clock.sleep(seconds)

    credentials = Credentials(get_session(), clock.time, sleep)
    with ThreadPoolExecutor(16) as pool:
        errors = list(pool.map(lambda _: why_none(credentials), range(16)))
    assert {type(error) for error in errors} == {Passing}
    assert clock.now <= module.PATIENCE + 15


# programs, and profiles


def test_a_program_that_does_not_exist_is_not_waited_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    profile(monkeypatch, tmp_path, "credential_process = /no/such/program")
    clock = Clock()
    assert isinstance(why_none(found(clock)), Denied)
    assert clock.slept == []


def test_a_program_that_always_fails_is_denied_after_a_while(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program(monkeypatch, tmp_path, "import sys; sys.exit('vault: permission denied')")
    clock = Clock()
    error = why_none(found(clock))
    assert isinstance(error, Denied)
    assert "vault: permission denied" in str(error)
    assert 0 < clock.now <= module.PROGRAM_PATIENCE


def test_a_program_that_fails_at_first_is_run_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    keys = {"Version": 1, "AccessKeyId": "a", "SecretAccessKey": "b", "Expiration": in_seconds(3600)}
    program(monkeypatch, tmp_path, f"""
import pathlib, sys
seen = pathlib.Path({str(tmp_path / "seen")!r})
if not seen.exists():
    seen.touch()
    sys.exit("vault: 503")
print({json.dumps(keys)!r})
""")  # fmt: skip
    assert found().get_frozen_credentials().access_key == "a"


@pytest.mark.parametrize("fails", ["sys.exit('vault: 503')", "print('no JSON')", "print('{}')"])
def test_a_program_that_has_worked_before_fails_for_a_passing_reason(
    fails: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    keys = {"Version": 1, "AccessKeyId": "a", "SecretAccessKey": "b", "Expiration": in_seconds(60)}
    program(monkeypatch, tmp_path, f"import sys; print({json.dumps(keys)!r})")
    credentials = found()
    credentials.get_frozen_credentials()
    program(monkeypatch, tmp_path, f"import sys; {fails}")
    credentials._found._expiry_time = credentials._found._time_fetcher()
    assert type(why_none(credentials)) is Passing


@pytest.mark.parametrize(
    "text",
    [
        "role_arn = arn:aws:iam::1:role/a",
        "role_arn = arn:aws:iam::1:role/a\nsource_profile = nobody",
        "role_arn = arn:aws:iam::1:role/a\ncredential_source = Environment",
        "aws_access_key_id = a",
        "credential_process = /bin/echo no JSON",
        "sso_account_id = 1",
    ],
)
def test_a_profile_that_cannot_be_is_denied(text: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    profile(monkeypatch, tmp_path, text)
    clock = Clock()
    error = why_none(found(clock))
    assert isinstance(error, Denied)
    assert clock.slept == []


def test_a_token_file_that_is_missing_is_denied(web_identity: Service, tmp_path: Path) -> None:
    (tmp_path / "token").unlink()
    error = why_none(found())
    assert isinstance(error, Denied)
    assert "token" in str(error)


def test_keys_of_the_environment_are_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")
    credentials = found()
    first = credentials.get_frozen_credentials()
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    assert credentials.get_frozen_credentials() is first
    assert not credentials.are_renewable
