"""An event with several records is several items: one after the other, and one that fails does not stop the rest."""

import json
from pathlib import Path

import pytest

from tests.conftest import NEWEST, OLD, S3Server, Supervisor, image


def event(*keys: str, bucket: str) -> str:
    records = [
        {"eventName": "ObjectCreated:Put", "s3": {"bucket": {"name": bucket}, "object": {"key": key}}} for key in keys
    ]
    return json.dumps({"Records": records})


@pytest.mark.parametrize("release", [pytest.param(OLD, marks=pytest.mark.releases), NEWEST])
@pytest.mark.parametrize("runner", ["auto", "cli", "worker"])
def test_each_record_becomes_a_result(tmp_path: Path, s3: S3Server, release: str, runner: str) -> None:
    for key in ("a.wav", "b.wav"):
        s3.put(key)
    ended = image(tmp_path, "plain", release)(
        "run",
        JOB_EVENT=event("a.wav", "b.wav", bucket=s3.bucket),
        JOB_OUTPUT=f"s3://{s3.bucket}/out/",
        JOB_RUNNER=runner,
        **s3.variables,
    )
    assert ended.code == 0, ended.stderr
    assert {s3.json(f"out/{name}.json")["name"] for name in ("a.wav", "b.wav")} == {"a.wav", "b.wav"}


def test_a_missing_object_fails_its_own_item_alone(plain: Supervisor, s3: S3Server) -> None:
    s3.put("b.wav")
    ended = plain(
        "run",
        JOB_EVENT=event("missing.wav", "b.wav", bucket=s3.bucket),
        JOB_OUTPUT=f"s3://{s3.bucket}/out/",
        **s3.variables,
    )
    assert ended.code == 66
    assert ended.status["counts"] == {"total": 2, "done": 1, "skipped": 0, "failed": 1, "pending": 0, "placeholders": 0}
    assert s3.json("out/b.wav.json")["name"] == "b.wav"


def test_failures_within_the_allowance_do_not_fail_the_job(plain: Supervisor, s3: S3Server) -> None:
    s3.put("b.wav")
    ended = plain(
        "run",
        JOB_EVENT=event("missing.wav", "b.wav", bucket=s3.bucket),
        JOB_OUTPUT=f"s3://{s3.bucket}/out/",
        JOB_MAX_FAILURES="1",
        **s3.variables,
    )
    assert (ended.code, ended.status["state"]) == (0, "PARTIAL")


def test_folder_placeholders_are_left_out_and_counted(plain: Supervisor, s3: S3Server) -> None:
    ended = plain(
        "run", JOB_EVENT=event("folder/", bucket=s3.bucket), JOB_OUTPUT=f"s3://{s3.bucket}/out/", **s3.variables
    )
    assert (ended.code, ended.status["counts"]["placeholders"]) == (0, 1)
