"""Local files in and out, under names that shells and file systems trip over."""

import json
from pathlib import Path

import pytest

from tests.conftest import Supervisor, image


@pytest.mark.parametrize("name", ["a b+c%20.wav", "-v.wav", "ü🎙.wav", "new\nline.wav", "$(touch x).wav", "\udcff.wav"])
def test_any_name_becomes_a_result(name: str, plain: Supervisor, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"RIFF")
    ended = plain("run", JOB_INPUT=str(tmp_path / name), JOB_OUTPUT=str(tmp_path / "out"))
    assert ended.code == 0, ended.stderr
    assert json.loads((tmp_path / "out" / f"{name}.json").read_text())["size"] == 4


@pytest.mark.parametrize(
    ("name", "runner"),
    [(".supervisor-answer", "worker"), ("_.supervisor-answer", "worker"), (".supervisor-answer.json", "cli")],
)
def test_an_input_named_as_answers_are_is_not_taken_for_one(
    name: str, runner: str, plain: Supervisor, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(b"RIFF")
    ended = plain("run", JOB_INPUT=str(tmp_path / name), JOB_OUTPUT=str(tmp_path / "out"), JOB_RUNNER=runner)
    assert ended.code == 0, ended.stderr
    assert json.loads((tmp_path / "out" / f"{name}.json").read_text())["size"] == 4


def test_file_uris_name_the_files_they_encode(plain: Supervisor, tmp_path: Path) -> None:
    source, out = tmp_path / "100% ü.wav", tmp_path / "o%20ut"
    source.write_bytes(b"RIFF")
    ended = plain("run", JOB_INPUT=source.as_uri(), JOB_OUTPUT=out.as_uri())
    assert ended.code == 0, ended.stderr
    assert (out / "100% ü.wav.json").exists()


def test_results_keep_their_path_below_the_input_root(plain: Supervisor, tmp_path: Path) -> None:
    source = tmp_path / "in" / "2024" / "a.wav"
    source.parent.mkdir(parents=True)
    source.write_bytes(b"RIFF")
    ended = plain("run", JOB_INPUT=str(source), JOB_INPUT_ROOT=str(tmp_path / "in"), JOB_OUTPUT=str(tmp_path / "out"))
    assert ended.code == 0, ended.stderr
    assert (tmp_path / "out" / "2024" / "a.wav.json").exists()


@pytest.mark.parametrize("module", ["removes_upload", "writes_to_upload", "renames_upload"])
def test_whatever_the_module_does_the_input_is_left_as_it_was(module: str, recording: Path, tmp_path: Path) -> None:
    before = recording.read_bytes(), recording.stat().st_mtime_ns, recording.stat().st_ino
    image(tmp_path, module)("run", JOB_INPUT=str(recording), JOB_OUTPUT=str(tmp_path / "out"), JOB_RUNNER="worker")
    assert (recording.read_bytes(), recording.stat().st_mtime_ns, recording.stat().st_ino) == before


def test_nothing_is_left_in_the_temporary_folder(plain: Supervisor, recording: Path, tmp_path: Path) -> None:
    plain("run", JOB_INPUT=str(recording), JOB_OUTPUT=str(tmp_path / "out"))
    assert list((tmp_path / "tmp").iterdir()) == []
