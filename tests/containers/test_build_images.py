"""`deepaas-batch images` with a real engine, on stand-in base images, and with a real registry to push to."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from docker import DockerClient

from scripts import cli

pytestmark = pytest.mark.containers

REGISTRY = f"deepaas-batch-test/built-{os.getpid()}"
# Of user `operator` with password `secret`, by `htpasswd -nbB`; no client here logs in with it.
HTPASSWD = "operator:$2y$05$vYBpMXmGwyTdtcIDdkgDZOwfZgcTBBzvO53BB2ZLAOiaGKgrd0Oam\n"


@pytest.fixture
def images(runtime: Path, tmp_path: Path, engine: DockerClient) -> Iterator[Callable[..., int]]:
    """`deepaas-batch images`: its exit code. What it records, in tmp_path/build.json, is removed after the test."""
    record = tmp_path / "build.json"

    def run(*arguments: str, registry: str = REGISTRY) -> int:
        options = ("--registry", registry, "--record", str(record), "--runtime", str(runtime))
        return cli.main(["images", *arguments, *options])

    yield run
    for image in recorded(tmp_path):
        engine.images.remove(image["name"], force=True)


def recorded(folder: Path) -> list[dict[str, Any]]:
    path = folder / "build.json"
    images: list[dict[str, Any]] = json.loads(path.read_text())["images"] if path.exists() else []
    return images


def test_what_is_built_is_written_down_and_labelled(
    images: Callable[..., int], base: Callable[[str], str], engine: DockerClient, tmp_path: Path
) -> None:
    assert images("yolov8", "--variant", "cpu", "--base", base("python311")) == 0

    [built] = recorded(tmp_path)
    image = engine.images.get(f"{REGISTRY}/yolov8:cpu")
    labels = image.labels
    assert (built["name"], built["id"]) == (f"{REGISTRY}/yolov8:cpu", image.id)
    assert built["base_digest"] == engine.images.get(base("python311")).id
    assert labels["org.opencontainers.image.base.name"] == base("python311")
    assert labels["org.opencontainers.image.base.digest"] == built["base_digest"]
    assert labels["org.opencontainers.image.version"] == built["supervisor"]
    assert (labels["deepaas-batch.module"], labels["deepaas-batch.variant"]) == ("yolov8", "cpu")


def test_building_again_with_nothing_changed_builds_nothing(
    images: Callable[..., int], base: Callable[[str], str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    again = ("yolov8", "--variant", "cpu", "--base", base("python311"))
    images(*again)
    before = recorded(tmp_path)
    capsys.readouterr()

    assert images(*again) == 0
    assert recorded(tmp_path) == before
    assert "unchanged" in capsys.readouterr().out


def test_another_base_is_built_anew(images: Callable[..., int], base: Callable[[str], str], tmp_path: Path) -> None:
    for name in ("python311", "odd"):
        assert images("yolov8", "--variant", "cpu", "--base", base(name)) == 0

    [built] = recorded(tmp_path)
    assert built["base"] == base("odd")


def test_a_gpu_image_is_built_where_there_is_no_gpu(
    images: Callable[..., int], base: Callable[[str], str], tmp_path: Path
) -> None:
    assert images("yolov8", "--variant", "gpu", "--base", base("python311")) == 0

    [built] = recorded(tmp_path)
    assert (built["check"]["exit_code"], list(built["check"]["failed"])) == (69, ["device"])


def test_a_base_without_python_is_told_by_its_check(
    images: Callable[..., int], base: Callable[[str], str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert images("yolov8", "--variant", "cpu", "--base", base("scratch")) == 78

    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("deepaas-batch images: ")]
    assert len(said) == 1
    assert "its check fails with 78: module: " in said[0]
    assert recorded(tmp_path) == []


def test_a_base_that_is_nowhere_leaves_the_other_builds_alone(
    images: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert images("dogs-breed-detection", "voice-activity", "--variant", "cpu", "--no-pull") == 66

    assert [each["module"] for each in recorded(tmp_path)] == ["voice-activity"]
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("deepaas-batch images: ")]
    assert len(said) == 1
    assert "no base image deephdc/" in said[0]


# Pushing.


@contextmanager
def registry_at(folder: Path, **auth: Any) -> Iterator[str]:
    """Debian's docker-registry on a free port of the loopback, which engines trust without TLS: host:port."""
    program = shutil.which("docker-registry")
    if program is None:
        pytest.skip("no docker-registry here (apt-get install docker-registry)")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    config = {
        "version": "0.1",
        "log": {"level": "error"},
        "storage": {"filesystem": {"rootdirectory": str(folder / "registry")}},
        "http": {"addr": address},
        **({"auth": auth} if auth else {}),
    }
    (folder / "registry.yml").write_text(json.dumps(config))  # JSON is YAML, too
    with subprocess.Popen([program, "serve", str(folder / "registry.yml")]) as server:
        try:
            _wait_for(f"http://{address}/")
            yield address
        finally:
            server.terminate()


def _wait_for(url: str) -> None:
    deadline = time.monotonic() + 30
    while True:
        try:
            urllib.request.urlopen(url, timeout=5).close()  # noqa: S310
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)  # a server gives no other sign that it listens
        else:
            return


def test_a_pushed_image_is_recorded_by_its_registrys_digest_and_its_definition_names_that(
    images: Callable[..., int], base: Callable[[str], str], tmp_path: Path
) -> None:
    with registry_at(tmp_path) as registry:
        arguments = ("yolov8", "--variant", "cpu", "--base", base("python311"), "--push")
        assert images(*arguments, registry=f"{registry}/team") == 0
        [built] = recorded(tmp_path)
        manifest = urllib.request.Request(
            f"http://{registry}/v2/team/yolov8/manifests/cpu",
            headers={"Accept": "application/vnd.docker.distribution.manifest.v2+json"},
        )
        with urllib.request.urlopen(manifest) as answer:  # noqa: S310
            digest = answer.headers["Docker-Content-Digest"]
    assert built["digest"] == digest

    options = ("--registry", f"{registry}/team", "--record", str(tmp_path / "build.json"), "--out", str(tmp_path))
    assert cli.main(["job-definitions", "yolov8", *options]) == 0
    definition = json.loads((tmp_path / "yolov8-cpu.json").read_text())
    assert definition["containerProperties"]["image"] == f"{registry}/team/yolov8@{digest}"


def test_no_right_to_push_is_one_line(
    images: Callable[..., int], base: Callable[[str], str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "htpasswd").write_text(HTPASSWD)
    with registry_at(tmp_path, htpasswd={"realm": "team", "path": str(tmp_path / "htpasswd")}) as registry:
        arguments = ("yolov8", "--variant", "cpu", "--base", base("python311"), "--push")
        assert images(*arguments, registry=registry) == 77

    [said] = [line for line in capsys.readouterr().err.splitlines() if line.startswith("deepaas-batch images: ")]
    assert "not pushed" in said
    assert "docker login" in said


def test_the_registrys_base_is_used_where_it_is_newer_than_the_local_one(
    images: Callable[..., int], base: Callable[[str], str], engine: DockerClient, tmp_path: Path
) -> None:
    with registry_at(tmp_path) as registry:
        name = f"{registry}/catalogue/module"
        _push(engine, base("odd"), name)
        newest = _push(engine, base("python311"), name)
        engine.images.get(base("odd")).tag(name, "cpu")

        assert images("yolov8", "--variant", "cpu", "--base", f"{name}:cpu") == 0
        engine.images.remove(f"{name}:cpu", force=True)

    [built] = recorded(tmp_path)
    assert built["base_digest"] == newest


def test_the_local_base_is_used_where_its_registry_does_not_answer(
    images: Callable[..., int],
    base: Callable[[str], str],
    engine: DockerClient,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with registry_at(tmp_path) as registry:
        name = f"{registry}/catalogue/module"
        digest = _push(engine, base("python311"), name)

    assert images("yolov8", "--variant", "cpu", "--base", f"{name}:cpu") == 0
    engine.images.remove(f"{name}:cpu", force=True)
    assert recorded(tmp_path)[0]["base_digest"] == digest
    assert "is used as it is here, for it cannot be pulled" in capsys.readouterr().err


def _push(engine: DockerClient, image: str, name: str) -> str:
    """Pushes an image as name:cpu; its digest there."""
    engine.images.get(image).tag(name, "cpu")
    engine.images.push(name, tag="cpu")
    digest: str = engine.images.get_registry_data(f"{name}:cpu").id
    return digest
