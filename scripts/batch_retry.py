"""Batch's retry rules: made from the table of failures, and read the way Batch reads them.

    retry_strategy("EC2")                                          for a job definition
    decide(rules, Ending(exit_code=75))                            RETRY
    decide(rules, Ending(status_reason="Host EC2 (instance i-0) terminated."))      RETRY

What Batch does with rules: https://docs.aws.amazon.com/batch/latest/APIReference/API_EvaluateOnExit.html
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from supervisor.failures import TABLE

Platform = Literal["EC2", "FARGATE"]
Rule = Mapping[str, str]

ATTEMPTS = 3
MOST_RULES = 5
RETRY, EXIT = "RETRY", "EXIT"

# What ends a job with no fault of its own. Batch says it in one of two fields: the job's statusReason, as in
# "Host EC2 (instance i-0abc) terminated." and Fargate's "Your Spot Task was interrupted.", or the container's reason,
# as in "CannotPullContainerError: ...". A Spot notice need not reach the supervisor, so that its 75 is not enough.
_RECLAIMED: Mapping[Platform, tuple[Rule, ...]] = {
    "EC2": ({"onStatusReason": "Host EC2*", "action": RETRY},),
    "FARGATE": (
        {"onStatusReason": "Host EC2*", "action": RETRY},
        {"onStatusReason": "Your Spot Task*", "action": RETRY},
    ),
}
_NOT_PULLED: Rule = {"onReason": "CannotPull*", "action": RETRY}
# Batch tries again where nothing matches, so that the last rule must: a container that ran to its end has an empty
# reason, which `*` matches too.
_ANYTHING_ELSE: Rule = {"onReason": "*", "action": EXIT}


def retry_strategy(platform: Platform, attempts: int = ATTEMPTS) -> dict[str, Any]:
    """A job definition's retryStrategy. Raises ValueError where the table wants more rules than Batch takes."""
    codes = [{"onExitCode": str(failure.code), "action": RETRY} for failure in TABLE if failure.retry]
    rules = [*_RECLAIMED[platform], _NOT_PULLED, *codes, _ANYTHING_ELSE]
    if len(rules) > MOST_RULES:
        raise ValueError(f"Batch takes {MOST_RULES} rules, and these are {len(rules)}: fewer codes may be retried")
    return {"attempts": attempts, "evaluateOnExit": [dict(rule) for rule in rules]}


@dataclass(frozen=True, kw_only=True)
class Ending:
    """How an attempt ended, in the three fields that Batch looks at; None where it says nothing."""

    exit_code: int | None = None
    reason: str | None = None
    status_reason: str | None = None


def decide(rules: Iterable[Rule], ending: Ending) -> str:
    """RETRY or EXIT: the first rule all of whose conditions match; RETRY where none does."""
    said = {
        "onExitCode": "" if ending.exit_code is None else str(ending.exit_code),
        "onReason": ending.reason or "",
        "onStatusReason": ending.status_reason or "",
    }
    for rule in rules:
        conditions = {name: pattern for name, pattern in rule.items() if name != "action"}
        if all(_matches(pattern, said[name]) for name, pattern in conditions.items()):
            return rule["action"].upper()  # the one value whose case Batch does not mind
    return RETRY


def _matches(pattern: str, text: str) -> bool:
    """A pattern is the whole text, or its start where it ends in an asterisk; there is no other wildcard."""
    return text.startswith(pattern[:-1]) if pattern.endswith("*") else text == pattern
