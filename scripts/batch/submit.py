"""Submits one job with the latest definition that `make job-definitions REGISTER=1` registered.

make submit-one MODEL=voice-activity INPUT=s3://bucket/a.wav OUTPUT=s3://bucket/results/
make submit-one MODEL=voice-activity INPUT=s3://bucket/a.wav OUTPUT=s3://bucket/results/ WAIT=1
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from botocore.exceptions import BotoCoreError, ClientError

from scripts.batch.definitions import NotRendered, connect, definition_name, in_words, latest
from scripts.batch.retry import Platform
from scripts.images import catalogue
from scripts.images.catalogue import VARIANTS, InvalidCatalogue, UnknownModule
from scripts.images.run import predict_args
from supervisor.failures import SUCCESS, BadUsage

if TYPE_CHECKING:
    from mypy_boto3_batch import BatchClient
    from mypy_boto3_logs import CloudWatchLogsClient

_POLL_SECONDS = 3.0
_ENDED = ("SUCCEEDED", "FAILED")


@dataclass(frozen=True, kw_only=True)
class Submission:
    """One job to submit."""

    definition: str
    input: str
    output: str
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def job_name(self) -> str:
        """`<definition>-<file>`, of what Batch allows: 128 letters, digits, hyphens and underscores."""
        file = PurePosixPath(urlsplit(self.input).path).name
        return re.sub(r"[^A-Za-z0-9_-]+", "-", f"{self.definition}-{file}").strip("-")[:128]


@dataclass(frozen=True, kw_only=True)
class Submitted:
    """A job that Batch has taken."""

    id: str
    name: str
    definition_arn: str
    queue: str
    log_group: str
    submission: Submission

    @property
    def revision(self) -> str:
        """`<definition>:<revision>`."""
        return self.definition_arn.rpartition("/")[2]

    def how_to_follow(self) -> str:
        name = self.submission.definition
        return "\n".join(
            (
                f"job {self.id} ({self.name}), {self.revision} in {self.queue}",
                f"  state    aws batch describe-jobs --jobs {self.id}"
                " --query 'jobs[0].[status,statusReason,container.exitCode]'",
                f"  log      aws logs tail {self.log_group} --log-stream-name-prefix {name}/ --follow",
                f"  status   aws s3 cp {self.submission.output}_status/{self.id}.json -",
                f"  stop it  aws batch terminate-job --job-id {self.id} --reason 'by hand'",
            )
        )


def read(options: argparse.Namespace) -> Submission:
    """The job that a person asked for. Raises BadUsage, UnknownModule, InvalidCatalogue."""
    module = catalogue.find(options.model)
    if options.variant not in VARIANTS:
        raise BadUsage(f"VARIANT is {options.variant!r}", "use cpu or gpu")
    if options.fargate and options.variant == "gpu":
        raise BadUsage("Fargate has no GPU", "leave FARGATE out, or use VARIANT=cpu")
    _require_uri("INPUT", options.input, ("s3", "https", "http"), "s3://bucket/key")
    _require_uri("OUTPUT", options.output, ("s3",), "s3://bucket/results/")
    platform: Platform = "FARGATE" if options.fargate else "EC2"
    arguments = predict_args(options.args)
    environment = dict(_pair(each) for each in options.env)
    if arguments:
        environment["JOB_PREDICT_ARGS"] = json.dumps({**(module.default_args or {}), **arguments})
    return Submission(
        definition=definition_name(module.name, options.variant, platform),
        input=options.input,
        output=options.output.rstrip("/") + "/",
        environment=environment,
    )


def _require_uri(name: str, uri: str, schemes: tuple[str, ...], example: str) -> None:
    parts = urlsplit(uri)
    if parts.scheme not in schemes or not parts.netloc:
        raise BadUsage(f"{name} is {uri!r}, which a job cannot reach", f"use {example}")


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (equals and re.fullmatch(r"[A-Za-z_]\w*", name)):
        raise BadUsage(f"--env {text!r} is no NAME=VALUE", "use --env JOB_MAX_FAILURES=3")
    if name.startswith("AWS_BATCH"):
        raise BadUsage(f"--env {name}: Batch keeps AWS_BATCH… for itself", "leave it out")
    return name, value


def submit(batch: BatchClient, submission: Submission, queue: str | None) -> Submitted:
    """Raises BadUsage where there is no such definition or queue."""
    definition = latest(batch, submission.definition)
    if definition is None:
        module = submission.definition.rpartition("-cpu")[0] or submission.definition.rpartition("-gpu")[0]
        raise BadUsage(
            f"no job definition {submission.definition} is registered here",
            f"make job-definitions MODEL={module} REGISTER=1",
        )
    queue = _queue(batch, queue)
    job = batch.submit_job(
        jobName=submission.job_name,
        jobQueue=queue,
        jobDefinition=definition["jobDefinitionArn"],
        parameters={"input": submission.input, "output": submission.output},
        containerOverrides={"environment": [{"name": k, "value": v} for k, v in submission.environment.items()]},
    )
    log = definition["containerProperties"].get("logConfiguration", {}).get("options", {})
    return Submitted(
        id=job["jobId"],
        name=job["jobName"],
        definition_arn=definition["jobDefinitionArn"],
        queue=queue,
        log_group=log.get("awslogs-group", "/aws/batch/job"),
        submission=submission,
    )


def _queue(batch: BatchClient, wanted: str | None) -> str:
    """The queue asked for, or the only one that takes jobs. Raises BadUsage."""
    pages = batch.get_paginator("describe_job_queues").paginate()
    states = {each["jobQueueName"]: each["state"] for page in pages for each in page["jobQueues"]}
    enabled = sorted(name for name, state in states.items() if state == "ENABLED")
    there = f"there are {', '.join(enabled)}" if enabled else "there is none here: create one first"
    if wanted is None:
        if len(enabled) == 1:
            return enabled[0]
        raise BadUsage("QUEUE is not given", f"name a job queue: {there}")
    name = wanted.rpartition("/")[2]
    if name not in states:
        raise BadUsage(f"there is no job queue {wanted}", there)
    if name not in enabled:
        raise BadUsage(f"the job queue {wanted} is disabled", "enable it, or name another")
    return name


def follow(batch: BatchClient, logs: CloudWatchLogsClient, job: Submitted) -> int:
    """Shows each change of state and the log until the job has ended; returns the container's exit code, or 1."""
    seen, log = "", _Log(logs, job.log_group)
    while True:
        found = batch.describe_jobs(jobs=[job.id])["jobs"][0]
        state, container = found["status"], found.get("container", {})
        if state != seen:
            seen = state
            print(f"{time.strftime('%H:%M:%S')} {state} {found.get('statusReason', '')}".rstrip(), file=sys.stderr)
        for line in log.further(container.get("logStreamName")):
            print(line, flush=True)
        if state in _ENDED:
            break
        time.sleep(_POLL_SECONDS)
    if state == "SUCCEEDED":
        return SUCCESS
    code = container["exitCode"] if "exitCode" in container else _listed_exit_code(batch, job)
    reason = f": {container['reason']}" if container.get("reason") else ""
    print(f"{job.id} failed with {'no exit code' if code is None else f'exit code {code}'}{reason}", file=sys.stderr)
    return code or 1


def _listed_exit_code(batch: BatchClient, job: Submitted) -> int | None:
    """The exit code by the other way that Batch tells it; moto's emulation knows this one alone."""
    pages = batch.get_paginator("list_jobs").paginate(
        jobQueue=job.queue, filters=[{"name": "JOB_NAME", "values": [job.name]}]
    )
    listed = (each for page in pages for each in page["jobSummaryList"] if each["jobId"] == job.id)
    return next((each["container"].get("exitCode") for each in listed if "container" in each), None)


class _Log:
    """The lines of a log stream that were not shown yet; another attempt writes another stream."""

    def __init__(self, logs: CloudWatchLogsClient, group: str) -> None:
        self._logs, self._group = logs, group
        self._stream: str | None = None
        self._token: str | None = None

    def further(self, stream: str | None) -> Iterator[str]:
        if stream is None:
            return
        if stream != self._stream:
            self._stream, self._token = stream, None
        while True:
            further: dict[str, Any] = {"nextToken": self._token} if self._token else {}
            try:
                page = self._logs.get_log_events(
                    logGroupName=self._group, logStreamName=stream, startFromHead=True, **further
                )
            except self._logs.exceptions.ResourceNotFoundException:
                return  # the stream comes with its first line
            yield from (event["message"] for event in page["events"])
            # The end is where the token stays the same.
            if page["nextForwardToken"] == self._token:
                return
            self._token = page["nextForwardToken"]


# The command line.


def main(argv: list[str] | None = None) -> int:
    """Runs the command; with --wait, returns the container's exit code."""
    options = _parser().parse_args(argv)
    try:
        submission = read(options)
        batch = connect()
        job = submit(batch, submission, options.queue)
        print(job.how_to_follow())
        return follow(batch, connect("logs"), job) if options.wait else SUCCESS
    except BadUsage as failure:
        print(f"submit-one: {failure.message}: {failure.hint}", file=sys.stderr)
        return failure.code
    except (UnknownModule, InvalidCatalogue, NotRendered) as error:
        print(f"submit-one: {error}", file=sys.stderr)
        return BadUsage.code
    except (BotoCoreError, ClientError) as error:
        print(f"submit-one: {in_words(error)}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nno longer followed; the job goes on", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m scripts.batch.submit",
        description="Submits one job to AWS Batch with the latest revision of the module's job definition, and prints"
        " how to follow it.",
        epilog="With --wait the job's states and log are shown until it ends, and the exit code is the container's."
        " Example: `make submit-one MODEL=voice-activity INPUT=s3://bucket/a.wav OUTPUT=s3://bucket/results/ WAIT=1`.",
    )
    parser.add_argument("model", help="the module, by its own name or its image repository")
    parser.add_argument("input", help="what to predict on: s3://bucket/key, s3://bucket/prefix/ or https://…")
    parser.add_argument("output", help="where the result goes: s3://bucket/prefix/")
    parser.add_argument("--queue", help="job queue; may be left out where there is only one")
    parser.add_argument("--variant", default="cpu", metavar="cpu|gpu", help="default: %(default)s")
    parser.add_argument("--fargate", action="store_true", help="with the definition for Fargate")
    parser.add_argument("--args", metavar="JSON", help="further arguments of the module, over the catalogue's defaults")
    parser.add_argument(
        "--env", action="append", default=[], metavar="NAME=VALUE", help="a variable of the job's; repeat"
    )
    parser.add_argument("--wait", action="store_true", help="follow the job to its end and exit as it does")
    return parser


if __name__ == "__main__":
    sys.exit(main())
