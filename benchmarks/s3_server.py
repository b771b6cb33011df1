"""A real S3 server (SeaweedFS) on free loopback ports, with its data in a temporary folder."""

import itertools
import json
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from mypy_boto3_s3 import S3Client

CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "AKIDFORSEAWEED",
    "AWS_SECRET_ACCESS_KEY": "secret-key-for-seaweed",
    "AWS_DEFAULT_REGION": "us-east-1",
}
_READY_WITHIN = 60  # seconds; 3.5 on an idle machine


@dataclass(frozen=True, kw_only=True)
class S3Server:
    """A running server. variables: what a job's environment needs to reach it."""

    endpoint: str
    credentials: Mapping[str, str]

    @property
    def variables(self) -> dict[str, str]:
        return {**self.credentials, "AWS_ENDPOINT_URL": self.endpoint}

    def client(self) -> S3Client:
        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            region_name=self.credentials["AWS_DEFAULT_REGION"],
            aws_access_key_id=self.credentials["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=self.credentials["AWS_SECRET_ACCESS_KEY"],
            config=Config(s3={"addressing_style": "path"}),
        )


@contextmanager
def seaweedfs(credentials: Mapping[str, str] = CREDENTIALS) -> Iterator[S3Server]:
    """Starts a server that takes these credentials alone, waits until it answers, and ends it with its data."""
    program = shutil.which("weed", path=str(Path(sys.executable).parent)) or "weed"
    with tempfile.TemporaryDirectory(prefix="seaweedfs-") as folder:
        identity = {
            "name": "tests",
            "credentials": [
                {"accessKey": credentials["AWS_ACCESS_KEY_ID"], "secretKey": credentials["AWS_SECRET_ACCESS_KEY"]}
            ],
            "actions": ["Admin"],
        }
        config = Path(folder, "identities.json")
        config.write_text(json.dumps({"identities": [identity]}))
        ports = _free_ports(8)
        names = ("master", "volume", "filer", "s3")
        command = [
            *(program, f"-logdir={folder}", "server", f"-dir={folder}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1"),
            # It would tell its maker how it is used, and make a bucket of any name that is written to.
            *("-master.telemetry=false", "-filer", "-s3", f"-s3.config={config}", "-s3.autoCreateBucket=false"),
            *("-volume.max=50", "-master.volumeSizeLimitMB=1024", "-s3.port.iceberg=0", "-s3.port.lance=0"),
            *(f"-{name}.port={port}" for name, port in zip(names, ports, strict=False)),
            *(f"-{name}.port.grpc={port}" for name, port in zip(names, ports[4:], strict=True)),
        ]
        log = Path(folder, "log")
        with log.open("wb") as output, subprocess.Popen(command, stdout=output, stderr=output, cwd=folder) as process:
            try:
                server = S3Server(endpoint=f"http://127.0.0.1:{ports[3]}", credentials=credentials)
                _wait(server, process, log)
                yield server
            finally:
                process.kill()
                process.wait()


def _wait(server: S3Server, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + _READY_WITHIN
    client = server.client()
    for attempt in itertools.count():
        if time.monotonic() > deadline or process.poll() is not None:
            break
        try:
            # A bucket made and a byte stored: the volumes are there too. Another bucket each time, for one may be made
            # and have no volume yet.
            client.create_bucket(Bucket=f"ready-{attempt}")
            client.put_object(Bucket=f"ready-{attempt}", Key="probe", Body=b"x")
        except (BotoCoreError, ClientError):
            time.sleep(0.2)
        else:
            return
    raise RuntimeError(f"the S3 server did not start: {log.read_text(errors='replace')[-2000:]}")


def _free_ports(count: int) -> list[int]:
    """Ports that were free a moment ago, all at once."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()
