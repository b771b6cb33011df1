"""A job of many items, S3 to results: how near it comes to a bare loop in one process, how fast it is without a model.

The S3 server (SeaweedFS on loopback) shares the two cores with the job.
"""

import hashlib
import os
import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks import peers, process
from benchmarks.figures import Figure
from benchmarks.jobs import Bench, Image, bench, cut
from scripts import environments
from scripts.demo import DEEPAAS, MODULE, RECORDING
from supervisor.job import AUTO
from supervisor.machine import cpu, openmp
from tests.modules.install import install

_LOOP = Path(__file__).with_name("in_process.py")
_SAMPLE = 20  # files for what takes a second and more for each


def measure(pairs: int = 3) -> list[Figure]:
    """All figures of this file. pairs: how many counted runs a job and its yardstick get, in turn."""
    voice = Image(environment=environments.ensure(DEEPAAS, extra=(str(MODULE),)))
    with bench() as here:
        plain = Image(
            environment=environments.ensure(DEEPAAS),
            variables={"PYTHONPATH": str(install("plain", here.folder / "site"))},
        )
        return [*_voice_activity(here, voice, pairs), *_no_time(here, plain, pairs)]


@dataclass(frozen=True, kw_only=True)
class AgainstTheLoop:
    """Whole processes, from start to exit: items a second of a job and of the bare loop, and their ratio, in pairs."""

    jobs: Sequence[float]
    loops: Sequence[float]

    @property
    def ratios(self) -> list[float]:
        return [job / loop for job, loop in zip(self.jobs, self.loops, strict=True)]

    @property
    def told(self) -> str:
        return (
            f"{statistics.median(self.jobs):.2f} items/s against {statistics.median(self.loops):.2f}; {len(self.jobs)} "
            f"pairs, {min(self.ratios):.2f} to {max(self.ratios):.2f}"
        )

    def figure(self, name: str, least: float, beside: str = "") -> Figure:
        """The job's share of the loop's throughput; least: the aim; beside: what else there is to say."""
        return Figure(
            name=name,
            value=statistics.median(self.ratios),
            unit="of it",
            target=f"at least {least:g}",
            beside="; ".join(
                filter(None, [self.told, beside, f"load {os.getloadavg()[2]:.1f} on {cpu.cores()} cores"])
            ),
        )


def against_the_loop(here: Bench, image: Image, files: Sequence[Path], pairs: int) -> AgainstTheLoop:
    """Puts the files into S3 and runs job and loop in turn."""
    source = files[0].parent
    here.put(source.name, ((path.name, path.read_bytes()) for path in files))
    jobs, loops = [], []
    for run in range(pairs):
        loops.append(_loop(here, image, files, run))
        jobs.append(_job(here, image, files, run))
    return AgainstTheLoop(jobs=jobs, loops=loops)


def _loop(here: Bench, image: Image, files: Sequence[Path], run: int, **variables: str) -> float:
    """Items a second of the bare loop."""
    source = files[0].parent
    answers = here.folder / "-".join(["answers", source.name, str(run), *variables])
    answers.mkdir()
    command = [image.python, str(_LOOP), str(source), str(answers)]
    return len(files) / process.run(command, {**here.surroundings(image), **variables}).seconds


def _job(here: Bench, image: Image, files: Sequence[Path], run: int, workers: str = "1") -> float:
    """Items a second of a job with so many copies of the model."""
    source = files[0].parent.name
    variables = {"JOB_WORKERS": workers, "SUPERVISOR_COPIES": "many"}
    return len(files) / here.job(image, source, f"{source}-{workers}-{run}", len(files), **variables).seconds


@dataclass(frozen=True, kw_only=True)
class HowManyCopies:
    """Items a second of each run, in rounds: of the bare loop, as it is and with the model's threads as a job of one
    copy sets them, and of a job by JOB_WORKERS."""

    loops: Sequence[float]
    loops_alike: Sequence[float]
    jobs: Mapping[str, Sequence[float]]

    def figures(self) -> list[Figure]:
        medians = {workers: statistics.median(rates) for workers, rates in self.jobs.items()}
        best = max((workers for workers in medians if workers != AUTO), key=lambda workers: medians[workers])
        told = ", ".join(f"{workers}: {rate:.1f}" for workers, rate in medians.items())
        return [
            _ratio(
                "500 recordings of 1 s, voice-activity, S3 to results, JOB_WORKERS=auto: throughput of the best number",
                self.jobs[AUTO],
                self.jobs[best],
                beside=f"items/s by JOB_WORKERS: {told}",
            ),
            _ratio(
                "the same with one copy of the model: throughput of the bare loop in one process",
                self.jobs["1"],
                self.loops,
            ),
            _ratio(
                "the same, where the loop's OpenMP is set as the job sets it (docs/decisions/0009)",
                self.jobs["1"],
                self.loops_alike,
            ),
        ]


def _ratio(name: str, rates: Sequence[float], yardstick: Sequence[float], beside: str = "") -> Figure:
    return AgainstTheLoop(jobs=rates, loops=yardstick).figure(name, 0.95, beside)


def _how_many_copies(here: Bench, image: Image, files: Sequence[Path], rounds: int) -> HowManyCopies:
    here.put(files[0].parent.name, ((path.name, path.read_bytes()) for path in files))
    loops, alike, jobs = [], [], defaultdict[str, list[float]](list)
    settings = openmp.environment(1, {})
    for run in range(rounds):
        loops.append(_loop(here, image, files, run))
        alike.append(_loop(here, image, files, run, **settings))
        for workers in ("1", "2", "3", AUTO):
            jobs[workers].append(_job(here, image, files, run, workers))
    return HowManyCopies(loops=loops, loops_alike=alike, jobs=jobs)


def _voice_activity(here: Bench, image: Image, pairs: int) -> list[Figure]:
    files = cut(RECORDING, here.folder / "seconds", 500, seconds=1)
    one_by_one = peers.cli_loop(here, image, files[:_SAMPLE])
    found = _how_many_copies(here, image, files, pairs)
    return [
        *found.figures(),
        Figure(
            name="the same: one job with one copy",
            value=statistics.median(found.jobs["1"]),
            unit="items/s",
            bar="one job, S3 to results",
        ),
        Figure(
            name="the same: the bare loop in one process, over local files",
            value=statistics.median(found.loops),
            unit="items/s",
            bar="bare loop in one process",
        ),
        Figure(
            name="the same: the bare deepaas-cli in a shell loop, over local files",
            value=one_by_one,
            unit="items/s",
            beside=f"{_SAMPLE} files",
            bar="deepaas-cli in a shell loop",
        ),
        *_faas_supervisor(here, image, [path.name for path in files[:_SAMPLE]]),
    ]


def _faas_supervisor(here: Bench, image: Image, names: Sequence[str]) -> list[Figure]:
    return [
        Figure(
            name="the same: faas-supervisor 1.5.8 driving deepaas-cli, S3 to results",
            value=peers.faas_supervisor(here, image, "seconds", names),
            unit="items/s",
            beside=f"{len(names)} files",
            bar="faas-supervisor, S3 to results",
        )
    ]


def _no_time(here: Bench, image: Image, pairs: int, items: int = 5_000) -> list[Figure]:
    here.put("small", ((f"{number:05}.bin", _content(number)) for number in range(items)))
    sample = here.folder / "small"
    sample.mkdir()
    for number in range(_SAMPLE):
        (sample / f"{number:05}.bin").write_bytes(_content(number))
    one_by_one = peers.cli_loop(here, image, sorted(sample.iterdir()))
    ran = [here.job(image, "small", f"small-{run}", items) for run in range(pairs)]
    rates = [items / each.seconds for each in ran]
    return [
        Figure(
            name="5,000 objects of 32 KiB, a module that takes no time, S3 to results",
            value=statistics.median(rates),
            unit="items/s",
            target="at least 400",
            beside=f"the bare deepaas-cli over local files: {one_by_one:.1f}; {pairs} runs, {min(rates):.0f} to "
            f"{max(rates):.0f}",
        ),
        Figure(
            name="the same: CPU of the supervisor's own process for each item",
            value=statistics.median(each.cpu for each in ran) / items * 1000,
            unit="ms",
            target="at most 1.5",
        ),
    ]


def _content(number: int) -> bytes:
    return hashlib.shake_128(number.to_bytes(4)).digest(32 * 1024)
