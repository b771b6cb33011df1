"""One measured figure, and the file that keeps the last measured ones."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

RESULTS = Path(__file__).with_name("results.json")


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


def keep(group: str, figures: list[Figure]) -> None:
    """Writes one group's figures to results.json; the other groups stay."""
    kept = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    kept[group] = [asdict(figure) for figure in figures]
    RESULTS.write_text(json.dumps(kept, indent=2) + "\n")


def kept() -> list[Figure]:
    """All that were kept."""
    groups = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    return [Figure(**each) for group in groups.values() for each in group]


def table() -> str:
    """The kept figures as the README shows them."""
    rows = ["| figure | median | aim | beside |", "|---|--:|---|---|"]
    for figure in kept():
        aim = f"{figure.target} {figure.unit}".rstrip() if figure.target else ""
        rows.append(f"| {figure.name} | {figure.shown} {figure.unit} | {aim} | {figure.beside} |")
    return "\n".join(rows)
