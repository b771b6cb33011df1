"""What the tests of scripts/batch share: Amazon's registry and Batch, played by moto."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
import pytest
from moto import mock_aws

from scripts import cli
from scripts.images import derived
from scripts.images.catalogue import Variant
from scripts.images.derived import Built
from tests.conftest import CREDENTIALS
from tests.unit.scripts.images.test_derived import BUILT

if TYPE_CHECKING:
    from mypy_boto3_batch import BatchClient

ACCOUNT = "123456789012"
REGISTRY = f"{ACCOUNT}.dkr.ecr.eu-west-1.amazonaws.com/batch"
MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/predict"
EXECUTION_ROLE = f"arn:aws:iam::{ACCOUNT}:role/start"


@pytest.fixture
def batch(monkeypatch: pytest.MonkeyPatch) -> Iterator[BatchClient]:
    """An account of AWS, and its Batch. Jobs end at once, for no engine runs here."""
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("MOTO_ACCOUNT_ID", ACCOUNT)
    with mock_aws(config={"batch": {"use_docker": False}}):
        yield boto3.client("batch")


@dataclass(frozen=True, kw_only=True)
class Registry:
    """Amazon's registry, and the record of what was pushed there."""

    record: Path

    def push(
        self,
        version: str = "1",
        *,
        module: str = "voice-activity",
        variant: Variant = "cpu",
        tag: str | None = None,
        registry: str = REGISTRY,
    ) -> Built:
        """An image of its own for each version."""
        full_tag = f"{tag}-{variant}" if tag else variant
        digest = self.put(f"{registry.partition('/')[2]}/{module}", full_tag, version)
        built = replace(BUILT, name=f"{registry}/{module}:{full_tag}", module=module, variant=variant, digest=digest)
        derived.record(built, self.record)
        return built

    def put(self, repository: str, tag: str, version: str) -> str:
        """Somebody pushes an image; its digest."""
        ecr = boto3.client("ecr")
        if repository not in {each["repositoryName"] for each in ecr.describe_repositories()["repositories"]}:
            ecr.create_repository(repositoryName=repository)
        config = {"digest": f"sha256:{version:0>64}"}
        manifest = json.dumps({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": []})
        digest = f"sha256:{hashlib.sha256(manifest.encode()).hexdigest()}"
        ecr.put_image(repositoryName=repository, imageManifest=manifest, imageTag=tag, imageDigest=digest)
        return digest


@pytest.fixture
def registry(batch: BatchClient, tmp_path: Path) -> Registry:
    return Registry(record=tmp_path / "build.json")


@pytest.fixture
def definitions(tmp_path: Path) -> Callable[..., int]:
    """`deepaas-batch job-definitions`, with the test's own record and folder, of what lies in REGISTRY."""

    def run(*arguments: str, registry: str = REGISTRY) -> int:
        options = ["--record", str(tmp_path / "build.json"), "--out", str(tmp_path / "definitions")]
        return cli.main(["job-definitions", *(arguments or ("voice-activity",)), "--registry", registry, *options])

    return run
