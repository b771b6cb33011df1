"""The README's figures and its plot, from what `make bench` kept in benchmarks/results.json."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scripts.checkout import ROOT
from scripts.docs.markdown import markdown_table

RESULTS = ROOT / "benchmarks" / "results.json"


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A median, its unit, what it should reach, and what it was measured beside. bar: its name in the plot."""

    name: str
    value: float
    unit: str
    target: str = ""
    beside: str = ""
    bar: str = ""

    @property
    def shown(self) -> str:
        return f"{self.value:,.0f}" if self.value >= 1000 else f"{self.value:.3g}"


def kept(path: Path = RESULTS) -> list[Figure]:
    """All that were kept, a group after the other."""
    groups: dict[str, list[dict[str, Any]]] = json.loads(path.read_text()) if path.exists() else {}
    return [Figure(**each) for group in groups.values() for each in group]


def table() -> str:
    """The kept figures as the README shows them."""
    rows = []
    for each in kept():
        aim = f"{each.target} {each.unit}".rstrip() if each.target else ""
        rows.append((each.name, f"{each.shown} {each.unit}", aim, each.beside))
    return markdown_table(("figure", "median", "aim", "beside"), rows, {"median"})
