"""JOB_GIVE_UP_AFTER: which failures have one cause, and when a job ends with it."""

import pytest

from supervisor.failures import Failure, InputMissing, ItemFailed, PassingTrouble
from supervisor.same_cause import SameCause
from supervisor.status.document import DONE, ITEM_FAILED, LEFT_OUT, SKIPPED, Outcome
from supervisor.work.plan import Item


def outcome(index: int, failure: Failure | None = None, state: str | None = None) -> Outcome:
    name = f"{index:04}-recording {index}.wav"
    item = Item(index=index, uri=f"s3://bucket/in/{name}", relative=name, output="s3://bucket/out/")
    return Outcome(item=item, state=state or (ITEM_FAILED if failure else DONE), failure=failure)


def told(*outcomes: Outcome, enough: int = 5, any_done: bool = False) -> Failure | None:
    """What the job ends with, after all of these."""
    same_cause = SameCause(enough, lambda: any_done)
    ends = [end for each in outcomes if (end := same_cause.after(each)) is not None]
    assert len(ends) <= 1
    return ends[0] if ends else None


def failing(count: int, message: str = "no such file: models/weights.h5", start: int = 0) -> list[Outcome]:
    return [
        outcome(index, ItemFailed(message.replace("{}", f"{index:04}-recording {index}.wav"), "look at the log"))
        for index in range(start, start + count)
    ]


def test_so_many_failures_of_one_cause_end_the_job() -> None:
    assert told(*failing(4)) is None
    end = told(*failing(5))
    assert isinstance(end, ItemFailed)
    assert end.message == (
        "gave up: the first 5 items failed of one cause and none has succeeded (JOB_GIVE_UP_AFTER is 5); the first of "
        "them: no such file: models/weights.h5"
    )
    assert end.hint == "look at the log. JOB_GIVE_UP_AFTER=0 has every item tried"


@pytest.mark.parametrize(
    "message",
    [
        "cannot read {}",
        "s3://bucket/in/{} does not exist",
        "cannot open /tmp/supervisor-x8k/{}",
        "OSError: [Errno 2] No such file: '/tmp/tmpabcdefgh/{}'",
    ],
)
def test_an_items_own_name_makes_no_difference(message: str) -> None:
    assert told(*failing(5, message)) is not None


@pytest.mark.parametrize(
    "message",
    [
        "silent: {} of 16000 samples",
        "took longer than {}.5 s",
        "object at 0x7f{}a",
        "no /tmp/tmpa{}b/x.png",
        "process {} was killed",
        "see http://127.0.0.1:8{}/log",
        "tmpx{}q is gone",
    ],
)
def test_neither_do_numbers_and_paths(message: str) -> None:
    outcomes = [outcome(index, ItemFailed(message.format(7**index))) for index in range(5)]
    assert told(*outcomes) is not None


def test_another_cause_is_another() -> None:
    assert told(*failing(4), *failing(1, "the recording is silent", start=4), *failing(20, start=5)) is None


def test_another_exit_code_is_another_cause() -> None:
    others = [outcome(index, InputMissing("no such file: models/weights.h5")) for index in range(4, 20)]
    assert told(*failing(4), *others) is None


def test_one_success_is_enough_for_good() -> None:
    assert told(outcome(0), *failing(50, start=1)) is None
    assert told(*failing(4), outcome(4), *failing(50, start=5)) is None


def test_a_success_that_is_not_told_of_yet_counts() -> None:
    assert told(*failing(50), any_done=True) is None


def test_what_was_up_to_date_counts_as_neither() -> None:
    skipped = [outcome(index, state=state) for index, state in enumerate([SKIPPED, LEFT_OUT] * 5)]
    assert told(*skipped, *failing(4, start=10)) is None
    assert told(*skipped, *failing(5, start=10)) is not None


def test_0_means_never() -> None:
    assert told(*failing(100), enough=0) is None


def test_the_job_ends_as_its_items_did() -> None:
    end = told(*[outcome(index, PassingTrouble("S3 does not answer")) for index in range(5)])
    assert isinstance(end, PassingTrouble)
    assert end.retry
