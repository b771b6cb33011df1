"""Batch's retry rules, against the table of failures that they are made from."""

from __future__ import annotations

import pytest

from scripts.batch_retry import ATTEMPTS, MOST_RULES, Ending, Platform, decide, retry_strategy
from supervisor.failures import TABLE, Failure

PLATFORMS: tuple[Platform, ...] = ("EC2", "FARGATE")
# What ECS says of a task whose container ran to its end.
EXITED = "Essential container in task exited"


@pytest.fixture(params=PLATFORMS)
def rules(request: pytest.FixtureRequest) -> list[dict[str, str]]:
    strategy: list[dict[str, str]] = retry_strategy(request.param)["evaluateOnExit"]
    return strategy


@pytest.mark.parametrize("failure", TABLE, ids=lambda failure: failure.category)
def test_each_exit_code_is_retried_or_not_as_the_table_says(
    failure: type[Failure], rules: list[dict[str, str]]
) -> None:
    decision = decide(rules, Ending(exit_code=failure.code, status_reason=EXITED))

    assert decision == ("RETRY" if failure.retry else "EXIT")


@pytest.mark.parametrize("code", [1, 2, 7, 126, 127, 134, 139, 175, 255])
def test_a_code_that_the_table_does_not_know_is_not_retried(code: int, rules: list[dict[str, str]]) -> None:
    assert decide(rules, Ending(exit_code=code, status_reason=EXITED)) == "EXIT"


def test_a_machine_taken_back_by_spot_is_retried_whatever_the_exit_code(rules: list[dict[str, str]]) -> None:
    reclaimed = "Host EC2 (instance i-0123456789abcdef0) terminated."

    assert {decide(rules, Ending(exit_code=code, status_reason=reclaimed)) for code in (None, 137, 143)} == {"RETRY"}


def test_an_image_that_could_not_be_pulled_is_retried(rules: list[dict[str, str]]) -> None:
    ending = Ending(reason="CannotPullContainerError: context canceled", status_reason="Task failed to start")

    assert decide(rules, ending) == "RETRY"


def test_a_fargate_task_taken_back_is_retried() -> None:
    rules = retry_strategy("FARGATE")["evaluateOnExit"]

    assert decide(rules, Ending(exit_code=143, status_reason="Your Spot Task was interrupted.")) == "RETRY"


def test_a_container_killed_for_memory_by_ecs_is_not_retried(rules: list[dict[str, str]]) -> None:
    ending = Ending(
        exit_code=137, reason="OutOfMemoryError: Container killed due to memory usage", status_reason=EXITED
    )

    assert decide(rules, ending) == "EXIT"


def test_there_are_no_more_rules_than_batch_takes(rules: list[dict[str, str]]) -> None:
    assert len(rules) <= MOST_RULES


def test_there_are_several_attempts_and_no_more_than_batch_takes() -> None:
    assert 1 < ATTEMPTS <= 10


def test_patterns_have_no_other_letters_than_batch_allows(rules: list[dict[str, str]]) -> None:
    patterns = [value for rule in rules for name, value in rule.items() if name != "action"]

    assert [p for p in patterns if not all(c.isalnum() or c in ".: " for c in p.removesuffix("*"))] == []


# The evaluator itself, as AWS documents it.


def test_the_first_rule_that_matches_decides() -> None:
    rules = [{"onExitCode": "7*", "action": "EXIT"}, {"onExitCode": "75", "action": "RETRY"}]

    assert decide(rules, Ending(exit_code=75)) == "EXIT"


def test_a_rule_matches_only_where_all_its_conditions_do() -> None:
    rules = [{"onExitCode": "1", "onReason": "Disk*", "action": "EXIT"}]

    assert decide(rules, Ending(exit_code=1, reason="DiskFull")) == "EXIT"
    assert decide(rules, Ending(exit_code=1, reason="Memory")) == "RETRY"


def test_batch_retries_where_no_rule_matches() -> None:
    assert decide([], Ending(exit_code=64)) == "RETRY"


def test_a_pattern_without_an_asterisk_is_the_whole_text() -> None:
    assert decide([{"onExitCode": "7", "action": "EXIT"}], Ending(exit_code=75)) == "RETRY"


def test_an_asterisk_inside_a_pattern_is_no_wildcard() -> None:
    assert decide([{"onReason": "a*c", "action": "EXIT"}], Ending(reason="abc")) == "RETRY"


def test_the_case_of_an_action_does_not_count() -> None:
    assert decide([{"onReason": "*", "action": "exit"}], Ending()) == "EXIT"
