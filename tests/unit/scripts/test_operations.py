"""docs/operations.md, against what it is about."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from supervisor.failures import TABLE, Failure
from supervisor.status.schema import MEMBERS
from tests.conftest import S3Server

DOCUMENT = Path(__file__).resolve().parents[3] / "docs" / "operations.md"
TEXT = DOCUMENT.read_text(encoding="utf-8")
SECTIONS = dict(re.findall(r"^### (\d+ [a-z-]+)$(.*?)(?=^##)", TEXT, re.MULTILINE | re.DOTALL))


@pytest.mark.parametrize("failure", TABLE, ids=lambda failure: failure.category)
def test_each_exit_code_has_a_section_with_its_line(failure: type[Failure]) -> None:
    section = SECTIONS[f"{failure.code} {failure.category}"]

    (line,) = re.findall(r"^    (supervisor: .*)$", section, re.MULTILINE)
    assert f" (exit {failure.code}, {failure.category}). To do: " in line


def test_no_section_is_about_a_code_that_is_none() -> None:
    assert set(SECTIONS) == {f"{failure.code} {failure.category}" for failure in TABLE}


def test_every_state_is_told_of() -> None:
    assert [state for state in MEMBERS["state"]["enum"] if f"\n| {state} | " not in TEXT] == []


@pytest.mark.skipif(not shutil.which("jq"), reason="needs jq")
def test_the_line_for_sizing_works(tmp_path: Path) -> None:
    (command,) = re.findall(r"<!-- sizing: run by a test -->\n```\n(.*?)```", TEXT, re.DOTALL)
    folder = tmp_path / "status"
    folder.mkdir()
    for index, peak in ((0, 300 * 2**20), (7, 1500 * 2**20)):
        told = {
            "job": {"id": "night", "array_index": index},
            "usage": {"peak_memory": peak, "cpu_seconds": 90.0},
            "seconds": {"total": 60.0},
        }
        (folder / f"night-{index}.json").write_text(json.dumps(told))
    (folder / "refused.json").write_text(json.dumps({"job": {"id": "x"}, "seconds": {"total": 0.1}}))

    ended = subprocess.run(["bash", "-c", command], cwd=tmp_path, check=True, capture_output=True, text=True)

    assert ended.stdout.splitlines() == ["night-7\t1500 MiB\t1.5 cores", "night-0\t300 MiB\t1.5 cores"]


def test_the_rule_for_uploads_that_were_never_ended_is_one_that_s3_takes(s3: S3Server) -> None:
    (rules,) = re.findall(r"<!-- lifecycle: run by a test -->\n```\n.*?'(.*?)'\n```", TEXT, re.DOTALL)

    s3.client.put_bucket_lifecycle_configuration(Bucket=s3.bucket, LifecycleConfiguration=json.loads(rules))

    (rule,) = s3.client.get_bucket_lifecycle_configuration(Bucket=s3.bucket)["Rules"]
    assert rule["Status"] == "Enabled"
    assert rule["AbortIncompleteMultipartUpload"] == {"DaysAfterInitiation": 2}
