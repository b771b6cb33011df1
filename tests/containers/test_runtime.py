"""The private runtime: runs on anything, takes nothing from the image, gives the image's environment back."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import shutil
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
def probe(containers: Containers, derived: Callable[..., str], tmp_path: Path) -> Probe:
    """Runs probe.py in a derived image in place of the command line; everything before it is the real thing."""
    package = tmp_path / "supervisor"
    shutil.copytree(images.ROOT / "supervisor", package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copyfile(Path(__file__).with_name("probe.py"), package / "cli.py")
    mounted = {str(package): {"bind": "/supervisor/site/supervisor", "mode": "ro"}}

    def run(base: str, *arguments: str, **options: Any) -> Finished:
        return containers.run(derived(base), "probe", *arguments, volumes=mounted, **options)

    return run


def test_the_supervisor_starts_on_an_empty_image_with_every_privilege_taken(
    containers: Containers, derived: Callable[..., str]
) -> None:
    version = containers.run(derived("scratch"), "version", **LOCKED_DOWN)

    assert version.code == 0, version.stderr


def test_every_library_loads_on_an_empty_image(probe: Probe) -> None:
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


def test_a_library_to_preload_that_does_not_exist_leaves_no_noise_in_the_log(probe: Probe) -> None:
    finished = probe("scratch", environment={"LD_PRELOAD": "/nowhere/lib.so"})

    assert finished.stderr == ""


def test_the_model_gets_every_variable_back_as_the_image_has_it(
    probe: Probe, engine: DockerClient, derived: Callable[..., str]
) -> None:
    seen = probe("hostile", environment=HOSTILE, **LOCKED_DOWN).json()

    of_the_image = dict(entry.split("=", 1) for entry in engine.images.get(derived("hostile")).attrs["Config"]["Env"])
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

    assert unpacked <= 70_000_000
    assert len(gzip.compress(runtime.read_bytes(), compresslevel=6)) <= 25_000_000


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


def test_the_sbom_names_every_locked_package_and_wheel(runtime: Path) -> None:
    folder = images.ROOT / "images/runtime"
    debian = [line.split() for line in (folder / "debian.lock").read_text().splitlines()]
    wheels = [line.split() for line in (folder / "requirements.txt").read_text().splitlines()]
    locked = {(line[0], line[1], line[2]) for line in debian if line[0] != "#" and line[3] == "layer"}
    for pin, digest in (line for line in wheels if line[0] != "#"):
        name, _, version = pin.partition("==")
        locked.add((name, version, digest.removeprefix("--hash=sha256:")))

    named = {(part["name"], part["version"], part["hashes"][0]["content"]) for part in sbom(runtime)["components"]}

    assert named == locked


def test_the_sbom_accounts_for_every_file(runtime: Path) -> None:
    owners = [
        occurrence["location"]
        for component in sbom(runtime)["components"]
        for occurrence in component["evidence"]["occurrences"]
    ]
    ours = ("/supervisor/site/supervisor/", "/supervisor/bin/supervisor", "/supervisor/main.py")
    beside = ("/supervisor/openssl.cnf", "/supervisor/sbom.json")
    with tarfile.open(runtime) as archive:
        files = [f"/{entry.name}" for entry in archive if entry.isreg() and not entry.name.endswith(".pyc")]

    assert sorted(owners) == sorted(path for path in files if not path.startswith((*ours, *beside)))


def test_every_part_of_the_sbom_names_its_licence_and_the_layer_holds_its_text(runtime: Path) -> None:
    with tarfile.open(runtime) as archive:
        texts = {Path(entry.name).name for entry in archive if entry.name.startswith("supervisor/licences/")}

    assert all(component["licenses"] for component in sbom(runtime)["components"])
    assert {"libc6", "libssl3", "libpython3.11-minimal", "gcc-12-base"} <= texts


def test_a_package_that_the_mirror_no_longer_has_is_named_with_what_to_do(containers: Containers) -> None:
    folder = {str(images.ROOT / "images/runtime"): {"bind": "/source", "mode": "ro"}}
    spoil = "cp -r /source /build && cd /build && sed -i 's/^libssl3 [^ ]*/libssl3 1.0-gone/' debian.lock && ./fetch.sh"

    finished = containers.run(images.STAND_IN, "sh", "-c", spoil, volumes=folder)

    assert finished.code == 1
    assert "libssl3=1.0-gone" in finished.stderr
    assert "images/runtime/lock" in finished.stderr


def sbom(runtime: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((runtime.parent / "sbom.json").read_text())
    return document


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
