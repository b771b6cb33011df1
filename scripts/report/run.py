"""All children of a run, added up."""

from __future__ import annotations

import heapq
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from scripts.report.labels import Labels
from scripts.report.places import Source, opened_ahead
from scripts.report.reading import DOCUMENT, Faults, document, documents, rows
from scripts.report.status import FAILED, SKIPPED, Child, Item, Malformed, as_object, item
from scripts.report.sums import Causes, Spread, Timeline
from supervisor.failures import Failure, InputMissing

ITEMS, RESULTS = ".items.jsonl", ".results.jsonl"
MOST_STAGES = 12
SHOWN_SLOWEST = 20
_DAY = 86_400


class Run:
    """All children of a run, added up."""

    def __init__(self, children: Sequence[Child]) -> None:
        self.children = sorted(children, key=lambda c: c.order)
        self.stages: defaultdict[str, Spread] = defaultdict(Spread)
        self.timeline = Timeline()
        self.causes = Causes()
        self.labels = Labels()
        self.listed = 0
        self.untimed = 0
        self.strays = 0
        self._slowest: list[tuple[float, int, Item, Child]] = []
        started = [c.started for c in children if c.started]
        updated = [c.updated for c in children if c.updated]
        self.started = min(started, default=None)
        self.updated = max(updated, default=None)
        # A clock far off would flatten the chart.
        self._within = (min(started, default=0) - _DAY, max(updated, default=time.time()) + _DAY)
        for each in children:
            if each.error and not each.failed:
                self.causes.add_child(each, each.error)

    def add(self, ended: Item, by: Child) -> None:
        self.listed += 1
        for stage, spent in ended.seconds.items():
            if stage in self.stages or len(self.stages) < MOST_STAGES:
                self.stages[stage].add(spent)
        if ended.state == FAILED:
            self.causes.add_item(ended)
        if ended.state != SKIPPED:
            self._add_time(ended)
        if ended.seconds:
            entry = (sum(ended.seconds.values()), -self.listed, ended, by)
            if len(self._slowest) < SHOWN_SLOWEST:
                heapq.heappush(self._slowest, entry)
            else:
                heapq.heappushpop(self._slowest, entry)

    def _add_time(self, ended: Item) -> None:
        if ended.finished is None:
            self.untimed += 1
        elif self._within[0] <= ended.finished <= self._within[1]:
            self.timeline.add(ended.finished, ended.state)
        else:
            self.strays += 1

    @property
    def slowest(self) -> list[tuple[float, Item, Child]]:
        return [(spent, ended, by) for spent, _, ended, by in sorted(self._slowest, key=lambda e: e[:2], reverse=True)]

    def total(self, of: str) -> int:
        return sum(getattr(each, of) for each in self.children)


@dataclass(frozen=True, kw_only=True)
class Merged:
    """A run, what it was read from, and what could not be read."""

    run: Run
    jobs: Counter[str]
    older: int
    without_items: int
    orphans: tuple[str, ...]
    faults: Faults
    tables: tuple[str, ...]


def merge(place: Source, status: str, job: str | None, results: Source | None = None) -> Merged:
    """Reads everything below STATUS, of one job where `job` names it, and the results tables, beside the status or in
    a place of their own. Raises a Failure where there is nothing."""
    names = set(place.names())
    faults = Faults()
    newest: dict[tuple[str, int], Child] = {}
    older = 0
    for each in documents(place, sorted(name for name in names if name.endswith(DOCUMENT)), faults):
        if job is not None and each.job != job:
            continue
        known = newest.get(each.order)
        older += known is not None
        if known is None or _age(each) >= _age(known):
            newest[each.order] = each
    if not newest:
        raise _nothing(status, names, faults, job)
    run = Run(list(newest.values()))
    without_items = _add_items(run, place, names, faults)
    tables = _tables(run, names if results is None else set(results.names()))
    _add_answers(run, results or place, tables, faults)
    lists = sorted(name.removesuffix(ITEMS) for name in names if name.endswith(ITEMS))
    return Merged(
        run=run,
        jobs=Counter(each.job for each in run.children),
        older=older,
        without_items=without_items,
        orphans=tuple(name + ITEMS for name in lists if name + DOCUMENT not in names),
        faults=faults,
        tables=tables,
    )


def _age(document: Child) -> tuple[float, int]:
    return document.updated or 0, document.attempt or 0


def _nothing(status: str, names: set[str], faults: Faults, job: str | None) -> Failure:
    if job is not None:
        return InputMissing(f"{status}: holds no status of job {job}", "leave --job out to see which there are")
    if faults.first:
        return InputMissing(
            f"{status}: holds no status document: {faults.first[0]}", "a job writes <job>[-<index>].json"
        )
    return InputMissing(
        f"{status}: no status documents found ({len(names)} files looked at)",
        "a job writes them to <JOB_OUTPUT>_status/, or where JOB_STATUS says: give that folder or prefix",
    )


def _add_items(run: Run, place: Source, names: set[str], faults: Faults) -> int:
    """Adds every item that is known; returns how many children have no list of their own."""
    by_name = {each.name + ITEMS: each for each in run.children if each.name + ITEMS in names}
    for name, file in opened_ahead(place, by_name):
        for number, row in rows(name, file, faults):
            _add_row(run, by_name[name], row, f"{name}, line {number}", faults)
    # The document lists some of them too. Read again: ten thousand such lists would not be kept in memory.
    rest = {each.name + DOCUMENT: each for each in run.children if each.name + ITEMS not in by_name}
    for name, file in opened_ahead(place, rest):
        with suppress(Malformed):  # told of already, or replaced while this runs
            listed = as_object(document(file), "document").get("items") or []
            for number, row in enumerate(listed if isinstance(listed, list) else [], 1):
                _add_row(run, rest[name], row, f"{name}, item {number}", faults)
    return len(rest)


def _add_row(run: Run, by: Child, row: Any, where: str, faults: Faults) -> None:
    try:
        run.add(item(row), by)
    except Malformed as error:
        faults.add("line", where, str(error))


def _tables(run: Run, names: set[str]) -> tuple[str, ...]:
    """The results tables of the children, one each, in their order."""
    candidates = ((each.name + RESULTS, each.identity + RESULTS) for each in run.children)
    found = (next((name for name in pair if name in names), None) for pair in candidates)
    return tuple(dict.fromkeys(name for name in found if name is not None))


def _add_answers(run: Run, place: Source, tables: Sequence[str], faults: Faults) -> None:
    for name, file in opened_ahead(place, tables):
        for number, row in rows(name, file, faults):
            if isinstance(row, dict) and "answer" in row:
                run.labels.add(row["answer"])
            elif not (isinstance(row, dict) and "answer_left_out" in row):
                faults.add("line", f"{name}, line {number}", "holds no answer")
