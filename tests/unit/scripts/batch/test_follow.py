"""A job that is followed to its end.

A server on loopback plays what Batch and CloudWatch answer, in their own protocol: moto has neither attempts nor
reasons, and no throttling.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import boto3
import pytest

from scripts.batch.follow import NotFollowed, Pace, Submitted, follow
from tests.conftest import CREDENTIALS

QUICK = Pace(poll=0.01, longest=0.05, waiting=0.0, quiet=0.2, last=2.0)
QUEUE = "arn:aws:batch:eu-west-1:123456789012:job-queue/predictions"
JOB = Submitted(
    id="job-1",
    name="voice-activity-cpu-x",
    definition="voice-activity-cpu",
    definition_arn="arn:aws:batch:eu-west-1:123456789012:job-definition/voice-activity-cpu:4",
    queue="predictions",
    region="eu-west-1",
    log_group="/aws/batch/job",
    log_region="eu-west-1",
    status="s3://bucket/out put/_status/job-1.json",
)


def described(status: str, reason: str | None = None, **more: Any) -> dict[str, Any]:
    job = {"jobId": "job-1", "jobName": "x", "jobQueue": QUEUE, "status": status, "startedAt": 0, "jobDefinition": "d"}
    return {**job, **({"statusReason": reason} if reason else {}), **more}


def attempt(stream: str | None = None, code: int | None = None, reason: str | None = None) -> dict[str, Any]:
    container = {"logStreamName": stream, "exitCode": code, "reason": reason}
    return {"container": {key: value for key, value in container.items() if value is not None}}


SUCCEEDED = described("SUCCEEDED", container={"exitCode": 0})


@dataclass
class Error:
    """An answer that is an error of AWS; `status` 0 breaks the connection."""

    status: int
    code: str = ""


@dataclass
class Played:
    """What is answered: to DescribeJobs one after the other, the last of them for good; to the others by name. lines:
    of each log stream; late: those that come only once the job has ended."""

    jobs: list[dict[str, Any] | Error | None] = field(default_factory=list)
    lines: dict[str, list[str]] = field(default_factory=dict)
    late: dict[str, list[str]] = field(default_factory=dict)
    log_error: Error | None = None
    queue: dict[str, Any] = field(default_factory=dict)
    environments: list[dict[str, Any]] = field(default_factory=list)
    ended: bool = False
    reads_after_end: int = 0

    def answer(self, operation: str, asked: dict[str, Any]) -> dict[str, Any] | Error:
        if operation == "describejobs":
            job = self.jobs.pop(0) if len(self.jobs) > 1 else self.jobs[0]
            self.ended = isinstance(job, dict) and job["status"] in ("SUCCEEDED", "FAILED")
            return job if isinstance(job, Error) else {"jobs": [job] if job else []}
        if operation == "describejobqueues":
            return {"jobQueues": [{"jobQueueName": "predictions", "state": "ENABLED", **self.queue}]}
        if operation == "describecomputeenvironments":
            return {"computeEnvironments": self.environments}
        return self.log_error or self.log(asked["logStreamName"], asked.get("nextToken", "f/0"))

    def log(self, stream: str, token: str) -> dict[str, Any] | Error:
        self.reads_after_end += self.ended
        if stream not in {*self.lines, *self.late}:
            return Error(400, "ResourceNotFoundException")
        there = self.lines.get(stream, []) + (self.late.get(stream, []) if self.reads_after_end > 3 else [])
        begin = int(token.removeprefix("f/"))
        page = there[begin : begin + 2]
        return {"events": [{"message": each} for each in page], "nextForwardToken": f"f/{begin + len(page)}"}


@pytest.fixture
def played(monkeypatch: pytest.MonkeyPatch) -> Iterator[Played]:
    aws = Played()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])) or "{}")
            answer = aws.answer(self.path.rpartition("/")[2], asked)
            if answer == Error(0):
                self.connection.close()
                return
            failed = isinstance(answer, Error)
            body = json.dumps({"__type": answer.code, "message": "said"} if isinstance(answer, Error) else answer)
            self.send_response(answer.status if isinstance(answer, Error) else 200)
            if failed and isinstance(answer, Error):
                self.send_header("x-amzn-errortype", answer.code)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        url = f"http://127.0.0.1:{server.server_port}"
        # One try a call: botocore's own waiting is not what is looked at.
        for name, value in {**CREDENTIALS, "AWS_ENDPOINT_URL": url, "AWS_MAX_ATTEMPTS": "1"}.items():
            monkeypatch.setenv(name, value)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield aws
        server.shutdown()


def followed(job: Submitted = JOB) -> int:
    return follow(boto3.client("batch"), boto3.client("logs"), job, QUICK)


# Its end.


@pytest.mark.parametrize("code", [64, 65, 75, 78, 124, 137, 143, 1, 255])
def test_a_job_that_failed_ends_with_its_containers_code(code: int, played: Played) -> None:
    played.jobs = [described("FAILED", container={"exitCode": code})]

    assert followed() == code


def test_the_code_is_the_last_attempts_where_the_job_itself_has_none(played: Played) -> None:
    played.jobs = [described("FAILED", attempts=[attempt(code=75), attempt(code=66)])]

    assert followed() == 66


@pytest.mark.parametrize(
    ("job", "code"),
    [
        (described("FAILED", "Job attempt duration exceeded timeout"), 124),
        (described("FAILED", "by hand", isTerminated=True), 143),
        (described("FAILED", "by hand", isCancelled=True), 143),
        (described("FAILED", "Task failed to start", container={"reason": "CannotPullContainerError: no such"}), 78),
        (described("FAILED", "Host EC2 (instance i-1) terminated."), 75),
        (described("FAILED", "Job attempt duration exceeded timeout", container={"exitCode": 0}), 124),
    ],
)
def test_a_job_without_a_code_of_its_own_ends_with_the_code_of_its_cause(
    job: dict[str, Any], code: int, played: Played, capsys: pytest.CaptureFixture[str]
) -> None:
    played.jobs = [job]

    assert followed() == code
    assert job["statusReason"] in capsys.readouterr().err


# Why it waits.


def test_the_reason_why_a_job_is_not_started_is_shown_as_it_changes(
    played: Played, capsys: pytest.CaptureFixture[str]
) -> None:
    reason = "CAPACITY:INSUFFICIENT_INSTANCE_CAPACITY - Service cannot fulfill the capacity requested"
    played.jobs = [described("RUNNABLE"), described("RUNNABLE", reason), described("RUNNABLE", reason), SUCCEEDED]

    assert followed() == 0
    said = capsys.readouterr().err
    assert said.count(f"RUNNABLE {reason}") == 1
    assert "never" not in said


@pytest.mark.parametrize(
    ("reason", "hint"),
    [
        ("MISCONFIGURATION:JOB_RESOURCE_REQUIREMENT", "instance types"),
        ("MISCONFIGURATION:COMPUTE_ENVIRONMENT_MAX_RESOURCE - m", "maxvCpus"),
        ("MISCONFIGURATION:SERVICE_ROLE_PERMISSIONS", "service role"),
        ("ACTION_REQUIRED - look", "correct what Batch names"),
    ],
)
def test_a_job_that_can_never_run_by_batchs_own_word_is_told_with_what_to_do(
    reason: str, hint: str, played: Played, capsys: pytest.CaptureFixture[str]
) -> None:
    played.jobs = [described("RUNNABLE", reason), described("RUNNABLE", reason), SUCCEEDED]

    assert followed() == 0
    [line] = [line for line in capsys.readouterr().err.splitlines() if "it can never run like this" in line]
    assert hint in line


NEEDS = {"resourceRequirements": [{"type": "VCPU", "value": "8"}]}


@pytest.mark.parametrize(
    ("queue", "environments", "said"),
    [
        ({"state": "DISABLED"}, [], "the queue predictions is disabled"),
        ({"status": "INVALID", "statusReason": "no role"}, [], "the queue predictions is invalid: no role"),
        ({}, [{"state": "DISABLED"}], "the compute environment spot is disabled"),
        ({}, [{"status": "INVALID", "statusReason": "role gone"}], "spot is invalid: role gone"),
        ({}, [{"computeResources": {"maxvCpus": 4}}], "spot has at most 4 vCPUs, and the job asks for 8"),
        ({}, [{"computeResources": {"maxvCpus": 4}}, {"computeResources": {"maxvCpus": 16}}], None),
        ({}, [{"state": "ENABLED", "status": "VALID"}], None),
    ],
)
def test_what_the_queue_shows_is_told_where_batch_gives_no_reason(
    queue: dict[str, Any],
    environments: list[dict[str, Any]],
    said: str | None,
    played: Played,
    capsys: pytest.CaptureFixture[str],
) -> None:
    order = [{"order": 1, "computeEnvironment": "spot"}]
    played.queue = {"computeEnvironmentOrder": order if environments else [], **queue}
    played.environments = [{"computeEnvironmentName": "spot", **each} for each in environments]
    played.jobs = [described("RUNNABLE", container=NEEDS), described("RUNNABLE", container=NEEDS), SUCCEEDED]

    followed()
    never = [line for line in capsys.readouterr().err.splitlines() if "it can never run" in line]
    assert len(never) == (0 if said is None else 1)
    assert said is None or said in never[0]


# What does not end the watch, and what does.


@pytest.mark.parametrize("trouble", [Error(429, "TooManyRequestsException"), Error(500, "ServerException"), Error(0)])
def test_what_passes_is_waited_out_and_told_once(
    trouble: Error, played: Played, capsys: pytest.CaptureFixture[str]
) -> None:
    played.jobs = [described("RUNNING"), trouble, trouble, trouble, described("FAILED", container={"exitCode": 65})]

    assert followed() == 65
    said = capsys.readouterr().err
    assert (said.count("AWS is asked again until it answers"), said.count("AWS answers again")) == (1, 1)


def test_a_job_that_batch_does_not_know_yet_is_waited_for(played: Played) -> None:
    played.jobs = [None, None, SUCCEEDED]

    assert followed() == 0


@pytest.mark.parametrize("job", [Error(403, "AccessDeniedException"), Error(400, "ExpiredTokenException"), None])
def test_trouble_of_ours_is_told_from_every_end_of_a_job(job: Error | None, played: Played) -> None:
    played.jobs = [described("RUNNING"), job]

    with pytest.raises(NotFollowed) as raised:
        followed()
    assert raised.value.code == 125
    assert "job-1" in raised.value.message


def test_a_log_that_may_not_be_read_is_told_once_and_left_out(
    played: Played, capsys: pytest.CaptureFixture[str]
) -> None:
    running = described("RUNNING", container={"logStreamName": "s/1"})
    played.jobs = [running, running, running, described("FAILED", container={"logStreamName": "s/1", "exitCode": 66})]
    played.log_error = Error(400, "AccessDeniedException")

    assert followed() == 66
    assert capsys.readouterr().err.count("the log cannot be shown") == 1


def test_a_log_that_is_throttled_is_shown_later(played: Played, capsys: pytest.CaptureFixture[str]) -> None:
    running = described("RUNNING", container={"logStreamName": "s/1"})
    played.jobs = [running, described("SUCCEEDED", container={"logStreamName": "s/1"})]
    played.lines = {"s/1": ["one"]}
    failures = [Error(400, "ThrottlingException"), Error(400, "ThrottlingException")]
    answer = played.log

    def throttled(stream: str, token: str) -> dict[str, Any] | Error:
        return failures.pop() if failures else answer(stream, token)

    played.log = throttled  # type: ignore[method-assign]

    assert followed() == 0
    assert capsys.readouterr().out == "one\n"


# Its log.


def test_the_log_of_every_attempt_is_shown_whole_and_once(played: Played, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = {"logStreamName": "s/1"}, {"logStreamName": "s/2"}
    played.lines = {"s/1": ["a1", "a2", "a3"], "s/2": ["b1", "b2"]}
    ended = [attempt("s/1", 75), attempt("s/2", 65)]
    played.jobs = [
        described("RUNNING", container=first),
        described("RUNNABLE", attempts=ended[:1]),
        described("RUNNING", attempts=ended[:1], container=second),
        described("FAILED", attempts=ended, container={**second, "exitCode": 65}),
    ]

    assert followed() == 65
    told = capsys.readouterr()
    assert told.out.split() == ["a1", "a2", "a3", "b1", "b2"]
    assert "attempt 2:" in told.err


def test_an_attempt_that_began_and_ended_between_two_looks_is_shown(
    played: Played, capsys: pytest.CaptureFixture[str]
) -> None:
    played.lines = {"s/1": ["a1"], "s/2": ["b1"]}
    attempts = [attempt("s/1", 75), attempt("s/2", 65)]
    played.jobs = [described("RUNNABLE"), described("FAILED", attempts=attempts, container={"logStreamName": "s/2"})]

    followed()
    assert capsys.readouterr().out.split() == ["a1", "b1"]


def test_lines_that_come_after_the_end_are_shown(played: Played, capsys: pytest.CaptureFixture[str]) -> None:
    played.lines, played.late = {"s/1": ["first"]}, {"s/1": ["next", "last"]}
    played.jobs = [described("FAILED", attempts=[attempt("s/1", 65)])]

    followed()
    assert capsys.readouterr().out.split() == ["first", "next", "last"]


def test_a_job_that_left_no_log_is_told(played: Played, capsys: pytest.CaptureFixture[str]) -> None:
    played.jobs = [described("FAILED", attempts=[attempt("s/1", 1)])]

    assert followed() == 1
    assert "/aws/batch/job has no lines in s/1" in capsys.readouterr().err
