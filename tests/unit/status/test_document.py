"""What a job's items come to, in a document that stays small."""

import json
import threading
import tracemalloc

import pytest

from supervisor.failures import (
    BadUsage,
    Failure,
    ImageUnfit,
    ItemFailed,
    OutOfMemory,
    PassingTrouble,
    SpotReclaimed,
    Stopped,
)
from supervisor.machine.device import Device, Gpu
from supervisor.machine.scheduler import Identity, Slice
from supervisor.status.document import SKIPPED, Record
from tests.unit.status.jobs import done, failed, record, valid


def test_a_job_that_runs_has_no_ending() -> None:
    document = valid(record(3).document())
    assert document["state"] == "RUNNING"
    assert {"exit_code", "finished", "error"}.isdisjoint(document)


@pytest.mark.parametrize(
    ("good", "bad", "tolerated", "state", "code"),
    [
        (2, 0, 0, "SUCCEEDED", 0),
        (1, 1, 0, "PARTIAL", 65),
        (1, 1, 1, "PARTIAL", 0),
        (0, 2, 0, "FAILED", 65),
        (0, 0, 0, "SUCCEEDED", 0),
    ],
)
def test_the_state_says_what_the_items_came_to(good: int, bad: int, tolerated: int, state: str, code: int) -> None:
    made = record(good + bad, max_failures=tolerated)
    for index in range(good):
        made.add(done(index))
    for index in range(good, good + bad):
        made.add(failed(index, ItemFailed("the answer is null")))
    assert made.close(None) == code
    document = valid(made.document())
    assert (document["state"], document["exit_code"]) == (state, code)


@pytest.mark.parametrize(
    ("failure", "state"),
    [
        (Stopped("stopped by SIGTERM"), "INTERRUPTED"),
        (SpotReclaimed("stopped by SIGTERM, for a Spot notice"), "INTERRUPTED"),
        (ImageUnfit("no module"), "FAILED"),
        (PassingTrouble("S3 is down"), "FAILED"),
    ],
)
def test_the_jobs_own_failure_gives_the_state_whatever_is_done(failure: Failure, state: str) -> None:
    made = record(3)
    made.add(done(0))
    made.close(failure)
    document = valid(made.document())
    assert (document["state"], document["exit_code"]) == (state, failure.code)
    assert document["counts"]["pending"] == 2


def test_the_first_failure_of_the_kind_that_gave_the_code_tells_of_the_job() -> None:
    made = record(4)
    made.add(failed(0, ItemFailed("null")))
    made.add(failed(1, PassingTrouble("S3 is down"), ("its log",)))
    made.add(failed(2, PassingTrouble("S3 is still down")))
    made.close(None)
    error = valid(made.document())["error"]
    assert (error["message"], error["log"]) == ("S3 is down", ["its log"])


def test_failures_of_several_kinds_are_told_by_the_first() -> None:
    made = record(2)
    made.add(failed(0, OutOfMemory("killed")))
    made.add(failed(1, BadUsage("no such argument")))
    assert made.close(None) == ItemFailed.code
    assert made.failure is not None
    assert made.failure.message == "killed"


def test_while_a_prefix_is_listed_the_total_is_what_was_seen() -> None:
    made = record(None)
    made.listed(7, placeholders=0)
    made.add(done(0))
    counts = valid(made.document())["counts"]
    assert (counts["total"], counts["pending"], counts["listing"]) == (7, 6, True)
    made.listed(9, placeholders=0)
    made.listed_all(placeholders=0)
    assert "listing" not in made.counts
    assert made.counts["total"] == 9


def test_failures_are_listed_first_and_then_the_last_items() -> None:
    made = record(300)
    for index in range(300):
        made.add(failed(index, ItemFailed("null")) if index < 30 else done(index, SKIPPED))
    listed = [entry["input"] for entry in valid(made.document())["items"]]
    assert listed == [f"s3://bucket/in/{index}.wav" for index in (*range(30), *range(230, 300))]


def test_only_the_first_failures_are_listed_where_there_are_more_than_fit() -> None:
    made = record(300)
    for index in range(300):
        made.add(done(index) if index < 100 else failed(index, ItemFailed("null")))
    listed = [entry["input"] for entry in made.document()["items"]]
    assert listed == [f"s3://bucket/in/{index}.wav" for index in range(100, 200)]


def test_memory_does_not_grow_with_the_number_of_items() -> None:
    made = record(101_000)
    outcomes = [done(index) for index in range(500)]
    outcomes += [failed(index, ItemFailed("null"), ("line",) * 40) for index in range(500)]

    def add(times: int) -> None:
        for _ in range(times):
            for outcome in outcomes:
                made.add(outcome)

    add(1)
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    add(100)
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert made.ended == 101_000
    assert after - before < 100_000  # bytes, less than one for each item


def test_warnings_are_bounded_and_what_is_left_out_is_counted() -> None:
    made = record(1)
    for number in range(150):
        made.warn(f"warning {number}")
    warnings = valid(made.document())["warnings"]
    assert (len(warnings), warnings[0], warnings[-1]) == (101, "warning 0", "and 50 more")


def test_the_log_of_a_failure_is_its_end_and_bounded_in_bytes() -> None:
    made = record(1)
    made.add(failed(0, ItemFailed("null"), tuple(f"{n} " + "é" * 900 for n in range(40))))
    made.close(None)
    document = valid(made.document())
    for log, most in ((document["error"]["log"], 16 * 1024), (document["items"][0]["error"]["log"], 2 * 1024)):
        assert log[-1].startswith("39 ")
        assert len("".join(log).encode()) <= most


def test_an_array_child_says_which_it_is_and_of_how_many() -> None:
    made = record(1, identity=Identity(id="job-1", attempt=2, array_index=3), slice=Slice(index=3, count=8))
    assert valid(made.document())["job"] == {"id": "job-1", "attempt": 2, "array_index": 3, "array_size": 8}


def test_a_gpu_is_described_without_what_is_not_known() -> None:
    made = record(1)
    made.runs_on(Device(kind="cuda", gpus=(Gpu(name="T4", memory=16),), driver="12.4"))
    assert valid(made.document())["device"] == {
        "kind": "cuda",
        "gpus": [{"name": "T4", "memory": 16}],
        "driver": "12.4",
    }


def test_a_snapshot_taken_while_items_end_is_of_one_moment() -> None:
    made = record(20_000)
    sums: list[bool] = []

    def look(over: threading.Event) -> None:
        while not over.is_set():
            document = made.document()
            stages = document["seconds"].get("predict", 0.0)
            sums.append(stages == document["counts"]["done"] * 0.25)

    over = threading.Event()
    looking = threading.Thread(target=look, args=(over,))
    looking.start()
    for index in range(20_000):
        made.add(done(index))
    over.set()
    looking.join()
    assert sums
    assert all(sums)


def test_a_name_that_is_no_utf8_does_not_spoil_the_document() -> None:
    made: Record = record(1, output="s3://bucket/\udce9/")
    made.add(done(0))
    assert json.loads(json.dumps(made.document()))["counts"]["done"] == 1
