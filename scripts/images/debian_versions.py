"""Which of two Debian versions is the newer one, on machines that have no dpkg."""

from __future__ import annotations

import re
from functools import total_ordering
from itertools import zip_longest


@total_ordering
class Version:
    """A Debian version, as it sorts: epoch, upstream version, revision. The rules: deb-version(7)."""

    def __init__(self, text: str) -> None:
        epoch, colon, rest = text.partition(":")
        upstream, _, revision = (rest if colon else text).rpartition("-")
        if not upstream:
            upstream, revision = revision, ""
        self._epoch = int(epoch) if colon else 0
        self._texts = _parts(upstream), _parts(revision)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Version) and self._compared(other) == 0

    def __lt__(self, other: Version) -> bool:
        return self._compared(other) < 0

    def __hash__(self) -> int:
        return hash(self._epoch)  # what else equal versions share is not worth finding: 1.0 and 1.00 are equal

    def _compared(self, other: Version) -> int:
        if self._epoch != other._epoch:
            return self._epoch - other._epoch
        for mine, theirs in zip(self._texts, other._texts, strict=True):
            for part, its in zip_longest(mine, theirs, fillvalue=_NOTHING):
                if part != its:
                    return -1 if part < its else 1
        return 0


_Part = tuple[list[int], int]
_NOTHING: _Part = ([0], 0)


def _parts(text: str) -> list[_Part]:
    """Letters and digits in turn, digits as a number. A tilde sorts before the end, the end before letters, letters
    before all else; nothing is the same as 0."""
    return [
        ([*(_weight(c) for c in others), 0], int(digits or 0))
        for others, digits in re.findall(r"([^0-9]*)([0-9]*)", text)
    ]


def _weight(character: str) -> int:
    if character == "~":
        return -1
    return ord(character) if character.isalpha() else 256 + ord(character)
