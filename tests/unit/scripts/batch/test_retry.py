"""Batch's retry rules, against the table of failures that they are made from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scripts.batch.retry import ATTEMPTS, MOST_ATTEMPTS, MOST_RULES, Ending, Platform, decide, refusals, retry_strategy
from supervisor.failures import SUCCESS, TABLE, Failure

PLATFORMS: tuple[Platform, ...] = ("EC2", "FARGATE")
# What ECS says of a task whose container ran to its end.
EXITED = "Essential container in task exited"
# What it says of a task no container of which came to run.
NOT_STARTED = "Task failed to start"
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


@pytest.mark.parametrize("code", [1, 125, 126, 127, 134, 139])
def test_a_broken_image_or_command_is_not_retried(code: int, shipped: Strategy) -> None:
    """Python's own 1; 125 to 127 are Docker's and a shell's for what cannot be run; 134 and 139 are crashes."""
    assert decide(shipped, Ending(exit_code=code, status_reason=EXITED)) == "EXIT"


def test_what_docker_says_of_a_container_that_its_engine_lost_is_retried(shipped: Strategy) -> None:
    assert decide(shipped, Ending(exit_code=255, status_reason=EXITED)) == "RETRY"


def test_success_is_the_end_of_it(shipped: Strategy) -> None:
    assert decide(shipped, Ending(exit_code=SUCCESS, status_reason=EXITED)) == "EXIT"


# What AWS says of endings in which the supervisor has no word.


@pytest.mark.parametrize("code", [None, 65, 69, 74, 75, 137, 143])
def test_a_machine_taken_back_by_spot_is_retried_whatever_the_exit_code(code: int | None, shipped: Strategy) -> None:
    assert decide(shipped, Ending(exit_code=code, status_reason=RECLAIMED)) == "RETRY"


@pytest.mark.parametrize("code", [None, 137, 143])
@pytest.mark.parametrize(
    "status_reason",
    [
        "Your Spot Task was interrupted.",
        "ECS is performing maintenance on the underlying infrastructure hosting the task.",
    ],
)
def test_a_fargate_task_taken_back_is_retried(code: int | None, status_reason: str) -> None:
    assert decide(retry_strategy("FARGATE"), Ending(exit_code=code, status_reason=status_reason)) == "RETRY"


# Most names are of Amazon ECS' page "Stopped tasks error codes"; the texts are of people who met them with Batch.
NEVER_RAN = {
    "slow engine": ("DockerTimeoutError: Could not transition to created; timed out after waiting 4m0s", NOT_STARTED),
    "slow runtime": ("ContainerRuntimeTimeoutError: Could not transition to running; timed out after 1m", NOT_STARTED),
    "engine busy": (
        "CannotInspectContainerError: Could not transition to inspecting; timed out after waiting 30s",
        EXITED,
    ),
    "cgroup": ("CgroupError: Agent could not create task's platform resources", NOT_STARTED),
    "registry": ("CannotPullContainerError: context canceled", NOT_STARTED),
    "registry throttles": ("CannotPullContainerError: 503 SlowDown", NOT_STARTED),
    "registry denies": ("CannotPullContainerError: Error response from daemon: pull access denied", NOT_STARTED),
    "disk of the machine": ("CannotPullContainerError: write /var/lib/docker: no space left on device", NOT_STARTED),
    "ECR": ("CannotPullECRContainerError: AccessDeniedException", NOT_STARTED),
    "create": ("CannotCreateContainerError: Error response from daemon: devmapper: Thin Pool is full", NOT_STARTED),
    "start": ("CannotStartContainerError: failed to initialize logging driver: RequestError", NOT_STARTED),
    "volume": ("CannotCreateVolumeError: mount timed out", NOT_STARTED),
    "Fargate": ("ResourceInitializationError: unable to pull secrets or registry auth: i/o timeout", NOT_STARTED),
    "Fargate's network": (None, "Timeout waiting for network interface provisioning to complete."),
    "AWS itself": ("InternalError: unexpected EOF", NOT_STARTED),
    "agent": ("AGENT", NOT_STARTED),
    "no reason": (None, NOT_STARTED),
    "nothing said": (None, None),
}


@pytest.mark.parametrize(("reason", "status_reason"), NEVER_RAN.values(), ids=NEVER_RAN.keys())
def test_an_attempt_that_never_ran_is_retried(reason: str | None, status_reason: str | None, shipped: Strategy) -> None:
    assert decide(shipped, Ending(reason=reason, status_reason=status_reason)) == "RETRY"


def test_a_start_that_failed_with_a_code_of_docker_is_retried(shipped: Strategy) -> None:
    failed = Ending(exit_code=127, reason="CannotStartContainerError: no such device", status_reason=NOT_STARTED)

    assert decide(shipped, failed) == "RETRY"


def test_a_container_killed_for_memory_is_not_retried(shipped: Strategy) -> None:
    killed = Ending(
        exit_code=137, reason="OutOfMemoryError: Container killed due to memory usage", status_reason=EXITED
    )

    assert decide(shipped, killed) == "EXIT"


def test_a_final_code_stays_final_where_the_engine_was_too_busy_to_inspect_the_container(shipped: Strategy) -> None:
    """The ECS agent takes the code from Docker's event then: amazon-ecs-agent, pull request 2940."""
    ending = Ending(exit_code=65, reason="CannotInspectContainerError: timed out", status_reason=EXITED)

    assert decide(shipped, ending) == "EXIT"


@pytest.mark.parametrize("code", [None, 75, 137, 143])
def test_a_job_that_ran_into_its_timeout_is_not_retried(code: int | None, shipped: Strategy) -> None:
    """Job timeouts: a job that is terminated for its timeout is not retried."""
    ending = Ending(exit_code=code, status_reason="Job attempt duration exceeded timeout", terminated=True)

    assert decide(shipped, ending) == "EXIT"


@pytest.mark.parametrize("said", ["not needed any more", "Host EC2 is too dear", "CannotPull"])
def test_a_job_that_a_person_terminated_is_not_retried_whatever_they_said(said: str, shipped: Strategy) -> None:
    """Automated job retries: jobs that are cancelled or terminated are not retried."""
    assert decide(shipped, Ending(exit_code=75, status_reason=said, terminated=True)) == "EXIT"


def test_there_is_an_end_to_attempts(shipped: Strategy) -> None:
    passing = Ending(exit_code=75, status_reason=EXITED)

    assert [decide(shipped, passing, attempt) for attempt in range(1, ATTEMPTS + 1)] == ["RETRY", "RETRY", "EXIT"]


# What Batch takes.


def test_batch_takes_what_is_shipped(shipped: Strategy) -> None:
    assert list(refusals(shipped)) == []


def test_one_list_of_rules_serves_ec2_and_fargate() -> None:
    assert retry_strategy("EC2") == retry_strategy("FARGATE")


def test_the_rules_do_not_rest_on_how_batch_matches_a_field_that_is_missing(shipped: Strategy) -> None:
    """Whether a bare asterisk matches no exit code at all, AWS does not say."""
    for rule in shipped["evaluateOnExit"]:
        patterns = [pattern for field, pattern in rule.items() if field != "action"]
        assert patterns
        assert "*" not in patterns


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


# The evaluator itself, as AWS documents it: EvaluateOnExit and RetryStrategy in the Batch API reference, "Automated job
# retries" and "Job timeouts" in the Batch user guide.


@pytest.mark.parametrize(
    ("ending", "decision"),
    [
        (Ending(reason="AGENT"), "RETRY"),
        (Ending(status_reason="Task failed to start"), "RETRY"),
        (Ending(exit_code=1, status_reason=EXITED), "EXIT"),
        (Ending(exit_code=1, reason="AGENT lost", status_reason=EXITED), "EXIT"),
    ],
)
def test_the_example_of_automated_job_retries_comes_out_as_it_says(ending: Ending, decision: str) -> None:
    """Two entries with RETRY and a final one that exits for any reason."""
    strategy = rules(
        {"action": "RETRY", "onReason": "AGENT"},
        {"action": "RETRY", "onStatusReason": "Task failed to start"},
        {"action": "EXIT", "onReason": "*"},
    )

    assert decide(strategy, ending) == decision


def test_the_first_rule_that_matches_decides() -> None:
    strategy = rules({"onExitCode": "7*", "action": "EXIT"}, {"onExitCode": "75", "action": "RETRY"})

    assert decide(strategy, Ending(exit_code=75)) == "EXIT"


def test_a_rule_matches_only_where_all_its_conditions_do() -> None:
    """EvaluateOnExit, action: taken if all of the specified conditions are met."""
    strategy = rules({"onExitCode": "1", "onReason": "Disk*", "action": "EXIT"})

    assert decide(strategy, Ending(exit_code=1, reason="DiskFull")) == "EXIT"
    assert decide(strategy, Ending(exit_code=1, reason="Memory")) == "RETRY"
    assert decide(strategy, Ending(exit_code=2, reason="DiskFull")) == "RETRY"


def test_batch_retries_where_no_rule_matches() -> None:
    """EvaluateOnExit: if none of the conditions match, the job is retried."""
    assert decide(rules(), Ending(exit_code=64)) == "RETRY"


def test_a_pattern_without_an_asterisk_is_the_whole_text() -> None:
    """EvaluateOnExit, onExitCode: an asterisk at the end, so that only the start needs to be an exact match."""
    assert decide(rules({"onExitCode": "7", "action": "EXIT"}), Ending(exit_code=75)) == "RETRY"


def test_the_case_of_an_action_does_not_count() -> None:
    """EvaluateOnExit, action: the values are not case sensitive."""
    assert decide(rules({"onReason": "*", "action": "exit"}), Ending()) == "EXIT"


def test_the_case_of_a_pattern_counts() -> None:
    assert decide(rules({"onReason": "disk*", "action": "EXIT"}), Ending(reason="DiskFull")) == "RETRY"


@given(st.text(st.sampled_from("ab1 .:"), max_size=6), st.text(st.sampled_from("ab1 .:"), max_size=6))
def test_a_pattern_with_an_asterisk_matches_exactly_what_begins_with_it(pattern: str, text: str) -> None:
    strategy = rules({"onReason": f"{pattern}*", "action": "EXIT"})

    assert (decide(strategy, Ending(reason=text)) == "EXIT") == (text[: len(pattern)] == pattern)
