"""TMPDIR, the module's temporary folder: what predictions leave there goes, what the module keeps there stays."""

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import NEWEST, OLD, Ended, Supervisor
from tests.integration.odd_modules import image_of

WORKING_FILES = 3 * 100_000  # bytes that leaves_temp leaves at each call


@pytest.fixture
def short() -> Iterator[str]:
    """A folder whose path leaves room for that of a socket (107 bytes)."""
    with tempfile.TemporaryDirectory(prefix="t") as folder:
        yield folder


def run(model: Supervisor, folder: Path, names: list[str], **variables: str) -> tuple[Ended, list[Any]]:
    """A job of so many inputs; its answers in their order."""
    inputs = folder / "in"
    inputs.mkdir()
    for name in names:
        (inputs / name).write_bytes(b"RIFF")
    ended = model("run", JOB_INPUT=f"{inputs}/", JOB_OUTPUT=str(folder / "out"), JOB_RUNNER="worker", **variables)
    return ended, [json.loads(path.read_text()) for path in sorted((folder / "out").glob("*.json"))]


@pytest.mark.parametrize("workers", ["1", "2"])
def test_what_predictions_leave_does_not_grow(workers: str, tmp_path: Path) -> None:
    names = [f"{number:02}.wav" for number in range(30)]
    ended, answers = run(
        image_of(tmp_path, "leaves_temp"), tmp_path, names, JOB_WORKERS=workers, SUPERVISOR_COPIES="many"
    )
    assert ended.code == 0, ended.stderr
    assert len(answers) == 30
    # Of the first prediction nobody knows what the module still wants.
    assert max(answer["found"] for answer in answers) <= WORKING_FILES


def test_what_predictions_leave_does_not_grow_under_python_3_6(tmp_path: Path) -> None:
    names = [f"{number:02}.wav" for number in range(10)]
    ended, answers = run(image_of(tmp_path, "leaves_temp", OLD, "python3.6"), tmp_path, names)
    assert ended.code == 0, ended.stderr
    assert max(answer["found"] for answer in answers) <= WORKING_FILES


def test_what_failed_predictions_leave_does_not_grow_either(tmp_path: Path) -> None:
    names = [f"{'bad' if number % 5 else 'good'}{number:02}.wav" for number in range(40)] + ["z.wav"]
    ended, answers = run(
        image_of(tmp_path, "leaves_temp"), tmp_path, names, JOB_MAX_FAILURES="40", JOB_GIVE_UP_AFTER="0"
    )
    assert ended.code == 0, ended.stderr
    # "bad…" come first: twenty of them may leave what they like.
    assert max(answer["found"] for answer in answers) <= 22 * WORKING_FILES
    assert answers[-1]["found"] <= 22 * WORKING_FILES


def test_what_is_left_open_goes_with_the_process(tmp_path: Path) -> None:
    names = [f"{number:03}.wav" for number in range(600)]
    arguments = '{"leak": true, "kilobytes": 1}'
    ended, answers = run(image_of(tmp_path, "leaves_temp"), tmp_path, names, JOB_PREDICT_ARGS=arguments)
    assert ended.code == 0, ended.stderr
    assert [line for line in ended.log if "the model is started again" in line]
    assert max(answer["found"] for answer in answers) <= 260 * 1_000


@pytest.mark.parametrize(("release", "python"), [(NEWEST, "python3.11"), (OLD, "python3.6")])
def test_what_the_module_keeps_stays(release: str, python: str, short: str, tmp_path: Path) -> None:
    names = [f"{number:02}.wav" for number in range(12)]
    model = image_of(tmp_path, "keeps_temp", release, python)
    ended, answers = run(model, tmp_path, names, TMPDIR=short)
    assert ended.code == 0, ended.status["items"]
    assert answers[-1]["kept"] == ["warm", "first", "a", "held", True]


def test_what_it_keeps_for_other_arguments_stays(short: str, tmp_path: Path) -> None:
    (tmp_path / "x.wav").write_bytes(b"RIFF")
    lines = [{"input": str(tmp_path / "x.wav"), "output": f"{n}", "args": {"model": "abc"[n % 3]}} for n in range(12)]
    (tmp_path / "list").write_text("\n".join(map(json.dumps, lines)))
    job = {"JOB_MANIFEST": str(tmp_path / "list"), "JOB_OUTPUT": str(tmp_path / "out"), "TMPDIR": short}
    ended = image_of(tmp_path, "keeps_temp")("run", **job)
    assert ended.code == 0, ended.status["items"]
    assert json.loads((tmp_path / "out" / "11").read_text())["kept"] == ["warm", "first", "c", "held", True]


def test_a_new_process_of_the_model_begins_with_an_empty_folder(tmp_path: Path) -> None:
    """deepaas-cli takes a process an item."""
    names = [f"{number}.wav" for number in range(3)]
    model = image_of(tmp_path, "leaves_temp")
    inputs = tmp_path / "in"
    inputs.mkdir()
    for name in names:
        (inputs / name).write_bytes(b"RIFF")
    ended = model("run", JOB_INPUT=f"{inputs}/", JOB_OUTPUT=str(tmp_path / "out"), JOB_RUNNER="cli")
    assert ended.code == 0, ended.stderr
    answers = [json.loads(path.read_text()) for path in (tmp_path / "out").glob("*.json")]
    assert [answer["found"] for answer in answers] == [4, 4, 4]  # deepaas-cli's own copy of the input
