"""The private runtime's archive, and the environment that it is built in; containers try the layer itself."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from scripts import cli
from scripts.images import runtime
from scripts.images.runtime import Runtime
from supervisor.failures import InputMissing


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
