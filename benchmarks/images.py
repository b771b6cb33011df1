"""What a derived image costs: seconds to start, megabytes on the disk, seconds to build. Needs the Docker engine.

Base: the voice-activity image, from local parts, as `make images MODEL=voice-activity` leaves it.
"""

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any

from benchmarks.figures import Figure
from scripts.checkout import ROOT

DERIVED = "deepaas-batch/voice-activity:cpu"


def measure(pairs: int = 15) -> list[Figure]:
    """All figures of this file. pairs: how many counted runs each of two commands gets, in turn."""
    _build("voice-activity")
    base = _inspect(DERIVED)["Config"]["Labels"]["org.opencontainers.image.base.name"]
    return [_start(base, pairs), _size(base), _fresh_builds(base)]


def _start(base: str, pairs: int) -> Figure:
    differences = []
    for run in range(pairs + 1):
        bare = _timed(["docker", "run", "--rm", "--entrypoint", "true", base])
        derived = _timed(["docker", "run", "--rm", DERIVED, "version"])
        if run:  # the first of each warms the disk's cache
            differences.append(derived - bare)
    return Figure(
        name="`docker run DERIVED version` less `docker run BASE true`",
        value=statistics.median(differences),
        unit="s",
        target="at most 0.5",
        beside=f"{pairs} pairs, {min(differences):.2f} to {max(differences):.2f} s",
    )


def _size(base: str) -> Figure:
    added = _inspect(DERIVED)["Size"] - _inspect(base)["Size"]
    layers = len(_inspect(DERIVED)["RootFS"]["Layers"]) - len(_inspect(base)["RootFS"]["Layers"])
    return Figure(
        name="what a derived image adds on the disk",
        value=added / 1e6,
        unit="MB",
        target="at most 75",
        beside=f"{layers} layer, the same for every image",
    )


def _fresh_builds(base: str, builds: int = 5) -> Figure:
    """Each on a base of its own, so that no layer comes from the engine's cache."""
    seconds = []
    for build in range(builds):
        fresh, tag = f"deepaas-batch/benchmark-base:{build}", f"benchmark{build}"
        dockerfile = f"FROM {base}\nLABEL benchmark={time.time()}\n"
        subprocess.run(
            ["docker", "build", "-t", fresh, "-"], input=dockerfile.encode(), check=True, capture_output=True
        )
        began = time.perf_counter()
        _build("voice-activity", "--variant", "cpu", "--tag", tag, "--base", fresh)
        seconds.append(time.perf_counter() - began)
        _docker("image", "rm", f"{DERIVED.partition(':')[0]}:{tag}-cpu", fresh)
    return Figure(
        name="a derived image from a local base, the runtime being built",
        value=statistics.median(seconds),
        unit="s",
        target="at most 15",
        beside=f"`supervisor check` in it included; {builds} builds, {min(seconds):.1f} to {max(seconds):.1f} s",
    )


def _build(*arguments: str) -> None:
    command = [sys.executable, "-m", "scripts.cli", "images", *arguments]
    subprocess.run(command, check=True, capture_output=True, cwd=ROOT)


def _inspect(image: str) -> Any:
    return json.loads(_docker("image", "inspect", image))[0]


def _docker(*arguments: str) -> bytes:
    return subprocess.run(["docker", *arguments], check=True, capture_output=True).stdout


def _timed(command: Sequence[str]) -> float:
    began = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - began
