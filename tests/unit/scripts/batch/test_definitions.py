"""Job definitions as they are rendered, checked and compared; registered ones go to moto's Batch."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from scripts.batch.definitions import (
    FARGATE_GIB,
    NotRendered,
    Settings,
    definition_name,
    platforms,
    render,
    validate,
)
from scripts.batch.retry import Platform, retry_strategy
from scripts.images import catalogue, derived
from supervisor.failures import BadUsage
from supervisor.job import VARIABLES
from tests.unit.scripts.images.test_derived import BUILT

if TYPE_CHECKING:
    pass

pytestmark = pytest.mark.usefixtures("catalogue_read_once")

MODULES = catalogue.load()
ROLE = "arn:aws:iam::123456789012:role/job"
PUSHED = replace(BUILT, name="registry.example.org/batch/voice-activity:cpu", digest="sha256:" + "4" * 64)
GPU = replace(BUILT, name="deepaas-batch/voice-activity:gpu", variant="gpu")


def rendered(
    module: str = "voice-activity",
    built: derived.Built = BUILT,
    platform: Platform = "EC2",
    settings: Settings | None = None,
) -> dict[str, Any]:
    return dict(render(MODULES[module], built, platform, settings or Settings()).request)


def environment(request: dict[str, Any]) -> dict[str, str]:
    return {each["name"]: each["value"] for each in request["containerProperties"]["environment"]}


def resources(request: dict[str, Any]) -> dict[str, str]:
    return {each["type"]: each["value"] for each in request["containerProperties"]["resourceRequirements"]}


# What a definition says.


def test_a_pushed_image_is_named_by_digest() -> None:
    image = rendered(built=PUSHED)["containerProperties"]["image"]

    assert image == f"registry.example.org/batch/voice-activity@{PUSHED.digest}"


def test_an_image_that_was_not_pushed_is_named_as_it_is_called_here() -> None:
    assert rendered()["containerProperties"]["image"] == BUILT.name


def test_the_job_is_told_which_image_it_runs_in_by_digest() -> None:
    assert environment(rendered())["SUPERVISOR_IMAGE"] == f"{BUILT.name}@{BUILT.id}"


def test_input_and_output_are_parameters_of_the_command() -> None:
    command = rendered()["containerProperties"]["command"]

    assert command == ["run", "--input", "Ref::input", "--output", "Ref::output"]


def test_the_flags_of_the_command_are_flags_of_the_supervisor() -> None:
    flags = {variable.flag for variable in VARIABLES}

    assert {word for word in rendered()["containerProperties"]["command"] if word.startswith("--")} <= flags


def test_resources_and_timeout_are_the_catalogues() -> None:
    request = rendered()

    assert resources(request) == {"VCPU": "1", "MEMORY": "2048"}
    assert request["timeout"] == {"attemptDurationSeconds": 1800}


def test_only_the_gpu_variant_asks_for_a_gpu() -> None:
    assert resources(rendered(built=GPU))["GPU"] == "1"
    assert "GPU" not in resources(rendered())


def test_another_timeout_wins_over_the_catalogues() -> None:
    assert rendered(settings=Settings(timeout=7200))["timeout"] == {"attemptDurationSeconds": 7200}


def test_arguments_that_a_module_needs_are_given() -> None:
    assert json.loads(environment(rendered("yolov8"))["JOB_PREDICT_ARGS"]) == {"accept": "application/json"}


def test_a_file_argument_that_would_not_be_found_is_named() -> None:
    module = next(m for m in MODULES.values() if m.input.other_fields and m.tags["cpu"])

    assert environment(rendered(module.name))["JOB_INPUT_FIELD"] == module.input.field


def test_the_file_argument_that_is_taken_anyway_is_not_named() -> None:
    assert "JOB_INPUT_FIELD" not in environment(rendered())


def test_roles_are_the_operators() -> None:
    container = rendered(settings=Settings(job_role=ROLE, execution_role=ROLE + "2"))["containerProperties"]

    assert (container["jobRoleArn"], container["executionRoleArn"]) == (ROLE, ROLE + "2")


def test_a_role_that_is_no_arn_is_refused() -> None:
    with pytest.raises(BadUsage, match="the role is 'my-role'"):
        Settings(job_role="my-role")


@pytest.mark.parametrize("group", ["", "with space", "a:b", "x" * 513])
def test_a_log_group_that_cannot_be_is_refused(group: str) -> None:
    with pytest.raises(BadUsage, match="the log group is"):
        Settings(log_group=group)


def test_images_of_another_tag_have_definitions_of_their_own() -> None:
    both: tuple[Platform, ...] = ("EC2", "FARGATE")
    names = [definition_name("yolov8", "cpu", platform, tag) for platform in both for tag in (None, "v1.2")]

    assert names == ["yolov8-cpu", "yolov8-v1_2-cpu", "yolov8-cpu-fargate", "yolov8-v1_2-cpu-fargate"]


def test_a_tag_that_makes_a_name_too_long_for_batch_is_refused() -> None:
    with pytest.raises(BadUsage, match="Batch takes 128"):
        definition_name("voice-activity", "cpu", "FARGATE", "x" * 110)


def test_the_definition_of_a_tagged_image_says_the_tag() -> None:
    staging = replace(PUSHED, name="registry.example.org/batch/voice-activity:staging-cpu")

    assert rendered(built=staging)["jobDefinitionName"] == "voice-activity-staging-cpu"


def test_retries_are_those_of_the_table() -> None:
    assert rendered()["retryStrategy"] == retry_strategy("EC2")


@pytest.mark.parametrize("platform", ["EC2", "FARGATE"])
def test_no_init_process_stands_before_the_supervisor(platform: Platform) -> None:
    linux = rendered(platform=platform)["containerProperties"]["linuxParameters"]

    assert linux["initProcessEnabled"] is False


def test_shared_memory_is_enough_for_data_loaders() -> None:
    assert rendered()["containerProperties"]["linuxParameters"]["sharedMemorySize"] == 1024


def test_fargate_gets_nothing_that_it_refuses() -> None:
    container = rendered(platform="FARGATE")["containerProperties"]

    assert "privileged" not in container
    assert "sharedMemorySize" not in container["linuxParameters"]


def test_ec2_gets_nothing_of_fargates() -> None:
    fargates = {"fargatePlatformConfiguration", "networkConfiguration", "ephemeralStorage"}

    assert fargates & rendered()["containerProperties"].keys() == set()


def test_a_fargate_job_gets_a_public_address_only_when_asked() -> None:
    def address(public: bool) -> str:
        request = rendered(platform="FARGATE", settings=Settings(public_ip=public))
        return str(request["containerProperties"]["networkConfiguration"]["assignPublicIp"])

    assert (address(False), address(True)) == ("DISABLED", "ENABLED")


def test_fargate_has_no_gpus() -> None:
    assert (platforms("cpu"), platforms("gpu")) == (("EC2", "FARGATE"), ("EC2",))


def test_memory_that_fargate_does_not_offer_is_refused() -> None:
    module = MODULES["voice-activity"]
    large = replace(module, resources=replace(module.resources, memory_mib=16384))

    with pytest.raises(NotRendered, match="2 to 8 GiB with 1 vCPU, not 16"):
        render(large, BUILT, "FARGATE", Settings())


@pytest.mark.parametrize("name", [name for name, module in MODULES.items() if module.variants])
def test_every_module_of_the_catalogue_gives_definitions_that_batch_takes(name: str) -> None:
    module = MODULES[name]
    for variant in module.variants:
        for platform in platforms(variant):
            render(module, replace(BUILT, module=name, variant=variant), platform, Settings())


def test_fargates_pairs_are_those_of_batchs_own_model() -> None:
    from botocore.session import get_session

    shape: Any = get_session().get_service_model("batch").shape_for("ResourceRequirement")
    by_vcpus = shape.members["value"].documentation.partition('type="VCPU"')[2]
    for vcpus, offered in FARGATE_GIB.items():
        listed = re.search(rf"value = {vcpus}</dt> <dd> <p> <code>MEMORY</code> = ([\d, or]+)", by_vcpus)
        assert listed, vcpus
        assert set(map(int, re.findall(r"\d+", listed[1]))) == {gib * 1024 for gib in offered}, vcpus


# Checking against botocore's model.


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"type": "contaner"}, "type is 'contaner', not one of"),
        ({"timeout": {"attemptDurationSeconds": "60"}}, "Invalid type for parameter timeout.attemptDurationSeconds"),
        ({"retryStrategies": {}}, "Unknown parameter in input"),
        ({"platformCapabilities": ["EC3"]}, "platformCapabilities is 'EC3', not one of"),
    ],
)
def test_what_batch_would_not_take_is_said(change: dict[str, Any], said: str) -> None:
    assert said in " ".join(validate({**rendered(), **change}))
