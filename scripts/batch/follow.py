"""One submitted job, followed to its end: its states, why it waits, the log of each attempt, its exit code.

The job goes on whatever becomes of the one who watches. So what passes does not end the watch: throttling and a lost
network are waited out, and a log that may not be read is left out.
"""

from __future__ import annotations

import re
import shlex
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from scripts.batch import aws
from scripts.batch.waiting import why_it_waits
from supervisor.failures import (
    SUCCESS,
    Failure,
    ImageUnfit,
    PassingTrouble,
    PredictionTimedOut,
    Stopped,
)

if TYPE_CHECKING:
    from mypy_boto3_batch import BatchClient
    from mypy_boto3_logs import CloudWatchLogsClient

_ENDED = ("SUCCEEDED", "FAILED")


class NotFollowed(Failure):
    """The job is submitted, and what became of it is not known. docker run, too, tells its own trouble so: no job of
    ours ends with this code."""

    code = 125
    category = "not-followed"
    meaning = "the job was submitted, and could not be followed to its end"
    advice = "the job goes on: follow it by the commands above"


@dataclass(frozen=True, kw_only=True)
class Submitted:
    """A job that Batch has taken. log_group: None where its log goes elsewhere than to CloudWatch; status: the URI of
    its status document."""

    id: str
    name: str
    definition: str
    definition_arn: str
    queue: str
    region: str
    log_group: str | None
    log_region: str
    status: str

    @property
    def revision(self) -> str:
        """`<definition>:<revision>`."""
        return self.definition_arn.rpartition("/")[2]

    def how_to_follow(self) -> str:
        """Commands for a person to copy, each for this job alone."""
        describe = ["aws", "batch", "describe-jobs", "--region", self.region, "--jobs", self.id, "--query"]
        state = shlex.join([*describe, "jobs[0].[status,statusReason,container.exitCode]"])
        stream = shlex.join([*describe, "jobs[0].container.logStreamName", "--output", "text"])
        stop = ["aws", "batch", "terminate-job", "--region", self.region, "--job-id", self.id, "--reason", "by hand"]
        lines = [f"job {self.id} ({self.name}), {self.revision} in {self.queue}", f"  state    {state}"]
        if self.log_group is not None:
            tail = shlex.join(["aws", "logs", "tail", self.log_group, "--region", self.log_region, "--follow"])
            lines.append(f'  log      {tail} --log-stream-names "$({stream})"')
        lines.append(f"  status   {shlex.join(['aws', 's3', 'cp', self.status, '-'])}")
        lines.append(f"  stop it  {shlex.join(stop)}")
        return "\n".join(lines)


@dataclass(frozen=True, kw_only=True)
class Pace:
    """Seconds. poll: between two looks; longest: the same while AWS does not answer; waiting: between two looks at the
    queue of a job that does not start; quiet: for so long nothing further came of an ended job's log, which CloudWatch
    has some seconds late; last: the longest that is waited for it."""

    poll: float = 3.0
    longest: float = 30.0
    waiting: float = 60.0
    quiet: float = 6.0
    last: float = 60.0


def follow(batch: BatchClient, logs: CloudWatchLogsClient, job: Submitted, pace: Pace | None = None) -> int:
    """Shows each change of state, the reason why the job waits, and the log until it has ended.

    Returns the container's exit code, or that of the table of failures for a job that never came to one. Raises
    NotFollowed.
    """
    pace = pace or Pace()
    watch = _Watch(batch=batch, job=job, pace=pace)
    log = _Log(client=logs, group=job.log_group)
    while True:
        found = watch.look()
        for line in log.further(found):
            print(line, flush=True)
        if found.get("status") in _ENDED:
            break
        time.sleep(watch.pause)
    for line in log.rest(found, pace):
        print(line, flush=True)
    return _exit_code(job, found)


@dataclass(kw_only=True)
class _Watch:
    """Looks at the job, and tells what is new of it."""

    batch: BatchClient
    job: Submitted
    pace: Pace
    pause: float = 0.0
    _said: str = ""
    _reasons: set[str] = field(default_factory=set)
    _trouble: bool = False
    _next_reasons: float = 0.0
    _was_there: bool = False

    def look(self) -> Mapping[str, Any]:
        """The job as Batch describes it; empty where it cannot be asked right now. Raises NotFollowed."""
        try:
            with aws.errors():
                jobs = self.batch.describe_jobs(jobs=[self.job.id])["jobs"]
        except PassingTrouble as trouble:
            if not self._trouble:
                _tell(f"{trouble.message}; the job goes on, and AWS is asked again until it answers")
            self._trouble, self.pause = True, min(2 * (self.pause or self.pace.poll), self.pace.longest)
            return {}
        except Failure as failure:
            raise NotFollowed(f"job {self.job.id} goes on, but is no longer followed: {failure.message}") from None
        if self._trouble:
            _tell("AWS answers again")
        self._trouble, self.pause = False, self.pace.poll
        if not jobs:
            # Batch may take a moment to know a new job, and forgets one a week after its end.
            if self._was_there:
                raise NotFollowed(f"Batch knows job {self.job.id} no more", "look at its status document")
            return {}
        self._was_there = True
        found = cast("Mapping[str, Any]", jobs[0])
        self._tell_state(found)
        return found

    def _tell_state(self, found: Mapping[str, Any]) -> None:
        state = f"{found['status']} {found.get('statusReason', '')}".rstrip()
        if state != self._said:
            self._said = state
            _tell(f"{time.strftime('%H:%M:%S')} {state}")
        if found["status"] == "RUNNABLE" and time.monotonic() >= self._next_reasons:
            self._next_reasons = time.monotonic() + self.pace.waiting
            for reason in why_it_waits(self.batch, found):
                if reason not in self._reasons:
                    self._reasons.add(reason)
                    _tell(f"         {reason}")


@dataclass(kw_only=True)
class _Log:
    """The log of every attempt, a stream each, of which each line is shown once."""

    client: CloudWatchLogsClient
    group: str | None
    _tokens: dict[str, str | None] = field(default_factory=dict)
    _began: set[str] = field(default_factory=set)

    def further(self, found: Mapping[str, Any]) -> Iterator[str]:
        """What was not shown yet."""
        for number, stream in enumerate(_streams(found), 1):
            if self.group is None:
                return
            for line in self._further(stream):
                if stream not in self._began:
                    self._began.add(stream)
                    if number > 1:
                        _tell(f"attempt {number}:")
                yield line

    def rest(self, found: Mapping[str, Any], pace: Pace) -> Iterator[str]:
        """What comes of it once the job has ended, until nothing more does."""
        if self.group is None or not _streams(found):
            return
        began = quiet_since = time.monotonic()
        while time.monotonic() < min(quiet_since + pace.quiet, began + pace.last) and self.group is not None:
            for line in self.further(found):
                quiet_since = time.monotonic()
                yield line
            time.sleep(min(pace.poll, pace.quiet / 4))
        for stream in _streams(found):
            if stream not in self._began and self.group is not None:
                _tell(f"no log of it: {self.group} has no lines in {stream}")

    def _further(self, stream: str) -> Iterator[str]:
        while True:
            token = self._tokens.get(stream)
            further: dict[str, Any] = {"nextToken": token} if token else {}
            try:
                with aws.errors("the log cannot be shown"):
                    page = self.client.get_log_events(
                        logGroupName=cast("str", self.group), logStreamName=stream, startFromHead=True, **further
                    )
            except (PassingTrouble, aws.NotThere):
                return  # the stream comes with its first line
            except Failure as failure:
                _tell(f"{failure.message}; the job is followed on without it")
                self.group = None
                return
            yield from (event["message"] for event in page["events"])
            # The end is where the token stays the same.
            if page["nextForwardToken"] == token:
                return
            self._tokens[stream] = page["nextForwardToken"]


def _streams(found: Mapping[str, Any]) -> list[str]:
    """The log stream of each attempt that had one, in their order. The one under way is told with the job itself."""
    containers = [each.get("container", {}) for each in (*found.get("attempts", ()), found)]
    return list(dict.fromkeys(each["logStreamName"] for each in containers if each.get("logStreamName")))


def _exit_code(job: Submitted, found: Mapping[str, Any]) -> int:
    if found["status"] == "SUCCEEDED":
        return SUCCESS
    containers = [each.get("container", {}) for each in (found, *found.get("attempts", ())[-1:])]
    code = next((each["exitCode"] for each in containers if each.get("exitCode")), None)
    texts = (found.get("statusReason"), *(each.get("reason") for each in containers))
    said = "; ".join(dict.fromkeys(text for text in texts if text))
    if code is not None:
        _tell(f"{job.id} failed with exit code {code}{said and f': {said}'}")
        return int(code)
    cause = _cause(found, said)
    _tell(f"{job.id} failed without an exit code{said and f': {said}'} (exit {cause.code}, {cause.category})")
    return cause.code


def _cause(found: Mapping[str, Any], said: str) -> type[Failure]:
    """What became of a job whose container never ended by itself."""
    if "exceeded timeout" in said:
        return PredictionTimedOut
    if found.get("isTerminated") or found.get("isCancelled"):
        return Stopped
    if re.search("Cannot(Pull|Start|Create)", said):
        return ImageUnfit
    return PassingTrouble  # such as a machine that was taken away at every attempt


def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
