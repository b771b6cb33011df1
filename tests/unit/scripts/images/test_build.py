"""The command `deepaas-batch images`, as far as it needs no engine."""

from __future__ import annotations

import io
import threading
from pathlib import Path

import pytest

from scripts import cli, terminal
from scripts.images import catalogue
from scripts.images.build import HEADINGS, NUMBERS, row, side_by_side
from scripts.images.builder import Outcome
from scripts.images.derived import Name
from scripts.images.plan import Order
from supervisor.failures import InputMissing
from tests.unit.scripts.images.test_derived import BUILT

pytestmark = pytest.mark.usefixtures("catalogue_read_once")

MODULES = catalogue.load()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["yolov8", "--variant", "tpu"], "there is no variant 'tpu'"),
        (["yolov8", "--registry", "Not/Lower"], "the registry 'Not/Lower'"),
        (["yolov8", "--push"], "give --registry"),
    ],
)
def test_bad_usage_is_one_line_and_exit_64(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["images", *arguments]) == 64
    [line] = capsys.readouterr().err.splitlines()
    assert said in line


def test_no_engine_is_one_line_and_exit_75(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")

    assert cli.main(["images", "yolov8"]) == 75
    [line] = capsys.readouterr().err.splitlines()
    assert "no Docker engine answers" in line


def test_the_number_of_jobs_must_be_a_number(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["images", "yolov8", "--jobs", "0"]) == 64
    assert "'0' is not a number from 1 up" in capsys.readouterr().err


def nothing() -> None:
    pass


def order(number: int) -> Order:
    return Order(module=MODULES["voice-activity"], name=Name(module=f"module-{number}", variant="cpu"), base="base")


def test_orders_run_side_by_side_and_answer_in_their_order() -> None:
    both_here = threading.Barrier(2, timeout=30)

    def work(order: Order) -> Outcome:
        both_here.wait()
        return Outcome(name=str(order.name), state="built")

    outcomes = side_by_side(work, [order(1), order(2)], jobs=2, stop=nothing)

    assert [outcome.name for outcome in outcomes] == ["deepaas-batch/module-1:cpu", "deepaas-batch/module-2:cpu"]


def test_no_more_orders_run_at_once_than_jobs() -> None:
    threads = set()

    def work(order: Order) -> Outcome:
        threads.add(threading.get_ident())
        return Outcome(name=str(order.name), state="built")

    side_by_side(work, [order(number) for number in range(9)], jobs=1, stop=nothing)

    assert len(threads) == 1


def test_a_bug_in_one_order_is_raised_and_does_not_hang() -> None:
    def work(order: Order) -> Outcome:
        raise RuntimeError("a bug")

    with pytest.raises(RuntimeError, match="a bug"):
        side_by_side(work, [order(1)], jobs=1, stop=nothing)


def test_an_interrupt_begins_nothing_more_and_ends_what_is_under_way() -> None:
    begun, stopped = [], threading.Event()

    def work(order: Order) -> Outcome:
        begun.append(order)
        assert stopped.wait(30)
        return Outcome(name=str(order.name), state="failed")

    def interrupted(order: Order) -> Outcome:
        work(order) if begun else begun.append(order)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        side_by_side(interrupted, [order(number) for number in range(9)], jobs=2, stop=stopped.set)
    assert len(begun) <= 3


def test_the_table_tells_of_each_image_what_became_of_it() -> None:
    built = Outcome(name=BUILT.name, state="built", seconds=8.54, built=BUILT)
    failed = Outcome(
        name="deepaas-batch/yolov8:cpu", state="failed", seconds=1.26, failure=InputMissing("no base", "name one")
    )
    out = io.StringIO()
    terminal.print_table(HEADINGS, map(row, [built, failed]), NUMBERS, out)

    assert [line.rstrip() for line in out.getvalue().splitlines()] == [
        "image                             state   digest                base           MB  added MB  seconds  check",
        "deepaas-batch/voice-activity:cpu  built   111111111111 (local)  222222222222  472        48      8.5  ok",
        "deepaas-batch/yolov8:cpu          failed  -                     -               -         -      1.3  -",
    ]
