"""A job of many items, S3 to results: how near it comes to a bare loop in one process, how fast it is without a model.

The S3 server (SeaweedFS on loopback) shares the two cores with the job.
"""

import hashlib
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks import peers, process
from benchmarks.figures import Figure
from benchmarks.jobs import Bench, Image, bench, cut
from scripts import environments
from scripts.demo import DEEPAAS, MODULE, RECORDING
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

    def figure(self, name: str, least: float) -> Figure:
        """The job's share of the loop's throughput; least: the aim."""
        return Figure(
            name=name,
            value=statistics.median(self.ratios),
            unit="of it",
            target=f"at least {least:g}",
            beside=self.told,
        )


def against_the_loop(here: Bench, image: Image, files: Sequence[Path], pairs: int, workers: int = 1) -> AgainstTheLoop:
    """Puts the files into S3 and runs job and loop in turn. workers: how many copies of the model the job has."""
    source = files[0].parent
    here.put(source.name, ((path.name, path.read_bytes()) for path in files))
    jobs, loops = [], []
    for run in range(pairs):
        target = f"{source.name}-{workers}-{run}"
        answers = here.folder / f"answers-{target}"
        answers.mkdir()
        command = [image.python, str(_LOOP), str(source), str(answers)]
        loops.append(len(files) / process.run(command, here.surroundings(image)).seconds)
        job = here.job(image, source.name, target, len(files), JOB_WORKERS=str(workers))
        jobs.append(len(files) / job.seconds)
    return AgainstTheLoop(jobs=jobs, loops=loops)


def _voice_activity(here: Bench, image: Image, pairs: int) -> list[Figure]:
    files = cut(RECORDING, here.folder / "seconds", 500, seconds=1)
    one_by_one = peers.cli_loop(here, image, files[:_SAMPLE])
    found = against_the_loop(here, image, files, pairs)
    both = against_the_loop(here, image, files, pairs, workers=2)
    return [
        both.figure(
            "500 recordings of 1 s, voice-activity, S3 to results, JOB_WORKERS=2: throughput of the bare loop in one "
            "process, which leaves a fifth of both cores idle",
            0.9,
        ),
        found.figure("the same with one copy of the model, whose threads want both cores", 0.9),
        Figure(
            name="the same: one job",
            value=statistics.median(found.jobs),
            unit="items/s",
            bar="one job, S3 to results",
        ),
        Figure(
            name="the same: the bare loop in one process, over local files",
            value=statistics.median(found.loops),
            unit="items/s",
            bar="bare loop in one process (the limit)",
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
