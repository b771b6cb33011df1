"""The lists beside the document: whole, a line an item, or not there."""

import json
import threading
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from supervisor.failures import ItemFailed
from supervisor.status import item_files
from supervisor.status.document import SKIPPED
from supervisor.status.item_files import LONGEST_ANSWER, ItemList, LinesFile, ResultsTable
from supervisor.status.schema import schema
from tests.unit.status.jobs import done, failed


@pytest.fixture
def lines(tmp_path: Path) -> LinesFile:
    return LinesFile(tmp_path / "kept.jsonl", str(tmp_path / "out" / "list.jsonl"))


def uploaded(lines: LinesFile, definition: str) -> list[Any]:
    """The lines as they are in storage, each checked against the schema."""
    lines.upload()
    rows = [json.loads(line) for line in Path(lines.uri).read_bytes().splitlines()]
    for row in rows:
        Draft202012Validator({"$ref": f"#/$defs/{definition}", "$defs": schema()["$defs"]}).validate(row)
    return rows


def answer(tmp_path: Path, text: bytes) -> Path:
    path = tmp_path / "answer.json"
    path.write_bytes(text)
    return path


def test_every_item_has_a_line(lines: LinesFile) -> None:
    items = ItemList(lines)
    items.add(done(0))
    items.add(failed(1, ItemFailed("the answer is null"), ("its log",)))
    first, second = uploaded(lines, "item")
    assert (first["state"], first["result"]) == ("done", "s3://bucket/results/0.wav.json")
    assert (second["error"]["message"], second["error"]["log"]) == ("the answer is null", ["its log"])


def test_a_list_without_items_is_there_and_empty(lines: LinesFile) -> None:
    assert uploaded(lines, "item") == []


def test_only_the_first_failures_have_the_models_log(lines: LinesFile, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(item_files, "_WITH_LOG", 2)
    items = ItemList(lines)
    for index in range(4):
        items.add(failed(index, ItemFailed("null"), ("its log",)))
    assert ["log" in row["error"] for row in uploaded(lines, "item")] == [True, True, False, False]


@pytest.mark.parametrize(
    "text",
    [b'{"a": [1, "\xc3\xa9"]}', b"[]\n", b'{\n  "a": 1,\r\n  "b": "x\\ny"\n}\n', b'"}"', b"3", b'"\\udce9"'],
)
def test_an_answer_is_taken_as_it_is(lines: LinesFile, tmp_path: Path, text: bytes) -> None:
    ResultsTable(lines).add(done(0), answer(tmp_path, text))
    (row,) = uploaded(lines, "row")
    assert row["answer"] == json.loads(text)
    assert (row["input"], row["bytes"], row["seconds"]) == ("s3://bucket/in/0.wav", 40, {"predict": 0.25})


@pytest.mark.parametrize(("size", "taken"), [(LONGEST_ANSWER, True), (LONGEST_ANSWER + 1, False)])
def test_an_answer_that_is_too_large_is_left_out_and_the_row_says_so(
    lines: LinesFile, tmp_path: Path, size: int, taken: bool
) -> None:
    ResultsTable(lines).add(done(0), answer(tmp_path, b'"' + b"x" * (size - 2) + b'"'))
    (row,) = uploaded(lines, "row")
    assert ("answer" in row, "answer_left_out" in row) == (taken, not taken)


@pytest.mark.parametrize("text", [b"not JSON", b'{"a": NaN}', b"", b'{"a": 1} {"b": 2}', b"\xff", b"[" * 100_000])
def test_a_kept_result_of_somebody_elses_cannot_break_the_table(lines: LinesFile, tmp_path: Path, text: bytes) -> None:
    ResultsTable(lines).add(done(0, SKIPPED), answer(tmp_path, text))
    (row,) = uploaded(lines, "row")
    assert row["answer_left_out"] == "the result that was there is not JSON"


def test_rows_of_many_threads_do_not_mix(lines: LinesFile, tmp_path: Path) -> None:
    results, path = ResultsTable(lines), answer(tmp_path, b'{"a": "' + b"x" * 5_000 + b'"}')

    def add() -> None:
        for index in range(50):
            results.add(done(index), path)

    threads = [threading.Thread(target=add) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(uploaded(lines, "row")) == 400


def test_what_comes_after_the_upload_is_left_out(lines: LinesFile) -> None:
    items = ItemList(lines)
    items.add(done(0))
    lines.upload()
    items.add(done(1))
    assert len(Path(lines.uri).read_bytes().splitlines()) == 1


def test_a_full_disk_ends_the_list_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "kept.jsonl").symlink_to("/dev/full")
    lines = LinesFile(tmp_path / "kept.jsonl", str(tmp_path / "list.jsonl"))
    items = ItemList(lines)
    for index in range(5_000):
        items.add(done(index))
    lines.upload()
    assert "No space left on device" in (lines.problem or "")
    assert not (tmp_path / "list.jsonl").exists()
