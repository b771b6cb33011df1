"""All answers of a run as one Parquet file, read back with pyarrow."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from pyarrow import parquet

from scripts import cli


def document(index: int) -> dict[str, Any]:
    return {
        "version": 2,
        "state": "SUCCEEDED",
        "job": {"id": "night", "array_index": index},
        "counts": {"total": 1, "done": 1, "skipped": 0, "failed": 0, "placeholders": 0},
    }


def line(name: str, **members: Any) -> dict[str, Any]:
    return {
        "input": f"s3://in/{name}",
        "result": f"s3://out/{name}.json",
        "etag": "abc",
        "bytes": 5,
        "seconds": {"download": 0.25, "predict": 1.5},
        "answer": {"label": "speech"},
    } | members


def child(folder: Path, index: int, *rows: Any, results: Path | None = None, name: str | None = None) -> None:
    (folder / f"{name or f'night-{index}'}.json").write_text(json.dumps(document(index)))
    text = "".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows)
    ((results or folder) / f"night-{index}.results.jsonl").write_text(text)


def report(folder: Path, *more: str) -> int:
    return cli.main(
        ["report", str(folder), "--output", str(folder / "x.html"), "--parquet", str(folder / "x.parquet"), *more]
    )


def rows(folder: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = parquet.read_table(folder / "x.parquet").to_pylist()
    return found


def test_every_childs_answers_are_rows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    child(tmp_path, 1, line("c.wav"))
    child(tmp_path, 0, line("a.wav"), line("b.wav"))

    assert report(tmp_path) == 0
    assert [row["input"] for row in rows(tmp_path)] == ["s3://in/a.wav", "s3://in/b.wav", "s3://in/c.wav"]
    assert "x.parquet: 3 rows from 2 tables" in capsys.readouterr().out


def test_a_row_holds_what_the_line_says_and_the_answer_as_json(tmp_path: Path) -> None:
    child(tmp_path, 0, line("a.wav", answer={"label": "Käuzchen", "at": [0.5, None]}))
    report(tmp_path)
    (row,) = rows(tmp_path)
    assert json.loads(row.pop("answer")) == {"label": "Käuzchen", "at": [0.5, None]}
    assert row == {
        "input": "s3://in/a.wav",
        "result": "s3://out/a.wav.json",
        "etag": "abc",
        "bytes": 5,
        "seconds.download": 0.25,
        "seconds.predict": 1.5,
        "seconds.upload": None,
    }


def test_an_answer_that_the_table_leaves_out_is_null_and_null_is_not(tmp_path: Path) -> None:
    without = line("a.wav", answer_left_out="2,000,000 bytes, more than 1,048,576")
    del without["answer"]
    child(tmp_path, 0, without, line("b.wav", answer=None))
    report(tmp_path)
    assert [row["answer"] for row in rows(tmp_path)] == [None, "null"]


def test_lines_that_are_none_are_left_out(tmp_path: Path) -> None:
    child(tmp_path, 0, "{", "7", '{"input": 7}', line("a.wav", bytes="many"), line("b.wav"), '{"input": "cut o')
    report(tmp_path)
    assert [row["input"] for row in rows(tmp_path)] == ["s3://in/b.wav"]


def test_half_a_surrogate_pair_stays_what_json_calls_it(tmp_path: Path) -> None:
    child(tmp_path, 0, line("\udcff.wav", answer=["\ud800"]))
    report(tmp_path)
    (row,) = rows(tmp_path)
    assert row["input"] == r"s3://in/\udcff.wav"
    assert json.loads(row["answer"]) == ["\ud800"]


def test_more_rows_than_a_group_are_all_there(tmp_path: Path) -> None:
    child(tmp_path, 0, *(line(f"{number}.wav", answer=number) for number in range(2_500)))
    report(tmp_path)
    assert [int(row["answer"]) for row in rows(tmp_path)] == list(range(2_500))
    assert parquet.ParquetFile(tmp_path / "x.parquet").num_row_groups == 3


def test_tables_in_a_place_of_their_own_are_found(tmp_path: Path) -> None:
    (tmp_path / "tables").mkdir()
    child(tmp_path, 0, line("a.wav"), results=tmp_path / "tables", name="status")
    assert report(tmp_path, "--results", str(tmp_path / "tables")) == 0
    assert len(rows(tmp_path)) == 1


def test_a_run_without_tables_is_66_and_says_how_to_have_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "night-0.json").write_text(json.dumps(document(0)))
    assert report(tmp_path) == 66
    assert "JOB_RESULTS_TABLE" in capsys.readouterr().err
    assert not (tmp_path / "x.parquet").exists()


def test_without_pyarrow_is_64_and_says_what_to_install(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    child(tmp_path, 0, line("a.wav"))
    assert report(tmp_path) == 64
    assert capsys.readouterr().err == (
        "deepaas-batch report: a Parquet file needs pyarrow, which is not installed (exit 64, bad-usage)."
        " To do: pip install -e '.[host]'\n"
    )


def test_a_file_that_cannot_be_written_is_73(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    child(tmp_path, 0, line("a.wav"))
    assert report(tmp_path, "--parquet", str(tmp_path / "nowhere" / "x.parquet")) == 73
    assert "cannot be written" in capsys.readouterr().err
