"""A real S3 server (SeaweedFS) on free loopback ports, with its data in a temporary folder."""

import json
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from mypy_boto3_s3 import S3Client

_ACCESS_KEY, _SECRET_KEY, _REGION = "AKIDFORSEAWEED", "secret-key-for-seaweed", "us-east-1"
_READY_SECONDS = 60


@dataclass(frozen=True, kw_only=True)
class S3Server:
    """A running server. variables: what a job's environment needs to reach it."""

    endpoint: str

    @property
    def variables(self) -> dict[str, str]:
        return {
            "AWS_ACCESS_KEY_ID": _ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": _SECRET_KEY,
            "AWS_DEFAULT_REGION": _REGION,
            "AWS_ENDPOINT_URL": self.endpoint,
        }

    def client(self) -> S3Client:
        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            region_name=_REGION,
            aws_access_key_id=_ACCESS_KEY,
            aws_secret_access_key=_SECRET_KEY,
            config=Config(s3={"addressing_style": "path"}),
        )


@contextmanager
def seaweedfs() -> Iterator[S3Server]:
    """Starts a server, waits until it answers, and ends it with its data."""
    program = shutil.which("weed", path=str(Path(sys.executable).parent)) or "weed"
    with tempfile.TemporaryDirectory(prefix="seaweedfs-") as folder:
        identity = {
            "name": "tests",
            "credentials": [{"accessKey": _ACCESS_KEY, "secretKey": _SECRET_KEY}],
            "actions": ["Admin", "Read", "Write", "List", "Tagging"],
        }
        config = Path(folder, "identities.json")
        config.write_text(json.dumps({"identities": [identity]}))
        ports = _free_ports(8)
        names = ("master", "volume", "filer", "s3")
        command = [
            *(program, "server", f"-dir={folder}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1"),
            # It would tell its maker how it is used.
            *("-master.telemetry=false", "-filer", "-s3", f"-s3.config={config}"),
            *("-volume.max=50", "-master.volumeSizeLimitMB=1024", "-s3.port.iceberg=0", "-s3.port.lance=0"),
            *(f"-{name}.port={port}" for name, port in zip(names, ports, strict=False)),
            *(f"-{name}.port.grpc={port}" for name, port in zip(names, ports[4:], strict=True)),
        ]
        log = Path(folder, "log")
        with log.open("wb") as output, subprocess.Popen(command, stdout=output, stderr=output, cwd=folder) as process:
            try:
                server = S3Server(endpoint=f"http://127.0.0.1:{ports[3]}")
                _wait(server, process, log)
                yield server
            finally:
                process.kill()
                process.wait()


def _wait(server: S3Server, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + _READY_SECONDS
    client = server.client()
    while time.monotonic() < deadline and process.poll() is None:
        try:
            client.create_bucket(Bucket="ready-probe")
            client.put_object(Bucket="ready-probe", Key="probe", Body=b"x")
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
