"""Which of two Debian versions is the newer one, on machines that have no dpkg."""

from __future__ import annotations

import re
from typing import Any


def order(version: str) -> tuple[Any, ...]:
    """A version as what sorts: epoch, upstream version, revision. The rules: deb-version(7)."""
    epoch, colon, rest = version.partition(":")
    upstream, _, revision = (rest if colon else version).rpartition("-")
    if not upstream:
        upstream, revision = revision, ""
    return int(epoch) if colon else 0, _parts(upstream), _parts(revision)


def _parts(text: str) -> list[tuple[list[int], int]]:
    """Letters and digits in turn, digits as a number. A tilde sorts before the end, the end before letters, letters
    before all else; nothing is the same as 0."""
    parts = [
        ([*(_weight(c) for c in others), 0], int(digits or 0))
        for others, digits in re.findall(r"([^0-9]*)([0-9]*)", text)
    ]
    while parts and parts[-1] == ([0], 0):
        parts.pop()
    return [*parts, ([0], 0)]


def _weight(character: str) -> int:
    if character == "~":
        return -1
    return ord(character) if character.isalpha() else 256 + ord(character)
