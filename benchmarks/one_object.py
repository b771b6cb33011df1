"""What the supervisor adds to one prediction, in seconds, and what it takes in memory, whatever the object's size.

Overhead: `supervisor run` on an object in S3 (SeaweedFS on loopback), less the bare deepaas-cli on the same local
file, the two in turn. Memory: peak resident size of the supervisor's own process with a 10 KB and with a 2 GiB object.
"""

import os
import statistics
import tempfile
from collections.abc import Mapping
from pathlib import Path

from benchmarks import process
from benchmarks.figures import Figure
from benchmarks.jobs import BUCKET, SUPERVISOR
from benchmarks.s3_server import S3Server, seaweedfs
from scripts import environments
from scripts.demo import DEEPAAS, MODULE, RECORDING
from tests.modules.install import install

GIB = 1024**3


def measure(pairs: int = 11) -> list[Figure]:
    """All figures of this file. pairs: how many counted runs each of the two commands gets, in turn."""
    voice = environments.ensure(DEEPAAS, extra=(str(MODULE),))
    bare = environments.ensure(DEEPAAS)
    with seaweedfs() as server, tempfile.TemporaryDirectory(prefix="benchmark-") as name:
        folder = Path(name)
        server.client().create_bucket(Bucket=BUCKET)
        site = install("plain", folder / "site")
        return [
            *_overhead("a module that takes no time", server, folder, bare, {"PYTHONPATH": str(site)}, pairs),
            *_overhead("voice-activity, 9 s of speech", server, folder, voice, {}, pairs),
            *_memory(server, folder, bare, {"PYTHONPATH": str(site)}),
        ]


def _overhead(
    what: str, server: S3Server, folder: Path, image: Path, variables: Mapping[str, str], pairs: int
) -> list[Figure]:
    key = "recording.wav"
    server.client().upload_file(str(RECORDING), BUCKET, key)
    environment = {"PATH": f"{image}/bin:{os.defpath}", "HOME": str(folder), **variables}
    answer = folder / "answer.json"
    cli = [f"{image}/bin/deepaas-cli", f"--deepaas_method_output={answer}", "predict", f"--files={RECORDING}"]
    job = {
        **server.variables,
        "JOB_INPUT": f"s3://{BUCKET}/{key}",
        "JOB_OUTPUT": f"s3://{BUCKET}/results/",
        "JOB_OVERWRITE": "always",
    }
    cli_seconds, job_seconds = [], []
    for run in range(pairs + 1):
        bare, whole = process.run(cli, environment).seconds, process.run(SUPERVISOR, {**environment, **job}).seconds
        if run:  # the first of each warms the disk's cache
            cli_seconds.append(bare)
            job_seconds.append(whole)
    differences = [whole - bare for whole, bare in zip(job_seconds, cli_seconds, strict=True)]
    return [
        Figure(
            name=f"one object, S3 to result, less the bare deepaas-cli: {what}",
            value=statistics.median(differences),
            unit="s",
            target="at most 0.6",
            beside=f"{statistics.median(job_seconds):.2f} s against {statistics.median(cli_seconds):.2f} s; "
            f"{pairs} pairs, {min(differences):.2f} to {max(differences):.2f} s",
        )
    ]


def _memory(server: S3Server, folder: Path, image: Path, variables: Mapping[str, str]) -> list[Figure]:
    figures = []
    for name, size in (("10 KB", 10_000), ("2 GiB", 2 * GIB)):
        source = folder / "input.wav"
        with source.open("wb") as file:
            file.truncate(size)
        key = f"{size}.wav"
        server.client().upload_file(str(source), BUCKET, key)
        source.unlink()
        environment = {
            **server.variables,
            **variables,
            "PATH": f"{image}/bin:{os.defpath}",
            "HOME": str(folder),
            "JOB_INPUT": f"s3://{BUCKET}/{key}",
            "JOB_OUTPUT": f"s3://{BUCKET}/memory/",
            "JOB_RUNNER": "worker",
        }
        peak = process.run(SUPERVISOR, environment).peak
        server.client().delete_object(Bucket=BUCKET, Key=key)
        figures.append(
            Figure(
                name=f"peak memory of the supervisor, {name} object", value=peak / 1e6, unit="MB", target="at most 100"
            )
        )
    return figures
