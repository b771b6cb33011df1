"""`deepaas-batch run` in a real container: a file in, a result and a status out, as the calling user."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from docker import DockerClient

from scripts import cli
from tests.conftest import REPOSITORY
from tests.containers import images
from tests.modules.install import install

pytestmark = pytest.mark.containers

REGISTRY = f"deepaas-batch-test/run-{os.getpid()}"


@pytest.fixture
def image(derived: Callable[..., str], engine: DockerClient) -> Iterator[Callable[[str], None]]:
    """Gives the derived image of that variant the name under which `deepaas-batch run` looks for it."""
    names = set()

    def name(variant: str) -> None:
        engine.images.get(derived("python311", variant)).tag(f"{REGISTRY}/voice-activity", variant)
        names.add(f"{REGISTRY}/voice-activity:{variant}")

    yield name
    for each in names:
        engine.images.remove(each)


@pytest.fixture
def run(image: Callable[[str], None], tmp_path: Path) -> Callable[..., int]:
    """`deepaas-batch run voice-activity FILE`: its exit code; results go to tmp_path/out."""

    def run(file: Path, *options: str, variant: str = "cpu") -> int:
        image(variant)
        common = ("--registry", REGISTRY, "--out", str(tmp_path / "out"), "--variant", variant)
        return cli.main(["run", "voice-activity", str(file), *common, *options])

    return run


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "a b:c.wav"
    path.write_bytes(b"RIFF" * 10)
    return path


def test_a_link_to_a_file_keeps_its_own_name(run: Callable[..., int], file: Path, tmp_path: Path) -> None:
    stored = tmp_path / "cache" / "d41d8cd98f00"
    stored.parent.mkdir()
    file.rename(stored)
    file.symlink_to(stored)

    assert run(file) == 0
    assert json.loads((tmp_path / "out" / f"{file.name}.json").read_text())["name"] == file.name


def test_a_file_may_begin_with_a_hyphen(
    run: Callable[..., int], file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    file.rename("-x.wav")

    assert run(Path("-x.wav")) == 0
    assert (tmp_path / "out/-x.wav.json").is_file()


def test_the_answer_and_a_status_are_in_out(run: Callable[..., int], file: Path, tmp_path: Path) -> None:
    assert run(file) == 0

    answer = json.loads((tmp_path / "out" / "a b:c.wav.json").read_text())
    [status] = (tmp_path / "out" / "_status").iterdir()
    assert (answer["name"], answer["size"]) == ("a b:c.wav", 40)
    assert json.loads(status.read_text())["state"] == "SUCCEEDED"


def test_what_is_written_belongs_to_the_caller(run: Callable[..., int], file: Path, tmp_path: Path) -> None:
    run(file)

    owners = {(path.stat().st_uid, path.stat().st_gid) for path in (tmp_path / "out").rglob("*")}
    assert owners == {(os.getuid(), os.getgid())}


def test_arguments_reach_the_module(run: Callable[..., int], file: Path, tmp_path: Path) -> None:
    assert run(file, "--args", '{"threshold": 0.25}') == 0

    assert '"threshold": 0.25' in (tmp_path / "out" / "a b:c.wav.json").read_text()


def test_a_file_is_run_again_although_its_result_is_there(run: Callable[..., int], file: Path, tmp_path: Path) -> None:
    assert (run(file), run(file)) == (0, 0)

    counts = [json.loads(path.read_text())["counts"]["done"] for path in (tmp_path / "out" / "_status").iterdir()]
    assert counts == [1, 1]


def test_the_containers_exit_code_is_passed_on(
    run: Callable[..., int], file: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(file, "--args", '{"no_such_argument": 1}') == 64
    assert "no_such_argument" in capfd.readouterr().err


def test_an_image_that_is_not_built_is_said_with_the_command_that_builds_it(
    engine: DockerClient, file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["run", "yolov8", str(file), "--out", str(tmp_path / "out"), "--tag", "none-such"]) == 64

    [line] = capsys.readouterr().err.splitlines()
    assert "deepaas-batch images yolov8 --variant cpu --tag none-such" in line


def test_a_gpu_that_is_not_there_is_exit_69(
    run: Callable[..., int], engine: DockerClient, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if "nvidia" in engine.info()["Runtimes"]:
        pytest.skip("this engine has GPUs")
    assert run(file, variant="gpu") == 69
    assert "container toolkit" in capsys.readouterr().err.splitlines()[0]


def with_slow_module(folder: Path) -> None:
    install("slow", folder / "module")


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_ends_the_container_and_leaves_none(
    stop: signal.Signals, runtime: Path, engine: DockerClient, file: Path, tmp_path: Path
) -> None:
    slow = images.build_base(engine, images.Base(name="python311", context=with_slow_module))
    engine.images.get(images.derive(engine, slow, "cpu", MODULE="slow")).tag(f"{REGISTRY}/voice-activity", "slow-cpu")
    arguments = [str(file), "--registry", REGISTRY, "--tag", "slow", "--out", str(tmp_path / "out")]
    command = [sys.executable, "-m", "scripts.cli", "run", "voice-activity", *arguments, "--args", '{"seconds": 600}']
    try:
        with subprocess.Popen(
            command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            next(line for line in process.stdout if '"event": "model"' in line)
            process.send_signal(stop)
            process.communicate(timeout=120)
        assert process.returncode == 143
        assert engine.containers.list(all=True, filters={"ancestor": f"{REGISTRY}/voice-activity:slow-cpu"}) == []
    finally:
        engine.images.remove(f"{REGISTRY}/voice-activity:slow-cpu", force=True)
