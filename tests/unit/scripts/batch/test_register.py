"""`deepaas-batch job-definitions`: what it writes, registers, keeps and refuses; Batch and the registry are moto's."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import pytest

from scripts import cli
from scripts.batch.revisions import latest
from scripts.checkout import ROOT
from scripts.images import catalogue, derived
from tests.unit.scripts.batch.conftest import EXECUTION_ROLE, REGISTRY, ROLE, Registry
from tests.unit.scripts.images.test_derived import BUILT

if TYPE_CHECKING:
    from mypy_boto3_batch import BatchClient

pytestmark = pytest.mark.usefixtures("catalogue_read_once")

GPU = replace(BUILT, name="deepaas-batch/voice-activity:gpu", variant="gpu")
NAME = "voice-activity-cpu"
CPU = ("voice-activity", "--variant", "cpu", "--platform", "ec2")
Run = Callable[..., int]


def revision(batch: BatchClient, name: str = NAME) -> Mapping[str, Any]:
    found = latest(batch, name)
    assert found
    return found


def registered(batch: BatchClient) -> dict[str, int]:
    """Every definition in use, and its latest revision."""
    found = batch.describe_job_definitions(status="ACTIVE")["jobDefinitions"]
    return {each["jobDefinitionName"]: each["revision"] for each in sorted(found, key=lambda each: each["revision"])}


def edit(batch: BatchClient, name: str = NAME, **container: Any) -> None:
    """Somebody makes a new revision in the console, from the latest."""
    before = revision(batch, name)
    keys = ("jobDefinitionName", "type", "retryStrategy", "timeout", "tags", "platformCapabilities", "propagateTags")
    request: Any = {key: before[key] for key in keys}
    request["containerProperties"] = {**before["containerProperties"], **container}
    batch.register_job_definition(**request)


# What is written.


def test_definitions_are_written_for_each_variant_and_platform(tmp_path: Path, definitions: Run) -> None:
    derived.record(BUILT, tmp_path / "build.json")
    derived.record(GPU, tmp_path / "build.json")

    assert definitions(registry="deepaas-batch") == 0
    assert sorted(path.name for path in (tmp_path / "definitions").iterdir()) == [
        "voice-activity-cpu-fargate.json",
        "voice-activity-cpu.json",
        "voice-activity-gpu.json",
    ]


def test_all_is_everything_that_is_built(tmp_path: Path, definitions: Run) -> None:
    derived.record(GPU, tmp_path / "build.json")

    assert definitions("all", registry="deepaas-batch") == 0
    assert [path.stem for path in (tmp_path / "definitions").iterdir()] == ["voice-activity-gpu"]


def test_the_file_is_what_was_registered(
    registry: Registry, definitions: Run, batch: BatchClient, tmp_path: Path
) -> None:
    registry.push()
    definitions(*CPU, "--register", "--role", ROLE)
    registry.push("2")
    definitions(*CPU, "--register")

    written = json.loads((tmp_path / "definitions" / f"{NAME}.json").read_text())
    assert written["containerProperties"]["jobRoleArn"] == ROLE
    assert written["containerProperties"]["image"] == revision(batch)["containerProperties"]["image"]


# What is registered.


def test_a_definition_is_registered_once_and_again_only_when_it_changed(
    registry: Registry, definitions: Run, batch: BatchClient
) -> None:
    registry.push()
    numbers = []
    for timeout in ("600", "600", "900", "900"):
        assert definitions(*CPU, "--register", "--timeout", timeout) == 0
        numbers.append(revision(batch)["revision"])

    assert numbers == [1, 1, 2, 2]


def test_what_was_changed_in_the_console_but_for_the_image_is_not_taken_for_unchanged(
    registry: Registry, definitions: Run, batch: BatchClient
) -> None:
    built = registry.push()
    definitions(*CPU, "--register")
    edit(batch, image=f"{built.repository}:latest")

    assert definitions(*CPU, "--register") == 0
    assert revision(batch)["containerProperties"]["image"] == built.reference
    assert revision(batch)["revision"] == 3


# What a new revision keeps.


def test_an_upgrade_that_names_nothing_but_the_image_keeps_what_was_decided(
    registry: Registry, definitions: Run, batch: BatchClient
) -> None:
    registry.push()
    decided = ["--role", ROLE, "--execution-role", EXECUTION_ROLE, "--timeout", "36000", "--log-group", "/team/log"]
    assert definitions("voice-activity", "--register", *decided, "--public-ip") == 0
    built = registry.push("2")
    assert definitions("voice-activity", "--register") == 0

    for name in (NAME, f"{NAME}-fargate"):
        after = revision(batch, name)
        container = after["containerProperties"]
        assert (after["revision"], container["image"]) == (2, built.reference)
        assert (container["jobRoleArn"], container["executionRoleArn"]) == (ROLE, EXECUTION_ROLE)
        assert after["timeout"] == {"attemptDurationSeconds": 36000}
        assert container["logConfiguration"]["options"]["awslogs-group"] == "/team/log"
    assert container["networkConfiguration"] == {"assignPublicIp": "ENABLED"}


def test_what_was_kept_is_kept_by_all_revisions_to_come(
    registry: Registry, definitions: Run, batch: BatchClient
) -> None:
    for version in ("1", "2", "3", "4"):
        registry.push(version)
        assert definitions(*CPU, "--register", *(["--timeout", "36000"] if version == "1" else [])) == 0

    assert revision(batch)["revision"] == 4
    assert revision(batch)["timeout"] == {"attemptDurationSeconds": 36000}


@pytest.mark.parametrize(
    ("container", "item"),
    [
        ({"user": "1000"}, "user"),
        ({"secrets": [{"name": "TOKEN", "valueFrom": "arn:aws:ssm:eu-west-1:123456789012:parameter/t"}]}, "secrets"),
        ({"volumes": [{"name": "models", "host": {"sourcePath": "/models"}}]}, "volumes"),
        ({"mountPoints": [{"sourceVolume": "models", "containerPath": "/models"}]}, "mountPoints"),
        ({"ulimits": [{"name": "nofile", "hardLimit": 65536, "softLimit": 65536}]}, "ulimits"),
        ({"readonlyRootFilesystem": True}, "readonlyRootFilesystem"),
        ({"repositoryCredentials": {"credentialsParameter": "arn:aws:x"}}, "repositoryCredentials"),
    ],
)
def test_what_somebody_added_in_the_console_is_kept(
    container: dict[str, Any],
    item: str,
    registry: Registry,
    definitions: Run,
    batch: BatchClient,
    capsys: pytest.CaptureFixture[str],
) -> None:
    registry.push()
    definitions(*CPU, "--register")
    edit(batch, **container)
    registry.push("2")
    assert definitions(*CPU, "--register") == 0

    assert revision(batch)["containerProperties"][item] == container[item]
    assert re.search(rf"kept from revision 2: .*{item}", capsys.readouterr().out)


def test_a_size_that_somebody_raised_is_kept_with_what_follows_from_it(
    registry: Registry, definitions: Run, batch: BatchClient
) -> None:
    registry.push()
    definitions(*CPU, "--register")
    edit(batch, resourceRequirements=[{"type": "VCPU", "value": "4"}, {"type": "MEMORY", "value": "16384"}])
    registry.push("2")
    definitions(*CPU, "--register")

    container = revision(batch)["containerProperties"]
    assert {each["type"]: each["value"] for each in container["resourceRequirements"]} == {
        "VCPU": "4",
        "MEMORY": "16384",
    }
    assert container["linuxParameters"]["sharedMemorySize"] == 8192


def test_a_variable_and_a_tag_that_somebody_added_are_kept_beside_ours(
    registry: Registry, definitions: Run, batch: BatchClient
) -> None:
    registry.push()
    definitions(*CPU, "--register")
    environment = revision(batch)["containerProperties"]["environment"]
    edit(batch, environment=[*environment, {"name": "HF_HOME", "value": "/cache"}])
    batch.tag_resource(resourceArn=revision(batch)["jobDefinitionArn"], tags={"team": "bioacoustics"})
    built = registry.push("2")
    definitions(*CPU, "--register")

    after = revision(batch)
    variables = {each["name"]: each["value"] for each in after["containerProperties"]["environment"]}
    assert variables == {"HF_HOME": "/cache", "SUPERVISOR_IMAGE": built.identity}
    assert after["tags"]["team"] == "bioacoustics"


def test_another_log_driver_is_kept_whole(registry: Registry, definitions: Run, batch: BatchClient) -> None:
    splunk = {"logDriver": "splunk", "options": {"splunk-url": "https://splunk.example.org"}}
    registry.push()
    definitions(*CPU, "--register")
    edit(batch, logConfiguration=splunk)
    registry.push("2")
    definitions(*CPU, "--register")

    assert revision(batch)["containerProperties"]["logConfiguration"] == splunk


def test_a_number_that_nobody_decided_on_follows_the_catalogue(
    registry: Registry,
    definitions: Run,
    batch: BatchClient,
    catalogue_read_once: Mapping[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    registry.push()
    definitions(*CPU, "--register")
    module = catalogue_read_once["voice-activity"]
    longer = {**catalogue_read_once, "voice-activity": replace(module, timeout_seconds=7200)}
    monkeypatch.setattr(catalogue, "load", lambda: longer)
    definitions(*CPU, "--register")

    assert revision(batch)["timeout"] == {"attemptDurationSeconds": 7200}


def test_a_revision_from_before_numbers_were_marked_keeps_those_that_are_not_the_catalogues(
    registry: Registry, definitions: Run, batch: BatchClient
) -> None:
    registry.push()
    definitions(*CPU, "--register", "--timeout", "36000", "--role", ROLE)
    before = revision(batch)
    request: Any = {"jobDefinitionName": NAME, "type": "container", "timeout": before["timeout"]}
    batch.register_job_definition(
        **request,
        containerProperties=before["containerProperties"],
        tags={"deepaas-batch:definition": "0" * 64, "deepaas-batch:module": "voice-activity"},
    )
    registry.push("2")
    assert definitions(*CPU, "--register") == 0

    after = revision(batch)
    assert after["timeout"] == {"attemptDurationSeconds": 36000}
    assert after["containerProperties"]["jobRoleArn"] == ROLE
    assert "vcpus=1 memory_mib=2048" in after["tags"]["deepaas-batch:defaults"]


# Giving up what was kept.


@pytest.mark.parametrize("name", ["role", "execution-role", "timeout", "log-group", "public-ip", "all"])
def test_what_is_dropped_by_its_name_is_gone(
    name: str, registry: Registry, definitions: Run, batch: BatchClient, capsys: pytest.CaptureFixture[str]
) -> None:
    registry.push()
    decided = ["--role", ROLE, "--execution-role", EXECUTION_ROLE, "--timeout", "36000", "--log-group", "/team/log"]
    fargate = ("voice-activity", "--platform", "fargate")
    definitions(*fargate, "--register", *decided, "--public-ip")
    again = ["--execution-role", EXECUTION_ROLE] if name == "all" else []
    code = definitions(*fargate, "--register", "--drop", name, *again)

    after = revision(batch, f"{NAME}-fargate")
    if name == "execution-role":
        assert (code, after["revision"]) == (64, 1)
        return
    container = after["containerProperties"]
    has = {
        "role": container.get("jobRoleArn"),
        "timeout": str(after["timeout"]["attemptDurationSeconds"]),
        "log-group": container["logConfiguration"]["options"]["awslogs-group"],
        "public-ip": container["networkConfiguration"]["assignPublicIp"],
    }
    dropped = {"role": None, "timeout": "1800", "log-group": "/aws/batch/job", "public-ip": "DISABLED"}
    decided_values = {"role": ROLE, "timeout": "36000", "log-group": "/team/log", "public-ip": "ENABLED"}
    assert (code, has) == (0, dropped if name == "all" else {**decided_values, name: dropped[name]})


def test_one_secret_is_dropped_and_the_others_are_kept(
    registry: Registry, definitions: Run, batch: BatchClient
) -> None:
    secrets = [{"name": name, "valueFrom": "arn:aws:ssm:eu-west-1:123456789012:parameter/t"} for name in ("A", "B")]
    registry.push()
    definitions(*CPU, "--register")
    edit(batch, secrets=secrets)

    assert definitions(*CPU, "--register", "--drop", "secrets.A") == 0
    assert revision(batch)["containerProperties"]["secrets"] == secrets[1:]


def test_a_misspelt_name_drops_nothing_and_is_said(
    registry: Registry, definitions: Run, batch: BatchClient, capsys: pytest.CaptureFixture[str]
) -> None:
    registry.push()
    definitions(*CPU, "--register", "--timeout", "36000")

    assert definitions(*CPU, "--register", "--drop", "timout") == 64
    assert "did you mean timeout?" in capsys.readouterr().err
    assert registered(batch) == {NAME: 1}


# What changes is shown.


def test_a_new_revision_is_shown_by_what_is_different(
    registry: Registry, definitions: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    first = registry.push()
    definitions(*CPU, "--register", "--role", ROLE, "--timeout", "36000")
    capsys.readouterr()
    second = registry.push("2")
    definitions(*CPU, "--register", "--timeout", "7200")

    assert capsys.readouterr().out.splitlines()[1:] == [
        f"    image: {first.reference} -> {second.reference}",
        "    timeout: 36000 -> 7200",
        "    kept from revision 1: role",
    ]


def test_a_variable_that_is_dropped_is_shown_without_its_value(
    registry: Registry, definitions: Run, batch: BatchClient, capsys: pytest.CaptureFixture[str]
) -> None:
    registry.push()
    definitions(*CPU, "--register")
    environment = revision(batch)["containerProperties"]["environment"]
    edit(batch, environment=[*environment, {"name": "API_TOKEN", "value": "hunter2"}])
    definitions(*CPU, "--register", "--drop", "environment.API_TOKEN")

    said = capsys.readouterr().out
    assert "environment.API_TOKEN: (a value) -> none" in said
    assert "hunter2" not in said


def test_a_diff_registers_nothing(
    registry: Registry, definitions: Run, batch: BatchClient, capsys: pytest.CaptureFixture[str]
) -> None:
    registry.push()
    definitions(*CPU, "--register")
    registry.push("2")
    capsys.readouterr()

    assert definitions(*CPU, "--diff", "--timeout", "60") == 0
    said = capsys.readouterr().out
    assert "would follow revision 1" in said
    assert "timeout: 1800 -> 60" in said
    assert registered(batch) == {NAME: 1}


# Which image a definition is for.


def test_another_tag_leaves_productions_definition_alone(
    registry: Registry, definitions: Run, batch: BatchClient
) -> None:
    production = registry.push()
    definitions(*CPU, "--register")
    registry.push("2", tag="staging")

    assert definitions(*CPU, "--register", "--tag", "staging") == 0
    assert registered(batch) == {NAME: 1, "voice-activity-staging-cpu": 1}
    assert revision(batch)["containerProperties"]["image"] == production.reference


def test_another_registrys_image_does_not_take_the_place_of_productions(
    registry: Registry, definitions: Run, batch: BatchClient, capsys: pytest.CaptureFixture[str]
) -> None:
    production = registry.push()
    definitions(*CPU, "--register")
    elsewhere = f"{REGISTRY}-test"
    registry.push("2", registry=elsewhere)

    assert definitions(*CPU, "--register", registry=elsewhere) == 64
    assert f"its revision 1 is for {production.name}" in capsys.readouterr().err
    assert revision(batch)["containerProperties"]["image"] == production.reference


def test_a_definition_moves_to_another_registry_when_that_is_said(
    registry: Registry, definitions: Run, batch: BatchClient
) -> None:
    registry.push()
    definitions(*CPU, "--register", "--role", ROLE)
    moved = registry.push("2", registry=f"{REGISTRY}-new")

    assert definitions(*CPU, "--register", "--drop", "registry", registry=f"{REGISTRY}-new") == 0
    container = revision(batch)["containerProperties"]
    assert (container["image"], container["jobRoleArn"]) == (moved.reference, ROLE)


def test_tags_that_make_the_same_name_do_not_take_each_others_definition(
    registry: Registry, definitions: Run, batch: BatchClient
) -> None:
    registry.push("1", tag="v1.2")
    registry.push("2", tag="v1_2")
    assert definitions(*CPU, "--register", "--tag", "v1.2") == 0

    assert definitions(*CPU, "--register", "--tag", "v1_2") == 64
    assert registered(batch) == {"voice-activity-v1_2-cpu": 1}


def test_a_strangers_definition_of_that_name_is_left_alone(
    registry: Registry, definitions: Run, batch: BatchClient
) -> None:
    registry.push()
    needs: Any = [{"type": "VCPU", "value": "1"}, {"type": "MEMORY", "value": "512"}]
    batch.register_job_definition(
        jobDefinitionName=NAME,
        type="container",
        containerProperties={"image": "example.org/theirs:1", "resourceRequirements": needs},
    )

    assert definitions(*CPU, "--register") == 64
    assert registered(batch) == {NAME: 1}


# The image is in its registry.


def test_an_image_that_is_not_pushed_is_not_registered(
    batch: BatchClient, tmp_path: Path, definitions: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    derived.record(BUILT, tmp_path / "build.json")

    assert definitions(*CPU, "--register", "--unchecked", registry="deepaas-batch") == 64
    [line, note] = capsys.readouterr().err.splitlines()
    assert "is not pushed" in line
    assert "deepaas-batch images voice-activity --variant cpu --registry HOST/PATH --push" in line
    assert note == "note: nothing is registered"
    assert registered(batch) == {}


def test_an_image_that_the_registry_lost_is_not_registered(
    registry: Registry, definitions: Run, batch: BatchClient, capsys: pytest.CaptureFixture[str]
) -> None:
    registry.push()
    boto3.client("ecr").batch_delete_image(repositoryName="batch/voice-activity", imageIds=[{"imageTag": "cpu"}])

    assert definitions(*CPU, "--register") == 66
    assert "is not in its registry" in capsys.readouterr().err
    assert registered(batch) == {}


def test_a_record_that_the_registry_contradicts_is_not_registered_unless_it_is_taken_at_its_word(
    registry: Registry, definitions: Run, batch: BatchClient, capsys: pytest.CaptureFixture[str]
) -> None:
    old = registry.push()
    newer = registry.put("batch/voice-activity", "cpu", "2")

    assert definitions(*CPU, "--register") == 65
    said = capsys.readouterr().err
    assert f"{old.name} is {old.digest}, and its registry says {newer}" in said
    assert registered(batch) == {}
    assert definitions(*CPU, "--register", "--unchecked") == 0
    assert registered(batch) == {NAME: 1}


def test_a_registry_that_cannot_be_asked_is_told_with_the_word_that_does_without(
    registry: Registry,
    definitions: Run,
    batch: BatchClient,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    registry.push()
    monkeypatch.setenv("AWS_ENDPOINT_URL_ECR", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")

    assert definitions(*CPU, "--register") == 75
    assert "or take the record at its word: --unchecked" in capsys.readouterr().err
    assert registered(batch) == {}
    assert definitions(*CPU, "--register", "--unchecked") == 0


@pytest.mark.parametrize("digest", ["sha256:1234", "latest", ""])
def test_a_digest_that_is_none_is_not_registered(
    digest: str, registry: Registry, definitions: Run, batch: BatchClient, tmp_path: Path
) -> None:
    derived.record(replace(registry.push(), digest=digest), tmp_path / "build.json")

    assert definitions(*CPU, "--register", "--unchecked") == 65
    assert registered(batch) == {}


# All that was asked for, or nothing.


def test_fargate_is_left_out_with_a_word_where_it_cannot_be(
    registry: Registry, definitions: Run, batch: BatchClient, capsys: pytest.CaptureFixture[str]
) -> None:
    registry.push()

    assert definitions("voice-activity", "--register", "--role", ROLE) == 0
    assert "note: left out: voice-activity-cpu-fargate: Fargate wants an execution role" in capsys.readouterr().err
    assert registered(batch) == {NAME: 1}


@pytest.mark.parametrize("platform", ["fargate", "all"])
def test_nothing_is_registered_where_fargate_is_asked_for_and_cannot_be(
    platform: str, registry: Registry, definitions: Run, batch: BatchClient, capsys: pytest.CaptureFixture[str]
) -> None:
    registry.push()

    assert definitions("voice-activity", "--register", "--platform", platform) == 64
    assert "Fargate wants an execution role" in capsys.readouterr().err
    assert registered(batch) == {}


def test_nothing_is_registered_where_one_of_several_modules_cannot_be(
    registry: Registry, definitions: Run, batch: BatchClient, tmp_path: Path
) -> None:
    registry.push()

    assert definitions("voice-activity", "yolov8", "--register") == 64
    assert registered(batch) == {}
    assert not (tmp_path / "definitions").exists()


@pytest.mark.parametrize("document", ["README.md", "docs/batch.md"])
def test_the_first_command_in_the_documents_works_as_it_is_written(
    document: str, registry: Registry, batch: BatchClient, tmp_path: Path
) -> None:
    text = re.sub(r"\\\n\s*", "", (ROOT / document).read_text(encoding="utf-8"))
    command = re.search(r"^deepaas-batch (job-definitions .*)$", text, re.MULTILINE)
    assert command
    words = shlex.split(command[1], comments=True)
    registry.push(module=words[1], registry=words[words.index("--registry") + 1])

    options = ["--record", str(tmp_path / "build.json"), "--out", str(tmp_path / "definitions")]
    assert cli.main([*words, *options]) == 0
    assert f"{words[1]}-cpu" in registered(batch)


# Mistakes.


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["voice-activty"], "did you mean voice-activity?"),
        (["yolov8"], "build it: deepaas-batch images yolov8"),
        (["voice-activity", "--tag", "v2"], "build it: deepaas-batch images voice-activity --tag v2"),
        (["voice-activity", "--variant", "tpu"], "there is no variant 'tpu'"),
        (["voice-activity", "--role", "x"], "the role is 'x'"),
        (["voice-activity", "--log-group", "a b"], "the log group is 'a b'"),
        (["voice-activity", "--drop", "role"], "add --register or --diff"),
    ],
)
def test_a_mistake_is_one_line_and_exit_64(
    arguments: list[str], said: str, tmp_path: Path, definitions: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    derived.record(GPU, tmp_path / "build.json")

    assert definitions(*arguments, registry="deepaas-batch") == 64
    [line] = capsys.readouterr().err.splitlines()
    assert said in line


def test_a_registry_that_nothing_was_built_for_is_said(definitions: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert definitions("all") == 64
    assert f"nothing is built as {REGISTRY}/" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("given", "code", "said"),
    [
        ({}, 64, "set AWS_DEFAULT_REGION"),
        ({"AWS_DEFAULT_REGION": "eu-west-1"}, 77, "no AWS credentials"),
        ({"AWS_DEFAULT_REGION": "eu-west-1", "AWS_PROFILE": "none-such"}, 77, "none-such"),
    ],
)
def test_registering_without_a_region_or_credentials_is_one_line(
    given: dict[str, str],
    code: int,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    definitions: Run,
    capsys: pytest.CaptureFixture[str],
) -> None:
    derived.record(BUILT, tmp_path / "build.json")
    for name in ("AWS_DEFAULT_REGION", "AWS_PROFILE", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name, raising=False)
    nothing = {"AWS_EC2_METADATA_DISABLED": "true", "AWS_CONFIG_FILE": str(tmp_path / "none")}
    for name, value in {**nothing, "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "none"), **given}.items():
        monkeypatch.setenv(name, value)

    assert definitions("voice-activity", "--register", registry="deepaas-batch") == code
    [line] = capsys.readouterr().err.splitlines()
    assert said in line
