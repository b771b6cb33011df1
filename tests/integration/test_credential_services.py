"""Jobs whose credentials come from a service that is in trouble, at the start and in their twelfth hour."""

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import S3Server, Supervisor, image
from tests.faults.credential_services import Answer, Service, of_a_container
from tests.faults.jobs import impatient

BUSY = Answer(status=500, body='{"code": "InternalServerError", "message": "busy"}')


@pytest.fixture
def service() -> Iterator[Service]:
    with Service(lambda _: of_a_container()) as service:
        yield service


@pytest.fixture
def supervisor(tmp_path: Path) -> Supervisor:
    return impatient(image(tmp_path, "plain"))


def surroundings(s3: S3Server, service: Service) -> dict[str, str]:
    """As ECS has it: no keys, but where to get them."""
    return {
        "AWS_DEFAULT_REGION": "eu-west-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_ENDPOINT_URL": s3.endpoint,
        "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{service.endpoint}/v2/credentials/a",
    }


def test_a_job_waits_for_its_credentials(supervisor: Supervisor, s3: S3Server, service: Service) -> None:
    numbers = itertools.count()
    service.answer = lambda _: BUSY if next(numbers) < 5 else of_a_container()
    uri = s3.put("in/a.wav")
    ended = supervisor("run", JOB_INPUT=uri, JOB_OUTPUT=f"s3://{s3.bucket}/out/", **surroundings(s3, service))
    assert ended.code == 0, ended.stderr
    assert s3.get("out/a.wav.json")


@pytest.mark.parametrize("answer", [BUSY, Answer(status=429)], ids=["500", "429"])
@pytest.mark.parametrize("input_", ["object", "prefix", "manifest", "local file"])
def test_a_job_without_them_is_to_be_run_again(
    input_: str, answer: Answer, supervisor: Supervisor, s3: S3Server, service: Service, recording: Path
) -> None:
    service.answer = lambda _: answer
    uri = s3.put("in/a.wav")
    named = {
        "object": {"JOB_INPUT": uri},
        "prefix": {"JOB_INPUT": f"s3://{s3.bucket}/in/"},
        "manifest": {"JOB_MANIFEST": s3.put("list.txt", uri.encode())},
        "local file": {"JOB_INPUT": str(recording)},
    }[input_]
    ended = supervisor("run", **named, JOB_OUTPUT=f"s3://{s3.bucket}/out/", **surroundings(s3, service))
    assert ended.code == 75, ended.stderr
    assert len(ended.stderr.splitlines()) == 1
    assert "credentials" in ended.stderr


def test_check_says_that_it_may_pass(supervisor: Supervisor, s3: S3Server, service: Service) -> None:
    service.answer = lambda _: BUSY
    ended = supervisor("check", "--input", s3.put("in/a.wav"), **surroundings(s3, service))
    assert ended.code == 75


@pytest.mark.parametrize(("local", "code"), [(False, 77), (True, 73)], ids=["reading", "writing"])
def test_a_service_that_says_no_is_a_denial(
    local: bool, code: int, supervisor: Supervisor, s3: S3Server, service: Service, recording: Path
) -> None:
    service.answer = lambda _: Answer(status=403)
    uri = str(recording) if local else s3.put("in/a.wav")
    ended = supervisor("run", JOB_INPUT=uri, JOB_OUTPUT=f"s3://{s3.bucket}/out/", **surroundings(s3, service))
    assert ended.code == code, ended.stderr


def test_a_service_that_fails_in_a_jobs_twelfth_hour_is_passing_trouble(
    supervisor: Supervisor, s3: S3Server, service: Service
) -> None:
    """Hours are seconds here: the credentials hold for two, and there are no more once half of the items are done."""
    for number in range(200):
        s3.put(f"in/{number:03}.wav")
    service.answer = lambda _: BUSY if len(service.asked) > 1 else of_a_container(2)
    ended = supervisor(
        "run", JOB_INPUT=f"s3://{s3.bucket}/in/", JOB_OUTPUT=f"s3://{s3.bucket}/out/", **surroundings(s3, service)
    )
    assert ended.code == 75, ended.stderr
    assert len(ended.stderr.splitlines()) == 1
    assert len(service.asked) > 2
