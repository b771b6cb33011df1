"""One job submitted, to moto's Batch where there must be one; a container test runs such a job for real."""

from __future__ import annotations

import argparse
import re
import shlex
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

import boto3
import pytest
from botocore.exceptions import ConnectTimeoutError

from scripts import cli
from scripts.batch import aws, submit
from scripts.batch.definitions import Settings, render
from scripts.batch.submit import Submission
from scripts.images import catalogue
from scripts.images.derived import Built
from supervisor.failures import Stopped
from tests.unit.scripts.images.test_derived import BUILT

if TYPE_CHECKING:
    from mypy_boto3_batch import BatchClient

pytestmark = pytest.mark.usefixtures("catalogue_read_once")

JOB = ("voice-activity", "s3://recordings/in/a b+c.wav", "s3://recordings/out")


@pytest.fixture
def batch(batch: BatchClient) -> BatchClient:
    """A Batch with the definition registered and one queue."""
    role = boto3.client("iam").create_role(RoleName="batch", AssumeRolePolicyDocument="{}")["Role"]["Arn"]
    batch.create_compute_environment(computeEnvironmentName="machines", type="UNMANAGED", serviceRole=role)
    add_queue(batch, "predictions")
    add_definition(batch, BUILT)
    return batch


def add_definition(batch: BatchClient, built: Built) -> None:
    definition = render(catalogue.find("voice-activity"), built, "EC2", Settings())
    batch.register_job_definition(**cast("Any", definition.request))


def add_queue(batch: BatchClient, name: str) -> None:
    batch.create_job_queue(
        jobQueueName=name,
        state="ENABLED",
        priority=1,
        computeEnvironmentOrder=[{"order": 1, "computeEnvironment": "machines"}],
    )


def submitted(batch: BatchClient) -> dict[str, str]:
    """The parameters of the only job in the queue."""
    [job] = [
        each
        for state in ("SUBMITTED", "PENDING", "RUNNABLE", "STARTING", "RUNNING", "SUCCEEDED", "FAILED")
        for each in batch.list_jobs(jobQueue="predictions", jobStatus=state)["jobSummaryList"]
    ]
    return batch.describe_jobs(jobs=[job["jobId"]])["jobs"][0]["parameters"]


def test_a_job_gets_its_input_and_output_as_parameters(batch: BatchClient) -> None:
    assert cli.main(["submit", *JOB]) == 0
    assert submitted(batch) == {"input": JOB[1], "output": "s3://recordings/out/"}


def test_it_is_said_how_to_follow_a_job(batch: BatchClient, capsys: pytest.CaptureFixture[str]) -> None:
    cli.main(["submit", *JOB])

    said = capsys.readouterr().out
    assert "voice-activity-cpu:1 in predictions" in said
    assert "aws batch describe-jobs --region eu-west-1 --jobs" in said
    assert "aws logs tail /aws/batch/job --region eu-west-1 --follow --log-stream-names" in said


def test_the_commands_to_copy_are_words_of_a_shell_and_about_this_job_alone(
    batch: BatchClient, capsys: pytest.CaptureFixture[str]
) -> None:
    output = "s3://recordings/it's $HOME; rm -rf x"
    cli.main(["submit", JOB[0], JOB[1], output])

    said = capsys.readouterr().out.splitlines()
    [job] = re.findall(r"^job (\S+) ", said[0])
    commands = {line.partition("aws ")[0].strip(): f"aws {line.partition('aws ')[2]}" for line in said[1:]}
    assert set(commands) == {"state", "log", "status", "stop it"}
    assert shlex.split(commands["status"]) == ["aws", "s3", "cp", f"{output}/_status/{job}.json", "-"]
    assert all(job in command for command in commands.values())
    state = shlex.split(commands["state"])
    assert state[state.index("--jobs") + 1 :] == [job, "--query", "jobs[0].[status,statusReason,container.exitCode]"]


def test_the_status_that_is_shown_is_where_the_job_is_told_to_write_it(
    batch: BatchClient, capsys: pytest.CaptureFixture[str]
) -> None:
    cli.main(["submit", *JOB, "--env", "JOB_STATUS=s3://elsewhere/status.json"])

    assert "aws s3 cp s3://elsewhere/status.json -" in capsys.readouterr().out


def test_a_log_that_goes_elsewhere_than_to_cloudwatch_is_not_looked_for_there(
    batch: BatchClient, capsys: pytest.CaptureFixture[str]
) -> None:
    request: Any = dict(render(catalogue.find("voice-activity"), BUILT, "EC2", Settings()).request)
    container = {**request["containerProperties"], "logConfiguration": {"logDriver": "splunk"}}
    batch.register_job_definition(**{**request, "containerProperties": container})

    assert cli.main(["submit", *JOB, "--wait"]) == 0
    assert "aws logs" not in capsys.readouterr().out


# Trouble of ours, once a job is submitted.


@pytest.mark.parametrize(
    ("trouble", "said"),
    [
        (Stopped("stopped by SIGTERM"), "stopped by SIGTERM"),
        (BrokenPipeError("nobody reads"), "nobody reads"),
        (KeyError("jobs"), "by a bug of ours: KeyError"),
    ],
)
def test_what_ends_the_watch_is_not_taken_for_an_end_of_the_job(
    trouble: BaseException,
    said: str,
    batch: BatchClient,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def interrupted(*_: object) -> int:
        raise trouble

    monkeypatch.setattr(submit, "follow", interrupted)

    assert cli.main(["submit", *JOB, "--wait"]) == 125
    assert re.search(f"job .* goes on, but is no longer followed.*{said}", capsys.readouterr().err)


def test_a_submission_whose_answer_is_lost_is_told_as_what_it_is(
    batch: BatchClient, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def lose_answer(model: Any, **_: object) -> None:
        if model.name == "SubmitJob":
            raise ConnectTimeoutError(endpoint_url="https://batch.eu-west-1.amazonaws.com")

    connect = aws.connect

    def connected(*arguments: Any, **options: Any) -> Any:
        client = connect(*arguments, **options)
        client.meta.events.register("before-call", lose_answer)
        return client

    monkeypatch.setattr(aws, "connect", connected)

    assert cli.main(["submit", *JOB]) == 75
    said = capsys.readouterr().err
    assert "it is not known whether the job was submitted" in said
    assert "--job-queue predictions --filters name=JOB_NAME,values=voice-activity-cpu-a-b-c-wav" in said


# A queue by its ARN.


def test_a_queue_by_its_arn_means_the_region_that_it_names(
    batch: BatchClient, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arn = batch.describe_job_queues()["jobQueues"][0]["jobQueueArn"]
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")

    assert cli.main(["submit", *JOB]) == 64
    assert "is registered in us-east-1" in capsys.readouterr().err
    assert cli.main(["submit", *JOB, "--queue", arn]) == 0
    assert "--region eu-west-1" in capsys.readouterr().out
    assert submitted(batch)["input"] == JOB[1]


def test_a_queue_of_another_account_is_not_taken_for_the_one_of_that_name_here(
    batch: BatchClient, capsys: pytest.CaptureFixture[str]
) -> None:
    arn = "arn:aws:batch:eu-west-1:999999999999:job-queue/predictions"

    assert cli.main(["submit", *JOB, "--queue", arn]) == 64
    assert "is of account 999999999999, and these credentials are of 123456789012" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arn",
    [
        "arn:aws:batch:eu-west-1:123456789012:job-queue/prediction",
        "arn:aws:batch:eu-west-1:123456789012:job-queue",
        "arn:aws:batch:eu-west-1:123456789012:compute-environment/predictions",
        "arn:aws:sqs:eu-west-1:123456789012:predictions",
        "https://predictions",
    ],
)
def test_an_arn_that_is_no_queues_is_one_line_and_exit_64(
    arn: str, batch: BatchClient, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["submit", *JOB, "--queue", arn]) == 64
    [line] = capsys.readouterr().err.splitlines()
    assert arn in line


def test_a_job_that_is_waited_for_ends_with_its_own_success(batch: BatchClient) -> None:
    assert cli.main(["submit", *JOB, "--wait"]) == 0


def test_a_job_is_named_after_its_file_in_letters_that_batch_takes() -> None:
    job = Submission(
        definition="voice-activity-cpu", register="", input="s3://b/in/a b+ü." + "x" * 200, output="s3://b/"
    )

    assert job.job_name.startswith("voice-activity-cpu-a-b-")
    assert len(job.job_name) <= 128


def test_arguments_go_over_the_catalogues_defaults() -> None:
    parser = argparse.ArgumentParser()
    submit.configure(parser)
    options = parser.parse_args(["yolov8", *JOB[1:], "--args", '{"conf": 0.5}'])

    expected = '{"accept": "application/json", "conf": 0.5}'
    assert submit.read(options).environment == {"JOB_PREDICT_ARGS": expected}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["voice-activty", *JOB[1:]], "did you mean voice-activity?"),
        (["voice-activity", "a.wav", JOB[2]], "the input is 'a.wav', which a job cannot reach"),
        (["voice-activity", JOB[1], "out"], "the output is 'out'"),
        ([*JOB, "--variant", "tpu"], "there is no variant 'tpu'"),
        ([*JOB, "--variant", "gpu", "--fargate"], "Fargate has no GPU"),
        ([*JOB, "--args", "{"], "the arguments are not JSON"),
        ([*JOB, "--tag", "a b"], "'a b' is no tag"),
        ([*JOB, "--args", "[1]"], "the arguments are [1], not a JSON object"),
        ([*JOB, "--env", "JOB_RUNNER"], "'JOB_RUNNER' is no NAME=VALUE"),
        ([*JOB, "--env", "AWS_BATCH_JOB_ID=1"], "Batch keeps AWS_BATCH"),
    ],
)
def test_a_mistake_is_one_line_and_exit_64(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["submit", *arguments]) == 64
    [line] = capsys.readouterr().err.splitlines()
    assert said in line


@pytest.mark.parametrize("options", [["--variant", "gpu"], ["--fargate"]])
def test_a_definition_that_is_not_registered_is_said_with_the_command_that_registers_it(
    options: list[str], batch: BatchClient, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["submit", *JOB, *options]) == 64
    assert "deepaas-batch job-definitions voice-activity --registry HOST/PATH --role ARN" in capsys.readouterr().err


def test_a_job_of_a_tagged_image_runs_its_own_definition(
    batch: BatchClient, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["submit", *JOB, "--tag", "staging"]) == 64
    assert "job-definitions voice-activity --tag staging" in capsys.readouterr().err
    add_definition(batch, replace(BUILT, name="deepaas-batch/voice-activity:staging-cpu"))
    assert cli.main(["submit", *JOB, "--tag", "staging"]) == 0
    assert "voice-activity-staging-cpu:1 in predictions" in capsys.readouterr().out


def test_a_queue_that_is_not_there_is_said_with_those_that_are(
    batch: BatchClient, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["submit", *JOB, "--queue", "prediction"]) == 64
    assert (
        "there is no job queue prediction in eu-west-1 (exit 64, bad-usage). To do: there are predictions"
        in capsys.readouterr().err
    )


def test_one_of_several_queues_must_be_named(batch: BatchClient, capsys: pytest.CaptureFixture[str]) -> None:
    add_queue(batch, "urgent")

    assert cli.main(["submit", *JOB]) == 64
    assert "there are predictions, urgent" in capsys.readouterr().err


def test_a_queue_that_is_disabled_is_not_taken_for_the_only_one(
    batch: BatchClient, capsys: pytest.CaptureFixture[str]
) -> None:
    batch.update_job_queue(jobQueue="predictions", state="DISABLED")

    assert cli.main(["submit", *JOB]) == 64
    assert "there is none here" in capsys.readouterr().err


def test_a_queue_that_is_disabled_is_said(batch: BatchClient, capsys: pytest.CaptureFixture[str]) -> None:
    batch.update_job_queue(jobQueue="predictions", state="DISABLED")

    assert cli.main(["submit", *JOB, "--queue", "predictions"]) == 64
    assert "the job queue predictions is disabled" in capsys.readouterr().err


def test_a_password_in_an_address_is_not_repeated(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["submit", "voice-activity", "ftp://anna:hunter2@example.org/a.wav", JOB[2]]) == 64
    said = capsys.readouterr().err
    assert "example.org/a.wav" in said
    assert "hunter2" not in said
