"""A job that is killed (-9) at random moments and run again until it ends: what is lost, wrong, broken off, redone."""

import hashlib
import json
import random
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks import process
from benchmarks.figures import Figure
from benchmarks.jobs import SUPERVISOR, Bench, Image, bench
from scripts import environments
from scripts.demo import DEEPAAS
from supervisor.pipeline import Bounds
from tests.modules.install import lay_out

JOURNAL = Path(__file__).parent / "modules" / "journal.py"
_SECONDS = 0.005  # that the model takes for an item


def measure(kills: int = 30) -> list[Figure]:
    """All figures of this file."""
    with bench() as here:
        tally = killed_and_resumed(here, items=500, kills=kills, seed=4)
    return [
        Figure(
            name=f"{kills} kills (-9) at random moments of a job of 500 items: items lost, wrong or half-written",
            value=tally.lost + tally.wrong + tally.half_written,
            unit="items",
            target="at most 0",
            beside=f"{tally.lost} lost, {tally.wrong} wrong, {tally.half_written} half-written, of {tally.jobs} jobs' "
            f"{tally.jobs * 500:,} items",
        ),
        Figure(
            name="the same: items predicted again for one kill, at the most",
            value=max(tally.redone),
            unit="items",
            target=f"at most {Bounds.items}",  # in flight at once
            beside=f"{sum(tally.redone)} for {kills} kills; {tally.redone_though_stored} of them although their result "
            "was there",
        ),
    ]


@dataclass(kw_only=True)
class Tally:
    """What came of it. jobs: ran to their end; redone: items predicted again, for each kill."""

    jobs: int = 0
    lost: int = 0
    wrong: int = 0
    half_written: int = 0
    redone: list[int] = field(default_factory=list)
    redone_though_stored: int = 0


def killed_and_resumed(here: Bench, *, items: int, kills: int, seed: int) -> Tally:
    """Jobs of so many items, one after the other, each killed until it ends before its kill comes."""
    moments = random.Random(seed)  # noqa: S311 - no secret
    trials = _Trials(here, items)
    undisturbed = trials.run_undisturbed()
    while len(trials.tally.redone) < kills:
        target = f"job-{trials.tally.jobs}"
        ended = False
        while not ended and len(trials.tally.redone) < kills:
            ended = trials.run_and_kill(target, after=moments.uniform(0, undisturbed))
        if not ended:
            trials.run_to_the_end(target)
        trials.look_at_the_end(target)
    return trials.tally


class _Trials:
    """The jobs, all over the same inputs, and what each should answer."""

    def __init__(self, here: Bench, items: int) -> None:
        contents = {f"{number:04}.bin": hashlib.sha512(number.to_bytes(4)).digest() * 16 for number in range(items)}
        here.put("inputs", contents.items())
        self._here = here
        self._expected = {
            f"{name}.json": {"name": name, "sha256": hashlib.sha256(content).hexdigest()}
            for name, content in contents.items()
        }
        self._journal = here.folder / "journal"
        self._image = Image(
            environment=environments.ensure(DEEPAAS),
            variables={"PYTHONPATH": str(lay_out(JOURNAL, here.folder / "site")), "JOURNAL": str(self._journal)},
        )
        self.tally = Tally()

    def run_undisturbed(self) -> float:
        """Seconds."""
        return process.run(SUPERVISOR, self._environment("undisturbed")).seconds

    def run_and_kill(self, target: str, after: float) -> bool:
        """Whether it ended by itself. Kills the supervisor alone: the model has to see to itself."""
        stored, predicted = self._look(target), self._predicted()
        with subprocess.Popen(
            SUPERVISOR, env=self._environment(target), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as running:
            try:
                running.wait(after)
                killed = False
            except subprocess.TimeoutExpired:
                running.kill()
                killed = True
        if running.returncode not in (0, -9):
            raise RuntimeError(f"a run that was not killed yet ended with exit {running.returncode}")
        self._count_again(stored, predicted)
        if killed:
            # What this run had predicted and not stored is done again by the next.
            self.tally.redone.append(len(self._predicted()[len(predicted) :]) - (len(self._look(target)) - len(stored)))
        return not killed

    def run_to_the_end(self, target: str) -> None:
        stored, predicted = self._look(target), self._predicted()
        process.run(SUPERVISOR, self._environment(target))
        self._count_again(stored, predicted)

    def look_at_the_end(self, target: str) -> None:
        self.tally.jobs += 1
        self.tally.lost += len(self._expected.keys() - self._look(target))

    def _count_again(self, stored: set[str], predicted: list[str]) -> None:
        anew = self._predicted()[len(predicted) :]
        self.tally.redone_though_stored += len({f"{name}.json" for name in anew} & stored)

    def _look(self, target: str) -> set[str]:
        """The results that are there; each is looked at, and counted where it is not as it should be."""
        store, found = self._here.store(), set()
        for key in self._here.results(target):
            name = key.removeprefix(f"{target}/")
            found.add(name)
            try:
                self.tally.wrong += json.loads(bytes(store.get(key).bytes())) != self._expected.get(name)
            except ValueError:
                self.tally.half_written += 1
        return found

    def _predicted(self) -> list[str]:
        return self._journal.read_text().splitlines() if self._journal.exists() else []

    def _environment(self, target: str) -> dict[str, str]:
        return self._here.environment(self._image, "inputs", target, JOB_PREDICT_ARGS=json.dumps({"seconds": _SECONDS}))
