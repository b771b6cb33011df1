"""One submitted job, followed to its end: its states, its log, its exit code."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from supervisor.failures import SUCCESS

if TYPE_CHECKING:
    from mypy_boto3_batch import BatchClient
    from mypy_boto3_logs import CloudWatchLogsClient

_POLL_SECONDS = 3.0
_ENDED = ("SUCCEEDED", "FAILED")


@dataclass(frozen=True, kw_only=True)
class Submitted:
    """A job that Batch has taken."""

    id: str
    name: str
    definition: str
    definition_arn: str
    queue: str
    log_group: str
    output: str

    @property
    def revision(self) -> str:
        """`<definition>:<revision>`."""
        return self.definition_arn.rpartition("/")[2]

    def how_to_follow(self) -> str:
        """Commands for a person to copy."""
        return "\n".join(
            (
                f"job {self.id} ({self.name}), {self.revision} in {self.queue}",
                f"  state    aws batch describe-jobs --jobs {self.id}"
                " --query 'jobs[0].[status,statusReason,container.exitCode]'",
                f"  log      aws logs tail {self.log_group} --log-stream-name-prefix {self.definition}/ --follow",
                f"  status   aws s3 cp {self.output}_status/{self.id}.json -",
                f"  stop it  aws batch terminate-job --job-id {self.id} --reason 'by hand'",
            )
        )


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
