"""The private runtime's archive, and the environment that it is built in; containers try the layer itself."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from scripts import cli
from scripts.images import runtime
from scripts.images.runtime import Runtime
from supervisor.failures import InputMissing, ItemFailed


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What images/runtime/build would have been given, in a file; in its place stands a script that writes it."""
    script, told = tmp_path / "build", tmp_path / "told.json"
    script.write_text(
        "#!/usr/bin/env python3\nimport json, os, sys\n"
        "names = ('BASE', 'OUT', 'NETWORK', 'SNAPSHOT')\n"
        f"told = {{name: os.environ.get(name) for name in names}} | {{'arguments': sys.argv[1:]}}\n"
        f"open({str(told)!r}, 'w').write(json.dumps(told))\n"
        "print('built')\n"
    )
    script.chmod(0o755)
    monkeypatch.setattr(runtime, "_BUILD", script)
    for name in ("BASE", "OUT", "NETWORK", "SNAPSHOT"):
        monkeypatch.setenv(name, "of another command")
    return told


def test_a_runtime_that_is_not_built_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputMissing) as missing:
        Runtime.pack(tmp_path / "runtime.tar", tmp_path / "context.tar")
    assert "deepaas-batch runtime" in missing.value.hint


def test_no_value_of_another_command_reaches_the_build(settings: Path, capfd: pytest.CaptureFixture[str]) -> None:
    runtime.build()

    out = str(runtime.FOLDER)
    told = json.loads(settings.read_text())
    assert told == {"BASE": None, "OUT": out, "NETWORK": None, "SNAPSHOT": None, "arguments": []}
    assert os.environ["BASE"] == "of another command"
    assert capfd.readouterr().out == ""


def test_the_runtimes_own_flags_reach_the_build(settings: Path, tmp_path: Path) -> None:
    code = cli.main(["runtime", "--base", "mine:1", "--out", str(tmp_path / "out"), "--network", "host", "--no-cache"])

    assert code == 0
    told = json.loads(settings.read_text())
    assert (told["BASE"], told["OUT"], told["NETWORK"]) == ("mine:1", str(tmp_path / "out"), "host")
    assert told["arguments"] == ["--no-cache"]


def test_a_build_that_fails_is_one_line_and_exit_65(
    settings: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    failing = tmp_path / "failing"
    failing.write_text("#!/bin/sh\nexit 3\n")
    failing.chmod(0o755)
    monkeypatch.setattr(runtime, "_BUILD", failing)

    assert cli.main(["runtime"]) == 65
    [line] = capsys.readouterr().err.splitlines()
    assert "images/runtime/build ended with 3" in line


# The archive that is there.


@pytest.fixture
def builds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A script in place of images/runtime/build: writes an archive, and a line into the file that is returned."""
    script, told = tmp_path / "build", tmp_path / "told"
    script.write_text(f'#!/bin/sh\nset -e\necho built >>{told}\nmkdir -p "$OUT"\necho $$ >"$OUT/runtime.tar"\n')
    script.chmod(0o755)
    monkeypatch.setattr(runtime, "_BUILD", script)
    monkeypatch.setattr(runtime, "_SOURCES", (tmp_path / "sources",))
    monkeypatch.setattr(runtime, "ROOT", tmp_path)
    (tmp_path / "sources").mkdir()
    (tmp_path / "LICENSE").touch()
    return told


def test_an_archive_of_the_same_sources_is_not_built_again(builds: Path, tmp_path: Path) -> None:
    archives = {runtime.ready(tmp_path / "out").read_text() for _ in range(2)}

    assert builds.read_text() == "built\n"
    assert len(archives) == 1


@pytest.mark.parametrize("name", ["new.py", "folder/new.py"])
def test_other_sources_make_another_archive(name: str, builds: Path, tmp_path: Path) -> None:
    runtime.ready(tmp_path / "out")
    (tmp_path / "sources" / name).parent.mkdir(exist_ok=True)
    (tmp_path / "sources" / name).touch()
    runtime.ready(tmp_path / "out")

    assert builds.read_text() == "built\nbuilt\n"


def test_an_archive_that_something_else_made_is_built_again(builds: Path, tmp_path: Path) -> None:
    runtime.ready(tmp_path / "out").write_text("another")
    runtime.ready(tmp_path / "out")

    assert builds.read_text() == "built\nbuilt\n"


def test_where_it_cannot_be_built_the_archive_that_is_there_is_used_which_is_said(
    builds: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    archive = runtime.ready(tmp_path / "out")
    (tmp_path / "sources/new.py").touch()
    (tmp_path / "build").write_text("#!/bin/sh\nexit 1\n")

    assert runtime.ready(tmp_path / "out") == archive
    said = capsys.readouterr().err
    assert "could not be built" in said
    assert f"{archive} is used as it is here, made of other sources" in said


def test_where_there_is_none_and_none_can_be_built_it_is_said(builds: Path, tmp_path: Path) -> None:
    (tmp_path / "build").write_text("#!/bin/sh\nexit 1\n")

    with pytest.raises(ItemFailed):
        runtime.ready(tmp_path / "out")
