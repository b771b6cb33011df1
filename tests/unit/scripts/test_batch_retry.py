"""Batch's retry rules, against the table of failures that they are made from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scripts.batch_retry import ATTEMPTS, MOST_ATTEMPTS, MOST_RULES, Ending, Platform, decide, refusals, retry_strategy
from supervisor.failures import SUCCESS, TABLE, Failure

PLATFORMS: tuple[Platform, ...] = ("EC2", "FARGATE")
# What ECS says of a task whose container ran to its end.
EXITED = "Essential container in task exited"
RECLAIMED = "Host EC2 (instance i-0123456789abcdef0) terminated."

Strategy = Mapping[str, Any]


@pytest.fixture(params=PLATFORMS)
def shipped(request: pytest.FixtureRequest) -> Strategy:
    """What the job definitions hold."""
    return retry_strategy(request.param)


def rules(*evaluated: Mapping[str, str], attempts: int = ATTEMPTS) -> Strategy:
    return {"attempts": attempts, "evaluateOnExit": list(evaluated)}


# Every ending of the supervisor, against the table.


@pytest.mark.parametrize("failure", TABLE, ids=lambda failure: failure.category)
def test_each_exit_code_is_retried_or_not_as_the_table_says(failure: type[Failure], shipped: Strategy) -> None:
    decision = decide(shipped, Ending(exit_code=failure.code, status_reason=EXITED))

    assert decision == ("RETRY" if failure.retry else "EXIT")


def test_no_other_code_is_retried(shipped: Strategy) -> None:
    retried = [code for code in range(256) if decide(shipped, Ending(exit_code=code, status_reason=EXITED)) == "RETRY"]

    assert retried == [failure.code for failure in TABLE if failure.retry]


def test_success_is_the_end_of_it(shipped: Strategy) -> None:
    assert decide(shipped, Ending(exit_code=SUCCESS, status_reason=EXITED)) == "EXIT"


# What AWS says of endings in which the supervisor has no word.


@pytest.mark.parametrize("code", [None, 75, 137, 143])
def test_a_machine_taken_back_by_spot_is_retried_whatever_the_exit_code(code: int | None, shipped: Strategy) -> None:
    assert decide(shipped, Ending(exit_code=code, status_reason=RECLAIMED)) == "RETRY"


@pytest.mark.parametrize(
    "reason",
    [
        "CannotPullContainerError: Error response from daemon: pull access denied, or no basic auth credentials",
        "CannotPullContainerError: context canceled",
        "CannotPullECRContainerError: AccessDeniedException",
    ],
)
def test_an_image_that_could_not_be_pulled_is_retried(reason: str, shipped: Strategy) -> None:
    assert decide(shipped, Ending(reason=reason, status_reason="Task failed to start")) == "RETRY"


def test_a_fargate_task_taken_back_is_retried() -> None:
    ending = Ending(exit_code=143, status_reason="Your Spot Task was interrupted.")

    assert decide(retry_strategy("FARGATE"), ending) == "RETRY"


@pytest.mark.parametrize(
    ("code", "reason", "status_reason"),
    [
        (137, "OutOfMemoryError: Container killed due to memory usage", EXITED),
        (1, None, EXITED),
        (139, None, EXITED),
        (None, "CannotStartContainerError: exec: no such file or directory", "Task failed to start"),
        (None, "CannotInspectContainerError: Could not transition to inspecting", EXITED),
        (None, None, "Task failed to start"),
        (None, None, None),
    ],
    ids=["memory", "exit 1", "segfault", "no entrypoint", "inspect", "not started", "nothing said"],
)
def test_what_would_be_the_same_again_is_not_retried(
    code: int | None, reason: str | None, status_reason: str | None, shipped: Strategy
) -> None:
    ending = Ending(exit_code=code, reason=reason, status_reason=status_reason)

    assert decide(shipped, ending) == "EXIT"


@pytest.mark.parametrize("code", [None, 75, 137, 143])
def test_a_job_that_ran_into_its_timeout_is_not_retried(code: int | None, shipped: Strategy) -> None:
    ending = Ending(exit_code=code, status_reason="Job attempt duration exceeded timeout", terminated=True)

    assert decide(shipped, ending) == "EXIT"


@pytest.mark.parametrize("said", ["not needed any more", "Host EC2 is too dear", "CannotPull"])
def test_a_job_that_a_person_terminated_is_not_retried_whatever_they_said(said: str, shipped: Strategy) -> None:
    assert decide(shipped, Ending(exit_code=75, status_reason=said, terminated=True)) == "EXIT"


def test_the_rules_alone_do_not_retry_a_stop_that_batch_asked_for(shipped: Strategy) -> None:
    """Batch's promise aside: what the supervisor says to a SIGTERM without a Spot notice is 143."""
    assert decide(shipped, Ending(exit_code=143, status_reason="Job attempt duration exceeded timeout")) == "EXIT"


def test_there_is_an_end_to_attempts(shipped: Strategy) -> None:
    passing = Ending(exit_code=75, status_reason=EXITED)

    assert [decide(shipped, passing, attempt) for attempt in range(1, ATTEMPTS + 1)] == ["RETRY", "RETRY", "EXIT"]


# What Batch takes.


def test_batch_takes_what_is_shipped(shipped: Strategy) -> None:
    assert list(refusals(shipped)) == []


def test_there_are_several_attempts_and_no_more_than_batch_takes() -> None:
    assert 1 < ATTEMPTS <= MOST_ATTEMPTS


@pytest.mark.parametrize(
    ("rule", "told"),
    [
        ({"onReason": "a*c", "action": "EXIT"}, "an asterisk may end it"),
        ({"onReason": "*a", "action": "EXIT"}, "an asterisk may end it"),
        ({"onReason": "Cannot(Pull)", "action": "EXIT"}, "onReason cannot be"),
        ({"onExitCode": "x", "action": "EXIT"}, "onExitCode cannot be"),
        ({"onExitCode": "-1", "action": "EXIT"}, "onExitCode cannot be"),
        ({"onStatusReason": "H" * 513, "action": "EXIT"}, "onStatusReason cannot be"),
        ({"onCode": "1", "action": "EXIT"}, "onCode is no condition"),
        ({"onReason": "*", "action": "STOP"}, "neither RETRY nor EXIT"),
        ({"onReason": "*"}, "neither RETRY nor EXIT"),
    ],
)
def test_what_batch_would_refuse_is_refused(rule: dict[str, str], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        decide(rules(rule), Ending(exit_code=1))


def test_more_rules_than_batch_takes_are_refused() -> None:
    with pytest.raises(ValueError, match=f"takes {MOST_RULES} rules"):
        decide(rules(*[{"onReason": "*", "action": "EXIT"}] * (MOST_RULES + 1)), Ending(exit_code=1))


@pytest.mark.parametrize("attempts", [0, 11])
def test_more_attempts_than_batch_takes_are_refused(attempts: int) -> None:
    with pytest.raises(ValueError, match="1 to 10 attempts"):
        retry_strategy("EC2", attempts)


# The evaluator itself, as AWS documents it.


def test_the_first_rule_that_matches_decides() -> None:
    strategy = rules({"onExitCode": "7*", "action": "EXIT"}, {"onExitCode": "75", "action": "RETRY"})

    assert decide(strategy, Ending(exit_code=75)) == "EXIT"


def test_a_rule_matches_only_where_all_its_conditions_do() -> None:
    strategy = rules({"onExitCode": "1", "onReason": "Disk*", "action": "EXIT"})

    assert decide(strategy, Ending(exit_code=1, reason="DiskFull")) == "EXIT"
    assert decide(strategy, Ending(exit_code=1, reason="Memory")) == "RETRY"
    assert decide(strategy, Ending(exit_code=2, reason="DiskFull")) == "RETRY"


def test_batch_retries_where_no_rule_matches() -> None:
    assert decide(rules(), Ending(exit_code=64)) == "RETRY"


def test_a_pattern_without_an_asterisk_is_the_whole_text() -> None:
    assert decide(rules({"onExitCode": "7", "action": "EXIT"}), Ending(exit_code=75)) == "RETRY"


def test_the_case_of_an_action_does_not_count() -> None:
    assert decide(rules({"onReason": "*", "action": "exit"}), Ending()) == "EXIT"


def test_the_case_of_a_pattern_counts() -> None:
    assert decide(rules({"onReason": "disk*", "action": "EXIT"}), Ending(reason="DiskFull")) == "RETRY"


@given(st.text(st.sampled_from("ab1 .:"), max_size=6), st.text(st.sampled_from("ab1 .:"), max_size=6))
def test_a_pattern_with_an_asterisk_matches_exactly_what_begins_with_it(pattern: str, text: str) -> None:
    strategy = rules({"onReason": f"{pattern}*", "action": "EXIT"})

    assert (decide(strategy, Ending(reason=text)) == "EXIT") == (text[: len(pattern)] == pattern)
