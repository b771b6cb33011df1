"""The table of failures, and what a job's items come to."""

from collections import Counter

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from supervisor.failures import (
    SUCCESS,
    TABLE,
    BadUsage,
    Failure,
    ItemFailed,
    OutOfMemory,
    PassingTrouble,
    job_exit_code,
)

# The contract that job definitions and people's scripts rely on.
CONTRACT = {
    64: ("bad job environment or usage", False),
    65: ("more items failed than JOB_MAX_FAILURES: bad input, or the module answered with an error", False),
    66: ("input does not exist", False),
    69: ("device asked for is not there", False),
    70: ("a bug of ours", False),
    73: ("output cannot be written (no bucket, denied)", False),
    74: ("local disk full or I/O error", False),
    75: ("passing trouble: S3 5xx/throttled/unreachable after retries, Spot notice", True),
    77: ("access to the input denied", False),
    78: ("the image is unfit: no DEEPaaS, no module, several and none chosen, module fails to import", False),
    124: ("prediction timed out", False),
    137: ("the model was killed for memory", False),
    143: ("told to stop (SIGTERM) with no Spot notice", False),
}
FAILURES = st.lists(st.sampled_from(TABLE).map(lambda kind: kind.code)).map(Counter)


def test_the_table_is_the_contract() -> None:
    assert {kind.code: (kind.meaning, kind.retry) for kind in TABLE} == CONTRACT


def test_every_failure_is_in_the_table_once() -> None:
    # The operator's side has one of its own, which no job ends with.
    supervisors = [kind for kind in Failure.__subclasses__() if kind.__module__.startswith("supervisor.")]

    assert sorted(TABLE, key=lambda kind: kind.code) == sorted(supervisors, key=lambda kind: kind.code)
    assert len({kind.category for kind in TABLE}) == len(TABLE)


@pytest.mark.parametrize("kind", TABLE, ids=lambda kind: kind.category)
def test_every_failure_says_what_to_do_in_one_line(kind: type[Failure]) -> None:
    failure = kind("what went wrong")
    assert failure.hint == kind.advice
    assert len(failure.hint.splitlines()) == 1


@given(st.text(st.characters(exclude_categories=())), st.text(st.characters(exclude_categories=())))
def test_any_message_is_one_printable_line(message: str, hint: str) -> None:
    failure = BadUsage(message, hint)
    assert failure.message.isprintable()
    assert failure.hint.isprintable()


def test_a_quoted_value_keeps_its_spaces() -> None:
    assert BadUsage("JOB_INPUT is 'a  b': no\n  such thing").message == "JOB_INPUT is 'a  b': no such thing"


@given(st.sampled_from(TABLE), st.integers(0, 5))
def test_one_item_gives_the_job_its_code_whatever_may_fail(kind: type[Failure], tolerated: int) -> None:
    assert job_exit_code(0, {kind.code: 1}, tolerated) == kind.code


@given(st.integers(0, 100), st.integers(0, 100))
def test_no_failure_is_success(succeeded: int, tolerated: int) -> None:
    assert job_exit_code(succeeded, {}, tolerated) == SUCCESS


@given(FAILURES, st.integers(0, 10), st.integers(1, 10))
def test_passing_trouble_anywhere_is_worth_a_retry(failures: Counter[int], tolerated: int, more: int) -> None:
    failures = failures + Counter({PassingTrouble.code: 1})
    assert job_exit_code(more, failures, tolerated) == PassingTrouble.code


@given(FAILURES, st.integers(0, 10), st.integers(1, 10))
def test_several_items_follow_the_contract(failures: Counter[int], tolerated: int, more: int) -> None:
    code = job_exit_code(more, failures, tolerated)
    if PassingTrouble.code in failures:
        assert code == PassingTrouble.code
    elif failures.total() <= tolerated:
        assert code == SUCCESS
    else:
        assert code == (next(iter(failures)) if len(failures) == 1 else ItemFailed.code)


@given(FAILURES, st.integers(0, 10))
def test_the_order_of_failures_does_not_matter(failures: Counter[int], tolerated: int) -> None:
    backwards = dict(reversed(failures.items()))
    assert job_exit_code(99, failures, tolerated) == job_exit_code(99, backwards, tolerated)


@given(FAILURES, st.integers(0, 1_000_000))
def test_a_job_none_of_whose_items_succeeded_is_no_success(failures: Counter[int], tolerated: int) -> None:
    assume(failures.total())
    assert job_exit_code(0, failures, tolerated) != SUCCESS


def test_different_failures_come_to_item_failed() -> None:
    assert job_exit_code(3, {OutOfMemory.code: 1, ItemFailed.code: 1}, 0) == ItemFailed.code
