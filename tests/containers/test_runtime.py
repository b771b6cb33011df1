"""The private runtime: runs on anything, takes nothing from the image, gives the image's environment back."""

from __future__ import annotations

import gzip
import hashlib
import os
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from docker import DockerClient

from tests.containers import images
from tests.containers.tracked import Containers, Finished

pytestmark = pytest.mark.containers

LOCKED_DOWN: dict[str, Any] = {
    "network_mode": "none",
    "user": "4321:4321",
    "read_only": True,
    "cap_drop": ["ALL"],
    "security_opt": ["no-new-privileges"],
}
HOSTILE = {
    "LD_LIBRARY_PATH": "/hostile/lib",
    "LD_PRELOAD": "/hostile/takeover.so",
    "LD_AUDIT": "/hostile/takeover.so",
    "LD_DEBUG": "all",
    "LD_TRACE_LOADED_OBJECTS": "1",
    "PYTHONHOME": "/hostile/python",
    "PYTHONPATH": "/hostile/python",
    "PYTHONSTARTUP": "/hostile/python/site.py",
    "PYTHONINSPECT": "1",
    "PYTHONIOENCODING": "ascii",
    "OPENSSL_CONF": "/hostile/openssl.cnf",
    "LC_ALL": "xx_XX.nowhere",
    "HOME": "/nowhere",
    "PATH": "/hostile",
}
Probe = Callable[..., Finished]


@pytest.fixture
def probe(containers: Containers, probing: Callable[[str], str]) -> Probe:
    """Runs probe.py in a derived image in place of the command line."""

    def run(base: str, *arguments: str, **options: Any) -> Finished:
        return containers.run(probing(base), "probe", *arguments, **options)

    return run


def test_the_supervisor_starts_on_an_empty_image_with_every_privilege_taken(
    containers: Containers, derived: Callable[..., str]
) -> None:
    version = containers.run(derived("scratch"), "version", **LOCKED_DOWN)

    assert version.code == 0, version.stderr


def test_every_module_and_library_loads_on_an_empty_image(probe: Probe) -> None:
    seen = probe("scratch", **LOCKED_DOWN).json()

    assert {path for path in seen["mapped"] if not path.startswith("/supervisor/")} == set()
    assert seen["tls"]


@pytest.mark.parametrize("variable", HOSTILE)
def test_the_supervisor_is_unmoved_by_a_hostile(variable: str, probe: Probe) -> None:
    finished = probe("hostile", environment={variable: HOSTILE[variable]}, **LOCKED_DOWN)

    assert (finished.code, finished.stderr) == (0, "")


def test_nothing_is_taken_from_a_hostile_image_however_much_of_it_is_offered(probe: Probe) -> None:
    seen = probe("hostile", environment=HOSTILE, **LOCKED_DOWN).json()

    used = [*seen["mapped"], *seen["modules"]]
    assert [path for path in used if not path.startswith("/supervisor/")] == []


def test_names_are_looked_up_without_the_images_own_resolvers(probe: Probe) -> None:
    seen = probe("hostile", "localhost", environment=HOSTILE, **LOCKED_DOWN).json()

    assert seen["addresses"] == ["127.0.0.1"]


def test_a_library_to_preload_that_does_not_exist_leaves_no_noise_in_the_log(probe: Probe) -> None:
    finished = probe("scratch", environment={"LD_PRELOAD": "/nowhere/lib.so"})

    assert finished.stderr == ""


def test_the_model_gets_every_variable_back_as_the_image_has_it(
    probe: Probe, engine: DockerClient, probing: Callable[[str], str]
) -> None:
    seen = probe("hostile", environment=HOSTILE, **LOCKED_DOWN).json()

    of_the_image = dict(entry.split("=", 1) for entry in engine.images.get(probing("hostile")).attrs["Config"]["Env"])
    ours = {name for name in of_the_image if name.startswith(("SUPERVISOR_", "JOB_"))}
    expected = {name: value for name, value in {**of_the_image, **HOSTILE}.items() if name not in ours}
    actual = {name: value for name, value in seen["model's environment"].items() if name != "HOSTNAME"}
    assert actual == expected


def test_a_host_is_found_by_name_on_an_empty_image(
    probe: Probe, engine: DockerClient, containers: Containers, base: Callable[[str], str]
) -> None:
    name = f"neighbour-{os.getpid()}"  # the resolver refuses the underscores of the names that Docker makes up
    network = engine.networks.create(name)
    try:
        sleep = ("/bin/busybox", "sleep", "600")
        neighbour = containers.start(base("scratch"), *sleep, name=name, network=name).container
        neighbour.reload()

        seen = probe("scratch", name, network=name).json()

        assert seen["addresses"] == [neighbour.attrs["NetworkSettings"]["Networks"][name]["IPAddress"]]
    finally:
        containers.remove_all()
        network.remove()


def test_the_layer_is_the_same_one_on_every_base(engine: DockerClient, derived: Callable[..., str]) -> None:
    tags = [derived(base, variant) for base in ("scratch", "python311", "odd") for variant in ("cpu", "gpu")]

    assert len({engine.images.get(tag).attrs["RootFS"]["Layers"][-1] for tag in tags}) == 1


def test_buildkit_makes_the_same_layer(
    engine: DockerClient, base: Callable[[str], str], derived: Callable[..., str]
) -> None:
    tag = f"{base('scratch')}-buildkit"
    options = ("-q", "-f", "Dockerfile.cpu", "-t", tag, "--build-arg", f"BASE={base('scratch')}")
    built = subprocess.run(
        [docker_with_buildkit(), "build", *options, "."],
        cwd=images.ROOT,
        env={**os.environ, "DOCKER_BUILDKIT": "1"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert built.returncode == 0, built.stderr
    layers = [engine.images.get(each).attrs["RootFS"]["Layers"][-1] for each in (tag, derived("scratch"))]
    assert layers[0] == layers[1]


def docker_with_buildkit() -> str:
    """A client that can ask the engine for BuildKit: any before 23.0, and since then the buildx plugin."""
    for client in ("docker", "/usr/bin/docker"):
        if output(client, "version", "--format", "{{.Client.Version}}").startswith("20."):
            return client
        if "buildx" in output(client, "buildx", "version"):
            return client
    pytest.skip("no Docker client here can use BuildKit (neither one before 23.0 nor the buildx plugin)")


def output(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


@pytest.mark.timeout(600)
def test_two_builds_from_scratch_give_the_same_bytes(runtime: Path, tmp_path: Path) -> None:
    again = images.build_runtime("--no-cache", out=tmp_path)

    assert sha256(again) == sha256(runtime)


def test_the_runtime_is_small(runtime: Path) -> None:
    with tarfile.open(runtime) as archive:
        unpacked = sum(entry.size for entry in archive)

    assert unpacked <= 60_000_000
    assert len(gzip.compress(runtime.read_bytes(), compresslevel=6)) <= 22_000_000


def test_the_archive_holds_one_folder_of_plain_files_without_times_or_owners(runtime: Path) -> None:
    with tarfile.open(runtime) as archive:
        odd = [
            entry.name
            for entry in archive
            if entry.name.partition("/")[0] != "supervisor"
            or not (entry.isreg() or entry.isdir())
            or (entry.mtime, entry.uid, entry.gid) != (0, 0, 0)
            or entry.mode not in (0o644, 0o755)
        ]

    assert odd == []


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
