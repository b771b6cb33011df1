"""Files that appear whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from scripts.whole_file import replacing, write_text
from supervisor.failures import OutputUnwritable


def test_a_file_is_replaced_by_what_was_written(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("before")
    write_text(tmp_path / "a", "after")

    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("a", "after")]


def test_a_file_stays_as_it_was_where_writing_fails_half_way(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("before")

    def write() -> None:
        with replacing(tmp_path / "a") as part:
            part.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        write()
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("a", "before")]


@pytest.mark.parametrize("place", [".", "none/a"])
def test_a_place_that_cannot_be_written_is_refused(place: str, tmp_path: Path) -> None:
    with pytest.raises(OutputUnwritable, match="cannot be written"):
        write_text(tmp_path / place, "text")
    assert list(tmp_path.iterdir()) == []
