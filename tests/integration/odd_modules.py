"""Modules of one test's own, and jobs that run them."""

import json
import subprocess
import time
from pathlib import Path
from typing import Any

from tests.conftest import NEWEST, S3Server, Supervisor, image
from tests.modules.install import lay_out


def module(folder: Path, name: str, body: str) -> None:
    """Adds a module of one test's own to its image."""
    image(folder, "plain")
    site = folder / "site"
    (site / "plain-1.0.dist-info").rename(site / f"{name}-1.0.dist-info")
    (site / f"{name}-1.0.dist-info" / "entry_points.txt").write_text(f"[deepaas.v2.model]\n{name} = {name}\n")
    source = (site / "plain.py").read_text().partition("def predict(")[0]
    (site / f"{name}.py").write_text(source + body)


def image_of(folder: Path, name: str, release: str = NEWEST, python: str = "python3.11") -> Supervisor:
    """An image with one of the modules beside these tests."""
    lay_out(Path(__file__).parent / "modules" / f"{name}.py", folder / "site")
    return image(folder, (), release, python)


def bare(folder: Path) -> Supervisor:
    """An image with whatever `module` put there."""
    return image(folder, ())


def event(s3: S3Server, count: int) -> dict[str, str]:
    """The variables of a job with so many inputs."""
    for number in range(count):
        s3.put(f"in/{number}.wav")
    records = [{"s3": {"bucket": {"name": s3.bucket}, "object": {"key": f"in/{n}.wav"}}} for n in range(count)]
    return {"JOB_EVENT": json.dumps({"Records": records}), "JOB_OUTPUT": f"s3://{s3.bucket}/out/", **s3.variables}


def await_file(path: Path, process: "subprocess.Popen[Any]") -> None:
    """Until the guest has written it, or its supervisor has ended."""
    while not path.exists():
        assert process.poll() is None
        time.sleep(0.05)
