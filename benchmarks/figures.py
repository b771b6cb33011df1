"""The file that keeps the last measured figures; the README's table and plot are made from it (scripts/docs)."""

import json
from dataclasses import asdict

from scripts.docs.figures import RESULTS, Figure

__all__ = ["Figure", "keep"]


def keep(group: str, figures: list[Figure]) -> None:
    """Writes one group's figures to results.json; the other groups stay."""
    kept = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    kept[group] = [asdict(figure) for figure in figures]
    RESULTS.write_text(json.dumps(kept, indent=2) + "\n")
