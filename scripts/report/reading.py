"""Documents and lines out of files that may be cut off, broken or hostile; all that is left out is counted."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import IO, Any

from scripts.report.places import Source, Unreadable, opened_ahead
from scripts.report.status import Child, Malformed, child

DOCUMENT = ".json"
LONGEST_LINE = 8 * 1024 * 1024
_LONGEST_DOCUMENT = 16 * 1024 * 1024
SHOWN_FAULTS = 12


@dataclass
class Faults:
    """What could not be read: how much of each kind, and the first few by name."""

    kinds: Counter[str] = field(default_factory=Counter)
    first: list[str] = field(default_factory=list)

    def add(self, kind: str, where: str, why: str) -> None:
        self.kinds[kind] += 1
        if len(self.first) < SHOWN_FAULTS:
            self.first.append(f"{where}: {why}")


def documents(place: Source, names: Iterable[str], faults: Faults) -> Iterator[Child]:
    """Every status document among the files."""
    for name, file in opened_ahead(place, names):
        try:
            yield child(name.removesuffix(DOCUMENT), document(file))
        except Malformed as error:
            faults.add("document", name, str(error))


def document(file: IO[bytes] | Unreadable) -> Any:
    if isinstance(file, Unreadable):
        raise Malformed(f"cannot be read: {file}")
    with file:
        try:
            raw = file.read(_LONGEST_DOCUMENT + 1)
        except OSError as error:
            raise Malformed(f"cannot be read: {error}") from None
    if len(raw) > _LONGEST_DOCUMENT:
        raise Malformed("is too large for a status document")
    return _parsed(raw)


def _parsed(raw: bytes) -> Any:
    try:
        return json.loads(raw)
    except (ValueError, RecursionError):
        raise Malformed("is empty" if not raw.strip() else "is not JSON") from None


def rows(name: str, file: IO[bytes] | Unreadable, faults: Faults) -> Iterator[tuple[int, Any]]:
    """(line number, value) of every line that is JSON. A file's last line may be cut off: its job was killed, or
    is writing it."""
    if isinstance(file, Unreadable):
        faults.add("file", name, f"cannot be read: {file}")
        return
    with file:
        for number, line in enumerate(_lines(name, file, faults), 1):
            if line is None:
                faults.add("line", f"{name}, line {number}", f"is longer than {LONGEST_LINE // 2**20} MiB")
                continue
            if line.isspace():
                continue
            try:
                yield number, _parsed(line)
            except Malformed as error:
                if line.endswith(b"\n"):
                    faults.add("line", f"{name}, line {number}", str(error))
                else:
                    faults.add("cut", f"{name}, line {number}", "is cut off")


def _lines(name: str, file: IO[bytes], faults: Faults) -> Iterator[bytes | None]:
    """Line after line; None for one that is too long to be held."""
    try:
        while line := file.readline(LONGEST_LINE):
            if len(line) < LONGEST_LINE or line.endswith(b"\n"):
                yield line
                continue
            while (rest := file.readline(LONGEST_LINE)) and not rest.endswith(b"\n"):
                pass
            yield None
    except OSError as error:
        faults.add("file", name, f"cannot be read: {error}")
