"""`deepaas-batch images` on bases that would run in the supervisor, or cannot be built on: one line, nothing left."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from docker import DockerClient
from docker.errors import ImageNotFound

from scripts import cli
from scripts.images import builder
from tests.containers import images

pytestmark = pytest.mark.containers

REGISTRY = f"deepaas-batch-test/unfit-{os.getpid()}"
NAME = f"{REGISTRY}/yolov8:cpu"


@pytest.fixture
def base_with(engine: DockerClient, base: Callable[[str], str], tmp_path: Path) -> Iterator[Callable[..., str]]:
    """base_with("RUN …"): the name of python311 with these lines of a Dockerfile."""
    tags: list[str] = []

    def build(*lines: str) -> str:
        tag = f"deepaas-batch-test/base-{os.getpid()}:{len(tags)}"
        (tmp_path / "Dockerfile").write_text("\n".join((f"FROM {base('python311')}", *lines)))
        images.build(engine, tmp_path, tag, {})
        tags.append(tag)
        return tag

    yield build
    for tag in tags:
        engine.images.remove(tag, force=True)


@pytest.fixture
def refused(
    runtime: Path, tmp_path: Path, engine: DockerClient, capsys: pytest.CaptureFixture[str]
) -> Callable[[str], tuple[int, str]]:
    """Builds on that base; the exit code and the one line. No name, no record and no container is left of it."""

    def build(base: str) -> tuple[int, str]:
        record = tmp_path / "build.json"
        before = {each.id for each in engine.containers.list(all=True)}
        options = ("--registry", REGISTRY, "--record", str(record), "--runtime", str(runtime))
        code = cli.main(["images", "yolov8", "--variant", "cpu", "--base", base, *options])
        [line] = [each for each in capsys.readouterr().err.splitlines() if each.startswith("deepaas-batch images: ")]

        with pytest.raises(ImageNotFound):
            engine.images.get(NAME)
        assert not record.exists()
        ours = (each for each in engine.containers.list(all=True) if each.id not in before)
        assert [each.name for each in ours if each.image and base in each.image.tags] == []
        return code, line

    return build


PLANTED = {
    "a module beside ours": (
        "RUN mkdir -p /supervisor/site && echo 'import os' >/supervisor/site/brotli.py",
        "has a /supervisor of its own",
    ),
    "an empty folder": ("RUN mkdir /supervisor", "has a /supervisor of its own"),
    "a link": ("RUN ln -s /elsewhere /supervisor", "has a /supervisor of its own"),
    "a library for every program": ("RUN echo /takeover.so >/etc/ld.so.preload", "has an /etc/ld.so.preload"),
    "a variable of the job's": ("ENV JOB_STATUS_URL=https://elsewhere.example.org", "sets JOB_STATUS_URL"),
    "a program for boto3 to run": (
        "RUN mkdir /root/.aws && echo '[default]\\ncredential_process = /takeover' >/root/.aws/config",
        "has a file /root/.aws/config",
    ),
    "a file of boto3's elsewhere": ("ENV AWS_CONFIG_FILE=/srv/config", "sets AWS_CONFIG_FILE"),
    "a volume over the supervisor": ("VOLUME /supervisor/site", "has a volume at /supervisor/site"),
}


@pytest.mark.parametrize("name", PLANTED)
def test_a_base_that_would_run_in_the_supervisor_is_refused(
    name: str, base_with: Callable[..., str], refused: Callable[[str], tuple[int, str]]
) -> None:
    line, fault = PLANTED[name]
    base = base_with(line)

    code, said = refused(base)

    assert code == 78
    assert f"the base {base} {fault}" in said


def test_an_empty_list_of_libraries_to_preload_is_fit(
    base_with: Callable[..., str], runtime: Path, tmp_path: Path, engine: DockerClient
) -> None:
    options = ("--registry", REGISTRY, "--record", str(tmp_path / "build.json"), "--runtime", str(runtime))
    base = base_with("RUN touch /etc/ld.so.preload")

    assert cli.main(["images", "yolov8", "--variant", "cpu", "--base", base, *options]) == 0
    engine.images.remove(NAME)


def test_a_derived_image_is_no_base(derived: Callable[..., str], refused: Callable[[str], tuple[int, str]]) -> None:
    code, said = refused(derived("python311"))

    assert code == 78
    assert "is a derived image already" in said


def test_an_image_whose_check_fails_has_neither_a_name_nor_a_record(
    base: Callable[[str], str], refused: Callable[[str], tuple[int, str]]
) -> None:
    code, said = refused(base("scratch"))

    assert code == 78
    assert "its check fails with 78: module: " in said


def test_a_step_for_other_builds_that_fails_is_said(
    base_with: Callable[..., str], refused: Callable[[str], tuple[int, str]]
) -> None:
    code, said = refused(base_with("ONBUILD RUN false"))

    assert code == 78
    assert "the base has ONBUILD steps, 'RUN false'" in said


def test_a_check_that_does_not_end_is_ended(
    base_with: Callable[..., str], refused: Callable[[str], tuple[int, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(builder, "_CHECK_SECONDS", 3)

    code, said = refused(base_with(ENDLESS))

    assert code == 78
    assert "its check did not end within 3 s" in said


# Every Python of the image waits for ever.
ENDLESS = "RUN echo 'import time; time.sleep(600)' >/usr/local/lib/python3.11/dist-packages/endless.pth"
