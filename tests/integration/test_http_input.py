"""Inputs from web addresses, presigned ones above all: read by GET alone, and their secrets shown to nobody."""

import json
from pathlib import Path

from tests.conftest import CREDENTIALS, S3Server, Supervisor
from tests.integration.gate import Gate, Refusal


def presigned(s3: S3Server, key: str) -> str:
    return s3.client.generate_presigned_url("get_object", Params={"Bucket": s3.bucket, "Key": key})


def secrets_of(url: str) -> list[str]:
    """The values in a query that nobody must see, as they are and decoded."""
    query = url.partition("?")[2]
    values = [pair.partition("=")[2] for pair in query.split("&") if "Expires" not in pair]
    assert CREDENTIALS["AWS_ACCESS_KEY_ID"] in query
    return [value for value in values if value]


def everything(folder: Path) -> str:
    return "".join(path.read_text() for path in folder.rglob("*") if path.is_file())


def test_a_presigned_url_is_read_and_its_secrets_are_shown_to_nobody(
    plain: Supervisor, s3: S3Server, tmp_path: Path
) -> None:
    s3.put("in/a b.wav", b"RIFF" * 10)
    with Gate(s3.endpoint) as gate:
        url = presigned(s3, "in/a b.wav").replace(s3.endpoint, gate.endpoint)
        ended = plain("run", JOB_INPUT=url, JOB_OUTPUT=str(tmp_path / "out"), JOB_RUNNER="worker")
    assert ended.code == 0, ended.stderr
    assert json.loads((tmp_path / "out" / "a b.wav.json").read_text())["size"] == 40
    assert {request.method for request in gate.requests} == {"GET"}
    told = ended.stdout + ended.stderr + everything(tmp_path / "out")
    assert [secret for secret in secrets_of(url) if secret in told] == []


def test_a_url_that_is_refused_shows_no_secrets_either(plain: Supervisor, s3: S3Server, tmp_path: Path) -> None:
    with Gate(s3.endpoint, lambda _: Refusal(status=403, code="AccessDenied")) as gate:
        url = presigned(s3, "a.wav").replace(s3.endpoint, gate.endpoint)
        ended = plain("run", JOB_INPUT=url, JOB_OUTPUT=str(tmp_path / "out"))
    assert ended.code == 77
    assert len(ended.stderr.splitlines()) == 1
    told = ended.stdout + ended.stderr + everything(tmp_path / "out")
    assert [secret for secret in secrets_of(url) if secret in told] == []


def test_a_url_below_the_input_root_keeps_its_path_and_not_its_query(
    plain: Supervisor, s3: S3Server, tmp_path: Path
) -> None:
    s3.put("in/deep/a.wav")
    ended = plain("run", JOB_INPUT=presigned(s3, "in/deep/a.wav"), JOB_OUTPUT=str(tmp_path / "out"),
                  JOB_INPUT_ROOT=f"{s3.endpoint}/{s3.bucket}/in/")  # fmt: skip
    assert ended.code == 0, ended.stderr
    assert (tmp_path / "out" / "deep" / "a.wav.json").exists()


def test_a_url_that_leads_nowhere_is_66(plain: Supervisor, s3: S3Server, tmp_path: Path) -> None:
    ended = plain("run", JOB_INPUT=f"{s3.endpoint}/recordings/nothing.wav", JOB_OUTPUT=str(tmp_path / "out"))
    assert ended.code == 66
    assert "the server says 404" in ended.stderr
