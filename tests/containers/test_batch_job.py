"""Batch jobs for real: a definition that is registered, a job that is submitted, and a container that runs it.

The engine behind moto's Batch is this machine's, so that the image, its command and its exit code are the real ones. It
gives a job no role; the credentials and the S3 server's address go along as the job's environment.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
import docker
import pytest

from scripts import cli
from tests import moto_batch
from tests.conftest import REPOSITORY, S3Server
from tests.containers.test_build_images import registry_at

if TYPE_CHECKING:
    from mypy_boto3_batch import BatchClient

pytestmark = pytest.mark.containers

QUEUE = "predictions"
RECORDING = REPOSITORY / "images" / "voice-activity" / "recording.wav"


@dataclass(frozen=True, kw_only=True)
class Pushed:
    """voice-activity's cpu image in a registry, and build.json of it."""

    registry: str
    record: Path


@pytest.fixture(scope="session")
def voice_activity(runtime: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pushed]:
    folder = tmp_path_factory.mktemp("build")
    with registry_at(folder) as host:
        pushed = Pushed(registry=f"{host}/team", record=folder / "build.json")
        options = ["--registry", pushed.registry, "--record", str(pushed.record), "--runtime", str(runtime)]
        assert cli.main(["images", "voice-activity", "--variant", "cpu", "--push", *options]) == 0
        yield pushed
        engine = docker.from_env()
        for image in engine.images.list(f"{pushed.registry}/voice-activity"):
            engine.images.remove(str(image.id), force=True)


@pytest.fixture
def batch(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[BatchClient]:
    """A Batch with one queue, whose jobs share the host's network as they do on EC2."""
    moto_batch.tell_exit_codes(monkeypatch)
    for name, value in {**s3.variables, "MOTO_DOCKER_NETWORK_MODE": "host"}.items():
        monkeypatch.setenv(name, value)
    iam, client = boto3.client("iam"), boto3.client("batch")
    role = iam.create_role(RoleName="batch", AssumeRolePolicyDocument="{}")["Role"]["Arn"]
    client.create_compute_environment(
        computeEnvironmentName="machines", type="UNMANAGED", state="ENABLED", serviceRole=role
    )
    client.create_job_queue(
        jobQueueName=QUEUE,
        state="ENABLED",
        priority=1,
        computeEnvironmentOrder=[{"order": 1, "computeEnvironment": "machines"}],
    )
    yield client
    for each in client.describe_job_definitions(status="ACTIVE")["jobDefinitions"]:
        client.deregister_job_definition(jobDefinition=each["jobDefinitionArn"])
    client.delete_job_queue(jobQueue=QUEUE)
    client.delete_compute_environment(computeEnvironment="machines")
    iam.delete_role(RoleName="batch")


@pytest.fixture
def register(batch: BatchClient, voice_activity: Pushed, tmp_path: Path) -> Callable[[], int]:
    """`deepaas-batch job-definitions voice-activity --register`, for EC2."""

    def run() -> int:
        image = ["--registry", voice_activity.registry, "--record", str(voice_activity.record)]
        options = [*image, "--out", str(tmp_path), "--platform", "ec2", "--variant", "cpu"]
        return cli.main(["job-definitions", "voice-activity", "--register", *options])

    return run


@pytest.fixture
def job(batch: BatchClient, register: Callable[[], int], s3: S3Server) -> Callable[[str], int]:
    """`deepaas-batch submit voice-activity INPUT OUTPUT --wait`: its exit code, which is the container's."""
    assert register() == 0
    variables = [word for name, value in s3.variables.items() for word in ("--env", f"{name}={value}")]

    def run(uri: str) -> int:
        return cli.main(["submit", "voice-activity", uri, f"s3://{s3.bucket}/results/", "--wait", *variables])

    return run


def test_an_object_becomes_its_answer_and_a_status(job: Callable[[str], int], s3: S3Server, batch: BatchClient) -> None:
    code = job(s3.put("incoming/speech.wav", RECORDING.read_bytes()))

    assert code == 0
    [ended] = batch.list_jobs(jobQueue=QUEUE, jobStatus="SUCCEEDED")["jobSummaryList"]
    answer, status = s3.json("results/speech.wav.json"), s3.json(f"results/_status/{ended['jobId']}.json")
    assert [round(segment["start"]) for segment in answer["segments"]] == [1, 6]
    assert (status["state"], status["exit_code"], status["job"]["id"]) == ("SUCCEEDED", 0, ended["jobId"])


def test_the_status_names_the_image_that_the_definition_names(
    job: Callable[[str], int], s3: S3Server, voice_activity: Pushed
) -> None:
    job(s3.put("speech.wav", RECORDING.read_bytes()))

    [built] = json.loads(voice_activity.record.read_text())["images"]
    keys = s3.keys()
    [status] = [key for key in keys if key.startswith("results/_status/")]
    assert s3.json(status)["image"]["name"] == f"{voice_activity.registry}/voice-activity@{built['digest']}"


@pytest.mark.parametrize(
    ("key", "code"),
    [
        pytest.param("missing.wav", 66, id="an object that is not there"),
        pytest.param("letter.txt", 65, id="a module that cannot read its input"),
    ],
)
def test_a_job_fails_with_the_code_of_its_cause(
    key: str, code: int, job: Callable[[str], int], s3: S3Server, batch: BatchClient
) -> None:
    s3.put("letter.txt", b"Dear Sir or Madam,")

    assert job(f"s3://{s3.bucket}/{key}") == code
    [failed] = batch.list_jobs(jobQueue=QUEUE, jobStatus="FAILED")["jobSummaryList"]
    assert s3.json(f"results/_status/{failed['jobId']}.json")["exit_code"] == code
    keys = s3.keys()
    assert f"results/{key}.json" not in keys


def test_the_log_of_a_job_that_is_waited_for_is_shown(
    job: Callable[[str], int], s3: S3Server, capsys: pytest.CaptureFixture[str]
) -> None:
    job(f"s3://{s3.bucket}/missing.wav")

    assert "exit 66, input-missing" in capsys.readouterr().out


def test_registering_again_with_nothing_changed_makes_no_new_revision(
    register: Callable[[], int], batch: BatchClient
) -> None:
    assert (register(), register()) == (0, 0)

    found = batch.describe_job_definitions(jobDefinitionName="voice-activity-cpu", status="ACTIVE")
    assert len(found["jobDefinitions"]) == 1
