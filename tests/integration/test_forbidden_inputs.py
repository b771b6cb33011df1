"""What is no input ends a job with 64, or an item of a list, whichever variable names it; the model never sees it."""

import json
import os
from pathlib import Path

import pytest

from tests.conftest import Supervisor

SECRET = {"AWS_SECRET_ACCESS_KEY": "a-secret-of-the-supervisors"}


@pytest.mark.parametrize(
    "spelling", ["/proc/self/environ", "file:///proc/self/environ", "{link}", "/proc/self/../self/environ"]
)
def test_the_supervisors_environment_is_no_input(spelling: str, plain: Supervisor, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/proc/self/environ")
    ended = plain("run", JOB_INPUT=spelling.format(link=tmp_path / "link"), JOB_OUTPUT=str(tmp_path / "out"), **SECRET)
    assert ended.code == 64
    assert "lies in /proc, where there are no inputs" in ended.stderr
    assert ended.status["items"][0]["error"]["code"] == 64
    assert list((tmp_path / "out").glob("*.json")) == []


@pytest.mark.parametrize("prefix", ["/proc/", "/sys/", "/dev/", "file:///proc/self/", "{link}/"])
def test_a_prefix_of_the_kernels_is_refused(prefix: str, plain: Supervisor, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/proc/self/fd")
    ended = plain("run", JOB_INPUT=prefix.format(link=tmp_path / "link"), JOB_OUTPUT=str(tmp_path / "out"))
    assert ended.code == 64
    assert "where there are no inputs" in ended.stderr


def test_a_manifest_of_the_kernels_is_refused(plain: Supervisor, tmp_path: Path) -> None:
    ended = plain("run", JOB_MANIFEST="/proc/self/environ", JOB_OUTPUT=str(tmp_path / "out"), **SECRET)
    assert ended.code == 64
    assert "input /proc/self/environ: lies in /proc" in ended.stderr
    assert SECRET["AWS_SECRET_ACCESS_KEY"] not in ended.stderr + ended.stdout


def test_a_line_of_a_manifest_fails_alone(plain: Supervisor, tmp_path: Path, recording: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    lines = [
        "/proc/self/environ",
        str(recording),
        json.dumps({"input": "/dev/zero", "output": "z"}),
        str(tmp_path / "fifo"),
    ]
    (tmp_path / "list").write_text("\n".join(lines))
    ended = plain(
        "run", JOB_MANIFEST=str(tmp_path / "list"), JOB_OUTPUT=str(tmp_path / "out"), JOB_MAX_FAILURES="3", **SECRET
    )
    assert ended.code == 0, ended.stderr
    assert [item["error"]["code"] if "error" in item else 0 for item in ended.status["items"]] == [64, 0, 64, 64]
    assert (tmp_path / "out" / "recording.wav.json").exists()


def test_a_link_below_a_prefix_fails_alone(plain: Supervisor, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "a.wav").write_bytes(b"RIFF")
    (folder / "b.wav").symlink_to("/proc/self/environ")
    ended = plain("run", JOB_INPUT=f"{folder}/", JOB_OUTPUT=str(tmp_path / "out"), **SECRET)
    assert ended.code == 64
    assert [path.name for path in (tmp_path / "out").glob("*.json")] == ["a.wav.json"]
