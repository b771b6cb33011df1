"""A real S3 server: SeaweedFS on loopback, one for each test process that asks for it."""

import secrets
from collections.abc import Iterator

import pytest

from benchmarks import s3_server
from tests.conftest import CREDENTIALS, S3Server


@pytest.fixture(scope="session")
def seaweedfs_server() -> Iterator[s3_server.S3Server]:
    with s3_server.seaweedfs(CREDENTIALS) as server:
        yield server


@pytest.fixture
def seaweedfs(seaweedfs_server: s3_server.S3Server) -> Iterator[S3Server]:
    """SeaweedFS with one empty bucket of this test's own."""
    client = seaweedfs_server.client()
    server = S3Server(endpoint=seaweedfs_server.endpoint, client=client, bucket=f"b-{secrets.token_hex(6)}")
    client.create_bucket(Bucket=server.bucket)
    yield server
    for version in client.list_object_versions(Bucket=server.bucket).get("Versions", []):
        client.delete_object(Bucket=server.bucket, Key=version["Key"], VersionId=version["VersionId"])
    client.delete_bucket(Bucket=server.bucket)
