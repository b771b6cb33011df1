"""Who predicts beside whom, and whose answer may be another's."""

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from supervisor.model.runner import Origin
from supervisor.model.turns import Overlaps, Prediction, Sharing, Turns

_PATIENCE = 30
NONE, POSSIBLE, CERTAIN = Sharing.NONE, Sharing.POSSIBLE, Sharing.CERTAIN


def test_who_is_alone_has_nobody_beside_it_and_comes_first() -> None:
    turns, inside, may_leave, seen = Turns(), threading.Event(), threading.Event(), []

    def beside() -> None:
        with turns.beside_others():
            inside.set()
            assert may_leave.wait(_PATIENCE)
            seen.append("beside")

    def alone() -> None:
        with turns.alone():
            seen.append("alone")

    with ThreadPoolExecutor() as threads:
        first = threads.submit(beside)
        assert inside.wait(_PATIENCE)
        second = threads.submit(alone)
        while not turns._alone:
            pass
        third = threads.submit(beside)
        may_leave.set()
        for each in (first, second, third):
            each.result(_PATIENCE)
    assert seen == ["beside", "alone", "beside"]


def test_one_by_one_means_never_two() -> None:
    turns, lock, inside, most = Turns(), threading.Lock(), 0, 0
    assert turns.one_by_one()
    assert not turns.one_by_one()

    def work(number: int) -> None:
        nonlocal inside, most
        with turns.alone() if number % 5 == 0 else turns.beside_others():
            with lock:
                inside += 1
                most = max(most, inside)
            with lock:
                inside -= 1

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(work, range(200)))
    assert (most, inside) == (1, 0)


def origin(path: str = "/app/result.png", inode: int = 7) -> Origin:
    return Origin(path=path, device=1, inode=inode)


def ran_together(*origins: Origin | None, failed: bool = False) -> list[Sharing]:
    """Whether predictions that all ran at once had one file; failed: those without an answer's file have."""
    overlaps, predictions = Overlaps(), [Prediction() for _ in origins]
    for prediction in predictions:
        overlaps.begin(prediction)
    for prediction, each in zip(predictions, origins, strict=True):
        overlaps.end(prediction, each, failed=failed and each is None)
    return [overlaps.sharing(prediction) for prediction in predictions]


def test_two_that_ran_together_and_answered_through_one_file_are_to_be_made_again() -> None:
    assert ran_together(origin(), origin()) == [CERTAIN, CERTAIN]
    assert ran_together(origin(), origin(inode=8)) == [CERTAIN, CERTAIN]
    assert ran_together(origin(), origin("/app/other.png", inode=8), origin()) == [CERTAIN, NONE, CERTAIN]


def test_answers_in_no_file_or_in_files_of_their_own_are_not() -> None:
    assert ran_together(None, None) == [NONE, NONE]
    assert ran_together(origin(), None) == [NONE, NONE]
    assert ran_together(origin("/tmp/a"), origin("/tmp/b")) == [NONE, NONE]  # one inode, used again


def test_one_after_the_other_may_use_one_file() -> None:
    overlaps = Overlaps()
    for _ in range(3):
        prediction = Prediction()
        overlaps.begin(prediction)
        overlaps.end(prediction, origin(), failed=False)
        assert overlaps.sharing(prediction) is NONE


def test_one_that_ends_later_is_waited_for() -> None:
    overlaps, early, late = Overlaps(), Prediction(), Prediction()
    overlaps.begin(early)
    overlaps.begin(late)
    overlaps.end(early, origin(), failed=False)
    with ThreadPoolExecutor() as threads:
        asked = threads.submit(overlaps.sharing, early)
        assert not asked.done()
        overlaps.end(late, origin(), failed=False)
        assert asked.result(_PATIENCE) is CERTAIN


def test_many_short_ones_beside_a_long_one_are_all_remembered() -> None:
    overlaps, long = Overlaps(), Prediction()
    overlaps.begin(long)
    for number in range(50):
        short = Prediction()
        overlaps.begin(short)
        overlaps.end(short, origin(f"/app/{number}.png", inode=number), failed=False)
    overlaps.end(long, origin("/app/3.png", inode=99), failed=False)
    assert overlaps.sharing(long) is CERTAIN


def test_one_that_failed_may_have_written_to_the_file_and_has_where_it_is_used_again_and_again() -> None:
    """The very first answer of a job was another's: whoever had written it failed, for its file had been taken away."""
    overlaps = Overlaps()
    for expected in (POSSIBLE, CERTAIN):
        good, bad = Prediction(), Prediction()
        overlaps.begin(good)
        overlaps.begin(bad)
        overlaps.end(bad, None, failed=True)
        overlaps.end(good, origin(), failed=False)
        assert overlaps.sharing(good) is expected
        assert overlaps.sharing(bad) is POSSIBLE
    assert ran_together(None, None, failed=True) == [NONE, NONE]


@pytest.mark.parametrize("link", [os.link, os.symlink])
def test_one_file_under_two_names_is_one(tmp_path: Path, link: object) -> None:
    assert callable(link)
    (tmp_path / "a").write_text("x")
    link(tmp_path / "a", tmp_path / "b")
    found = (tmp_path / "a").stat()
    one, other = (Origin(path=str(tmp_path / name), device=found.st_dev, inode=found.st_ino) for name in ("a", "b"))
    assert one.is_also(other)
    (tmp_path / "b").unlink()
    assert not one.is_also(other)
