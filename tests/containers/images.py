"""Builds what the container tests run: stand-in catalogue images, the runtime, and derived images.

Each base is tagged by a hash of all that goes into it, so that only the first run pays for it.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from docker import DockerClient
from docker.errors import BuildError, ImageNotFound

from tests.modules.install import install

ROOT = Path(__file__).resolve().parents[2]
DOCKERFILES = Path(__file__).parent / "bases"
STAND_IN = "debian:bookworm-slim"


class MissingPart(Exception):
    """This machine lacks something that a base is made of; the message says what."""


@dataclass(frozen=True, kw_only=True)
class Base:
    """One stand-in catalogue image: bases/<name>.Dockerfile, and what its context holds beside it."""

    name: str
    context: Callable[[Path], None] = field(default=lambda folder: None)
    parent: Base | None = None


def with_module(folder: Path) -> None:
    install("plain", folder / "module")


def with_python36(folder: Path) -> None:
    """pyenv's 3.6.15 less what no image needs; its scripts name a path of this machine, so pip comes in anew."""
    source = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions" / "3.6.15"
    if not source.is_dir():
        raise MissingPart(f"no Python 3.6.15 in {source} (pyenv install 3.6.15)")
    unneeded = shutil.ignore_patterns("site-packages", "test", "tests", "__pycache__", "config-*", "idlelib", "tkinter")
    shutil.copytree(source / "lib", folder / "python3.6/lib", symlinks=True, ignore=unneeded)
    (folder / "python3.6/bin").mkdir()
    shutil.copy(source / "bin/python3.6", folder / "python3.6/bin/python3.6")
    with_module(folder)


PYTHON311 = Base(name="python311", context=with_module)
BASES = {
    base.name: base
    for base in (
        Base(name="python36", context=with_python36),
        PYTHON311,
        Base(name="conda", context=with_module),
        Base(name="scratch"),
        Base(name="odd", parent=PYTHON311),
        Base(name="hostile"),
    )
}


def build_base(engine: DockerClient, base: Base) -> str:
    """The base's tag, built if need be."""
    parent = build_base(engine, base.parent) if base.parent else ""
    with tempfile.TemporaryDirectory() as folder, one_at_a_time(base.name):
        base.context(Path(folder))
        shutil.copy(DOCKERFILES / f"{base.name}.Dockerfile", Path(folder) / "Dockerfile")
        identity = f"{parent} {engine.images.get(STAND_IN).id} {digest_of(Path(folder))}"
        tag = f"deepaas-batch-test/{base.name}:{hashlib.sha256(identity.encode()).hexdigest()[:12]}"
        if not exists(engine, tag):
            build(engine, Path(folder), tag, {"PARENT": parent} if parent else {})
    return tag


def derive(engine: DockerClient, base: str, variant: str, checkout: Path = ROOT, **arguments: str) -> str:
    """What the Dockerfiles make of a base: the tag of its cpu or gpu image."""
    tag = f"{base}-{variant}" if checkout == ROOT else f"{base}-{checkout.name}-{variant}"
    with one_at_a_time("derive"):
        build(engine, checkout, tag, {"BASE": base, **arguments}, dockerfile=f"Dockerfile.{variant}")
    return tag


def build_runtime(*options: str, checkout: Path = ROOT, out: Path | None = None, **environment: str) -> Path:
    """`make runtime`: seconds where nothing changed. Returns the archive."""
    out = out or checkout / "build/runtime"
    with one_at_a_time("runtime"):
        subprocess.run(
            [checkout / "images/runtime/build", *options],
            check=True,
            env={**os.environ, "OUT": str(out), **environment},
        )
    return out / "runtime.tar"


def copy_checkout(folder: Path) -> Path:
    """A copy of what a derived image is made of, for a test to change."""
    for name in ("supervisor", "images/runtime"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("LICENSE", "Dockerfile.cpu", "Dockerfile.gpu", ".dockerignore"):
        shutil.copyfile(ROOT / name, folder / name)
    return folder


def build(
    engine: DockerClient, context: Path, tag: str, arguments: dict[str, str], dockerfile: str = "Dockerfile"
) -> None:
    try:
        engine.images.build(
            path=str(context), tag=tag, dockerfile=dockerfile, buildargs=arguments, rm=True, forcerm=True
        )
    except BuildError as error:
        log = "".join(str(step.get("stream", "")) for step in error.build_log)
        raise AssertionError(f"{tag}: {error.msg}\n{log}") from None


def exists(engine: DockerClient, tag: str) -> bool:
    try:
        engine.images.get(tag)
    except ImageNotFound:
        return False
    return True


def digest_of(folder: Path) -> str:
    """Of names and contents of all files below a folder."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        digest.update(str(path.relative_to(folder)).encode() + b"\0")
        if path.is_file():
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


@contextmanager
def one_at_a_time(name: str) -> Iterator[None]:
    """Test processes that run side by side build each thing once."""
    with (Path(tempfile.gettempdir()) / f"deepaas-batch-test-{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
