"""The command `deepaas-batch job-definitions`: plans every definition, says what would change, then registers.

Nothing is written or registered before all that was asked for can be. Each definition goes to
build/job-definitions/<name>.json, ready for `aws batch register-job-definition --cli-input-json file://…`.
"""

from __future__ import annotations

import argparse
import difflib
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from scripts import terminal
from scripts.batch import aws, pushed, revisions
from scripts.batch.definitions import (
    LOG_GROUP,
    Definition,
    NotOnFargate,
    NotRendered,
    Settings,
    defaults,
    definition_name,
    platforms,
    render,
)
from scripts.batch.retry import Platform
from scripts.batch.revisions import SETTINGS, Kept, Revision
from scripts.checkout import ROOT, shown
from scripts.images import catalogue, derived
from scripts.images.catalogue import Module, UnknownModule
from scripts.images.derived import Built, Name
from supervisor.failures import SUCCESS, BadUsage, Failure, OutputUnwritable, job_exit_code

if TYPE_CHECKING:
    from mypy_boto3_batch import BatchClient

FOLDER = ROOT / "build" / "job-definitions"


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """One image whose definitions are asked for."""

    module: Module
    built: Built


@dataclass(frozen=True, kw_only=True)
class Planned:
    """One definition to register. revision: the latest there is; kept: what it takes over from that, by name;
    known: all names that --drop might mean."""

    definition: Definition
    revision: Revision | None = None
    kept: Sequence[str] = ()
    known: frozenset[str] = field(default_factory=frozenset)

    @property
    def unchanged(self) -> bool:
        return self.revision is not None and revisions.unchanged(self.revision, self.definition)


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


# Planning.


@dataclass(frozen=True, kw_only=True)
class Planner:
    """Makes definitions of what is wanted. platform: ec2, fargate, all, or None for all that fit; batch: where
    revisions are registered, None where that is not asked; drop: what they are not to keep."""

    settings: Settings
    platform: str | None
    batch: BatchClient | None = None
    drop: frozenset[str] = frozenset()
    checked: bool = True

    def plan(self, wanted: Wanted) -> Iterator[Planned | Failure]:
        """One image's definitions, and what is wrong with the others."""
        if self.batch is None:
            if wanted.built.digest is None:
                _note(f"{wanted.built.name} is not pushed, so that its definitions name the local image")
        elif failure := self._image_failure(wanted.built):
            yield failure
            return
        for platform in platforms(wanted.built.variant):
            if self.platform not in (None, "all", platform.lower()):
                continue
            try:
                yield self._planned(wanted, platform)
            except NotOnFargate as failure:
                if self.platform is None:
                    _note(f"left out: {failure.message}; {failure.hint}")
                else:
                    yield failure
            except Failure as failure:
                yield failure

    def _image_failure(self, built: Built) -> Failure | None:
        """What speaks against naming this image in a definition."""
        try:
            pushed.require_pushed(built)
            if self.checked and (note := pushed.check(built)):
                _note(note)
        except Failure as failure:
            return failure
        return None

    def _planned(self, wanted: Wanted, platform: Platform) -> Planned:
        module, built = wanted.module, wanted.built
        if self.batch is None:
            return Planned(definition=render(module, built, platform, self.settings))
        name = definition_name(module.name, built.variant, platform, built.tag)
        with aws.errors(name):
            revision = revisions.latest(self.batch, name)
        if revision and "registry" not in self.drop:
            revisions.require_same_image(revision, built)
        standard = defaults(module, built.variant, platform)
        there = revisions.kept(revision, standard) if revision else Kept()
        kept = there.without(self.drop)
        settings = self.settings.over(kept.settings)
        bare = render(module, built, platform, settings)
        _require_startable(bare, platform)
        additions = revisions.additions(kept.items, bare.request, self.settings)
        return Planned(
            definition=render(module, built, platform, settings, additions),
            revision=revision,
            kept=_kept_names(kept, additions, self.settings, standard),
            known=frozenset(there.names()),
        )


def _require_startable(definition: Definition, platform: Platform) -> None:
    if platform == "FARGATE" and "executionRoleArn" not in definition.request["containerProperties"]:
        raise NotOnFargate(
            f"{definition.name}: Fargate wants an execution role",
            "give --execution-role arn:… (its policy: AmazonECSTaskExecutionRolePolicy)",
        )


def _kept_names(kept: Kept, additions: Mapping[tuple[str, ...], Any], given: Settings, standard: Settings) -> list[str]:
    """What a revision takes over, by name. given: what flags decide; standard: what holds where nothing does."""
    decided = (
        name
        for name, attribute in SETTINGS.items()
        if getattr(given, attribute) is None
        and getattr(kept.settings, attribute) not in (None, getattr(standard, attribute))
    )
    return [*decided, *sorted({revisions.item_name(path) for path in additions})]


def _note(text: str) -> None:
    print(f"note: {text}", file=sys.stderr)


def _require_known(drop: Iterable[str], planned: Sequence[Planned]) -> None:
    """Raises BadUsage for a name that nothing here goes by: whoever misspells what is to go believes it gone."""
    known = {"all", "registry", *SETTINGS} | {name for each in planned for name in each.known}
    for name in drop:
        if name in known or any(each.startswith(f"{name}.") for each in known):
            continue
        close = difflib.get_close_matches(name, known, n=1)
        guess = f": did you mean {close[0]}?" if close else ""
        raise BadUsage(f"--drop {name}: no revision has that{guess}", f"there are {', '.join(sorted(known))}")


# Registering.


def register(batch: BatchClient, planned: Planned) -> tuple[str, bool]:
    """The ARN of the definition's revision, and whether it is a new one. Raises Failure."""
    if planned.revision and planned.unchanged:
        return planned.revision["jobDefinitionArn"], False
    with aws.errors(planned.definition.name):
        return batch.register_job_definition(**cast("Any", planned.definition.request))["jobDefinitionArn"], True


def changes(planned: Planned) -> list[str]:
    """What the next revision changes and what it keeps, a line each; the values that are kept are in the file."""
    if planned.revision is None or planned.unchanged:
        return []
    different = [str(each) for each in revisions.changes(planned.revision, planned.definition)]
    if planned.kept:
        different.append(f"kept from revision {planned.revision['revision']}: {', '.join(planned.kept)}")
    return different


def _finish(planned: Planned, options: argparse.Namespace, batch: BatchClient | None) -> None:
    """Writes one definition, registers it where that was asked, and says what became of it. Raises Failure."""
    try:
        line = f"{planned.definition.name}  {shown(planned.definition.write(options.out))}"
    except OSError as error:
        said = f"{options.out}: {error.strerror}"
        raise OutputUnwritable(said, "name a folder that is yours to write to: --out") from None
    if options.register and batch:
        arn, new = register(batch, planned)
        line += f"  {arn}  revision {arn.rpartition(':')[2]}{'' if new else ', unchanged'}"
    elif batch:
        line += f"  {_would(planned)}"
    print(line)
    for each in changes(planned):
        print(f"    {each}")


def _would(planned: Planned) -> str:
    if planned.revision is None:
        return "would be revision 1"
    number = planned.revision["revision"]
    return f"revision {number}, unchanged" if planned.unchanged else f"would follow revision {number}"


# The command.


def _seconds(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) >= 60):
        raise argparse.ArgumentTypeError(f"{text!r}: Batch wants 60 seconds or more")
    return int(text)


def _names(text: str) -> list[str]:
    return catalogue.words([text])


DESCRIPTION = """\
Renders AWS Batch job definitions for derived images that `deepaas-batch images` built, for EC2 and, on the CPU, for
Fargate, as JSON in build/job-definitions. With --register, registers each that changed since its latest revision, and
prints ARN, revision and what is different.

What a person decided for the latest revision is kept: roles, log group, timeout, public address, sizes, secrets,
volumes, variables, tags. A flag changes it, --drop NAME leaves it out. Where one definition cannot be made, nothing is
registered."""
EPILOG = """\
A registered definition names its image by the registry's digest, which build/build.json has to know and the registry to
confirm. It is called <module>-[<tag>-]<variant>[-fargate]: images of another --tag have definitions of their own.
Roles: --role is what the job itself may do (read its input, write its output), --execution-role what Batch needs to
start it (Fargate, private registries); without one, Fargate is left out.

examples:
  deepaas-batch job-definitions voice-activity
  deepaas-batch job-definitions all --registry registry.example.org/batch --role arn:aws:iam::… --register
  deepaas-batch job-definitions all --registry registry.example.org/batch --diff
  deepaas-batch job-definitions yolov8 --registry registry.example.org/batch --timeout 36000 --drop memory --register"""


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", nargs="+", help="modules by own name or image repository, or all that are built")
    parser.add_argument("--variant", default="all", metavar="cpu|gpu|all", help="default: every variant that is built")
    parser.add_argument("--platform", choices=("ec2", "fargate", "all"), help="default: all that fit")
    derived.add_name_flags(parser)
    parser.add_argument("--role", metavar="ARN", help="the job's role: reads its input, writes its output")
    parser.add_argument("--execution-role", metavar="ARN", help="the role that Batch starts the job with")
    parser.add_argument("--log-group", help=f"CloudWatch log group (default: {LOG_GROUP})")
    parser.add_argument("--timeout", type=_seconds, metavar="SECONDS", help="of one attempt; default: the catalogue's")
    parser.add_argument("--public-ip", action="store_true", help="Fargate in a public subnet, without a NAT gateway")
    parser.add_argument(
        "--drop",
        action="extend",
        type=_names,
        default=[],
        metavar="NAME",
        help="what the latest revision has and the next is not to keep: role, timeout, secrets.TOKEN …; all",
    )
    parser.add_argument("--register", action="store_true", help="register what changed, with the usual AWS credentials")
    parser.add_argument("--diff", action="store_true", help="say what --register would change, and register nothing")
    parser.add_argument(
        "--unchecked", action="store_true", help="take build.json at its word: do not ask the registry for the image"
    )
    parser.add_argument("--record", type=Path, default=derived.RECORD, metavar="FILE", help="default: build/build.json")
    parser.add_argument("--out", type=Path, default=FOLDER, metavar="FOLDER", help="default: build/job-definitions")


def main(options: argparse.Namespace) -> int:
    """The exit code of all definitions together. Raises Failure where none can be begun."""
    settings = Settings(
        job_role=options.role,
        execution_role=options.execution_role,
        log_group=options.log_group,
        timeout=options.timeout,
        public_ip=options.public_ip or None,
    )
    asks_batch = options.register or options.diff
    if options.drop and not asks_batch:
        raise BadUsage(
            "--drop says what a registered revision loses, and none is looked at", "add --register or --diff"
        )
    models, record = catalogue.words(options.model), derived.read(options.record)
    wanted = select(catalogue.load(), record, models, options.variant, registry=options.registry, tag=options.tag)
    planner = Planner(
        settings=settings,
        platform=options.platform,
        batch=aws.connect() if asks_batch else None,
        drop=frozenset(options.drop),
        checked=not options.unchecked,
    )
    results = [each for one in wanted for each in ([one] if isinstance(one, BadUsage) else planner.plan(one))]
    planned = [each for each in results if isinstance(each, Planned)]
    failures = [each for each in results if not isinstance(each, Planned)]
    if not failures:
        _require_known(options.drop, planned)
    for failure in failures:
        terminal.tell("job-definitions", failure)
    if failures and asks_batch:
        _note("nothing is registered")
        planned = []
    codes = Counter(each.code for each in failures)
    for each in planned:
        try:
            _finish(each, options, planner.batch)
        except Failure as failure:
            terminal.tell("job-definitions", failure)
            codes[failure.code] += 1
    if not (planned or failures):
        raise NotRendered("no definition fits what was asked for", "see the notes above; --platform names one")
    return job_exit_code(0, codes, max_failures=0) if codes else SUCCESS
