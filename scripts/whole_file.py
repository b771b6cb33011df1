"""Files that appear whole or not at all: written beside their place, then moved there."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from supervisor.failures import OutputUnwritable


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Gives a path to write to; at the end of the block the file there takes the place of `path`, atomically.

    Where the block raises, `path` stays as it was. Raises OutputUnwritable for an OSError.
    """
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        if path.is_dir():
            raise IsADirectoryError(0, "is a folder")
        try:
            yield part
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        raise OutputUnwritable(
            f"{path}: cannot be written: {error.strerror}",
            "name a file in a folder that exists and is yours to write to",
        ) from None


def write_text(path: Path, text: str) -> None:
    """Writes `text` in UTF-8, whole or not at all. Raises OutputUnwritable."""
    with replacing(path) as part:
        part.write_text(text, encoding="utf-8")
