"""The status is told in time, in order, and without anybody waiting for it."""

import io
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from supervisor import storage
from supervisor.failures import ItemFailed, OutputUnwritable, Stopped
from supervisor.status import publisher
from supervisor.status.document import Record
from supervisor.status.publisher import Publisher
from supervisor.status.reporters import JsonLines
from tests.unit.status.jobs import done, failed, record, valid

_PATIENCE = 30  # seconds until a test gives up


class Place:
    """A storage that keeps what it is given, and each time does first what the test says."""

    def __init__(self) -> None:
        self.written: list[tuple[str, bytes]] = []
        self.first: Callable[[str], None] = lambda _: None
        self.told = threading.Condition()

    def upload(self, source: Path | bytes, uri: str, *, media_type: str, metadata: Mapping[str, str]) -> None:
        body = source if isinstance(source, bytes) else source.read_bytes()
        self.first(uri)
        with self.told:
            self.written.append((uri, body))
            self.told.notify_all()

    def documents(self) -> list[dict[str, Any]]:
        return [json.loads(body) for uri, body in self.written if uri.endswith("job-1.json")]

    def wait_for(self, number: int) -> dict[str, Any]:
        """The number-th document, from 1."""
        with self.told:
            assert self.told.wait_for(lambda: len(self.documents()) >= number, _PATIENCE)
        return self.documents()[number - 1]


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    # Tests that end no job leave a thread that goes on writing: not here.
    made, elsewhere, left_over = Place(), Place(), set(threading.enumerate())
    left_over.discard(threading.current_thread())
    monkeypatch.setattr(storage, "of", lambda _: elsewhere if threading.current_thread() in left_over else made)
    monkeypatch.setattr(publisher, "_DOCUMENT", 0.01)
    yield made
    made.first = lambda _: None


def publisher_of(made: Record) -> tuple[Publisher, io.StringIO]:
    stream = io.StringIO()
    return Publisher(made, JsonLines(stream)), stream


def warnings(stream: io.StringIO) -> list[str]:
    events = [json.loads(line) for line in stream.getvalue().splitlines()]
    return [event["message"] for event in events if event["event"] == "warning"]


def test_the_document_follows_the_job_while_it_runs(place: Place) -> None:
    made = record(2)
    publishes, _ = publisher_of(made)
    publishes.first()
    assert valid(place.documents()[0])["counts"]["done"] == 0
    publishes.item(done(0))
    assert valid(place.wait_for(2))["counts"]["done"] == 1
    made.close(None)
    publishes.last()


def test_nothing_is_written_while_nothing_happens(place: Place) -> None:
    made = record(2)
    publishes, _ = publisher_of(made)
    publishes.first()
    publishes.item(done(0))
    place.wait_for(2)
    waited = threading.Event()
    threading.Timer(0.2, waited.set).start()  # twenty times the pause between two versions
    waited.wait()
    assert len(place.documents()) == 2
    made.close(None)
    publishes.last()


def test_a_storage_that_hangs_holds_no_item_up_and_gets_the_last_version_last(place: Place) -> None:
    made = record(1_000)
    publishes, _ = publisher_of(made)
    publishes.first()
    hanging, go_on = threading.Event(), threading.Event()

    def hang(uri: str) -> None:
        if uri.endswith("job-1.json"):
            hanging.set()
            go_on.wait(_PATIENCE)

    place.first = hang
    publishes.item(done(0))
    assert hanging.wait(_PATIENCE)
    for index in range(1, 1_000):
        publishes.item(done(index))
    made.close(None)
    place.first = lambda _: None
    threading.Timer(0.1, go_on.set).start()
    publishes.last()
    assert [document["counts"]["done"] for document in place.documents()] == [0, 1, 1_000]
    assert place.documents()[-1]["state"] == "SUCCEEDED"


def test_a_job_that_was_stopped_does_not_wait_for_a_storage_that_hangs(place: Place) -> None:
    made = record(2)
    publishes, stream = publisher_of(made)
    publishes.first()
    go_on = threading.Event()

    def hang(_: str) -> None:
        go_on.wait(_PATIENCE)

    place.first = hang
    made.close(Stopped("stopped by SIGTERM"))
    until = time.monotonic() + 0.2
    publishes.last(until=lambda: until)
    told = warnings(stream)
    go_on.set()
    assert "could not be written within" in told[0]
    assert "the status document could not be written: storage has not answered" in told[1]


def test_trouble_with_storage_is_warned_of_once_and_tried_again(place: Place) -> None:
    made = record(3)
    publishes, stream = publisher_of(made)
    publishes.first()
    refusals = 0

    def refuse(uri: str) -> None:
        nonlocal refusals
        refusals += 1
        if refusals <= 5:
            raise storage.Passing("503 SlowDown")

    place.first = refuse
    publishes.item(done(0))
    assert place.wait_for(2)["counts"]["done"] == 1
    made.close(None)
    publishes.last()
    assert warnings(stream) == ["the status document could not be written yet: 503 SlowDown"]


def test_a_status_that_may_not_be_written_ends_the_job_before_it_begins(place: Place) -> None:
    def deny(uri: str) -> None:
        raise storage.Denied(f"{uri}: access denied")

    place.first = deny
    publishes, _ = publisher_of(record(2))
    with pytest.raises(OutputUnwritable, match="access denied"):
        publishes.first()


def test_a_status_that_cannot_be_written_yet_is_only_warned_of(place: Place) -> None:
    def refuse(uri: str) -> None:
        raise storage.Passing("503 SlowDown")

    place.first = refuse
    publishes, stream = publisher_of(record(2))
    publishes.first()
    assert "503 SlowDown" in warnings(stream)[0]


def test_a_job_refused_before_it_began_has_a_status(place: Place) -> None:
    made = record(0)
    made.close(ItemFailed("x"))
    publisher_of(made)[0].last()
    assert [valid(document)["state"] for document in place.documents()] == ["FAILED"]


def test_the_lists_are_there_before_the_last_document_names_them(place: Place, tmp_path: Path) -> None:
    made = record(2, results_table="s3://bucket/tables/")
    publishes, _ = publisher_of(made)
    publishes.first()
    (tmp_path / "answer.json").write_text('{"label": "speech"}')
    publishes.result(done(0), tmp_path / "answer.json")
    publishes.item(done(0))
    publishes.item(failed(1, ItemFailed("null")))
    made.close(None)
    publishes.last()
    document = valid(place.documents()[-1])
    lists = {"items_uri": "s3://bucket/results/_status/job-1.items.jsonl",
             "results_table": "s3://bucket/tables/job-1.results.jsonl"}  # fmt: skip
    assert {name: document[name] for name in lists} == lists
    assert place.written[-1][0].endswith("job-1.json")
    bodies = dict(place.written)
    assert [json.loads(line)["state"] for line in bodies[lists["items_uri"]].splitlines()] == ["done", "failed"]
    assert json.loads(bodies[lists["results_table"]])["answer"] == {"label": "speech"}


def test_no_document_says_that_the_job_has_ended_while_a_list_is_on_its_way(place: Place) -> None:
    made = record(2)
    publishes, _ = publisher_of(made)
    publishes.first()
    made.close(None)
    looked = threading.Event()

    def take_long(uri: str) -> None:
        if uri.endswith(".items.jsonl"):
            publishes.warning("something new to tell")
            looked.wait(0.2)

    place.first = take_long
    publishes.last()
    ended = [index for index, (uri, body) in enumerate(place.written) if b"SUCCEEDED" in body]
    lists = [index for index, (uri, _) in enumerate(place.written) if uri.endswith(".items.jsonl")]
    assert len(ended) == 1
    assert ended > lists


def test_a_list_that_could_not_be_written_is_not_named(place: Place) -> None:
    made = record(2)
    publishes, _ = publisher_of(made)
    publishes.first()

    def refuse(uri: str) -> None:
        if uri.endswith(".items.jsonl"):
            raise storage.Passing("503 SlowDown")

    place.first = refuse
    made.close(None)
    publishes.last()
    document = valid(place.documents()[-1])
    assert "items_uri" not in document
    assert "503 SlowDown" in document["warnings"][0]


def test_a_job_of_one_item_has_no_list(place: Place) -> None:
    made = record(1)
    publishes, _ = publisher_of(made)
    publishes.first()
    publishes.item(done(0))
    made.close(None)
    publishes.last()
    assert {uri for uri, _ in place.written} == {"s3://bucket/results/_status/job-1.json"}


def test_nothing_is_left_on_the_local_disk(place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    made = record(2)
    publishes, _ = publisher_of(made)
    publishes.first()
    publishes.item(done(0))
    made.close(None)
    publishes.last()
    assert list(tmp_path.iterdir()) == []


def test_no_secret_gets_into_the_document_or_the_log(place: Place) -> None:
    url = "https://bucket.s3.amazonaws.com/x.wav?X-Amz-Signature=0123456789abcdef"
    made = record(2)
    publishes, stream = publisher_of(made)
    publishes.first()
    publishes.log(f"fetching {url}")
    publishes.warning(f"slow: {url}")
    publishes.item(failed(0, ItemFailed(f"cannot open {url}", f"look at {url}"), (f"GET {url}",)))
    made.close(None)
    publishes.last()
    everything = stream.getvalue() + "".join(body.decode() for _, body in place.written)
    assert "0123456789abcdef" not in everything
    assert "https://bucket.s3.amazonaws.com/x.wav?…" in "".join(body.decode() for _, body in place.written)
