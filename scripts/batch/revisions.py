"""Revisions that are registered: what the next one keeps of the latest, and what it changes.

An upgrade is a new image, and names nothing else. So whatever a person decided for the latest revision is kept: the
roles, the log group, the numbers that were not the catalogue's, and all that is not rendered here (secrets, volumes,
variables, tags ...), also where it was decided in the console. It is dropped by its name alone.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, cast

from scripts.batch.definitions import DEFAULTS, FINGERPRINT, IMAGE, NUMBERS, Definition, Settings, undecided
from scripts.batch.request import ItemPath, items, put
from scripts.images.derived import REGISTRY, Built
from supervisor.failures import BadUsage

if TYPE_CHECKING:
    from mypy_boto3_batch import BatchClient

Revision = Mapping[str, Any]
# What an item of a request is called, where that is not its path.
_NAMES: Mapping[ItemPath, str] = {
    ("containerProperties", "image"): "image",
    ("containerProperties", "jobRoleArn"): "role",
    ("containerProperties", "executionRoleArn"): "execution-role",
    ("containerProperties", "logConfiguration", "options", "awslogs-group"): "log-group",
    ("containerProperties", "networkConfiguration", "assignPublicIp"): "public-ip",
    ("containerProperties", "ephemeralStorage", "sizeInGiB"): "disk",
    ("containerProperties", "resourceRequirements", "VCPU"): "vcpus",
    ("containerProperties", "resourceRequirements", "MEMORY"): "memory",
    ("containerProperties", "resourceRequirements", "GPU"): "gpus",
    ("timeout", "attemptDurationSeconds"): "timeout",
}
SETTINGS: Mapping[str, str] = {
    "role": "job_role",
    "execution-role": "execution_role",
    "log-group": "log_group",
    "timeout": "timeout",
    "public-ip": "public_ip",
    "vcpus": "vcpus",
    "memory": "memory_mib",
    "gpus": "gpus",
    "disk": "disk_gib",
}
# What is rendered here, at times without these items, and what Batch adds.
_OWN = re.compile(
    r"(jobDefinition(Name|Arn)|revision|status|type|platformCapabilities|containerOrchestrationType"
    r"|retryStrategy/.+|timeout/.+|propagateTags|tags/(deepaas-batch|aws):.*"
    r"|containerProperties/(image|command|jobRoleArn|executionRoleArn|vcpus|memory|resourceRequirements/.+"
    r"|environment/(JOB_INPUT_FIELD|JOB_PREDICT_ARGS|SUPERVISOR_IMAGE)))"
)
_LOG = ("containerProperties", "logConfiguration")
_BOOKKEEPING = {
    ("jobDefinitionArn",),
    ("revision",),
    ("status",),
    ("containerOrchestrationType",),
    ("containerProperties", "environment", "SUPERVISOR_IMAGE"),  # the image's, again
    *(("tags", tag) for tag in (FINGERPRINT, DEFAULTS, IMAGE)),
}
_LONGEST_SHOWN = 240


def latest(batch: BatchClient, name: str) -> Revision | None:
    """The newest revision in use of the definition called `name`."""
    pages = batch.get_paginator("describe_job_definitions").paginate(jobDefinitionName=name, status="ACTIVE")
    revisions = [cast("Revision", each) for page in pages for each in page["jobDefinitions"]]
    return max(revisions, key=lambda each: cast("int", each["revision"]), default=None)


def item_name(path: ItemPath) -> str:
    """What a person calls an item: `timeout`, `environment.HF_HOME`, `tags.team`."""
    return _NAMES.get(path) or ".".join(path).removeprefix("containerProperties.")


@dataclass(frozen=True, kw_only=True)
class Kept:
    """What the next revision takes over from the latest."""

    settings: Settings = field(default_factory=Settings)
    items: Mapping[ItemPath, Any] = field(default_factory=dict)

    def names(self) -> set[str]:
        decided = {name for name, attribute in SETTINGS.items() if getattr(self.settings, attribute) is not None}
        return decided | {item_name(path) for path in self.items}

    def without(self, names: frozenset[str]) -> Kept:
        """All but what has one of these names; `all` is everything."""
        if "all" in names:
            return Kept()
        dropped = {attribute: None for name, attribute in SETTINGS.items() if name in names}
        return Kept(
            settings=replace(self.settings, **cast("Any", dropped)),
            items={path: item for path, item in self.items.items() if not _named(path, names)},
        )


def _named(path: ItemPath, names: frozenset[str]) -> bool:
    """Whether an item goes by one of these names, alone or with what lies below it: `secrets`, `secrets.TOKEN`."""
    name = item_name(path)
    return any(name == each or name.startswith(f"{each}.") for each in names) or (
        path[:2] == _LOG and "log-group" in names
    )


def kept(revision: Revision, standard: Settings) -> Kept:
    """All of a revision that is not rendered anew. standard: what holds today where nobody decided."""
    return Kept(settings=_settings(revision, standard), items=dict(_extras(revision)))


def _settings(revision: Revision, standard: Settings) -> Settings:
    """What was decided for a revision: all its numbers but those that its tag calls the catalogue's of that day. One
    from before that tag had today's."""
    container = revision.get("containerProperties", {})
    log = container.get("logConfiguration", {})
    needs = {each["type"]: each["value"] for each in container.get("resourceRequirements", ())}
    numbers = {
        "timeout": revision.get("timeout", {}).get("attemptDurationSeconds"),
        "vcpus": needs.get("VCPU"),
        "memory_mib": needs.get("MEMORY"),
        "gpus": needs.get("GPU"),
        "disk_gib": container.get("ephemeralStorage", {}).get("sizeInGiB"),
    }
    said = revision.get("tags", {}).get(DEFAULTS, undecided(Settings(), standard))
    then = dict(re.findall(r"(\w+)=([\d.]+)", said))
    decided: dict[str, float] = {}
    for name in NUMBERS:
        with suppress(TypeError, ValueError):  # TypeError: it has none
            number = float(cast("str", numbers[name]))
            if name not in then or float(then[name]) != number:
                decided[name] = number if name == "vcpus" else int(number)
    public = container.get("networkConfiguration", {}).get("assignPublicIp") == "ENABLED"
    return Settings(
        job_role=container.get("jobRoleArn"),
        execution_role=container.get("executionRoleArn"),
        log_group=log.get("options", {}).get("awslogs-group") if log.get("logDriver") == "awslogs" else None,
        public_ip=public or None,
        **cast("Any", decided),
    )


def _extras(revision: Revision) -> Iterator[tuple[ItemPath, Any]]:
    for path, item in items(revision):
        if not _OWN.fullmatch("/".join(path)):
            yield path, item


def additions(extras: Mapping[ItemPath, Any], request: Mapping[str, Any], settings: Settings) -> dict[ItemPath, Any]:
    """Those of a revision's extras that a rendered request lacks. Another log driver than ours is kept with its
    options, unless a log group is asked for."""
    own_driver = extras.get((*_LOG, "logDriver"), "awslogs") == "awslogs"
    rendered = {path for path, _ in items(request)}
    added = {path: item for path, item in extras.items() if path not in rendered and path[:2] != _LOG}
    log = {path: item for path, item in extras.items() if path[:2] == _LOG}
    if own_driver:
        return added | {path: item for path, item in log.items() if path not in rendered}
    if settings.log_group is not None:
        return added
    whole: dict[str, Any] = {}
    for path, item in log.items():
        put(whole, path[len(_LOG) :], item)
    return {**added, _LOG: whole}


# Which image a definition is for.


class AnotherImages(BadUsage):
    """A definition of that name is there, for an image of another name."""


def require_same_image(revision: Revision, built: Built) -> None:
    """Raises AnotherImages where the definition belongs to another registry, module or tag."""
    name, number = revision["jobDefinitionName"], revision["revision"]
    runs = str(revision.get("containerProperties", {}).get("image", "no container image"))
    if there := revision.get("tags", {}).get(IMAGE):
        same = there == built.name
    else:
        there, repository = runs, repository_of(runs)
        same = repository == built.repository
    # A name without a registry was never an image that Batch could have pulled from here.
    if not same and not there.startswith(f"{REGISTRY}/"):
        raise AnotherImages(
            f"{name}: its revision {number} is for {there}, and this would put {built.name} in its place",
            "give the image a --tag, whose definitions have names of their own; or move this one: --drop registry",
        )


def repository_of(image: str) -> str:
    """`host:5000/name` of `host:5000/name:tag` or `host:5000/name@sha256:…`."""
    return re.sub(r"(:[^:/@]+)?(@.+)?$", "", image)


# What changes.


@dataclass(frozen=True, kw_only=True)
class Change:
    """One item that differs. None: it is not there."""

    name: str
    before: str | None
    after: str | None

    def __str__(self) -> str:
        return f"{self.name}: {_short(self.before)} -> {_short(self.after)}"


def changes(revision: Revision, definition: Definition) -> list[Change]:
    """What differs between the latest revision and the next, but for our own bookkeeping."""
    return list(_changes(revision, definition.request))


def _changes(revision: Revision, request: Mapping[str, Any]) -> Iterator[Change]:
    before, after = ({path: _shown(path, item) for path, item in items(each)} for each in (revision, request))
    for path in sorted({*before, *after}):
        if path not in _BOOKKEEPING and before.get(path) != after.get(path):
            yield Change(name=item_name(path), before=before.get(path), after=after.get(path))


def _shown(path: ItemPath, item: Any) -> str:
    """A value on one line. What is not rendered here may be a secret, and has a name alone."""
    if isinstance(item, Mapping) and "value" in item:
        own = _OWN.fullmatch("/".join(path))
        return str(item["value"]) if own else "(a value)"
    text = item if isinstance(item, str) else json.dumps(item, sort_keys=True)
    # Batch writes the actions of retry rules in small letters.
    return text.lower() if path[0] == "retryStrategy" else text


def _short(text: str | None) -> str:
    if text is None:
        return "none"
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}…"


def unchanged(revision: Revision, definition: Definition) -> bool:
    """Whether the latest revision says what the next would. Whoever edits one in the console copies its tags, too, so
    that what a container is and runs is compared besides."""
    if revision.get("tags", {}).get(FINGERPRINT) != definition.fingerprint:
        return False
    compared = ("image", "command", "environment", "jobRoleArn", "executionRoleArn")
    before, after = (
        dict(items({key: each["containerProperties"].get(key) for key in compared}))
        for each in (revision, definition.request)
    )
    return before == after
