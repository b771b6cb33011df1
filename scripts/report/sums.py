"""Sums over any number of items, in memory that stays small."""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from dataclasses import dataclass

from scripts.report.status import DONE, LONGEST_TEXT, Child, Error, Item

MOST_BINS = 2_000
_MOST_CAUSES = 1_000
_DAY = 86_400


class Spread:
    """Sum, median and 95th percentile of any number of times, in constant memory.

    Times are kept to three significant figures, which is what the page shows: at most 900 values a decade, and the
    nearest-rank percentile of the rounded times is the rounded percentile of the times.
    """

    def __init__(self) -> None:
        self.sum = 0.0
        self.count = 0
        self.most = 0.0
        self._seen: Counter[float] = Counter()

    def add(self, spent: float) -> None:
        self.sum += spent
        self.count += 1
        self.most = max(self.most, spent)
        self._seen[float(f"{spent:.2e}")] += 1

    def percentile(self, share: float) -> float:
        rank = math.ceil(share * self.count)
        for spent in sorted(self._seen):
            rank -= self._seen[spent]
            if rank <= 0:
                return spent
        return 0.0


@dataclass
class Bin:
    """Items that ended within one stretch of time."""

    done: int = 0
    failed: int = 0


class Timeline:
    """How many items ended when, in at most MOST_BINS bins, which grow wider as the job grows longer."""

    def __init__(self) -> None:
        self.width = 1  # seconds
        self.first = math.inf
        self.last = -math.inf
        self.done = 0
        self.failed = 0
        self._bins: defaultdict[int, Bin] = defaultdict(Bin)

    def add(self, moment: float, state: str) -> None:
        self.first, self.last = min(self.first, moment), max(self.last, moment)
        found = self._bins[int(moment // self.width)]
        if state == DONE:
            found.done += 1
            self.done += 1
        else:
            found.failed += 1
            self.failed += 1
        if len(self._bins) > MOST_BINS:
            self._widen()

    def bins(self, most: int) -> list[tuple[int, Bin]]:
        """(beginning, bin) without gaps, `most` of them at the most. Widens the bins for good."""
        if not self._bins:
            return []
        while max(self._bins) - min(self._bins) >= most:
            self._widen()
        return [(n * self.width, self._bins.get(n, Bin())) for n in range(min(self._bins), max(self._bins) + 1)]

    def _widen(self) -> None:
        # Each of these divides the next, so that bins merge whole.
        widths = (5, 15, 60, 300, 900, 3600, 21_600, _DAY)
        wider = next((width for width in widths if width > self.width), self.width * 4)
        narrow, self._bins = self._bins, defaultdict(Bin)
        for number, old in narrow.items():
            merged = self._bins[number * self.width // wider]
            merged.done += old.done
            merged.failed += old.failed
        self.width = wider


@dataclass
class Cause:
    """One reason for failures. items: how many; children: how many failed as a whole for it."""

    category: str
    message: str
    hint: str
    example: str
    items: int = 0
    children: int = 0


class Causes:
    """Failures by category and by what their messages have in common."""

    def __init__(self) -> None:
        self.items = 0
        self._by_kind: dict[tuple[str, str], Cause] = {}

    def add_item(self, failed: Item) -> None:
        self.items += 1
        error = failed.error or Error(category="unknown", message="no reason is given", hint="")
        self._cause(error, failed.input).items += 1

    def add_child(self, failed: Child, error: Error) -> None:
        self._cause(error, failed.name).children += 1

    def worst(self) -> list[Cause]:
        return sorted(self._by_kind.values(), key=lambda cause: (-cause.items - cause.children, cause.message))

    def _cause(self, error: Error, example: str) -> Cause:
        message = normalised(error.message, example)
        if (error.category, message) not in self._by_kind and len(self._by_kind) >= _MOST_CAUSES:
            message = "other messages, too many to be told apart"
        return self._by_kind.setdefault(
            (error.category, message),
            Cause(category=error.category, message=message, hint=error.hint[:LONGEST_TEXT], example=example),
        )


_VARYING = (
    (re.compile(r"\b[a-z][a-z0-9+.-]{1,9}://[^\s'\"]+"), "<address>"),
    (re.compile(r"(?<![\w.])/[^\s'\":,;]+"), "<path>"),
    (re.compile(r"'[^']*'|\"[^\"]*\""), "'…'"),
    (re.compile(r"\b(?=[a-f]*[0-9])[0-9a-f]{8,}\b|\b0x[0-9a-f]+\b", re.IGNORECASE), "<id>"),
    (re.compile(r"\d+(?:\.\d+)?"), "<n>"),
)


def normalised(message: str, name: str) -> str:
    """The message without what differs from item to item: its name, addresses, paths, quotations, numbers."""
    text = message[:LONGEST_TEXT]
    for spelling in (name, name.rpartition("/")[2]):
        if len(spelling) > 2:
            text = text.replace(spelling, "<input>")
    for pattern, instead in _VARYING:
        text = pattern.sub(instead, text)
    return " ".join(text.split()) or "no message"
