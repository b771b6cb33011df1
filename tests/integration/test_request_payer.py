"""Buckets whose readers pay: JOB_REQUEST_PAYER reaches every request, and nothing else makes anybody pay."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from supervisor import storage
from supervisor.storage.s3 import S3
from tests.conftest import CREDENTIALS, S3Server, Supervisor
from tests.integration.gate import Gate, Refusal, Request

MIB = 1024 * 1024
TYPE = "application/json"


def unpaid(request: Request) -> Refusal | None:
    paid = request.named.get("x-amz-request-payer") == "requester"
    return None if paid else Refusal(status=403, code="AccessDenied")


@pytest.fixture
def gate(s3: S3Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Gate]:
    """A bucket whose readers pay."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    with Gate(s3.endpoint, unpaid) as gate:
        monkeypatch.setenv("AWS_ENDPOINT_URL", gate.endpoint)
        yield gate


def test_every_request_of_both_clients_is_paid_for(gate: Gate, s3: S3Server, tmp_path: Path) -> None:
    store = S3(storage.Settings(request_payer="requester"))
    prefix = f"s3://{s3.bucket}/"
    for key in ("in/a.wav", "in/a//b.wav", "in/large.wav"):
        s3.put(key, bytes(20 * MIB if "large" in key else 10))
        store.download(store.stat(prefix + key), tmp_path / key.replace("/", "-"))
    with pytest.raises(storage.Missing):
        store.stat(f"{prefix}nothing")
    large = tmp_path / "large"
    large.write_bytes(bytes(33 * MIB))
    sources: list[bytes | Path] = [b"{}", large]
    for number, source in enumerate(sources):
        store.upload(source, f"{prefix}out/{number}", media_type=TYPE, metadata={})
        store.create(source, f"{prefix}new/{number}", media_type=TYPE, metadata={})
    store.probe(f"{prefix}out/")
    assert len(list(store.list(f"{prefix}in/", after=f"{prefix}in/a.wav"))) == 2
    asked = {(request.method, "uploadId" in request.query or "uploads" in request.query) for request in gate.requests}
    assert asked >= {("HEAD", False), ("GET", False), ("PUT", False), ("PUT", True), ("POST", True), ("DELETE", True)}


@pytest.mark.parametrize("name", ["AWS_REQUEST_PAYER", "AWS_REQUESTER_PAYS"])
def test_nobody_pays_for_a_variable_that_boto3_does_not_know(
    name: str, gate: Gate, s3: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, "requester")
    with pytest.raises(storage.Denied):
        S3(storage.Settings()).stat(s3.put("a.wav"))
    assert not [request for request in gate.requests if "x-amz-request-payer" in request.named]


@pytest.mark.parametrize("way", ["variable", "flag"])
def test_a_job_reads_and_writes_where_it_pays(way: str, gate: Gate, plain: Supervisor, s3: S3Server) -> None:
    s3.put("in/a.wav")
    job = {"JOB_INPUT": f"s3://{s3.bucket}/in/", "JOB_OUTPUT": f"s3://{s3.bucket}/out/"}
    surroundings = {**s3.variables, "AWS_ENDPOINT_URL": gate.endpoint}
    if way == "variable":
        ended = plain("run", JOB_REQUEST_PAYER="requester", **job, **surroundings)
        checked = plain("check", JOB_REQUEST_PAYER="requester", **job, **surroundings)
    else:
        ended = plain("run", "--request-payer", "requester", **job, **surroundings)
        checked = plain("check", "--request-payer", "requester", **job, **surroundings)
    assert (ended.code, checked.code) == (0, 0), ended.stderr
    assert s3.get("out/a.wav.json")


def test_a_job_that_does_not_pay_is_denied(gate: Gate, plain: Supervisor, s3: S3Server, tmp_path: Path) -> None:
    uri = s3.put("in/a.wav")
    surroundings = {**s3.variables, "AWS_ENDPOINT_URL": gate.endpoint}
    assert plain("run", JOB_INPUT=uri, JOB_OUTPUT=str(tmp_path / "out"), **surroundings).code == 77
