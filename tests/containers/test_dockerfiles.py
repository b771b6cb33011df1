"""What Dockerfile.cpu and Dockerfile.gpu make of a catalogue image, however that one is set up."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from docker import DockerClient

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


def config_of(engine: DockerClient, tag: str) -> dict[str, Any]:
    config: dict[str, Any] = engine.images.get(tag).attrs["Config"]
    return config


def environment_of(engine: DockerClient, tag: str) -> dict[str, str]:
    return dict(entry.split("=", 1) for entry in config_of(engine, tag)["Env"])
