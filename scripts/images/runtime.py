"""The private runtime: the archive that becomes the one layer which every derived image shares."""

from __future__ import annotations

import argparse
import hashlib
import os
import subprocess
import tarfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from scripts import whole_file
from scripts.checkout import ROOT, shown
from scripts.images.catalogue import VARIANTS
from supervisor.failures import SUCCESS, InputMissing, ItemFailed
from supervisor.machine import console

FOLDER = ROOT / "build" / "runtime"
ARCHIVE = FOLDER / "runtime.tar"
_SOURCES = (ROOT / "supervisor", ROOT / "images" / "runtime")
_BUILD = ROOT / "images" / "runtime" / "build"
# What images/runtime/build reads. Each comes from a flag of the runtime's own, never from what the calling environment
# holds under that name: BASE, OUT and NETWORK mean something else to `images`, `report` and `run`.
_SETTINGS = ("BASE", "OUT", "NETWORK", "SNAPSHOT")


@dataclass(frozen=True, kw_only=True)
class Runtime:
    """The archive, and the build context around it. digest: sha256:…; size: bytes."""

    digest: str
    size: int
    context: Path

    @classmethod
    def pack(cls, archive: Path, context: Path) -> Runtime:
        """Writes the context of every build: both Dockerfiles and the archive. Raises InputMissing."""
        if not archive.is_file():
            raise InputMissing(f"there is no private runtime {shown(archive)}", "build it: deepaas-batch runtime")
        # Opened once, since another build may put a new archive in its place meanwhile.
        with tarfile.open(context, "w") as tar, archive.open("rb") as file:
            for variant in VARIANTS:
                tar.add(ROOT / f"Dockerfile.{variant}", f"Dockerfile.{variant}")
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            file.seek(0)
            tar.addfile(tar.gettarinfo(arcname="build/runtime/runtime.tar", fileobj=file), file)
            size = os.fstat(file.fileno()).st_size
        return cls(digest=f"sha256:{digest}", size=size, context=context)


def build(
    folder: Path = FOLDER, *, base: str | None = None, network: str | None = None, snapshot: str | None = None,
    no_cache: bool = False,
) -> Path:  # fmt: skip
    """Builds the archive into `folder`, in seconds where only supervisor/ changed; returns its path.

    What the build says goes to stderr. Raises ItemFailed.
    """
    given = {"BASE": base, "OUT": str(folder.absolute()), "NETWORK": network, "SNAPSHOT": snapshot}
    environment = {name: value for name, value in os.environ.items() if name not in _SETTINGS}
    environment |= {name: value for name, value in given.items() if value}
    # Its stdout joins stderr: what a command answers is on stdout.
    command = ['exec "$@" >&2', "build", str(_BUILD), *(["--no-cache"] if no_cache else [])]
    ended = subprocess.run(["/bin/sh", "-c", *command], env=environment, check=False)
    if ended.returncode:
        raise ItemFailed(
            f"the private runtime could not be built: images/runtime/build ended with {ended.returncode}",
            "see what it said above; it needs a Docker engine, Debian's mirror and PyPI",
        )
    return folder / "runtime.tar"


def ready(folder: Path = FOLDER) -> Path:
    """The archive of today's sources: the one that is there where it was made of them, else built anew.

    Where it cannot be built, without a network perhaps, one that is there is used, and a line on stderr says so. Raises
    ItemFailed where there is none.
    """
    archive, record, sources = folder / "runtime.tar", folder / "sources.sha256", digest_of_sources()
    if _made_of(archive, record) == sources:
        return archive
    try:
        build(folder)
    except ItemFailed as failure:
        if not archive.is_file():
            raise
        made = datetime.fromtimestamp(archive.stat().st_mtime, UTC).isoformat(timespec="seconds")
        console.say(f"{failure.message}; {shown(archive)} is used as it is here, made of other sources at {made}")
        return archive
    whole_file.write_text(record, f"{sources} {_sha256(archive)}\n")
    return archive


def digest_of_sources() -> str:
    """Of all that goes into the archive: the supervisor, the locks, and what builds it."""
    digest = hashlib.sha256()
    for source in (*_SOURCES, ROOT / "LICENSE"):
        for path in sorted(source.rglob("*")) if source.is_dir() else [source]:
            if path.is_file() and "__pycache__" not in path.parts:
                digest.update(f"{path.relative_to(ROOT)}\0{_sha256(path)}\n".encode())
    return digest.hexdigest()


def _made_of(archive: Path, record: Path) -> str | None:
    """The digest of the sources that the archive was made of, where that is known."""
    try:
        sources, _, made = record.read_text(encoding="utf-8").strip().partition(" ")
        return sources if made == _sha256(archive) else None
    except (OSError, ValueError):
        return None


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# The command.

DESCRIPTION = "Builds the private runtime in a container: the layer that every derived image shares, and its SBOM."
EPILOG = """\
`deepaas-batch images` does it by itself. Alone, it shows whether the layer can be built, and how large it is.

examples:
  deepaas-batch runtime
  deepaas-batch runtime --no-cache --network host"""


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", type=Path, default=FOLDER, metavar="FOLDER", help="default: build/runtime")
    parser.add_argument("--base", metavar="IMAGE", help="the image to build in (default: debian:bookworm-slim)")
    parser.add_argument("--network", metavar="NAME", help="of the build, where the default reaches no package index")
    parser.add_argument("--snapshot", metavar="URL", help="Debian's snapshot archive, or a mirror of it")
    parser.add_argument("--no-cache", action="store_true", help="build every step anew")


def main(options: argparse.Namespace) -> int:
    """Raises ItemFailed."""
    build(
        options.out,
        base=options.base,
        network=options.network,
        snapshot=options.snapshot,
        no_cache=options.no_cache,
    )
    return SUCCESS
