"""The command `deepaas-batch submit`: one job, with the latest revision of its definition."""

from __future__ import annotations

import argparse
import json
import re
import shlex
import sys
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from botocore.exceptions import BotoCoreError

from scripts.batch import aws
from scripts.batch.definitions import LOG_GROUP, definition_name
from scripts.batch.follow import NotFollowed, Submitted, follow
from scripts.batch.retry import Platform
from scripts.batch.revisions import latest
from scripts.images import catalogue
from scripts.images.arguments import predict_args
from scripts.images.derived import Name
from supervisor.failures import SUCCESS, BadUsage, Failure, PassingTrouble
from supervisor.machine import console

if TYPE_CHECKING:
    from mypy_boto3_batch import BatchClient
    from mypy_boto3_batch.type_defs import SubmitJobResponseTypeDef


@dataclass(frozen=True, kw_only=True)
class Submission:
    """One job to submit. register: the command that registers its definition."""

    definition: str
    register: str
    input: str
    output: str
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def job_name(self) -> str:
        """`<definition>-<file>`, of what Batch allows: 128 letters, digits, hyphens and underscores."""
        file = PurePosixPath(urlsplit(self.input).path).name
        return re.sub(r"[^A-Za-z0-9_-]+", "-", f"{self.definition}-{file}").strip("-")[:128]


def read(options: argparse.Namespace) -> Submission:
    """The job that a person asked for. Raises BadUsage, InvalidCatalogue."""
    module, variant = catalogue.find(options.model), catalogue.variant(options.variant)
    if options.fargate and variant == "gpu":
        raise BadUsage("Fargate has no GPU", "leave --fargate out, or use --variant cpu")
    _require_uri("input", options.input, ("s3", "https", "http"), "s3://bucket/key")
    _require_uri("output", options.output, ("s3",), "s3://bucket/results/")
    Name(module=module.name, variant=variant, tag=options.tag)  # which says what is wrong with a tag
    platform: Platform = "FARGATE" if options.fargate else "EC2"
    arguments = predict_args(options.args)
    environment = dict(_pair(each) for each in options.env)
    if arguments:
        environment["JOB_PREDICT_ARGS"] = json.dumps({**(module.default_args or {}), **arguments})
    return Submission(
        definition=definition_name(module.name, variant, platform, options.tag),
        register=_register_command(module.name, platform, options.tag),
        input=options.input,
        output=options.output.rstrip("/") + "/",
        environment=environment,
    )


def _register_command(module: str, platform: Platform, tag: str | None) -> str:
    options = {"--tag": tag, "--registry": "HOST/PATH", "--role": "ARN"}
    options |= {"--execution-role": "ARN"} if platform == "FARGATE" else {}
    flags = [word for flag, value in options.items() if value for word in (flag, value)]
    return shlex.join(["deepaas-batch", "job-definitions", module, *flags, "--register"])


def _require_uri(name: str, uri: str, schemes: tuple[str, ...], example: str) -> None:
    parts = urlsplit(uri)
    if parts.scheme not in schemes or not parts.netloc:
        raise BadUsage(f"the {name} is {uri!r}, which a job cannot reach", f"use {example}")


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (equals and re.fullmatch(r"[A-Za-z_]\w*", name)):
        raise BadUsage(f"--env {text!r} is no NAME=VALUE", "use --env JOB_MAX_FAILURES=3")
    if name.startswith("AWS_BATCH"):
        raise BadUsage(f"--env {name}: Batch keeps AWS_BATCH… for itself", "leave it out")
    return name, value


@dataclass(frozen=True, kw_only=True)
class QueueArn:
    """A queue by its full name, which says the account and region that it is in. Raises BadUsage."""

    text: str
    region: str = field(init=False)
    account: str = field(init=False)

    def __post_init__(self) -> None:
        found = re.fullmatch(r"arn:aws[a-z-]*:batch:([a-z0-9-]+):(\d{12}):job-queue/[A-Za-z0-9_-]{1,128}", self.text)
        if found is None:
            raise BadUsage(
                f"--queue {self.text} is no ARN of a job queue",
                "use its name, or arn:aws:batch:REGION:ACCOUNT:job-queue/NAME",
            )
        object.__setattr__(self, "region", found[1])
        object.__setattr__(self, "account", found[2])


def queue_arn(wanted: str | None) -> QueueArn | None:
    """The queue asked for as an ARN; None where it goes by its name. Raises BadUsage."""
    return QueueArn(text=wanted) if wanted and ":" in wanted else None


def submit(batch: BatchClient, submission: Submission, queue: str | None) -> Submitted:
    """Raises BadUsage where there is no such definition or queue."""
    definition = latest(batch, submission.definition)
    if definition is None:
        region = batch.meta.region_name
        raise BadUsage(f"no job definition {submission.definition} is registered in {region}", submission.register)
    _require_account(queue_arn(queue), definition["jobDefinitionArn"])
    queue = _queue(batch, queue)
    job = _submit_job(batch, submission, queue, definition["jobDefinitionArn"])
    log = definition["containerProperties"].get("logConfiguration", {})
    options = log.get("options", {})
    region = batch.meta.region_name
    return Submitted(
        id=job["jobId"],
        name=job["jobName"],
        definition=submission.definition,
        definition_arn=definition["jobDefinitionArn"],
        queue=queue,
        region=region,
        log_group=options.get("awslogs-group", LOG_GROUP) if log.get("logDriver", "awslogs") == "awslogs" else None,
        log_region=options.get("awslogs-region", region),
        status=submission.environment.get("JOB_STATUS") or f"{submission.output}_status/{job['jobId']}.json",
    )


def _submit_job(
    batch: BatchClient, submission: Submission, queue: str, definition_arn: str
) -> SubmitJobResponseTypeDef:
    """Raises PassingTrouble where the answer was lost: Batch may have taken the job all the same."""
    try:
        return batch.submit_job(
            jobName=submission.job_name,
            jobQueue=queue,
            jobDefinition=definition_arn,
            parameters={"input": submission.input, "output": submission.output},
            containerOverrides={"environment": [{"name": k, "value": v} for k, v in submission.environment.items()]},
        )
    except BotoCoreError as error:
        trouble = aws.failure(error)
        if not isinstance(trouble, PassingTrouble):
            raise trouble from None
        words = ["aws", "batch", "list-jobs", "--region", batch.meta.region_name, "--job-queue", queue]
        words += ["--filters", f"name=JOB_NAME,values={submission.job_name}"]
        said = f"it is not known whether the job was submitted: {trouble.message}"
        raise PassingTrouble(said, f"see whether it is there before you try again: {shlex.join(words)}") from None


def _require_account(queue: QueueArn | None, definition_arn: str) -> None:
    """Whoever names another account's queue would otherwise be told that there is none."""
    account = definition_arn.split(":")[4]
    if queue and queue.account != account:
        raise BadUsage(
            f"the job queue {queue.text} is of account {queue.account}, and these credentials are of {account}",
            "use credentials of that account (AWS_PROFILE), or another queue",
        )


def _queue(batch: BatchClient, wanted: str | None) -> str:
    """The queue asked for, or the only one that takes jobs. Raises BadUsage."""
    pages = batch.get_paginator("describe_job_queues").paginate()
    queues = [each for page in pages for each in page["jobQueues"]]
    key = "jobQueueArn" if queue_arn(wanted) else "jobQueueName"
    states = {str(each[key]): each["state"] for each in queues}  # type: ignore[literal-required]
    enabled = sorted(name for name, state in states.items() if state == "ENABLED")
    there = f"there are {', '.join(enabled)}" if enabled else "there is none here: create one first"
    if wanted is None:
        if len(enabled) == 1:
            return enabled[0]
        raise BadUsage("no job queue is named", f"name one with --queue: {there}")
    if wanted not in states:
        raise BadUsage(f"there is no job queue {wanted} in {batch.meta.region_name}", there)
    if wanted not in enabled:
        raise BadUsage(f"the job queue {wanted} is disabled", "enable it, or name another")
    return wanted


# The command.

DESCRIPTION = """\
Submits one job to AWS Batch with the latest revision of the module's job definition, and prints how to follow it."""
EPILOG = """\
With --wait the job's states, the reason why it waits, and the log of each attempt are shown until it ends, and the exit
code is the container's; 125 where the job was submitted and could not be followed to its end. Without a line that
begins with `job` nothing was submitted.

examples:
  deepaas-batch submit voice-activity s3://bucket/a.wav s3://bucket/results/ --wait
  deepaas-batch submit yolov8 s3://bucket/2024/ s3://bucket/results/ --variant gpu --env JOB_MAX_FAILURES=10"""


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", help="the module, by its own name or its image repository")
    parser.add_argument("input", help="what to predict on: s3://bucket/key, s3://bucket/prefix/ or https://…")
    parser.add_argument("output", help="where the result goes: s3://bucket/prefix/")
    parser.add_argument("--queue", metavar="NAME|ARN", help="job queue; may be left out where there is only one")
    parser.add_argument("--variant", default="cpu", metavar="cpu|gpu", help="default: %(default)s")
    parser.add_argument("--tag", help="of the image, as `job-definitions` was told it")
    parser.add_argument("--fargate", action="store_true", help="with the definition for Fargate")
    parser.add_argument("--args", metavar="JSON", help="further arguments of the module, over the catalogue's defaults")
    parser.add_argument(
        "--env", action="append", default=[], metavar="NAME=VALUE", help="a variable of the job's; repeat"
    )
    parser.add_argument("--wait", action="store_true", help="follow the job to its end and exit as it does")


def main(options: argparse.Namespace) -> int:
    """0, or with --wait the container's exit code. Raises Failure, NotFollowed once the job is submitted."""
    submission, arn = read(options), queue_arn(options.queue)
    batch = aws.connect(region=arn.region if arn else None)
    with aws.errors():
        job = submit(batch, submission, options.queue)
    print(job.how_to_follow(), flush=True)
    if not options.wait:
        return SUCCESS
    try:
        return follow(batch, aws.connect("logs", job.log_region), job)
    except NotFollowed:
        raise
    except KeyboardInterrupt:
        print("\nno longer followed; the job goes on", file=sys.stderr)
        raise
    except (Failure, OSError) as trouble:  # SIGTERM, or nobody reads what is written: not the job's end, nor its code
        raise NotFollowed(f"job {job.id} goes on, but is no longer followed: {trouble}") from None
    except Exception as bug:
        console.say(traceback.format_exc())
        said = f"{type(bug).__name__}: {bug}"
        raise NotFollowed(f"job {job.id} goes on, but is no longer followed, by a bug of ours: {said}") from None
