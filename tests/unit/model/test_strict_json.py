"""A module's answer becomes strict JSON, or is found to be an error in disguise."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from supervisor.failures import ItemFailed
from supervisor.model.strict_json import rewrite
from supervisor.model.worker import disguised_error

BIG = "x" * 3_000_000  # parsed in a process of its own


def settled(folder: Path, text: str | bytes, form: str = "json") -> bytes:
    """The result made of what a runner wrote."""
    written = folder / "written"
    written.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass"))
    rewrite(written, form)
    return written.read_bytes()


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (None, "answered nothing"),
        ({"status": "error"}, "error: error"),
        ({"status": "ERROR", "message": "no sound"}, "error: no sound"),
        ({"status": " Failed ", "detail": "no sound"}, "error: no sound"),
        ({"status": "failure"}, "error: failure"),
        ({"error": "no sound"}, "error: no sound"),
        ({"error": True, "message": "no sound"}, "error: no sound"),
        ({"error": {"code": 3}}, 'error: {"code": 3}'),
        ({"error": ["a"]}, 'error: ["a"]'),
        ([{"label": 1}, {"error": "no sound"}], "at 1: no sound"),
        ({"status": "OK", "predictions": [{"error": "no sound"}]}, "under predictions at 0: no sound"),
        ({"predictions": {"error": "no sound"}}, "under predictions: no sound"),
        ({"predictions": {"a.wav": {"error": "no sound"}}}, "under predictions at 0: no sound"),
        ('{"status": "error", "message": "no sound"}', "error: no sound"),
    ],
)
def test_an_error_in_disguise_is_found(answer: Any, says: str) -> None:
    assert says in (disguised_error(answer) or "")


@pytest.mark.parametrize(
    "answer",
    [
        {},
        [],
        "",
        0,
        False,
        "error",
        [None],
        {"error_rate": 0.1},
        {"errors": []},
        {"error": None},
        {"error": ""},
        {"error": False},
        {"error": 0.03},
        {"error": []},
        {"status": "OK"},
        {"status": 500},
        {"predictions": None},
        {"predictions": [{"error": 0.5}]},
        {"label": {"error": "the third level is the module's own affair"}},
        '{"error": 0.03}',
    ],
)
def test_an_innocent_answer_is_one(answer: Any) -> None:
    assert disguised_error(answer) is None


@pytest.mark.parametrize("padding", ["", BIG])
def test_what_json_has_no_word_for_becomes_null(tmp_path: Path, padding: str) -> None:
    text = f'{{"p": NaN, "scores": [Infinity, -Infinity, 0.5], "padding": "{padding}"}}'
    assert json.loads(settled(tmp_path, text)) == {"p": None, "scores": [None, None, 0.5], "padding": padding}


@pytest.mark.parametrize("text", ['{"a": 1.0, "b": 12345678901234567890, "c": "\\u00fc"}', '"text"', "[]", "true"])
def test_values_keep_their_precision(tmp_path: Path, text: str) -> None:
    assert json.loads(settled(tmp_path, text)) == json.loads(text)


def test_text_is_utf_8_and_a_lone_surrogate_an_escape(tmp_path: Path) -> None:
    assert settled(tmp_path, '["\\u00fc", "\\udce9"]') == '["ü", "\\udce9"]'.encode()
    assert settled(tmp_path, b'["\xed\xb3\xa9"]') == b'["\\udce9"]'


@pytest.mark.parametrize("padding", ["", BIG])
def test_an_error_leaves_no_result(tmp_path: Path, padding: str) -> None:
    with pytest.raises(ItemFailed, match="the module answered with an error: no ü"):
        settled(tmp_path, f'{{"error": "no ü", "padding": "{padding}"}}')
    assert not (tmp_path / "result.json").exists()


@pytest.mark.parametrize("text", ["", "{", "{'a': 1}", b"\xff\xfe", "[" * 100_000, "{" + BIG])
def test_what_is_no_json_is_told_with_its_beginning(tmp_path: Path, text: str | bytes) -> None:
    with pytest.raises(ItemFailed, match="the module's answer is not JSON") as failed:
        settled(tmp_path, text)
    assert len(failed.value.message) < 400


@pytest.mark.parametrize(
    ("literal", "values"),
    [
        ("{'a': True, 'b': None, 'c': (1, 2)}", {"a": True, "b": None, "c": [1, 2]}),
        ("{'p': nan, 'q': -inf, 'r': [inf, -0.5]}", {"p": None, "q": None, "r": [None, -0.5]}),
        ("{1: 'a'}", {"1": "a"}),
        ("'text'", "text"),
    ],
)
def test_a_python_repr_becomes_json(tmp_path: Path, literal: str, values: Any) -> None:
    assert json.loads(settled(tmp_path, literal, "repr")) == values


@pytest.mark.parametrize("literal", ["array([1, 2])", "<object object at 0x7f>", "__import__('os')", ""])
def test_a_repr_that_is_no_literal_is_never_run(tmp_path: Path, literal: str) -> None:
    with pytest.raises(ItemFailed, match="no Python literal"):
        settled(tmp_path, literal, "repr")


def test_the_process_for_big_answers_knows_nothing_of_the_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The model's process can read the environment of any other but the supervisor's own."""
    spy = tmp_path / "python"
    spy.write_text(f"#!/bin/sh\n/usr/bin/env > {tmp_path}/environment\nexit 1\n")
    spy.chmod(0o755)
    monkeypatch.setattr("sys.executable", os.fspath(spy))
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    with pytest.raises(ItemFailed, match="answer of 3 MB could not be read as JSON"):
        settled(tmp_path, f'"{BIG}"')
    assert "secret" not in (tmp_path / "environment").read_text()
