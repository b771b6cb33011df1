"""Names of derived images, and the record of what was built."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from scripts.images.derived import BadName, BadRecord, Built, Check, Name, build_command, read, record

BUILT = Built(
    name="deepaas-batch/voice-activity:cpu",
    module="voice-activity",
    variant="cpu",
    id="sha256:" + "1" * 64,
    digest=None,
    base="deepaas-batch/voice-activity-module:latest",
    base_digest="sha256:" + "2" * 64,
    runtime="sha256:" + "3" * 64,
    supervisor="0.1.0",
    size=472_000_000,
    added=48_000_000,
    seconds=8.5,
    built="2026-01-01T00:00:00Z",
    check=Check(exit_code=0),
)


def test_a_local_build_is_called_after_the_module_and_the_variant() -> None:
    assert str(Name(module="audio-classification", variant="cpu")) == "deepaas-batch/audio-classification:cpu"


def test_a_tag_comes_before_the_variant() -> None:
    name = Name(registry="localhost:5000/team", module="yolov8", variant="gpu", tag="2026-01")

    assert str(name) == "localhost:5000/team/yolov8:2026-01-gpu"


@pytest.mark.parametrize("registry", ["Upper/case", "ends/", "https://host", "with space", "", "a//b"])
def test_a_registry_that_no_image_can_have_is_refused(registry: str) -> None:
    with pytest.raises(BadName, match=r"the registry .* cannot begin"):
        Name(registry=registry, module="yolov8", variant="cpu")


@pytest.mark.parametrize(
    "registry", ["localhost:5000", "ghcr.io/deep", "123456789012.dkr.ecr.eu-west-1.amazonaws.com/a_b"]
)
def test_a_registry_may_be_a_host_with_a_port_and_a_path(registry: str) -> None:
    assert Name(registry=registry, module="yolov8", variant="cpu").repository == f"{registry}/yolov8"


def test_a_tag_that_no_image_can_have_is_refused() -> None:
    with pytest.raises(BadName, match="'a/b' is no tag"):
        Name(module="yolov8", variant="cpu", tag="a/b")


def test_a_pushed_image_is_referred_to_by_digest() -> None:
    digest = "sha256:" + "4" * 64

    assert replace(BUILT, digest=digest).reference == f"deepaas-batch/voice-activity@{digest}"


def test_an_image_that_was_not_pushed_is_referred_to_by_name_and_identified_by_its_id() -> None:
    assert (BUILT.reference, BUILT.identity) == (BUILT.name, f"{BUILT.name}@{BUILT.id}")


def test_what_is_recorded_is_read_again(tmp_path: Path) -> None:
    record(BUILT, tmp_path / "build.json")

    assert read(tmp_path / "build.json") == {BUILT.name: BUILT}


def test_a_record_keeps_what_other_builds_wrote(tmp_path: Path) -> None:
    modules = [f"module-{number}" for number in range(20)]
    images = [replace(BUILT, name=f"deepaas-batch/{module}:cpu", module=module) for module in modules]

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda image: record(image, tmp_path / "build.json"), images))

    assert len(read(tmp_path / "build.json")) == 20


def test_there_is_nothing_before_the_first_build(tmp_path: Path) -> None:
    assert read(tmp_path / "build.json") == {}


@pytest.mark.parametrize(
    "change",
    [
        {"name": "deepaas-batch/voice-activity:gpu"},
        {"name": "deepaas-batch/yolov8:cpu"},
        {"module": "yolov8"},
        {"variant": "gpu"},
        {"variant": "tpu", "name": "deepaas-batch/voice-activity:tpu"},
        {"digest": 5},
        {"id": None},
    ],
)
def test_a_record_that_contradicts_itself_is_refused(change: dict[str, object], tmp_path: Path) -> None:
    path = tmp_path / "build.json"
    record(BUILT, path)
    document = json.loads(path.read_text())
    document["images"][0] |= change
    path.write_text(json.dumps(document))

    with pytest.raises(BadRecord, match="is damaged"):
        read(path)


def test_the_record_of_a_tagged_image_says_its_tag(tmp_path: Path) -> None:
    record(replace(BUILT, name="deepaas-batch/voice-activity:2026-01-cpu"), tmp_path / "build.json")

    [built] = read(tmp_path / "build.json").values()
    assert (built.tag, BUILT.tag) == ("2026-01", None)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"version": 1, "images": [{"name": "x"}]}', '{"version": 2}'])
def test_a_damaged_record_is_refused_and_not_overwritten(text: str, tmp_path: Path) -> None:
    path = tmp_path / "build.json"
    path.write_text(text)

    with pytest.raises(BadRecord) as refused:
        record(BUILT, path)
    assert "remove it" in refused.value.hint
    assert path.read_text() == text


def test_a_gpu_that_the_building_machine_lacks_does_not_count_against_a_gpu_image() -> None:
    check = Check(exit_code=69, failed={"device": "no CUDA driver"})

    assert check.faults("gpu") == {}
    assert check.faults("cpu") == {"device": "no CUDA driver"}


def test_the_command_that_builds_an_image_can_be_copied() -> None:
    command = build_command("yolov8", "gpu", registry="example.org/x", tag="v2", push=True)

    assert command == "deepaas-batch images yolov8 --variant gpu --registry example.org/x --tag v2 --push"
