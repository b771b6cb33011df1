"""What the operator's commands say: failures, a line each, and tables."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterable, Sequence
from typing import TextIO

from supervisor.failures import Failure
from supervisor.machine import console
from supervisor.status.redaction import redacted

# Where no terminal says how wide it is, no cell is folded: what reads a pipe wants a row on one line.
_UNBOUNDED = 10_000


def tell(command: str, failure: Failure) -> None:
    """Says on stderr, in one line, what went wrong and what to do. command: the subcommand, where there is one."""
    name = f"deepaas-batch {command}".strip()
    line = f"{name}: {failure.message} (exit {failure.code}, {failure.category}). To do: {failure.hint}"
    console.say(redacted(line))


def print_table(
    headings: Sequence[str],
    rows: Iterable[Sequence[str]],
    numbers: Collection[str] = (),
    file: TextIO | None = None,
) -> None:
    """Prints aligned columns on stdout, or to `file`. numbers: the headings whose column is set to the right."""
    # Imported here, for who lacks the extra `host` is to be told so in a line.
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    out = Console(file=file or sys.stdout, highlight=False)
    if not out.is_terminal:
        out.width = _UNBOUNDED
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for number, heading in enumerate(headings):
        # Names stay whole, for people copy them.
        table.add_column(Text(heading), justify="right" if heading in numbers else "left", no_wrap=number == 0)
    for row in rows:
        table.add_row(*map(Text, row))
    out.print(table)
