"""`deepaas-batch images` beside others, and when it is stopped or the engine goes away."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from docker import DockerClient

from scripts import cli
from scripts.images import catalogue, stamp
from scripts.images.builder import Builder
from scripts.images.derived import Name
from scripts.images.plan import Order
from scripts.images.progress import JsonProgress
from scripts.images.runtime import Runtime
from supervisor.failures import PassingTrouble
from tests.containers import images
from tests.containers.test_build_images import registry_at
from tests.containers.test_unfit_bases import ENDLESS

pytestmark = pytest.mark.containers

REGISTRY = f"deepaas-batch-test/beside-{os.getpid()}"


@pytest.fixture
def arguments(runtime: Path, tmp_path: Path, engine: DockerClient) -> Iterator[Callable[..., list[str]]]:
    """arguments(base): of a command that builds yolov8's cpu image on it."""
    given = []

    def on(base: str, registry: str = REGISTRY, record: str = "build.json", *more: str) -> list[str]:
        given.append(f"{registry}/yolov8:cpu")
        options = ("--registry", registry, "--record", str(tmp_path / record), "--runtime", str(runtime))
        return ["images", "yolov8", "--variant", "cpu", "--base", base, *options, *more]

    yield on
    for name in given:
        with suppress(Exception):
            engine.images.remove(name, force=True)


def start(arguments: list[str], **environment: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "scripts.cli", *arguments]
    return subprocess.Popen(
        command,
        cwd=images.ROOT,
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_of_two_builds_of_one_name_side_by_side_the_fit_one_is_pushed(
    arguments: Callable[..., list[str]], base: Callable[[str], str], engine: DockerClient, tmp_path: Path
) -> None:
    with registry_at(tmp_path) as registry:
        started = {
            name: start(arguments(base(name), registry, f"{name}.json", "--push")) for name in ("python311", "scratch")
        }
        codes = {name: (process.communicate()[1], process.returncode)[1] for name, process in started.items()}
        pushed = manifest(registry)["config"]["digest"]

    assert codes == {"python311": 0, "scratch": 78}
    [built] = json.loads((tmp_path / "python311.json").read_text())["images"]
    assert pushed == built["id"] == engine.images.get(f"{registry}/yolov8:cpu").id


def manifest(registry: str) -> Any:
    asked = urllib.request.Request(
        f"http://{registry}/v2/yolov8/manifests/cpu",
        headers={"Accept": "application/vnd.docker.distribution.manifest.v2+json"},
    )
    with urllib.request.urlopen(asked) as answer:  # noqa: S310
        return json.load(answer)


def test_another_image_that_took_the_name_before_the_push_is_not_told_as_pushed(
    arguments: Callable[..., list[str]], base: Callable[[str], str], engine: DockerClient, tmp_path: Path, runtime: Path
) -> None:
    class Meddler(JsonProgress):
        def stage(self, name: str, stage: str, detail: str = "") -> None:
            if stage == "push":
                engine.images.get(base("scratch")).tag(name)

    with registry_at(tmp_path) as registry, (tmp_path / "log").open("w") as log:
        arguments(base("python311"), registry)  # removed after the test
        order = Order(
            module=catalogue.find("yolov8"),
            name=Name(module="yolov8", variant="cpu", registry=registry),
            base=base("python311"),
        )
        outcome = Builder(
            engine=engine,
            runtime=Runtime.pack(runtime, tmp_path / "context.tar"),
            progress=Meddler(log),
            record=tmp_path / "build.json",
            push=True,
        ).make(order)

    assert isinstance(outcome.failure, PassingTrouble)
    assert "gave the name to another image" in outcome.failure.message
    assert not (tmp_path / "build.json").exists()


def test_the_same_inputs_give_the_same_image_without_the_builders_cache(
    engine: DockerClient, base: Callable[[str], str], runtime: Path
) -> None:
    below = engine.images.get(base("python311"))
    ids = set()
    for _ in range(2):
        built, _log = engine.images.build(
            path=str(images.ROOT), dockerfile="Dockerfile.cpu", buildargs={"BASE": str(below.id)}, nocache=True, rm=True
        )
        stamped = stamp.without_times(engine, built, below)
        ids.add(stamped.id)
        config = {name: value for name, value in built.attrs["Config"].items() if value and name != "Image"}
        assert config == {name: value for name, value in stamped.attrs["Config"].items() if value}

    assert len(ids) == 1
    assert [step["CreatedBy"] for step in stamped.history()][1:] == [step["CreatedBy"] for step in below.history()]
    engine.images.remove(str(ids.pop()), force=True)


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_stop_ends_the_check_and_leaves_nothing(
    stop: signal.Signals,
    arguments: Callable[..., list[str]],
    engine: DockerClient,
    base: Callable[[str], str],
    tmp_path: Path,
) -> None:
    (tmp_path / "Dockerfile").write_text(f"FROM {base('python311')}\n{ENDLESS}\nLABEL stop={stop.name}-{os.getpid()}\n")
    tag = f"deepaas-batch-test/endless-{os.getpid()}:{stop.name.lower()}"
    images.build(engine, tmp_path, tag, {})
    (tmp_path / "tmp").mkdir()
    process = start(arguments(tag), TMPDIR=str(tmp_path / "tmp"))
    assert process.stderr is not None
    next(line for line in process.stderr if '"check"' in line)

    process.send_signal(stop)
    _, said = process.communicate(timeout=60)

    assert process.returncode == (130 if stop == signal.SIGINT else 143)
    assert "Traceback" not in said
    assert engine.containers.list(all=True, filters={"label": f"stop={stop.name}-{os.getpid()}"}) == []
    assert list((tmp_path / "tmp").glob("deepaas-batch-*/context.tar")) == []
    engine.images.remove(tag, force=True)


def test_an_engine_that_goes_away_is_one_line(
    arguments: Callable[..., list[str]],
    base: Callable[[str], str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with engine_that_ends_at(b"/build?", tmp_path / "engine.sock") as address:
        monkeypatch.setenv("DOCKER_HOST", address)
        code = cli.main(arguments(base("python311")))

    said = capsys.readouterr().err
    assert code == 75, said
    [line] = [each for each in said.splitlines() if each.startswith("deepaas-batch images: ")]
    assert "the Docker engine went away" in line
    assert "Traceback" not in said


@contextmanager
def engine_that_ends_at(request: bytes, path: Path) -> Iterator[str]:
    """The engine behind a socket of our own, which closes once it has begun to answer that request: DOCKER_HOST."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()

        def serve(client: socket.socket) -> None:
            engine = socket.socket(socket.AF_UNIX)
            engine.connect("/var/run/docker.sock")
            ends = threading.Event()

            def answers() -> None:
                with suppress(OSError):
                    while chunk := engine.recv(65536):
                        client.sendall(chunk)
                        if ends.is_set():
                            break
                for each in (client, engine):
                    with suppress(OSError):
                        each.shutdown(socket.SHUT_RDWR)

            threading.Thread(target=answers, daemon=True).start()
            with suppress(OSError), client, engine:
                while chunk := client.recv(65536):
                    if request in chunk:
                        ends.set()
                    engine.sendall(chunk)

        def accept() -> None:
            with suppress(OSError):
                while True:
                    client, _ = listener.accept()
                    threading.Thread(target=serve, args=(client,), daemon=True).start()

        accepting = threading.Thread(target=accept)
        accepting.start()
        try:
            yield f"unix://{path}"
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            accepting.join()
