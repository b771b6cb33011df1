"""How builds get on, as it is told on a terminal and elsewhere."""

from __future__ import annotations

import io
import json
import re

import pytest

from scripts.images.progress import JsonProgress, for_stream


def test_progress_elsewhere_than_on_a_terminal_is_json_lines_one_for_each_stage() -> None:
    out = io.StringIO()
    progress = JsonProgress(out)
    for detail in ("1 of 9 MB", "2 of 9 MB"):
        progress.stage("a", "pull", detail)
    progress.stage("a", "build")
    progress.ended("a", "failed", 1.26, "no base")

    told = [json.loads(line) for line in out.getvalue().splitlines()]
    assert [(line["event"], line.get("stage")) for line in told] == [
        ("stage", "pull"),
        ("stage", "build"),
        ("ended", None),
    ]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_progress_on_a_terminal_is_a_bar_for_all_and_one_for_each_image_that_is_made(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    out = Terminal()
    with for_stream(out, total=2) as progress:
        progress.stage("deepaas-batch/yolov8:cpu", "build", "step [3/9]")
        progress.note("deepaas-batch/yolov8:cpu", "known to be [unfit]")
        progress.ended("deepaas-batch/yolov8:cpu", "built", 1.26)

    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", out.getvalue())
    assert re.search(r"^images\s.*0/2", shown, re.MULTILINE)
    assert re.search(r"^yolov8:cpu\s.*build step \[3/9\]", shown, re.MULTILINE)
    assert "deepaas-batch/yolov8:cpu: known to be [unfit]" in shown
    assert "deepaas-batch/yolov8:cpu: built in 1.3 s" in shown
