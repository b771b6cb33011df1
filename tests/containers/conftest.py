"""The engine, the runtime and the images that container tests share; all of it is built once and kept."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import docker
import pytest
from docker import DockerClient
from docker.errors import DockerException

from tests.containers import images
from tests.containers.jobs import Jobs
from tests.containers.tracked import Containers


@pytest.fixture(scope="session")
def engine() -> Iterator[DockerClient]:
    try:
        client = docker.from_env(timeout=600)
        client.ping()
    except DockerException as error:
        pytest.skip(f"no Docker engine answers ({error})")
    yield client
    client.close()


@pytest.fixture(scope="session")
def runtime(engine: DockerClient) -> Path:
    """The archive of the private runtime, from this checkout."""
    return images.build_runtime()


@pytest.fixture(scope="session")
def base(engine: DockerClient) -> Callable[[str], str]:
    """base("python36"): the tag of that stand-in catalogue image."""

    @cache
    def build(name: str) -> str:
        try:
            return images.build_base(engine, images.BASES[name])
        except images.MissingPart as missing:
            pytest.skip(str(missing))

    return build


@pytest.fixture(scope="session")
def derived(engine: DockerClient, runtime: Path, base: Callable[[str], str]) -> Callable[..., str]:
    """derived("python36", "gpu"): the tag of the image derived from that base."""

    @cache
    def build(name: str, variant: str = "cpu") -> str:
        return images.derive(engine, base(name), variant, MODULE="plain")

    return build


@pytest.fixture(scope="session")
def probing(
    engine: DockerClient, base: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[str], str]]:
    """probing("scratch"): the tag of a derived image with probe.py as its command line, all before it real."""
    checkout = images.copy_checkout(tmp_path_factory.mktemp(f"probe-{os.getpid()}-"))
    shutil.copyfile(Path(__file__).with_name("probe.py"), checkout / "supervisor/cli.py")
    images.build_runtime(checkout=checkout)
    tags = {}

    def build(name: str) -> str:
        if name not in tags:
            tags[name] = images.derive(engine, base(name), "cpu", checkout)
        return tags[name]

    yield build
    for tag in tags.values():
        engine.images.remove(tag, force=True)


@pytest.fixture
def containers(engine: DockerClient) -> Iterator[Containers]:
    tracked = Containers(engine)
    yield tracked
    tracked.remove_all()


@pytest.fixture
def jobs(containers: Containers, tmp_path: Path) -> Jobs:
    """Runs derived images on a file of the host's."""
    return Jobs(containers=containers, folder=tmp_path)
