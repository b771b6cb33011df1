"""Batch's retry rules: made from the table of failures, and read the way Batch reads them.

    strategy = retry_strategy("EC2")                               for a job definition
    decide(strategy, Ending(exit_code=75))                         RETRY
    decide(strategy, Ending(exit_code=75), attempt=3)              EXIT: it was the last
    decide(strategy, Ending(status_reason="Host EC2 (instance i-0) terminated."))   RETRY

What Batch does with rules: https://docs.aws.amazon.com/batch/latest/APIReference/API_EvaluateOnExit.html
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

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
    """A rule, where it holds, and why it is there."""

    rule: Rule
    platforms: tuple[Platform, ...] = ("EC2", "FARGATE")
    why: str


# What ends a job with no fault of its own. Batch says it in one of two fields: the job's statusReason, as in
# "Host EC2 (instance i-0abc) terminated." and Fargate's "Your Spot Task was interrupted.", or the container's reason,
# as in "CannotPullContainerError: ...". A Spot notice need not reach the supervisor, so that its 75 is not enough.
_NO_FAULT_OF_ITS_OWN = (
    _Reason(
        rule={"onStatusReason": "Host EC2*", "action": RETRY},
        why="the machine is gone, as when Spot takes it back",
    ),
    _Reason(
        rule={"onStatusReason": "Your Spot Task*", "action": RETRY},
        platforms=("FARGATE",),
        why="the same, as Fargate puts it",
    ),
    _Reason(
        rule={"onReason": "CannotPull*", "action": RETRY},
        why="the registry, or the way to it",
    ),
)
_OURS = tuple(
    _Reason(
        rule={"onExitCode": str(failure.code), "action": RETRY},
        why=f"the only code that the table of failures marks so: {failure.meaning}",
    )
    for failure in TABLE
    if failure.retry
)
_ANYTHING_ELSE = _Reason(
    rule={"onReason": "*", "action": EXIT},
    why="everything else would be the same again. Batch retries where nothing matches, so that this rule must be"
    " there; a container that ran to its end has no reason, which `*` matches too",
)
_REASONS = (*_NO_FAULT_OF_ITS_OWN, *_OURS, _ANYTHING_ELSE)


def retry_strategy(platform: Platform, attempts: int = ATTEMPTS) -> dict[str, Any]:
    """A job definition's retryStrategy. Raises ValueError where the table wants more than Batch takes."""
    rules = [dict(reason.rule) for reason in _REASONS if platform in reason.platforms]
    strategy = {"attempts": attempts, "evaluateOnExit": rules}
    if faults := list(refusals(strategy)):
        raise ValueError("; ".join(faults))
    return strategy


def markdown() -> str:
    """The rules as docs/batch.md has them."""
    rows = ["| rule | why |", "|---|---|"]
    for reason in _REASONS:
        ((field, pattern),) = _conditions(reason.rule).items()
        name = {"onExitCode": "exit code", "onReason": "reason", "onStatusReason": "statusReason"}[field]
        alone = "" if len(reason.platforms) > 1 else " (on EC2)" if reason.platforms[0] == "EC2" else " (on Fargate)"
        rows.append(f"| {reason.rule['action']} on {name} `{pattern}`{alone} | {reason.why} |")
    return "\n".join(rows)


# Batch's side.


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
