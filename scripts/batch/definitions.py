"""Renders AWS Batch job definitions for derived images, and registers those that changed.

    make job-definitions MODEL=voice-activity
    make job-definitions MODEL=all REGISTRY=registry.example.org/batch ROLE=arn:aws:iam::…:role/… REGISTER=1

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
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import botocore.session
from botocore.exceptions import BotoCoreError, ClientError
from botocore.validate import ParamValidator

from scripts.batch.retry import Platform, retry_strategy
from scripts.images import catalogue, derived
from scripts.images.catalogue import VARIANTS, InvalidCatalogue, Module, UnknownModule, Variant
from scripts.images.derived import ROOT, BadName, BadRecord, Built, Name
from scripts.images.run import job_variables

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


class NotRendered(Exception):
    """One definition could not be made or registered; the message is one line: what was wrong, and what to do."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What a platform operator decides for all definitions."""

    job_role: str | None = None
    execution_role: str | None = None
    log_group: str = LOG_GROUP
    timeout: int | None = None
    public_ip: bool = False

    def __post_init__(self) -> None:
        for name, role in (("ROLE", self.job_role), ("EXECUTION_ROLE", self.execution_role)):
            if role and not re.fullmatch(r"arn:aws[a-z-]*:iam::\d{12}:role/\S+", role):
                raise NotRendered(f"{name} is {role!r}: use the role's ARN, arn:aws:iam::123456789012:role/name")


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
        path.write_text(json.dumps(self.request, indent=2) + "\n", encoding="utf-8")
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
        raise NotRendered(f"{name}: Batch would not take it: {'; '.join(faults)}")
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
        raise NotRendered(
            f"{name}: Fargate offers {offered.start} to {offered[-1]} GiB with {vcpus} vCPU, not {gib:g}: correct"
            f" resources in images/{module.name}.yaml, or leave Fargate out with --platform ec2"
            if offered
            else f"{name}: Fargate has no {vcpus} vCPU; there are {', '.join(map(str, FARGATE_GIB))}"
        )


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
            f"{definition.name}: Fargate wants an execution role: give EXECUTION_ROLE=arn:… (its policy:"
            " AmazonECSTaskExecutionRolePolicy)"
        )
    before = latest(batch, definition.name)
    if before and before.get("tags", {}).get(FINGERPRINT) == definition.fingerprint:
        return before["jobDefinitionArn"], False
    return batch.register_job_definition(**cast("Any", definition.request))["jobDefinitionArn"], True


def connect(service: str = "batch") -> Any:
    """A client of that AWS service. Raises NotRendered without a region or credentials, before anything is asked."""
    import boto3

    try:
        session = boto3.Session()
        client = session.client(cast("Any", service))
        credentials = session.get_credentials()
    except BotoCoreError as error:
        raise NotRendered(in_words(error)) from None
    if credentials is None:
        raise NotRendered("no AWS credentials: log in (aws sso login, aws configure) or set AWS_PROFILE")
    return client


def in_words(error: BotoCoreError | ClientError) -> str:
    """What AWS said, on one line, with what to do where that is known."""
    if isinstance(error, ClientError):
        answer = error.response.get("Error", {})
        code, said = answer.get("Code", "error"), answer.get("Message", "")
        hint = ": log in again, or check the role's policy" if re.search("Denied|Token|Signature|Auth", code) else ""
        return f"AWS says {code}: {' '.join(said.split())}{hint}"
    hints = {"NoRegionError": "no AWS region: set AWS_DEFAULT_REGION"}
    return hints.get(type(error).__name__, f"AWS cannot be asked: {' '.join(str(error).split())}")


# The command line.


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
) -> list[Wanted | str]:
    """The images that MODEL, VARIANT, REGISTRY and TAG name; a text is what is wrong with one of them."""
    variants = VARIANTS if variant == "all" else tuple(each for each in VARIANTS if each == variant)
    if not variants:
        raise NotRendered(f"VARIANT is {variant!r}: use cpu, gpu or all")
    wanted: dict[str, Wanted | str] = {}
    for model in [each for word in models for each in (modules if word == "all" else [word])]:
        try:
            module = catalogue.find(model, modules)
        except UnknownModule as error:
            wanted[model] = str(error)
            continue
        names = [Name(module=module.name, variant=each, registry=registry, tag=tag) for each in variants]
        found = {str(name): record[str(name)] for name in names if str(name) in record}
        wanted |= {name: Wanted(module=module, built=built) for name, built in found.items()}
        if not found and "all" not in models:
            wanted[model] = f"{' and '.join(map(str, names))} not built: {_make_images(module, variant, registry, tag)}"
    if not wanted:
        raise NotRendered(f"nothing is built as {registry}/…: make images MODEL=…")
    return list(wanted.values())


def _make_images(module: Module, variant: str, registry: str, tag: str | None) -> str:
    options = {"MODEL": module.name, "VARIANT": "" if variant == "all" else variant, "TAG": tag or ""}
    if registry != derived.REGISTRY:
        options |= {"REGISTRY": registry, "PUSH": "1"}
    return " ".join(["make images", *(f"{key}={value}" for key, value in options.items() if value)])


def main(argv: list[str] | None = None) -> int:
    """Runs the command; returns 0 where every definition was made, else 1; 2 for bad usage."""
    options = _parser().parse_args(argv)
    try:
        settings = Settings(
            job_role=options.role,
            execution_role=options.execution_role,
            log_group=options.log_group,
            timeout=options.timeout,
            public_ip=options.public_ip,
        )
        models = [word for words in options.model for word in re.split(r"[\s,]+", words) if word]
        record = derived.read(options.record)
        wanted = select(catalogue.load(), record, models, options.variant, registry=options.registry, tag=options.tag)
        batch = connect() if options.register else None
    except (NotRendered, BadName, BadRecord, InvalidCatalogue) as error:
        print(f"job-definitions: {error}", file=sys.stderr)
        return 2
    failed = False
    for each in wanted:
        for complaint in _make(each, options, settings, batch):
            print(f"job-definitions: {complaint}", file=sys.stderr)
            failed = True
    return 1 if failed else 0


def _make(
    each: Wanted | str, options: argparse.Namespace, settings: Settings, batch: BatchClient | None
) -> Iterator[str]:
    """Renders, writes and registers one image's definitions; yields what went wrong with each."""
    if isinstance(each, str):
        yield each
        return
    if each.built.digest is None:
        print(f"note: {each.built.name} is not pushed, so that its definitions name the local image (PUSH=1 pushes)")
    for platform in platforms(each.built.variant):
        if options.platform not in ("all", platform.lower()):
            continue
        try:
            definition = render(each.module, each.built, platform, settings)
            path = definition.write(options.out)
            line = f"{path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path}"
            if batch:
                arn, new = register(batch, definition)
                line += f"  {arn}  revision {arn.rpartition(':')[2]}{'' if new else ', unchanged'}"
            print(line)
        except NotRendered as error:
            yield str(error)
        except (BotoCoreError, ClientError) as error:
            yield f"{definition_name(each.module.name, each.built.variant, platform)}: {in_words(error)}"
        except OSError as error:
            yield f"{options.out}: {error.strerror}"


def _seconds(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) >= 60):
        raise argparse.ArgumentTypeError(f"{text!r}: Batch wants 60 seconds or more")
    return int(text)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m scripts.batch.definitions",
        description="Renders AWS Batch job definitions for derived images that `make images` built, for EC2 and, on"
        " the CPU, for Fargate, as JSON in build/job-definitions. With --register, registers each that changed since"
        " its latest revision, and prints ARN and revision.",
        epilog="The image is named by digest once it is pushed. Roles: --role is what the job itself may do (read its"
        " input, write its output), --execution-role what Batch needs to start it (Fargate, private registries)."
        " Example: `make job-definitions MODEL=all REGISTRY=registry.example.org/batch ROLE=arn:… REGISTER=1`.",
    )
    parser.add_argument("model", nargs="+", help="modules by own name or image repository, or all that are built")
    parser.add_argument("--variant", default="all", metavar="cpu|gpu|all", help="default: every variant that is built")
    parser.add_argument("--platform", default="all", choices=("ec2", "fargate", "all"), help="default: all that fit")
    parser.add_argument(
        "--registry", default=derived.REGISTRY, help="first part of the image's name (default: %(default)s)"
    )
    parser.add_argument("--tag", help="prefix of the image's tag")
    parser.add_argument("--role", metavar="ARN", help="the job's role: reads its input, writes its output")
    parser.add_argument("--execution-role", metavar="ARN", help="the role that Batch starts the job with")
    parser.add_argument("--log-group", default=LOG_GROUP, help="CloudWatch log group (default: %(default)s)")
    parser.add_argument("--timeout", type=_seconds, metavar="SECONDS", help="of one attempt; default: the catalogue's")
    parser.add_argument("--public-ip", action="store_true", help="Fargate in a public subnet, without a NAT gateway")
    parser.add_argument("--register", action="store_true", help="register what changed, with the usual AWS credentials")
    parser.add_argument("--record", type=Path, default=derived.RECORD, metavar="FILE", help="default: build/build.json")
    parser.add_argument("--out", type=Path, default=FOLDER, metavar="FOLDER", help="default: build/job-definitions")
    return parser


if __name__ == "__main__":
    sys.exit(main())
