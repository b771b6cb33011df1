"""A real S3 server: SeaweedFS on loopback, one for each test process that asks for it."""

import json
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import boto3
import botocore.exceptions
import pytest
from botocore.config import Config
from mypy_boto3_s3 import S3Client

from tests.conftest import CREDENTIALS, S3Server

_READY_WITHIN = 60  # seconds; 3.5 on an idle machine
_PORTS = ("master.port", "master.port.grpc", "volume.port", "volume.port.grpc", "filer.port", "filer.port.grpc",
          "s3.port", "s3.port.grpc")  # fmt: skip
_ONE_IDENTITY = {
    "identities": [
        {
            "name": "tests",
            "credentials": [
                {
                    "accessKey": CREDENTIALS["AWS_ACCESS_KEY_ID"],
                    "secretKey": CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
                }
            ],
            "actions": ["Admin"],
        }
    ]
}


@pytest.fixture(scope="session")
def seaweedfs_endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("seaweedfs")
    (folder / "data").mkdir()
    (folder / "identities.json").write_text(json.dumps(_ONE_IDENTITY))
    ports = dict(zip(_PORTS, _free_ports(len(_PORTS)), strict=True))
    command = [
        str(Path(sys.executable).with_name("weed")), f"-logdir={folder}", "server", f"-dir={folder}/data",
        "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-filer", "-s3", f"-s3.config={folder}/identities.json",
        "-s3.autoCreateBucket=false", "-s3.port.iceberg=0", "-s3.port.lance=0", "-master.telemetry=false",
        "-master.volumeSizeLimitMB=512",
        "-volume.max=40", *(f"-{name}={port}" for name, port in ports.items()),
    ]  # fmt: skip
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
    try:
        endpoint = f"http://127.0.0.1:{ports['s3.port']}"
        _wait_until_ready(endpoint, server, folder / "log")
        yield endpoint
    finally:
        server.kill()
        server.wait()


@pytest.fixture
def seaweedfs(seaweedfs_endpoint: str) -> Iterator[S3Server]:
    """SeaweedFS with one empty bucket of this test's own."""
    client = _client(seaweedfs_endpoint)
    server = S3Server(endpoint=seaweedfs_endpoint, client=client, bucket=f"b-{secrets.token_hex(6)}")
    client.create_bucket(Bucket=server.bucket)
    yield server
    for version in client.list_object_versions(Bucket=server.bucket).get("Versions", []):
        client.delete_object(Bucket=server.bucket, Key=version["Key"], VersionId=version["VersionId"])
    client.delete_bucket(Bucket=server.bucket)


def _client(endpoint: str, config: Config | None = None) -> S3Client:
    return boto3.client(
        "s3",
        endpoint_url=endpoint,
        region_name=CREDENTIALS["AWS_DEFAULT_REGION"],
        aws_access_key_id=CREDENTIALS["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
        config=config,
    )


def _wait_until_ready(endpoint: str, server: "subprocess.Popen[bytes]", log: Path) -> None:
    client = _client(endpoint, Config(connect_timeout=1, read_timeout=5, retries={"total_max_attempts": 1}))
    deadline = time.monotonic() + _READY_WITHIN
    while True:
        try:
            # A bucket made and a byte stored: the volumes are there too.
            client.create_bucket(Bucket="ready")
            client.put_object(Bucket="ready", Key="ready", Body=b"1")
            return
        except (botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError) as error:
            if server.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"SeaweedFS did not start: {log.read_text(errors='replace')[-2000:]}") from error
            time.sleep(0.1)


def _free_ports(count: int) -> list[int]:
    with ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
