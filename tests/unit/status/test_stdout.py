"""What stdout is told: JSON PlainText in a log, a bar and lines on a terminal."""

import fcntl
import io
import json
import os
import pty
import struct
import sys
import termios
import threading
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.failures import ItemFailed
from supervisor.status import bar, reporters
from supervisor.status.document import LISTED, SKIPPED
from supervisor.status.pace import Pace
from supervisor.status.reporters import JsonLines, PlainText, Terminal
from tests.unit.status.jobs import done, failed, record

COUNTS = st.integers(0, 10**9)


class Clock:
    """Stands still until it is put on."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def told(stream: io.StringIO, event: str) -> list[dict[str, Any]]:
    events = [json.loads(line) for line in stream.getvalue().splitlines()]
    return [each for each in events if each["event"] == event]


def test_every_item_of_a_small_job_has_a_line_in_the_log() -> None:
    stream, made = io.StringIO(), record(LISTED)
    reporter = JsonLines(stream)
    for index in range(LISTED):
        made.add(done(index))
        reporter.item(made, done(index))
    assert len(told(stream, "item")) == LISTED


def test_of_a_large_job_only_the_first_failures_have_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reporters, "_TOLD_FAILED", 10)
    stream, made = io.StringIO(), record(1_000)
    reporter = JsonLines(stream)
    for index in range(40):
        outcome = failed(index, ItemFailed("null")) if index % 2 else done(index)
        made.add(outcome)
        reporter.item(made, outcome)
    assert [event["item"]["state"] for event in told(stream, "item")] == ["failed"] * 10


def test_while_a_prefix_is_listed_the_first_items_have_a_line() -> None:
    stream, made = io.StringIO(), record(None)
    reporter = JsonLines(stream)
    for index in range(2 * LISTED):
        made.add(done(index))
        reporter.item(made, done(index))
    assert len(told(stream, "item")) == LISTED


def test_progress_is_told_now_and_then_with_the_pace_and_what_is_left() -> None:
    stream, clock, made = io.StringIO(), Clock(), record(1_000)
    reporter = JsonLines(stream, clock)
    reporter.started(made)
    for index in range(100):
        clock.now += 0.25
        made.add(done(index))
        reporter.item(made, done(index))
    first, second = told(stream, "progress")
    assert (first["counts"]["done"], second["counts"]["done"]) == (40, 80)
    assert (second["items_per_second"], second["seconds_left"]) == (4.0, 230.0)


def test_a_job_of_one_item_tells_no_progress() -> None:
    stream, clock, made = io.StringIO(), Clock(), record(1)
    reporter = JsonLines(stream, clock)
    clock.now = 1_000
    made.add(done(0))
    reporter.item(made, done(0))
    assert not told(stream, "progress")


def test_lines_of_many_threads_do_not_mix() -> None:
    stream = io.StringIO()
    reporter = JsonLines(stream)

    def flood() -> None:
        for _ in range(100):
            reporter.log("x" * 500)

    threads = [threading.Thread(target=flood) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(told(stream, "log")) == 800


def test_a_reader_that_goes_away_does_not_end_the_job() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    stream = io.TextIOWrapper(io.FileIO(writing, "w"), write_through=True)
    reporter = JsonLines(stream)
    reporter.log("a line")
    reporter.log("another")


def test_the_pace_is_that_of_the_last_minute() -> None:
    clock = Clock()
    pace, made = Pace(clock), record(100_000)
    for index in range(1_200):  # a minute of skipped items, then two of work
        clock.now += 0.05 if index < 1_000 else 1.0
        made.add(done(index, SKIPPED))
        rate, left = pace.now(made.counts)
    assert rate == pytest.approx(1.0, abs=0.05)
    assert left == pytest.approx(98_800, rel=0.05)


@given(COUNTS, COUNTS, COUNTS, COUNTS, st.booleans(), st.integers(1, 200), st.floats(0.001, 1e6) | st.none())
def test_the_bar_is_ascii_and_never_as_wide_as_the_terminal(
    done: int, skipped: int, failed: int, pending: int, listing: bool, width: int, rate: float | None
) -> None:
    counts = {"total": done + skipped + failed + pending, "done": done, "skipped": skipped, "failed": failed}
    line = bar.line(counts | ({"listing": True} if listing else {}), rate, pending / rate if rate else None, width)
    assert len(line) < max(width, 1) or not line
    assert line.isascii()
    assert line.isprintable()


def test_the_bar_says_how_far_the_job_is() -> None:
    counts = {"total": 1_000, "done": 240, "skipped": 7, "failed": 3, "pending": 750}
    assert bar.line(counts, 12.5, 3_725.0, 100) == (
        "[#######-----------------------] 250/1000  3 failed  1:02:05 left  12.5/s  7 skipped"
    )
    assert bar.line(counts, 12.5, 3_725.0, 30) == "[##------] 250/1000  3 failed"
    assert bar.line(counts, 12.5, 3_725.0, 18) == "[#-----] 250/1000"


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0:00"), (65, "1:05"), (7_384, "2:03:04"), (3 * 86_400 + 4 * 3_600, "3d 04h")]
)
def test_durations_are_told_as_people_write_them(seconds: float, text: str) -> None:
    assert bar.duration(seconds) == text


class Screen(io.StringIO):
    """What a terminal of 80 columns shows in the end: a line that is erased is gone."""

    @property
    def lines(self) -> list[str]:
        return [line.rpartition(bar.ERASE)[2] for line in self.getvalue().split("\n")]


def test_failures_and_log_lines_stand_above_the_bar_which_is_gone_in_the_end() -> None:
    screen, clock, made = Screen(), Clock(), record(20)
    terminal = Terminal(screen, clock)
    terminal.started(made)
    for index in range(20):
        clock.now += 1
        outcome = failed(index, ItemFailed("語" * 60)) if index == 7 else done(index)
        made.add(outcome)
        terminal.item(made, outcome)
        assert screen.lines[-1].endswith("left  1.0/s") or index == 19
    terminal.log("a line of the model's")
    made.close(None)
    terminal.finished(made)
    assert screen.lines == [
        "job job-1: 20 to do",
        "[8/20] failed: s3://bucket/in/7.wav",
        "    " + "語" * 60,
        "  | a line of the model's",
        f"PARTIAL: 19 done, 0 skipped, 1 failed in {made.elapsed:.1f} s; status in {made.spec.status_uri}",
        "",
    ]


def test_the_bar_is_drawn_at_most_ten_times_a_second() -> None:
    screen, clock, made = Screen(), Clock(), record(1_000)
    terminal = Terminal(screen, clock)
    terminal.started(made)
    for index in range(1_000):
        clock.now += 0.01
        made.add(done(index))
        terminal.item(made, done(index))
    assert 90 <= screen.getvalue().count(bar.ERASE) <= 150  # beside a drawing a second, whatever the time


def test_a_job_of_one_item_has_no_bar() -> None:
    screen, made = Screen(), record(1)
    terminal = Terminal(screen)
    terminal.started(made)
    made.add(done(0))
    terminal.item(made, done(0))
    made.close(None)
    terminal.finished(made)
    assert bar.ERASE not in screen.getvalue()
    assert "[1/1] done: s3://bucket/in/0.wav -> s3://bucket/results/0.wav.json (predict 0.25 s)" in screen.lines


@pytest.mark.parametrize(
    ("term", "reporter"), [("xterm", Terminal), ("dumb", PlainText), (None, PlainText)], ids=["xterm", "dumb", "unset"]
)
def test_a_terminal_has_a_bar_unless_it_is_dumb(
    term: str | None, reporter: type[PlainText], monkeypatch: pytest.MonkeyPatch
) -> None:
    main, other = pty.openpty()
    with os.fdopen(other, "w") as terminal:
        monkeypatch.setattr(sys, "stdout", terminal)
        monkeypatch.setenv("TERM", term) if term else monkeypatch.delenv("TERM", raising=False)
        assert type(reporters.for_stdout()) is reporter
        monkeypatch.undo()
    os.close(main)


def test_the_bar_keeps_to_the_terminals_width() -> None:
    main, other = pty.openpty()
    with os.fdopen(other, "w") as stream:
        fcntl.ioctl(other, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 20, 0, 0))
        made = record(1_000)
        terminal = Terminal(stream)
        terminal.started(made)
        terminal.log("a line")
        shown = os.read(main, 1_000).decode()
        terminal.finished(made)
    os.close(main)
    assert shown.rpartition("\n")[2].rpartition(bar.ERASE)[2] == "[----------] 0/1000"
