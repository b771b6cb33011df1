"""The command `deepaas-batch job-definitions`: renders AWS Batch job definitions, and registers those that changed.

What a definition says comes from images/<module>.yaml (resources, timeout, arguments), build/build.json (the image,
by digest) and the table of failures (which endings are tried again). For each variant there is one for EC2, and for
the CPU one for Fargate besides: build/job-definitions/<module>-<variant>[-fargate].json, ready for
`aws batch register-job-definition --cli-input-json file://…`.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import botocore.session
from botocore.validate import ParamValidator

from scripts import terminal, whole_file
from scripts.batch import aws
from scripts.batch.retry import Platform, retry_strategy
from scripts.checkout import ROOT, shown
from scripts.images import catalogue, derived
from scripts.images.arguments import job_variables
from scripts.images.catalogue import Module, UnknownModule, Variant
from scripts.images.derived import Built, Name
from supervisor.failures import BadUsage, Failure, OutputUnwritable, job_exit_code

if TYPE_CHECKING:
    from botocore.model import Shape
    from mypy_boto3_batch import BatchClient

FOLDER = ROOT / "build" / "job-definitions"
LOG_GROUP = "/aws/batch/job"
# Tells whether a registered revision says the same: Batch adds defaults of its own to what it is given.
FINGERPRINT = "deepaas-batch:definition"
# Memory in GiB that Fargate offers for a number of vCPUs: https://docs.aws.amazon.com/batch/latest/userguide/fargate.html
FARGATE_GIB: Mapping[int, range] = {
    1: range(2, 9),
    2: range(4, 17),
    4: range(8, 31),
    8: range(16, 61, 4),
    16: range(32, 121, 8),
}
# Fargate's disk is 20 GiB, which a catalogue image of 10 GB and an input that lies there twice soon fill.
_FARGATE_DISK_GIB = 40


class NotRendered(BadUsage):
    """One definition could not be made or registered."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What a platform operator decides for all definitions."""

    job_role: str | None = None
    execution_role: str | None = None
    log_group: str = LOG_GROUP
    timeout: int | None = None
    public_ip: bool = False

    def __post_init__(self) -> None:
        for name, role in (("role", self.job_role), ("execution role", self.execution_role)):
            if role and not re.fullmatch(r"arn:aws[a-z-]*:iam::\d{12}:role/\S+", role):
                raise BadUsage(f"the {name} is {role!r}", "use the role's ARN, arn:aws:iam::123456789012:role/name")


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


def definition_name(module: str, variant: Variant, platform: Platform = "EC2") -> str:
    return f"{module}-{variant}" + ("-fargate" if platform == "FARGATE" else "")


def platforms(variant: Variant) -> tuple[Platform, ...]:
    """Fargate has no GPUs."""
    return ("EC2", "FARGATE") if variant == "cpu" else ("EC2",)


# Rendering.


def render(module: Module, built: Built, platform: Platform, settings: Settings) -> Definition:
    """One definition. Raises NotRendered where Batch could not take it."""
    name = definition_name(module.name, built.variant, platform)
    request = {
        "jobDefinitionName": name,
        "type": "container",
        "platformCapabilities": [platform],
        "containerProperties": _container(name, module, built, platform, settings),
        "retryStrategy": retry_strategy(platform),
        "timeout": {"attemptDurationSeconds": settings.timeout or module.timeout_seconds},
        "propagateTags": True,
        "tags": {
            "deepaas-batch:module": module.name,
            "deepaas-batch:variant": built.variant,
            "deepaas-batch:version": built.supervisor,
        },
    }
    fingerprint = hashlib.sha256(json.dumps(request, sort_keys=True).encode()).hexdigest()
    cast("dict[str, str]", request["tags"])[FINGERPRINT] = fingerprint
    if faults := validate(request):
        raise NotRendered(
            f"{name}: Batch would not take it: {'; '.join(faults)}", f"correct images/{module.name}.yaml or the flags"
        )
    return Definition(name=name, request=request)


def _container(name: str, module: Module, built: Built, platform: Platform, settings: Settings) -> dict[str, Any]:
    needs = module.resources
    resources = {"VCPU": needs.vcpus, "MEMORY": needs.memory_mib} | (
        {"GPU": needs.gpus} if built.variant == "gpu" else {}
    )
    environment = {**job_variables(module, {}), "SUPERVISOR_IMAGE": built.identity}
    container: dict[str, Any] = {
        "image": built.reference,
        # Batch fills in Ref::… in the command alone, not in the environment. A job that names its input otherwise
        # (JOB_EVENT, JOB_MANIFEST) is submitted with the command ["run"].
        "command": ["run", "--input", "Ref::input", "--output", "Ref::output"],
        "environment": [{"name": key, "value": value} for key, value in sorted(environment.items())],
        "resourceRequirements": [{"type": type_, "value": str(value)} for type_, value in resources.items()],
        "logConfiguration": {
            "logDriver": "awslogs",
            "options": {"awslogs-group": settings.log_group, "awslogs-stream-prefix": name},
        },
        **({"jobRoleArn": settings.job_role} if settings.job_role else {}),
        **({"executionRoleArn": settings.execution_role} if settings.execution_role else {}),
    }
    # No init process: the supervisor is PID 1 itself, reaps and hands on signals; an init in front of it would keep the
    # job's environment readable in /proc/1/environ.
    if platform == "FARGATE":
        _require_fargate_pair(name, module)
        return container | {
            "linuxParameters": {"initProcessEnabled": False},
            "fargatePlatformConfiguration": {"platformVersion": "LATEST"},
            "networkConfiguration": {"assignPublicIp": "ENABLED" if settings.public_ip else "DISABLED"},
            "ephemeralStorage": {"sizeInGiB": _FARGATE_DISK_GIB},
        }
    return container | {
        # Docker gives 64 MiB of shared memory, in which PyTorch's data loaders die of a bus error; half of the memory
        # is what Linux itself gives. It is a bound, not a reservation, and counts as the container's memory once used.
        "linuxParameters": {"initProcessEnabled": False, "sharedMemorySize": needs.memory_mib // 2},
        "privileged": False,
    }


def _require_fargate_pair(name: str, module: Module) -> None:
    vcpus, gib = module.resources.vcpus, module.resources.memory_mib / 1024
    offered = FARGATE_GIB.get(vcpus, range(0))
    if gib not in offered:
        here = f"correct resources in images/{module.name}.yaml, or leave Fargate out with --platform ec2"
        if offered:
            said = f"Fargate offers {offered.start} to {offered[-1]} GiB with {vcpus} vCPU, not {gib:g}"
        else:
            said = f"Fargate has no {vcpus} vCPU; there are {', '.join(map(str, FARGATE_GIB))}"
        raise NotRendered(f"{name}: {said}", here)


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


# Registering.


def latest(batch: BatchClient, name: str) -> Mapping[str, Any] | None:
    """The newest revision in use of the definition called `name`."""
    pages = batch.get_paginator("describe_job_definitions").paginate(jobDefinitionName=name, status="ACTIVE")
    revisions = [cast("Mapping[str, Any]", each) for page in pages for each in page["jobDefinitions"]]
    return max(revisions, key=lambda each: cast("int", each["revision"]), default=None)


def register(batch: BatchClient, definition: Definition) -> tuple[str, bool]:
    """The ARN of the definition's revision, and whether it is a new one. Raises NotRendered."""
    fargate = definition.request["platformCapabilities"] == ["FARGATE"]
    if fargate and "executionRoleArn" not in definition.request["containerProperties"]:
        raise NotRendered(
            f"{definition.name}: Fargate wants an execution role",
            "give --execution-role arn:… (its policy: AmazonECSTaskExecutionRolePolicy)",
        )
    before = latest(batch, definition.name)
    if before and before.get("tags", {}).get(FINGERPRINT) == definition.fingerprint:
        return before["jobDefinitionArn"], False
    return batch.register_job_definition(**cast("Any", definition.request))["jobDefinitionArn"], True


# The command.


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """One image whose definitions are asked for."""

    module: Module
    built: Built


def select(
    modules: Mapping[str, Module],
    record: Mapping[str, Built],
    models: Sequence[str],
    variant: str,
    *,
    registry: str = derived.REGISTRY,
    tag: str | None = None,
) -> list[Wanted | BadUsage]:
    """The images that these words name; a BadUsage is what is wrong with one of them. Raises BadUsage for all."""
    variants = catalogue.variants(variant)
    wanted: dict[str, Wanted | BadUsage] = {}
    for model in [each for word in models for each in (modules if word == "all" else [word])]:
        try:
            module = catalogue.find(model, modules)
        except UnknownModule as error:
            wanted[model] = error
            continue
        names = [Name(module=module.name, variant=each, registry=registry, tag=tag) for each in variants]
        found = {str(name): record[str(name)] for name in names if str(name) in record}
        wanted |= {name: Wanted(module=module, built=built) for name, built in found.items()}
        if not found and "all" not in models:
            push = registry != derived.REGISTRY
            build = derived.build_command(module.name, variant, registry=registry, tag=tag, push=push)
            wanted[model] = BadUsage(f"{' and '.join(map(str, names))} not built", f"build it: {build}")
    if not wanted:
        raise BadUsage(f"nothing is built as {registry}/…", "build something: deepaas-batch images MODEL")
    return list(wanted.values())


def _make(
    wanted: Wanted, options: argparse.Namespace, settings: Settings, batch: BatchClient | None
) -> Iterator[Failure]:
    """Renders, writes and registers one image's definitions; yields what went wrong with each."""
    if wanted.built.digest is None:
        print(f"note: {wanted.built.name} is not pushed, so that its definitions name the local image (--push pushes)")
    for platform in platforms(wanted.built.variant):
        if options.platform not in ("all", platform.lower()):
            continue
        try:
            definition = render(wanted.module, wanted.built, platform, settings)
            line = f"{definition.name}  {shown(definition.write(options.out))}"
            if batch:
                with aws.errors(definition.name):
                    arn, new = register(batch, definition)
                line += f"  {arn}  revision {arn.rpartition(':')[2]}{'' if new else ', unchanged'}"
            print(line)
        except OSError as error:
            yield OutputUnwritable(f"{options.out}: {error.strerror}", "name a folder that is yours to write to: --out")
        except Failure as failure:
            yield failure


def _seconds(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) >= 60):
        raise argparse.ArgumentTypeError(f"{text!r}: Batch wants 60 seconds or more")
    return int(text)


DESCRIPTION = """\
Renders AWS Batch job definitions for derived images that `deepaas-batch images` built, for EC2 and, on the CPU, for
Fargate, as JSON in build/job-definitions. With --register, registers each that changed since its latest revision, and
prints ARN and revision."""
EPILOG = """\
The image is named by digest once it is pushed. Roles: --role is what the job itself may do (read its input, write its
output), --execution-role what Batch needs to start it (Fargate, private registries).

examples:
  deepaas-batch job-definitions voice-activity
  deepaas-batch job-definitions all --registry registry.example.org/batch --role arn:aws:iam::… --register"""


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", nargs="+", help="modules by own name or image repository, or all that are built")
    parser.add_argument("--variant", default="all", metavar="cpu|gpu|all", help="default: every variant that is built")
    parser.add_argument("--platform", default="all", choices=("ec2", "fargate", "all"), help="default: all that fit")
    derived.add_name_flags(parser)
    parser.add_argument("--role", metavar="ARN", help="the job's role: reads its input, writes its output")
    parser.add_argument("--execution-role", metavar="ARN", help="the role that Batch starts the job with")
    parser.add_argument("--log-group", default=LOG_GROUP, help="CloudWatch log group (default: %(default)s)")
    parser.add_argument("--timeout", type=_seconds, metavar="SECONDS", help="of one attempt; default: the catalogue's")
    parser.add_argument("--public-ip", action="store_true", help="Fargate in a public subnet, without a NAT gateway")
    parser.add_argument("--register", action="store_true", help="register what changed, with the usual AWS credentials")
    parser.add_argument("--record", type=Path, default=derived.RECORD, metavar="FILE", help="default: build/build.json")
    parser.add_argument("--out", type=Path, default=FOLDER, metavar="FOLDER", help="default: build/job-definitions")


def main(options: argparse.Namespace) -> int:
    """The exit code of all definitions together. Raises Failure where none can be begun."""
    settings = Settings(
        job_role=options.role,
        execution_role=options.execution_role,
        log_group=options.log_group,
        timeout=options.timeout,
        public_ip=options.public_ip,
    )
    models, record = catalogue.words(options.model), derived.read(options.record)
    wanted = select(catalogue.load(), record, models, options.variant, registry=options.registry, tag=options.tag)
    batch = aws.connect() if options.register else None
    codes: Counter[int] = Counter()
    for each in wanted:
        for failure in [each] if isinstance(each, BadUsage) else _make(each, options, settings, batch):
            terminal.tell("job-definitions", failure)
            codes[failure.code] += 1
    return job_exit_code(0, codes, max_failures=0)
