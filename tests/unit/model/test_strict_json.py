"""A module's answer becomes strict JSON, or is found to be an error in disguise."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from supervisor.failures import ItemFailed
from supervisor.model.answer_rules import disguised_error, file_fault, missing_file
from supervisor.model.strict_json import rewrite

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
        ({"Error": "not implemented"}, "error: not implemented"),
        ({"Status": "ERROR", "Message": "no sound"}, "error: no sound"),
        ([{"Error": "no weights"}], "at 0: no weights"),
        ({"ERROR": "no weights"}, "error: no weights"),
        ({"error": [{"file": "a.wav"}]}, 'error: [{"file": "a.wav"}]'),
        ({"status": "Error: no sound"}, "error: Error: no sound"),
        ({"success": False, "message": "no sound"}, "error: no sound"),
        (
            {"multi-image": [{"title": "a", "labels": []}, {"title": "b", "status": "error", "message": "no sound"}]},
            "under multi-image at 1: no sound",
        ),
        ({"recordings": [{"Error": "no sound"}]}, "under recordings at 0: no sound"),
        ({"results": {"a.wav": {"status": "failed"}}}, "under results at 0: failed"),
        ({"result": "Error occurred. No prediction folder at '/m'."}, "error: Error occurred. No prediction folder"),
        ({"result": "An unexpected error occurred: no sound", "file": "a.wav"}, "error: An unexpected error occurred"),
        ({"Message": "Error: no sound", "probability": 0, "labels": []}, "error: Error: no sound"),
        ({"output": "ValueError: no sound"}, "error: ValueError: no sound"),
        ({"output": "torch.cuda.OutOfMemoryError: 2 GiB"}, "error: torch.cuda.OutOfMemoryError: 2 GiB"),
        ({"output": "FileNotFoundError(2, 'No such file')"}, "error: FileNotFoundError(2"),
        ({"prediction": "Failed to open a.wav"}, "error: Failed to open a.wav"),
        ({"prediction": "Error processing a.wav"}, "error: Error processing a.wav"),
        ({"prediction": "Exception during inference"}, "error: Exception during inference"),
        ({"response": "Traceback (most recent call last):\n  File"}, "error: Traceback (most recent call last): File"),
        ([{"label": "cat"}, {"result": "Error occurred."}], "at 1: Error occurred."),
        ({"predictions": [{"message": "Error: no sound"}]}, "under predictions at 0: Error: no sound"),
        (["Error: no sound"], "with a text: Error: no sound"),
        ({"result": ["Error: no sound"]}, "error: Error: no sound"),
        ({"data": {"result": "Error occurred. No folder"}}, "under data: Error occurred. No folder"),
        ({"images": {"a.wav": {"error": "no sound"}}}, "under images at 0: no sound"),
        ({"error_message": "no sound"}, "error: no sound"),
        ({"Exception": "no sound", "labels": []}, "error: no sound"),
        ({"error": False, "traceback": "File x"}, "error: File x"),
        ({"result": "ERROR - no sound"}, "error: ERROR - no sound"),
        ({"result": "Error. No folder"}, "error: Error. No folder"),
        ({"result": "Oops, an error occurred"}, "error: Oops, an error occurred"),
        ({"result": "Internal server error: no sound"}, "error: Internal server error: no sound"),
        ({"result": "Error(s) have occurred"}, "error: Error(s) have occurred"),
        ({"result": "Error:no sound"}, "error: Error:no sound"),
        ("", "answered nothing (an empty text)"),
        (" \n", "answered nothing (an empty text)"),
        ("null", "answered nothing (an empty text)"),
    ],
)
def test_an_error_in_disguise_is_found(answer: Any, says: str) -> None:
    fault = disguised_error(answer)
    assert fault is not None
    assert says in fault.message


@pytest.mark.parametrize(
    "answer",
    [
        {},
        [],
        0,
        False,
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
        {"Error": 0.03},
        "0.93",
        "[]",
        ['[{"label": "cat"}]'],
        ["cat"],
        ["cat", "dog"],
        ["golden retriever"],
        ["Quercus robur L."],
        ["Gadus sp."],
        ["/m/01g317"],
        ["Model not found.", 0.5],
        {"label": "Model not found."},
        {"predictions": "golden retriever"},
        {"predictions": ["Good morning."]},
        # a species of that name, a verdict, a measure, what somebody says
        {"result": "Error"},
        {"result": "error"},
        {"prediction": "Failed"},
        {"predictions": ["Error", "Exception"]},
        {"labels": ["error", "failure"], "probabilities": [0.9, 0.1]},
        {"result": "Errorella occurredensis"},
        {"result": "Error's bunting"},
        {"result": "Error correction code"},
        {"result": "No error occurred"},
        {"result": "no errors occurred."},
        {"result": "Mean error: 0.3"},
        {"result": "Standard error: 0.3"},
        {"prediction": "human error: 3"},
        {"prediction": "heart failure: acute"},
        {"prediction": "Failure: heart"},
        {"prediction": "Failure to thrive"},
        {"prediction": "Failed to thrive"},
        {"prediction": "Error-prone"},
        {"label": "Error: x"},
        {"error": {"mean": 0.1, "std": 0.2}},
        {"exception": None},
        {"exception": "none"},
        {"exception": 0.3},
        {"prediction": "TypeError"},
        {"prediction": "Terror: a film", "title": "x"},
        {"transcript": "Error: no sound"},
        {"text": "An error occurred in the ministry."},
        {"result": "Error: no sound", "probability": 0.7},
        {"parts": [{"id": 1, "status": "failed"}, {"id": 2, "status": "passed"}]},
        {"folds": [{"error": True}, {"error": 0.3}]},
        {"error": [0.1, 0.2]},
        {"error": "0.03"},
        {"error": "None"},
        {"error": " no "},
        {"errors": ["a word spelt wrong"]},
        {"success": False},
        {"success": True, "message": "done"},
        {"success": 0.2, "message": "probability"},
    ],
)
def test_an_innocent_answer_is_one(answer: Any) -> None:
    assert disguised_error(answer) is None


TEXTS = [
    ("Model not found.", "with a text: Model not found."),
    ("speech", "with a text: speech"),
    ('"Model not found."', "with a text: Model not found."),
    ("{'label': 1}", "with a text: {'label': 1}"),
    ("two\n  lines", "with a text: two lines"),
    (["Invalid crop: ensure that x2 > x1 and y2 > y1."], "with a text: Invalid crop"),
    (["It is not there!"], "with a text: It is"),
    ("/tmp/tmpx8a/result.png", "with the name of a file: /tmp/tmpx8a/result.png"),
    (["/tmp/result.png"], "with the name of a file: /tmp/result.png"),
    ("<!DOCTYPE html>\n<html><title>502</title>", "with an HTML page: <!DOCTYPE html> <html>"),
]


@pytest.mark.parametrize(("answer", "says"), TEXTS)
def test_a_text_is_no_answer(answer: Any, says: str) -> None:
    fault = disguised_error(answer)
    assert fault is not None
    assert says in fault.message
    assert len(fault.message) < 600


@pytest.mark.parametrize("answer", [answer for answer, _ in TEXTS])
def test_of_a_module_that_is_declared_to_answer_texts_it_is_one(answer: Any) -> None:
    assert disguised_error(answer, ("application/json", "text/plain")) is None


def test_of_such_a_module_a_text_may_read_as_an_error() -> None:
    answer = {"result": "Error: the film of that name"}
    assert disguised_error(answer) is not None
    assert disguised_error(answer, ("text/plain",)) is None


@pytest.mark.parametrize("answer", ["", None, {"error": "no sound"}])
def test_such_a_modules_errors_are_errors_all_the_same(answer: Any) -> None:
    assert disguised_error(answer, ("text/plain",)) is not None


def test_a_text_says_how_to_declare_it() -> None:
    fault = disguised_error("Good morning.")
    assert fault is not None
    assert "text/plain among `results` in images/<module>.yaml" in fault.hint
    assert "SUPERVISOR_RESULTS=text/plain" in fault.hint


PNG = b"\x89PNG\r\n\x1a\n" + bytes(100)


@pytest.mark.parametrize(
    ("beginning", "media_type", "says"),
    [
        (b"", "image/png", "with an empty file"),
        (b"", None, "with an empty file"),
        (b"", "text/csv", "with an empty file"),
        (b"Model not found.", "image/png", "with a text where image/png was due: Model not found."),
        (b"Model not found.", "image/*", "with a text where image/* was due: Model not found."),
        (b"Model not found.", "application/zip", "with a text where application/zip was due"),
        (b"Model not found.", "APPLICATION/ZIP; x=1", "with a text where"),
        (b"no model", "application/pdf", "with a text where application/pdf was due"),
        (b"no model", "video/mp4", "with a text where video/mp4 was due"),
        (b'{"error": "no model"}', "image/png", 'with a text where image/png was due: {"error": "no model"}'),
        ("señal nula".encode(), "image/tiff", "with a text where image/tiff was due: señal nula"),
        ("señal nula".encode("latin-1"), "image/tiff", "with a text where image/tiff was due: señal nula"),
        (("n" + "ñ" * 5000).encode()[:8192], "image/tiff", "with a text where image/tiff was due: nñ"),
        (b"/tmp/xyz.png", "image/png", "with the name of a file where image/png was due: /tmp/xyz.png"),
        (b" <html><body>502 Bad Gateway", "image/png", "with an HTML page where image/png was due"),
    ],
)
def test_a_file_that_is_none_is_found(beginning: bytes, media_type: str | None, says: str) -> None:
    fault = file_fault(beginning, media_type)
    assert fault is not None
    assert says in fault.message


@pytest.mark.parametrize(
    ("beginning", "media_type"),
    [
        (PNG, "image/png"),
        (PNG, None),
        (b"PK\x03\x04" + bytes(30), "application/zip"),
        (b"%PDF-1.4\n1 0 obj << >> endobj\n", "application/pdf"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "image/svg+xml"),
        (b"P2 2 2 255 0 1 2 3", "image/x-portable-graymap"),
        (b"start,end\n", "text/csv"),
        (b"<html>", "text/html"),
        (b"start,end\n", "application/octet-stream"),
        (b"o cube", "model/obj"),
        (b"start,end\n", None),
        (bytes(range(256)), "image/png"),
    ],
)
def test_a_file_that_may_be_one_is_left_alone(beginning: bytes, media_type: str | None) -> None:
    assert file_fault(beginning, media_type) is None


@pytest.mark.parametrize(
    "answer", ["Model not found.", {"message": "No valid accept type found."}, [["no"], {"a": "no"}]]
)
def test_nothing_but_texts_where_a_file_was_due_is_no_answer(answer: Any) -> None:
    fault = missing_file(answer, "image/*")
    assert fault is not None
    assert "where image/* was due: " in fault.message
    assert missing_file(answer, "application/json") is None
    assert missing_file(answer, None) is None


@pytest.mark.parametrize("answer", [{"label": "cat", "probability": 0.9}, {}, [], None, 7, '{"a": 1}', ['[{"a": 1}]']])
def test_json_where_a_file_was_due_is_the_modules_own_affair(answer: Any) -> None:
    assert missing_file(answer, "image/png") is None


@pytest.mark.parametrize("padding", ["", BIG])
def test_what_json_has_no_word_for_becomes_null(tmp_path: Path, padding: str) -> None:
    text = f'{{"p": NaN, "scores": [Infinity, -Infinity, 0.5], "padding": "{padding}"}}'
    assert json.loads(settled(tmp_path, text)) == {"p": None, "scores": [None, None, 0.5], "padding": padding}


@pytest.mark.parametrize("text", ['{"a": 1.0, "b": 12345678901234567890, "c": "\\u00fc"}', '"5"', "[]", "true"])
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


@pytest.mark.parametrize("padding", ["", BIG])
def test_a_text_leaves_no_result_unless_it_is_declared(tmp_path: Path, padding: str) -> None:
    with pytest.raises(ItemFailed, match="the module answered with a text: no model") as failed:
        settled(tmp_path, json.dumps(f"no model {padding}"))
    assert "SUPERVISOR_RESULTS=text/plain" in failed.value.hint
    written = tmp_path / "written"
    written.write_text(json.dumps(f"no model {padding}"))
    rewrite(written, results=("image/png", "text/plain"))
    assert json.loads(written.read_text()) == f"no model {padding}"


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
        ("'[1]'", "[1]"),
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
