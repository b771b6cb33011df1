"""The private runtime: the archive that becomes the one layer which every derived image shares."""

from __future__ import annotations

import argparse
import hashlib
import os
import subprocess
import tarfile
from dataclasses import dataclass
from pathlib import Path

from scripts.checkout import ROOT, shown
from scripts.images.catalogue import VARIANTS
from supervisor.failures import SUCCESS, InputMissing, ItemFailed

FOLDER = ROOT / "build" / "runtime"
ARCHIVE = FOLDER / "runtime.tar"
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
        with tarfile.open(context, "w") as tar:
            for variant in VARIANTS:
                tar.add(ROOT / f"Dockerfile.{variant}", f"Dockerfile.{variant}")
            tar.add(archive, "build/runtime/runtime.tar")
        with archive.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        return cls(digest=f"sha256:{digest}", size=archive.stat().st_size, context=context)


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
