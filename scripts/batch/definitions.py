"""Job definitions as AWS Batch takes them.

What a definition says comes from images/<module>.yaml (resources, timeout, arguments), build/build.json (the image,
by digest), the table of failures (which endings are tried again), and the operator's settings. For each variant there
is one for EC2, and for the CPU one for Fargate besides.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import botocore.session
from botocore.validate import ParamValidator

from scripts import whole_file
from scripts.batch.request import ItemPath, put
from scripts.batch.retry import Platform, retry_strategy
from scripts.images.arguments import job_variables
from scripts.images.catalogue import Module, Variant
from scripts.images.derived import Built
from supervisor.failures import BadUsage

if TYPE_CHECKING:
    from botocore.model import Shape

LOG_GROUP = "/aws/batch/job"
# Tags of a definition. FINGERPRINT tells whether a registered revision says the same, for Batch adds defaults of its
# own to what it is given. IMAGE is the name of the image that the definition is for. DEFAULTS are the numbers that
# nobody had decided on when it was registered: they follow the catalogue, and all others are kept.
FINGERPRINT = "deepaas-batch:definition"
IMAGE = "deepaas-batch:image"
DEFAULTS = "deepaas-batch:defaults"
# Memory in GiB that Fargate offers for a number of vCPUs: https://docs.aws.amazon.com/batch/latest/userguide/fargate.html
FARGATE_GIB: Mapping[int, range] = {
    1: range(2, 9),
    2: range(4, 17),
    4: range(8, 31),
    8: range(16, 61, 4),
    16: range(32, 121, 8),
}
# Fargate's disk is 20 GiB, which a catalogue image of 10 GB and an input that lies there twice soon fill.
FARGATE_DISK_GIB = 40
LONGEST_NAME = 128


class NotRendered(BadUsage):
    """One definition could not be made or registered."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What a platform operator decides. None: nothing was decided, and the default holds."""

    job_role: str | None = None
    execution_role: str | None = None
    log_group: str | None = None
    timeout: int | None = None
    public_ip: bool | None = None
    vcpus: float | None = None
    memory_mib: int | None = None
    gpus: int | None = None
    disk_gib: int | None = None

    def __post_init__(self) -> None:
        for name, role in (("role", self.job_role), ("execution role", self.execution_role)):
            if role and not re.fullmatch(r"arn:aws[a-z-]*:iam::\d{12}:role/\S+", role):
                raise BadUsage(f"the {name} is {role!r}", "use the role's ARN, arn:aws:iam::123456789012:role/name")
        if self.log_group is not None and not re.fullmatch(r"[A-Za-z0-9_./#-]{1,512}", self.log_group):
            raise BadUsage(
                f"the log group is {self.log_group!r}", f"use letters, digits and ._/#- alone, as in {LOG_GROUP}"
            )

    def over(self, others: Settings) -> Settings:
        """These, and what is not decided here from the others."""
        both = {each.name: (getattr(self, each.name), getattr(others, each.name)) for each in fields(Settings)}
        return Settings(**{name: other if ours is None else ours for name, (ours, other) in both.items()})


@dataclass(frozen=True, kw_only=True)
class Definition:
    """A definition as RegisterJobDefinition takes it."""

    name: str
    request: Mapping[str, Any]

    @property
    def fingerprint(self) -> str:
        return cast("str", self.request["tags"][FINGERPRINT])

    def write(self, folder: Path) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{self.name}.json"
        whole_file.write_text(path, json.dumps(self.request, indent=2) + "\n")
        return path


def definition_name(module: str, variant: Variant, platform: Platform = "EC2", tag: str | None = None) -> str:
    """`<module>-[<tag>-]<variant>[-fargate]`, so that images of another tag have definitions of their own.

    A definition's name has no dots: v1.2 becomes v1_2. Raises BadUsage for a name that Batch would not take.
    """
    parts = (module, tag and tag.replace(".", "_"), variant, "fargate" if platform == "FARGATE" else None)
    name = "-".join(part for part in parts if part)
    if len(name) > LONGEST_NAME:
        raise BadUsage(
            f"the definition's name {name} has {len(name)} characters, and Batch takes {LONGEST_NAME}",
            "use a shorter --tag",
        )
    return name


def platforms(variant: Variant) -> tuple[Platform, ...]:
    """Fargate has no GPUs."""
    return ("EC2", "FARGATE") if variant == "cpu" else ("EC2",)


# Rendering.


def render(
    module: Module,
    built: Built,
    platform: Platform,
    settings: Settings,
    kept: Mapping[ItemPath, Any] | None = None,
) -> Definition:
    """One definition. kept: what it has beside what is rendered here, as the revision before had it.

    Raises NotRendered where Batch could not take it.
    """
    name = definition_name(module.name, built.variant, platform, built.tag)
    standard = defaults(module, built.variant, platform)
    decided = settings.over(standard)
    request: dict[str, Any] = {
        "jobDefinitionName": name,
        "type": "container",
        "platformCapabilities": [platform],
        "containerProperties": _container(name, module, built, platform, decided),
        "retryStrategy": retry_strategy(platform),
        "timeout": {"attemptDurationSeconds": decided.timeout},
        "propagateTags": True,
        "tags": {
            "deepaas-batch:module": module.name,
            "deepaas-batch:variant": built.variant,
            "deepaas-batch:version": built.supervisor,
            IMAGE: built.name,
            DEFAULTS: undecided(settings, standard),
        },
    }
    for path, item in (kept or {}).items():
        put(request, path, item)
    fingerprint = hashlib.sha256(json.dumps(request, sort_keys=True).encode()).hexdigest()
    request["tags"][FINGERPRINT] = fingerprint
    if faults := validate(request):
        raise NotRendered(
            f"{name}: Batch would not take it: {'; '.join(faults)}", f"correct images/{module.name}.yaml or the flags"
        )
    return Definition(name=name, request=request)


def defaults(module: Module, variant: Variant, platform: Platform) -> Settings:
    """What holds where nobody decided."""
    return Settings(
        log_group=LOG_GROUP,
        timeout=module.timeout_seconds,
        public_ip=False,
        vcpus=module.resources.vcpus,
        memory_mib=module.resources.memory_mib,
        gpus=module.resources.gpus if variant == "gpu" else None,
        disk_gib=FARGATE_DISK_GIB if platform == "FARGATE" else None,
    )


NUMBERS = ("timeout", "vcpus", "memory_mib", "gpus", "disk_gib")


def undecided(settings: Settings, standard: Settings) -> str:
    """The numbers that nobody decided on, as a tag's value: `timeout=1800 vcpus=1`."""
    numbers = {name: getattr(standard, name) for name in NUMBERS if getattr(settings, name) is None}
    return " ".join(f"{name}={number}" for name, number in numbers.items() if number is not None)


def _container(name: str, module: Module, built: Built, platform: Platform, decided: Settings) -> dict[str, Any]:
    memory_mib = decided.memory_mib or 0
    resources = {"VCPU": f"{decided.vcpus:g}", "MEMORY": str(memory_mib)}
    if decided.gpus:
        resources["GPU"] = str(decided.gpus)
    environment = {**job_variables(module, {}), "SUPERVISOR_IMAGE": built.identity}
    container: dict[str, Any] = {
        "image": built.reference,
        # Batch fills in Ref::… in the command alone, not in the environment. A job that names its input otherwise
        # (JOB_EVENT, JOB_MANIFEST) is submitted with the command ["run"].
        "command": ["run", "--input", "Ref::input", "--output", "Ref::output"],
        "environment": [{"name": key, "value": value} for key, value in sorted(environment.items())],
        "resourceRequirements": [{"type": type_, "value": value} for type_, value in resources.items()],
        "logConfiguration": {
            "logDriver": "awslogs",
            "options": {"awslogs-group": decided.log_group, "awslogs-stream-prefix": name},
        },
        **({"jobRoleArn": decided.job_role} if decided.job_role else {}),
        **({"executionRoleArn": decided.execution_role} if decided.execution_role else {}),
    }
    # No init process: the supervisor is PID 1 itself, reaps and hands on signals; an init in front of it would keep the
    # job's environment readable in /proc/1/environ.
    if platform == "FARGATE":
        _require_fargate_pair(name, module, decided)
        return container | {
            "linuxParameters": {"initProcessEnabled": False},
            "fargatePlatformConfiguration": {"platformVersion": "LATEST"},
            "networkConfiguration": {"assignPublicIp": "ENABLED" if decided.public_ip else "DISABLED"},
            "ephemeralStorage": {"sizeInGiB": decided.disk_gib},
        }
    return container | {
        # Docker gives 64 MiB of shared memory, in which PyTorch's data loaders die of a bus error; half of the memory
        # is what Linux itself gives. It is a bound, not a reservation, and counts as the container's memory once used.
        "linuxParameters": {"initProcessEnabled": False, "sharedMemorySize": memory_mib // 2},
        "privileged": False,
    }


class NotOnFargate(NotRendered):
    """Fargate does not offer what the module needs, or lacks what it needs itself."""


def _require_fargate_pair(name: str, module: Module, decided: Settings) -> None:
    vcpus, gib = decided.vcpus or 0, (decided.memory_mib or 0) / 1024
    offered = FARGATE_GIB.get(int(vcpus), range(0)) if vcpus == int(vcpus) else range(0)
    if gib not in offered:
        here = f"correct resources in images/{module.name}.yaml, or leave Fargate out with --platform ec2"
        if offered:
            said = f"Fargate offers {offered.start} to {offered[-1]} GiB with {vcpus:g} vCPU, not {gib:g}"
        else:
            said = f"Fargate has no {vcpus:g} vCPU; there are {', '.join(map(str, FARGATE_GIB))}"
        raise NotOnFargate(f"{name}: {said}", here)


def validate(request: Mapping[str, Any]) -> list[str]:
    """What botocore's own model of RegisterJobDefinition has against a request, and its closed lists of values."""
    service = botocore.session.get_session().get_service_model("batch")
    shape = cast("Shape", service.operation_model("RegisterJobDefinition").input_shape)
    report = ParamValidator().validate(request, shape)
    faults = report.generate_report().split("\n") if report.has_errors() else []
    return faults or list(_outside_enums(request, shape, ""))


def _outside_enums(value: Any, shape: Shape, path: str) -> Iterator[str]:
    """ParamValidator looks at types and required keys, and leaves a misspelt value to the service."""
    # The stubs give the members of structures, lists and maps to their own shapes alone.
    any_shape = cast("Any", shape)
    if shape.type_name == "structure":
        for key, part in value.items():
            yield from _outside_enums(part, any_shape.members[key], f"{path}.{key}")
    elif shape.type_name == "list":
        for part in value:
            yield from _outside_enums(part, any_shape.member, path)
    elif shape.type_name == "string" and any_shape.enum and value not in any_shape.enum:
        yield f"{path.lstrip('.')} is {value!r}, not one of {', '.join(any_shape.enum)}"
