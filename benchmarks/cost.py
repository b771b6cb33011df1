"""What more items cost: seconds an item and the supervisor's memory, from 100 items to 100,000, and the disk it takes.

The module takes no time; everything is S3 to results, with SeaweedFS on the same two cores.
"""

import random
import statistics
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from benchmarks.figures import Figure
from benchmarks.jobs import Bench, Image, bench
from benchmarks.process import Ran
from scripts import environments
from scripts.demo import DEEPAAS
from supervisor.pipeline import Bounds
from tests.modules.install import install

RUNS = {100: 3, 1_000: 3, 10_000: 1, 100_000: 1}  # items: how often
MIB = 1024 * 1024


def measure() -> list[Figure]:
    """All figures of this file."""
    with bench() as here:
        image = Image(
            environment=environments.ensure(DEEPAAS),
            variables={
                "PYTHONPATH": str(install(("plain", "slow"), here.folder / "site")),
                "DEEPAAS_V2_MODEL": "plain",
            },
        )
        runs = {items: [_job(here, image, items, run) for run in range(often)] for items, often in RUNS.items()}
        return [_seconds(runs), *_memory(runs), _disk(here, image)]


def _job(here: Bench, image: Image, items: int, run: int) -> Ran:
    if not run:
        here.put(str(items), ((f"{number:06}.bin", number.to_bytes(4) * 256) for number in range(items)))
    return here.job(image, str(items), f"{items}-{run}", items)


def _seconds(runs: dict[int, list[Ran]]) -> Figure:
    each = {items: statistics.median(ran.seconds for ran in runs[items]) / items for items in runs}
    return Figure(
        name="seconds an item, 100,000 items against 1,000",
        value=each[100_000] / each[1_000],
        unit="times",
        target="at most 1",
        beside="; ".join(f"{items:,}: {seconds * 1000:.2f} ms" for items, seconds in each.items()),
    )


def _memory(runs: dict[int, list[Ran]]) -> list[Figure]:
    return [
        Figure(
            name=f"peak memory of the supervisor, {items:,} items",
            value=max(ran.peak for ran in runs[items]) / 1e6,
            unit="MB",
            target="at most 130",
        )
        for items in (1_000, 100_000)
    ]


def _disk(here: Bench, image: Image) -> Figure:
    """Inputs come faster than the model takes them: what lies on the disk is what the bound lets in."""
    sizes = [random.Random(number).randrange(20 * MIB, 90 * MIB) for number in range(40)]  # noqa: S311 - no secret
    for number, size in enumerate(sizes):
        here.put("large", [(f"{number:02}.bin", bytes(size))])
    with _sampled(here.folder / "tmp") as samples:
        here.job(
            image, "large", "large-results", len(sizes),
            DEEPAAS_V2_MODEL="slow", JOB_PREDICT_ARGS='{"seconds": 0.3}',
        )  # fmt: skip
    return Figure(
        name="disk in the job's folder, inputs that come faster than the model takes them",
        value=max(samples) / MIB,
        unit="MiB",
        target=f"at most {Bounds.size // MIB:,}",
        beside=f"{len(sizes)} inputs of 20 to 90 MiB, {sum(sizes) / MIB:,.0f} in all; {len(samples)} samples",
    )


@contextmanager
def _sampled(folder: Path) -> Iterator[list[int]]:
    """Bytes in the folder, every 20 ms."""
    samples, ended = [0], threading.Event()

    def sample() -> None:
        while not ended.wait(0.02):
            samples.append(sum(_size(path) for path in folder.rglob("*")))

    sampler = threading.Thread(target=sample)
    sampler.start()
    try:
        yield samples
    finally:
        ended.set()
        sampler.join()


def _size(path: Path) -> int:
    with suppress(FileNotFoundError):  # it has just been taken
        return path.lstat().st_size if path.is_file() else 0
    return 0
