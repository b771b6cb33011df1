"""Derived images: what they are called, and build.json, which says of each how it was last built.

Name(registry="deepaas-batch", module="voice-activity", variant="cpu")      deepaas-batch/voice-activity:cpu
"""

from __future__ import annotations

import argparse
import fcntl
import json
import re
import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from scripts import whole_file
from scripts.checkout import ROOT
from scripts.images.catalogue import Variant
from supervisor.failures import BadUsage, ItemFailed

RECORD = ROOT / "build" / "build.json"
REGISTRY = "deepaas-batch"
VERSION = 1
_BUILD_AGAIN = "remove it, and build the images again"


class BadName(BadUsage):
    """The registry or the tag cannot be part of an image's name."""


class BadRecord(ItemFailed):
    """build.json cannot be used."""


@dataclass(frozen=True, kw_only=True)
class Name:
    """`$REGISTRY/<module>:[$TAG-]<variant>`. Raises BadName."""

    module: str
    variant: Variant
    registry: str = REGISTRY
    tag: str | None = None

    def __post_init__(self) -> None:
        part = "[a-z0-9]+([._-]+[a-z0-9]+)*"
        if not re.fullmatch(rf"{part}(:\d+)?(/{part})*", self.registry):
            raise BadName(
                f"the registry {self.registry!r} cannot begin an image's name",
                "use host[:port]/path in lower case, without a slash at its end",
            )
        if self.tag is not None and not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,120}", self.tag):
            raise BadName(f"{self.tag!r} is no tag", "use letters, digits, dots, hyphens and underscores")

    @property
    def repository(self) -> str:
        return f"{self.registry}/{self.module}"

    @property
    def full_tag(self) -> str:
        return f"{self.tag}-{self.variant}" if self.tag else self.variant

    def __str__(self) -> str:
        return f"{self.repository}:{self.full_tag}"


@dataclass(frozen=True, kw_only=True)
class Check:
    """What `supervisor check` found in an image: its exit code, and what each failed check said; loaded: whether its
    model was loaded, too."""

    exit_code: int
    failed: Mapping[str, str] = field(default_factory=dict)
    loaded: bool = False

    def faults(self, variant: Variant) -> dict[str, str]:
        """What speaks against the image. A GPU that the building machine lacks does not."""
        return {name: said for name, said in self.failed.items() if not (name == "device" and variant == "gpu")}


@dataclass(frozen=True, kw_only=True)
class Built:
    """One derived image. Sizes in bytes; digest: None until it is pushed."""

    name: str
    module: str
    variant: Variant
    id: str
    digest: str | None
    base: str
    base_digest: str
    runtime: str
    supervisor: str
    size: int
    added: int
    seconds: float
    built: str
    check: Check

    @property
    def repository(self) -> str:
        return self.name.rpartition(":")[0]

    @property
    def tag(self) -> str | None:
        """TAG of `[TAG-]<variant>`."""
        full_tag = self.name.rpartition(":")[2]
        return full_tag.removesuffix(f"-{self.variant}") if full_tag.endswith(f"-{self.variant}") else None

    @property
    def reference(self) -> str:
        """What to run: by digest where a registry has it, else the local name."""
        return f"{self.repository}@{self.digest}" if self.digest else self.name

    @property
    def identity(self) -> str:
        """What tells this image from every other, pushed or not."""
        return self.reference if self.digest else f"{self.name}@{self.id}"


def read(path: Path = RECORD) -> dict[str, Built]:
    """Every image that was built here, by name; empty before the first. Raises BadRecord."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
    try:
        document = json.loads(text)
        if document["version"] != VERSION:
            raise BadRecord(f"{path} is of version {document['version']}, not {VERSION}", _BUILD_AGAIN)
        return {image["name"]: _built(image) for image in document["images"]}
    except (ValueError, KeyError, TypeError) as error:
        raise BadRecord(f"{path} is damaged ({error!r})", _BUILD_AGAIN) from None


def record(built: Built, path: Path = RECORD) -> None:
    """Adds one image to the others; builds that run side by side lose nothing of each other's. Raises BadRecord."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with _locked(path.with_suffix(".lock")):
        _write(read(path) | {built.name: built}, path)


def forget(name: str, image_id: str, path: Path = RECORD) -> None:
    """Takes back what is written down of an image. Raises BadRecord."""
    if (known := read(path).get(name)) is None or known.id != image_id:
        return
    with _locked(path.with_suffix(".lock")):
        images = read(path)
        del images[name]
        _write(images, path)


def add_name_flags(parser: argparse.ArgumentParser) -> None:
    """--registry and --tag."""
    parser.add_argument("--registry", default=REGISTRY, help="first part of the image's name (default: %(default)s)")
    parser.add_argument("--tag", help="prefix of the image's tag: 2026-01 gives 2026-01-cpu")


def build_command(
    module: str, variant: str, *, registry: str = REGISTRY, tag: str | None = None, push: bool = False
) -> str:
    """The command that builds such an image, for a person to copy. variant: cpu, gpu or all."""
    options = {
        "--variant": None if variant == "all" else variant,
        "--registry": None if registry == REGISTRY else registry,
        "--tag": tag,
    }
    flags = [word for flag, value in options.items() if value for word in (flag, value)]
    return shlex.join(["deepaas-batch", "images", module, *flags, *(["--push"] if push else [])])


def _write(images: Mapping[str, Built], path: Path) -> None:
    document = {"version": VERSION, "images": [asdict(images[name]) for name in sorted(images)]}
    whole_file.write_text(path, json.dumps(document, indent=2) + "\n")


def _built(image: Mapping[str, Any]) -> Built:
    known = {each.name for each in fields(Built)}
    built = Built(**{key: value for key, value in image.items() if key in known} | {"check": Check(**image["check"])})
    texts = (built.name, built.module, built.variant, built.id, built.supervisor, built.digest or "")
    if not all(isinstance(text, str) for text in texts):
        raise TypeError(f"{built.name}: texts are none")
    # Definitions are named after module and variant, and say what the name stands for.
    own = re.escape(f"/{built.module}:") + rf"(.+-)?{re.escape(built.variant)}$"
    if built.variant not in ("cpu", "gpu") or not re.search(own, built.name):
        raise ValueError(f"{built.name} is no name of {built.module}'s {built.variant} image")
    return built


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
