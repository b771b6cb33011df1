"""The pages of an OGG, which has no header that promises a length: each page promises its own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from voice_activity.files import Disagreement, FileBytes

HEAD = 27  # bytes of a page's head, before its table of segments
FIRST, LAST = 0x02, 0x04  # flags of a stream's first and last page
SEARCH_BLOCK = 2**16
SLACK = 4096  # bytes behind the last page that nobody misses


@dataclass(frozen=True)
class Page:
    flags: int
    end: int  # where the page ends, by its own table


def check(data: FileBytes, start: int) -> str:
    """Return what is to be noted of the OGG that begins at `start`. Raises Disagreement.

    libsndfile ends at the last page that is whole, and at the end of the first of several streams one behind the other.
    """
    sounding = ended = False
    end = start
    for page in _pages(data, start):
        if page.flags & FIRST and sounding:
            raise Disagreement(
                "several recordings one behind the other in one OGG, of which the decoder hears the first alone;"
                " take them apart"
            )
        if page.end > data.size:
            raise Disagreement(
                f"cut short: its last page lacks {page.end - data.size:,} bytes; copy it again, or repair it to"
                " hear what is there"
            )
        sounding = sounding or not page.flags & FIRST
        ended, end = bool(page.flags & LAST), page.end
    if ended or not sounding:
        return ""
    if data.size - end > SLACK and not data.is_zero(end):
        raise Disagreement(f"damaged: {data.size - end:,} bytes behind its last whole page are no page")
    return "no page of it is marked as the last, so that its end may be missing: all pages were read"


def _pages(data: FileBytes, position: int) -> Iterator[Page]:
    found: int | None = position
    while found is not None:
        head = data.at(found, HEAD + 255)
        if head[:4] == b"OggS":
            segments = head[26] if len(head) >= HEAD else 0
            position = found + HEAD + segments + sum(head[HEAD : HEAD + segments])
            yield Page(head[5] if len(head) > 5 else 0, position)
        else:
            position = found + 1
        found = _next_page(data, position)


def _next_page(data: FileBytes, position: int) -> int | None:
    """Return where the next page begins: nearly always at `position`."""
    for begin in range(position, data.size, SEARCH_BLOCK):
        found = data.at(begin, SEARCH_BLOCK + 3).find(b"OggS")
        if found >= 0:
            return begin + found
    return None
