"""Tables in Markdown."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence


def markdown_table(headings: Sequence[str], rows: Iterable[Sequence[str]], numbers: Collection[str] = ()) -> str:
    """A table, a row a line. numbers: the headings whose column is set to the right. Cells are taken as they are."""
    rules = ["--:" if heading in numbers else "---" for heading in headings]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (headings, rules, *rows))


def cell(text: str) -> str:
    """Text that may hold what Markdown would take for the end of a cell, or for a tag."""
    return text.replace("|", "\\|").replace("<", "&lt;").replace(">", "&gt;")
