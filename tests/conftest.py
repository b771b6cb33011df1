"""What the tests share: stand-ins for images, an S3 server, and the supervisor as its user runs it."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer
from mypy_boto3_s3 import S3Client

from scripts import environments
from tests.modules.install import install

REPOSITORY = Path(__file__).resolve().parents[1]
OLD, NEWEST = "1.3.0", "2.6.0"
BUCKET = "recordings"
# A shell's background job ignores Ctrl-C, and so would all that a test run in one starts.
signal.signal(signal.SIGINT, signal.default_int_handler)

_PATIENCE = 120  # seconds for one run, on a busy machine
CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "AKIDFORTESTS",
    "AWS_SECRET_ACCESS_KEY": "secret-key-for-tests",
    "AWS_DEFAULT_REGION": "eu-west-1",
}


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How one run of the supervisor ended, with all that it said."""

    code: int
    stdout: str
    stderr: str

    @property
    def events(self) -> list[dict[str, Any]]:
        """stdout as JSON Lines; fails where a line is not."""
        return [json.loads(line) for line in self.stdout.splitlines()]

    @property
    def status(self) -> dict[str, Any]:
        """The last status told on stdout."""
        status: dict[str, Any] = [e["status"] for e in self.events if e["event"] == "status"][-1]
        return status

    @property
    def log(self) -> list[str]:
        """The lines that the model printed."""
        return [e["line"] for e in self.events if e["event"] == "log"]


@dataclass(frozen=True, kw_only=True)
class Supervisor:
    """The supervisor in an image's environment: a DEEPaaS release on PATH, and test modules."""

    environment: Mapping[str, str]
    command: Sequence[str] = ("-m", "supervisor")

    def __call__(self, *arguments: str, **variables: str) -> Ended:
        """Runs `supervisor ARGUMENTS` with further variables, and waits."""
        with self.start(*arguments, **variables) as process:
            try:
                stdout, stderr = process.communicate(timeout=_PATIENCE)
            except BaseException:
                process.kill()
                raise
        return Ended(code=process.returncode, stdout=stdout, stderr=stderr)

    def start(self, *arguments: str, **variables: str) -> "subprocess.Popen[str]":
        """Starts it and does not wait."""
        return subprocess.Popen(
            [sys.executable, *self.command, *arguments],
            env={**self.environment, **variables},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="surrogateescape",
        )


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """On CI nothing is left out: a skipped test is a failure there."""
    report = yield
    if report.skipped and not hasattr(report, "wasxfail") and os.environ.get("CI"):
        report.outcome = "failed"
        report.longrepr = f"left out, which CI may not be: {report.longrepr}"
    return report


def image(folder: Path, modules: str | Sequence[str], release: str = NEWEST, python: str | None = None) -> Supervisor:
    """A stand-in for an image: that DEEPaaS release with those test modules, installed below `folder`.

    python: a command, as python3.6; by default the image's Python is the one that runs the tests.
    """
    try:
        programs = environments.ensure(release, python) / "bin"
    except environments.NoPython as missing:
        pytest.skip(str(missing))  # the summary has one line for all skips of one place and reason
    site = install(modules, folder / "site")
    environment = {
        "PATH": f"{programs}:/usr/local/bin:/usr/bin:/bin",
        # Inherited by the supervisor too, whose own packages come from its virtual environment.
        "PYTHONPATH": str(site),
        "HOME": str(folder),
        "TMPDIR": str(_made(folder / "tmp")),
        "LANG": "C.UTF-8",
    }
    return Supervisor(environment=environment)


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@dataclass(frozen=True, kw_only=True)
class S3Server:
    """An S3 server on loopback with one empty bucket of this test's own."""

    endpoint: str
    client: S3Client
    bucket: str = BUCKET

    @property
    def variables(self) -> dict[str, str]:
        """What a job needs to reach it."""
        return {**CREDENTIALS, "AWS_ENDPOINT_URL": self.endpoint}

    def put(self, key: str, body: bytes = b"RIFF") -> str:
        """Stores an object and returns its URI."""
        self.client.put_object(Bucket=self.bucket, Key=key, Body=body)
        return f"s3://{self.bucket}/{key}"

    def get(self, key: str) -> bytes:
        return self.client.get_object(Bucket=self.bucket, Key=key)["Body"].read()

    def json(self, key: str) -> Any:
        return json.loads(self.get(key))

    def keys(self) -> list[str]:
        return [o["Key"] for o in self.client.list_objects_v2(Bucket=self.bucket).get("Contents", [])]


@pytest.fixture(scope="session")
def moto_endpoint() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def s3(moto_endpoint: str) -> Iterator[S3Server]:
    client = boto3.client(
        "s3",
        endpoint_url=moto_endpoint,
        region_name=CREDENTIALS["AWS_DEFAULT_REGION"],
        aws_access_key_id=CREDENTIALS["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
    )
    client.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    yield S3Server(endpoint=moto_endpoint, client=client)
    for version in client.list_object_versions(Bucket=BUCKET).get("Versions", []):
        client.delete_object(Bucket=BUCKET, Key=version["Key"], VersionId=version["VersionId"])
    for marker in client.list_object_versions(Bucket=BUCKET).get("DeleteMarkers", []):
        client.delete_object(Bucket=BUCKET, Key=marker["Key"], VersionId=marker["VersionId"])
    client.delete_bucket(Bucket=BUCKET)


@pytest.fixture
def plain(tmp_path: Path) -> Supervisor:
    """An image with the newest DEEPaaS and a module that answers what it was given."""
    return image(tmp_path, "plain")


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    """A local input. What is in it does not matter to the test modules."""
    path = tmp_path / "recording.wav"
    path.write_bytes(b"RIFF" * 25)
    return path
