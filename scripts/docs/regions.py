"""Generated parts of a document written by hand: what stands between two marks is replaced, the rest is left alone."""

from __future__ import annotations

import re


class NoSuchRegion(Exception):
    """The document has no such region, or not exactly one; the message is one line for the person who asked."""


def replace_region(text: str, name: str, body: str) -> str:
    """Return `text` with `body` between `<!-- name:begin -->` and `<!-- name:end -->`, which stay.

    The marks are wanted once each, in this order; else NoSuchRegion is raised.
    """
    begin, end = f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
    if text.count(begin) != 1 or text.count(end) != 1 or text.index(begin) > text.index(end):
        raise NoSuchRegion(f"wants one line {begin} and after it one line {end}; the generated text goes between them")
    region = re.compile(f"(?<={re.escape(begin)}).*(?={re.escape(end)})", re.DOTALL)
    # A function, for a replacement text would have its backslashes read.
    return region.sub(lambda _: f"\n{body.strip()}\n", text)
