"""Where a result came from is told beside it, never in it, and decides whether it is made again."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from supervisor import __version__
from tests.conftest import NEWEST, S3Server, Supervisor

IMAGE = {"SUPERVISOR_IMAGE": "r/plain@sha256:1", "SUPERVISOR_BASE": "deephdc/plain@sha256:2"}


@pytest.fixture
def job(plain: Supervisor, s3: S3Server) -> dict[str, str]:
    """The variables of a job that has run once."""
    variables = {"JOB_INPUT": s3.put("a.wav"), "JOB_OUTPUT": f"s3://{s3.bucket}/out/", "JOB_RUNNER": "worker",
                 "JOB_PREDICT_ARGS": '{"threshold": 0.6}', "AWS_BATCH_JOB_ID": "first",
                 **IMAGE, **s3.variables}  # fmt: skip
    assert plain("run", **variables).code == 0
    return variables


def test_a_results_metadata_tells_all_that_it_depends_on(job: dict[str, str], s3: S3Server) -> None:
    told = s3.client.head_object(Bucket=s3.bucket, Key="out/a.wav.json")
    etag = s3.client.head_object(Bucket=s3.bucket, Key="a.wav")["ETag"].strip('"')
    metadata = dict(told["Metadata"])
    assert re.fullmatch(r"\d+\.\d{3}", metadata.pop("seconds"))  # of a module that takes less than half a thousandth
    assert len(metadata.pop("arguments-sha256")) == 64
    assert metadata == {
        "input": f"s3://{s3.bucket}/a.wav",
        "job": "first",
        "input-etag": etag,
        "model": "r/plain@sha256:1",
        "base": "deephdc/plain@sha256:2",
        "module": "plain==1.0",
        "deepaas": NEWEST,
        "supervisor": __version__,
        "device": "cpu",
        "runner": "worker",
    }
    assert told["ContentType"] == "application/json"


def test_the_answer_is_the_modules_own_and_nothing_more(job: dict[str, str], s3: S3Server) -> None:
    assert set(s3.json("out/a.wav.json")) == {"name", "size", "sha256", "arguments"}


@pytest.mark.parametrize(
    ("change", "state"),
    [
        ({}, "skipped"),
        ({"JOB_OVERWRITE": "always"}, "done"),
        ({"JOB_PREDICT_ARGS": '{"threshold": 0.7}'}, "done"),
        ({"SUPERVISOR_IMAGE": "r/plain@sha256:3"}, "done"),
        ({"SUPERVISOR_IMAGE": "r/plain@sha256:3", "JOB_OVERWRITE": "never"}, "skipped"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, dict) else value,
)
def test_what_a_result_depends_on_decides_whether_it_is_made_again(
    change: dict[str, str], state: str, job: dict[str, str], plain: Supervisor
) -> None:
    ended = plain("run", **job | change)
    assert ended.code == 0, ended.stderr
    assert [item["state"] for item in ended.status["items"]] == [state]


def test_a_local_result_has_its_provenance_in_a_note_beside_it(
    plain: Supervisor, recording: Path, tmp_path: Path
) -> None:
    variables = {"JOB_INPUT": str(recording), "JOB_OUTPUT": str(tmp_path / "out")}
    assert plain("run", **variables).code == 0
    note: dict[str, Any] = json.loads((tmp_path / "out" / ".recording.wav.json.provenance").read_text())
    assert note["metadata"]["module"] == "plain==1.0"
    assert plain("run", **variables).status["counts"]["skipped"] == 1
