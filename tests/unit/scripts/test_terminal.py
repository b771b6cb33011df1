"""Tables as people and as programs read them."""

from __future__ import annotations

import io

import pytest

from scripts.terminal import print_table

ROWS = [("yolov8", "image/* [video/*] and a good deal more that no line of eighty columns has room for", "60")]


def printed(out: io.StringIO) -> list[str]:
    print_table(("module", "takes", "minutes"), ROWS, {"minutes"}, out)
    return out.getvalue().splitlines()


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_row_is_one_line_where_there_is_no_terminal() -> None:
    [head, row] = printed(io.StringIO())

    assert head.split() == ["module", "takes", "minutes"]
    assert row.split("  ")[1] == ROWS[0][1]


def test_a_table_fits_the_terminal_and_names_stay_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TERM", "dumb")

    lines = printed(Terminal())
    assert max(map(len, lines)) <= 40
    assert any(line.startswith("yolov8") for line in lines)


def test_numbers_are_set_to_the_right() -> None:
    out = io.StringIO()
    print_table(("name", "MB"), [("a", "9"), ("b", "1234")], {"MB"}, out)

    assert out.getvalue().splitlines() == ["name    MB", "a        9", "b     1234"]
