"""The bar at the foot of a terminal while a job of several items runs.

It is made of ASCII alone, one column a character, and is cut to the terminal: what wraps could not be taken back.
"""

from collections.abc import Mapping
from typing import Any

_LONGEST_BAR = 30
ERASE = "\r\x1b[K"


def line(counts: Mapping[str, Any], rate: float | None, seconds_left: float | None, width: int) -> str:
    """One line of fewer than `width` columns: what matters least is left out first."""
    ended = counts["done"] + counts["skipped"] + counts["failed"]
    total = None if counts.get("listing") else counts["total"]
    parts = [f"{ended}/{'?' if total is None else total}"]
    if counts["failed"]:
        parts.append(f"{counts['failed']} failed")
    if seconds_left is not None and total is not None:
        parts.append(f"{duration(seconds_left)} left")
    if rate is not None:
        parts.append(f"{rate:.{1 if rate < 100 else 0}f}/s")
    if counts["skipped"]:
        parts.append(f"{counts['skipped']} skipped")
    while len(parts) > 1 and len("  ".join(parts)) >= width:
        parts.pop()
    text = "  ".join(parts)
    room = min(_LONGEST_BAR, width - 1 - len(text) - len("[] "))
    if total and room >= 5:
        filled = room * min(ended, total) // total
        text = f"[{'#' * filled}{'-' * (room - filled)}] {text}"
    return text[: max(0, width - 1)]


def duration(seconds: float) -> str:
    """1:05, 2:03:04, 3d 04h."""
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    days, hour = divmod(hours, 24)
    if days:
        return f"{days}d {hour:02}h"
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"
