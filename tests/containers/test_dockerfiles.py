"""What Dockerfile.cpu and Dockerfile.gpu make of a catalogue image, however that one is set up."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest
from docker import DockerClient

from tests.containers.images import ROOT, build
from tests.containers.tracked import Containers

pytestmark = pytest.mark.containers
Derived = Callable[..., str]


def test_the_supervisor_starts_in_place_of_what_an_odd_image_would_start(
    containers: Containers, derived: Derived
) -> None:
    version = containers.run(derived("odd"), "version")

    assert version.code == 0, version.stderr


def test_the_images_health_check_and_stop_signal_are_gone(engine: DockerClient, derived: Derived) -> None:
    config = config_of(engine, derived("odd"))

    assert config["Healthcheck"]["Test"] == ["NONE"]
    assert config["StopSignal"] == "SIGTERM"


def test_the_images_user_and_working_directory_are_kept(engine: DockerClient, derived: Derived) -> None:
    config = config_of(engine, derived("odd"))

    assert (config["User"], config["WorkingDir"]) == ("4321:4321", "/srv/app")


def test_the_cpu_image_hides_any_gpu(engine: DockerClient, derived: Derived) -> None:
    environment = environment_of(engine, derived("python311", "cpu"))

    assert environment["JOB_DEVICE"] == "cpu"
    assert (environment["NVIDIA_VISIBLE_DEVICES"], environment["CUDA_VISIBLE_DEVICES"]) == ("void", "-1")


def test_the_gpu_image_asks_for_the_driver(engine: DockerClient, derived: Derived) -> None:
    environment = environment_of(engine, derived("python311", "gpu"))

    assert environment["JOB_DEVICE"] == "cuda"
    assert environment["NVIDIA_VISIBLE_DEVICES"] == "all"
    assert environment["NVIDIA_DRIVER_CAPABILITIES"] == "compute,utility"


def test_the_images_own_library_path_is_kept(engine: DockerClient, derived: Derived) -> None:
    assert environment_of(engine, derived("python36"))["LD_LIBRARY_PATH"] == "/opt/python3.6/lib"


def test_the_image_says_what_it_was_made_from(
    engine: DockerClient, base: Callable[[str], str], derived: Derived
) -> None:
    config = config_of(engine, derived("python311", "gpu"))

    assert config["Labels"]["org.opencontainers.image.base.name"] == base("python311")
    assert environment_of(engine, derived("python311", "gpu"))["SUPERVISOR_BASE"] == base("python311")


@pytest.mark.parametrize("variant", ["cpu", "gpu"])
@pytest.mark.usefixtures("runtime")
def test_the_image_says_what_is_known_of_its_module(
    variant: str, engine: DockerClient, base: Callable[[str], str]
) -> None:
    known = {"COPIES": "many", "NETWORK": "at start", "RESULTS": "image/png,application/json"}
    arguments = {"BASE": base("scratch"), **{f"MODULE_{fact}": value for fact, value in known.items()}}
    tag = f"deepaas-batch-test/known-{os.getpid()}:{variant}"

    build(engine, ROOT, tag, arguments, dockerfile=f"Dockerfile.{variant}")
    environment = environment_of(engine, tag)
    engine.images.remove(tag)

    assert {fact: environment[f"SUPERVISOR_{fact}"] for fact in known} == known


@pytest.mark.parametrize("variant", ["cpu", "gpu"])
def test_an_image_built_by_hand_says_nothing_of_its_module(
    variant: str, engine: DockerClient, derived: Derived
) -> None:
    environment = environment_of(engine, derived("python311", variant))

    known = [environment[f"SUPERVISOR_{fact}"] for fact in ("COPIES", "NETWORK", "RESULTS")]
    assert known == ["", "", ""]


def config_of(engine: DockerClient, tag: str) -> dict[str, Any]:
    config: dict[str, Any] = engine.images.get(tag).attrs["Config"]
    return config


def environment_of(engine: DockerClient, tag: str) -> dict[str, str]:
    return dict(entry.split("=", 1) for entry in config_of(engine, tag)["Env"])
