"""What build.json says of an image is checked against a real registry, by way of a real engine, before it counts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import boto3
import docker
import pytest
from docker import DockerClient
from moto import mock_aws

from scripts import cli
from scripts.images import derived
from scripts.images.derived import Built
from scripts.images.engine import registry_digest
from tests.conftest import CREDENTIALS
from tests.containers.images import STAND_IN
from tests.containers.test_build_images import registry_at
from tests.unit.scripts.images.test_derived import BUILT

pytestmark = pytest.mark.containers

HINT = "or take the record at its word: --unchecked"


@pytest.fixture
def engine() -> DockerClient:
    return docker.from_env()


@pytest.fixture
def push(engine: DockerClient, tmp_path: Path) -> Iterator[Callable[[str, str], Built]]:
    """Pushes a small image, as it would have been built, and writes it down."""
    names = set()

    def run(registry: str, version: str) -> Built:
        name = f"{registry}/team/voice-activity:cpu"
        container = engine.containers.create(STAND_IN, "true")
        try:
            container.commit(f"{registry}/team/voice-activity", "cpu", changes=f"LABEL version={version}")
        finally:
            container.remove()
        names.add(name)
        engine.images.push(name)
        image = engine.images.get(name)
        digest = registry_digest(image, name.removesuffix(":cpu"))
        built = replace(BUILT, name=name, id=str(image.id), digest=digest)
        derived.record(built, tmp_path / "build.json")
        return built

    yield run
    for name in names:
        for image in engine.images.list(name.removesuffix(":cpu")):
            engine.images.remove(str(image.id), force=True)


@pytest.fixture
def register(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Callable[[str], int]]:
    """`deepaas-batch job-definitions voice-activity --register`; its exit code is 0 where there is one then."""
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)

    def run(registry: str) -> int:
        options = ["--record", str(tmp_path / "build.json"), "--out", str(tmp_path / "out"), "--platform", "ec2"]
        code = cli.main(["job-definitions", "voice-activity", "--registry", f"{registry}/team", "--register", *options])
        registered = boto3.client("batch").describe_job_definitions()["jobDefinitions"]
        assert bool(registered) == (code == 0)
        return code

    with mock_aws():
        yield run


def test_an_image_that_is_as_it_was_pushed_is_registered(
    push: Callable[[str, str], Built], register: Callable[[str], int], tmp_path: Path
) -> None:
    with registry_at(tmp_path) as registry:
        push(registry, "1")

        assert register(registry) == 0


def test_an_image_that_another_has_taken_the_place_of_is_not_registered(
    push: Callable[[str, str], Built],
    register: Callable[[str], int],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with registry_at(tmp_path) as registry:
        old, new = push(registry, "1"), push(registry, "2")
        derived.record(old, tmp_path / "build.json")

        assert register(registry) == 65
    assert f"is {old.digest}, and its registry says {new.digest}" in capsys.readouterr().err


def test_an_image_that_the_registry_does_not_have_is_not_registered(
    push: Callable[[str, str], Built],
    register: Callable[[str], int],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with registry_at(tmp_path) as registry:
        there = push(registry, "1")
        derived.record(replace(there, name=there.name.replace(":cpu", ":gpu"), variant="gpu"), tmp_path / "build.json")

        assert register(registry) == 66
    assert "voice-activity:gpu is not in its registry" in capsys.readouterr().err


def test_where_the_registry_does_not_answer_the_engine_has_to_hold_the_image_as_it_was_pushed(
    push: Callable[[str, str], Built],
    register: Callable[[str], int],
    engine: DockerClient,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with registry_at(tmp_path) as registry:
        built = push(registry, "1")
    derived.record(replace(built, id="sha256:" + "5" * 64), tmp_path / "build.json")

    assert register(registry) == 75
    assert HINT in capsys.readouterr().err
    derived.record(built, tmp_path / "build.json")
    assert register(registry) == 0
    assert "the engine holds" in capsys.readouterr().err


def test_where_there_is_no_engine_to_ask_it_is_said_how_to_go_on(
    register: Callable[[str], int],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    name = "registry.example.org/team/voice-activity:cpu"
    derived.record(replace(BUILT, name=name, digest="sha256:" + "4" * 64), tmp_path / "build.json")
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")

    assert register("registry.example.org") == 75
    assert HINT in capsys.readouterr().err
