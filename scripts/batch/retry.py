"""Batch's retry rules: made from the table of failures, and read the way Batch reads them.

    strategy = retry_strategy("EC2")                               for a job definition
    decide(strategy, Ending(exit_code=75))                         RETRY
    decide(strategy, Ending(exit_code=75), attempt=3)              EXIT: it was the last
    decide(strategy, Ending(reason="DockerTimeoutError: ..."))     RETRY: no rule says that it is final

What Batch does with rules: https://docs.aws.amazon.com/batch/latest/APIReference/API_EvaluateOnExit.html
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Literal

from scripts.docs.markdown import markdown_table
from supervisor.failures import SUCCESS, TABLE

Platform = Literal["EC2", "FARGATE"]
Decision = Literal["RETRY", "EXIT"]
Rule = Mapping[str, str]

ATTEMPTS = 3
MOST_ATTEMPTS = 10
MOST_RULES = 5
LONGEST_PATTERN = 512
RETRY, EXIT = "RETRY", "EXIT"


@dataclass(frozen=True, kw_only=True)
class _Reason:
    """A rule, and why it is there."""

    rule: Rule
    why: str


# The rules say what is final, for Batch retries what no rule matches. What passes has too many names to list:
# DockerTimeoutError, CannotPullContainerError, CannotInspectContainerError, CgroupError, ResourceInitializationError,
# InternalError, a bare "Task failed to start", "Your Spot Task was interrupted.", maintenance of the machine ...
# (https://docs.aws.amazon.com/AmazonECS/latest/developerguide/stopped-task-error-codes.html). Such an attempt has no
# exit code, or its status reason is not that of a container which ended by itself, so that no rule for codes matches.
# An image that can never be started costs a few minutes an attempt.
_HOST_GONE = _Reason(
    rule={"onStatusReason": "Host EC2*", "action": RETRY},
    why="the machine is gone, as when Spot takes it back, whatever code the container ended with meanwhile",
)
_OURS = tuple(
    _Reason(
        rule={"onExitCode": str(failure.code), "action": RETRY},
        why=f"the only code that the table of failures marks so: {failure.meaning}",
    )
    for failure in TABLE
    if failure.retry
)
# A signal ended the container, from here on: the shell's and Docker's way of telling which.
_SIGNALLED = 128
_BY_ITSELF = "Essential container*"


def _final() -> Iterator[_Reason]:
    """One rule for all final codes with the same first digit: five rules are all, and final codes a dozen."""
    codes = sorted((failure.code for failure in TABLE if not failure.retry), key=str)
    for digit, group in groupby(codes, key=lambda code: str(code)[0]):
        same = sorted(group)
        rule = {"onExitCode": f"{digit}*"}
        why = f"final by the table of failures: {', '.join(map(str, same))}"
        if same[-1] >= _SIGNALLED:
            # SIGTERM and SIGKILL end a container on a dying machine, too. ECS calls an end of the container's own
            # "Essential container in task exited"; Fargate Spot gave 137 with "Your Spot Task was interrupted.".
            rule["onStatusReason"] = _BY_ITSELF
            why += (
                ", where the container ended by itself; with them 1, 125, 126, 127 and 139, by which an image or a"
                " command is broken, and would be again"
            )
        yield _Reason(rule={**rule, "action": EXIT}, why=why)


_REASONS = (_HOST_GONE, *_OURS, *_final())


def retry_strategy(platform: Platform, attempts: int = ATTEMPTS) -> dict[str, Any]:
    """A job definition's retryStrategy; its rules are the same on EC2 and on Fargate.

    Raises ValueError where the table wants more than Batch takes.
    """
    strategy = {"attempts": attempts, "evaluateOnExit": [dict(reason.rule) for reason in _REASONS]}
    if faults := list(refusals(strategy)):
        raise ValueError(f"{platform}: {'; '.join(faults)}")
    return strategy


def markdown() -> str:
    """The rules as docs/batch.md has them."""
    names = {"onExitCode": "exit code", "onReason": "reason", "onStatusReason": "statusReason"}
    rows = []
    for reason in _REASONS:
        conditions = " and ".join(f"{names[field]} `{pattern}`" for field, pattern in _conditions(reason.rule).items())
        rows.append((f"{reason.rule['action']} on {conditions}", reason.why))
    rows.append(("RETRY what no rule matches", "Batch's own rule: all attempts that never ran, however AWS puts it"))
    return markdown_table(("rule", "why"), rows)


# Batch's side. Where AWS says nothing, of a field that an ending does not have, the shipped rules do not rest on it.


@dataclass(frozen=True, kw_only=True)
class Ending:
    """How an attempt ended, in the three fields that rules may ask for; None where Batch says nothing.

    terminated: Batch itself stopped it, because an attempt ran into its timeout or a person said TerminateJob.
    """

    exit_code: int | None = None
    reason: str | None = None
    status_reason: str | None = None
    terminated: bool = False


def decide(strategy: Mapping[str, Any], ending: Ending, attempt: int = 1) -> Decision:
    """Whether another attempt follows: by the first rule all of whose conditions match; RETRY where none does.

    Raises ValueError for a strategy that Batch would refuse.
    """
    if faults := list(refusals(strategy)):
        raise ValueError("; ".join(faults))
    # Rules are asked about failures alone, while attempts are left, and never where Batch stopped the job itself:
    # https://docs.aws.amazon.com/batch/latest/userguide/job_timeouts.html
    if ending.exit_code == SUCCESS or ending.terminated or attempt >= strategy["attempts"]:
        return "EXIT"
    said = {
        "onExitCode": "" if ending.exit_code is None else str(ending.exit_code),
        "onReason": ending.reason or "",
        "onStatusReason": ending.status_reason or "",
    }
    for rule in strategy["evaluateOnExit"]:
        if all(_matches(pattern, said[name]) for name, pattern in _conditions(rule).items()):
            return "RETRY" if rule["action"].upper() == RETRY else "EXIT"
    return "RETRY"


def _conditions(rule: Rule) -> dict[str, str]:
    return {name: pattern for name, pattern in rule.items() if name != "action"}


def _matches(pattern: str, text: str) -> bool:
    """A pattern is the whole text, or its start where it ends in an asterisk. Its case counts."""
    return text.startswith(pattern[:-1]) if pattern.endswith("*") else text == pattern


def refusals(strategy: Mapping[str, Any]) -> Iterator[str]:
    """What Batch would have against a retryStrategy, a line each."""
    rules: Iterable[Rule] = strategy["evaluateOnExit"]
    if not 1 <= strategy["attempts"] <= MOST_ATTEMPTS:
        yield f"Batch takes 1 to {MOST_ATTEMPTS} attempts, not {strategy['attempts']}"
    if len(list(rules)) > MOST_RULES:
        yield f"Batch takes {MOST_RULES} rules, and these are {len(list(rules))}: fewer endings may be retried"
    for rule in rules:
        if str(rule.get("action")).upper() not in (RETRY, EXIT):
            yield f"the action {rule.get('action')!r} is neither RETRY nor EXIT"
        for name, pattern in _conditions(rule).items():
            if name not in _ALLOWED:
                yield f"{name} is no condition: there are {', '.join(_ALLOWED)}"
            elif not _ALLOWED[name].fullmatch(pattern) or len(pattern) > LONGEST_PATTERN:
                yield f"{name} cannot be {pattern[:80]!r}: beside letters and digits an asterisk may end it, no more"


_ALLOWED = {
    "onExitCode": re.compile(r"[0-9]*\*?"),
    "onReason": re.compile(r"[A-Za-z0-9.:\s]*\*?"),
    "onStatusReason": re.compile(r"[A-Za-z0-9.:\s]*\*?"),
}
