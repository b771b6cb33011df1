"""Generated regions of a document written by hand."""

from __future__ import annotations

import pytest

from scripts.docs.regions import NoSuchRegion, replace_region


def document(inside: str) -> str:
    return f"above\n<!-- codes:begin -->\n{inside}\n<!-- codes:end -->\nbelow\n"


def test_only_what_stands_between_the_marks_is_replaced() -> None:
    assert replace_region(document("old\nlines"), "codes", "new") == document("new")


def test_replacing_twice_changes_nothing_more() -> None:
    assert replace_region(document("new"), "codes", "new\n") == document("new")


def test_marks_side_by_side_are_enough() -> None:
    empty = "<!-- codes:begin --><!-- codes:end -->"
    assert replace_region(empty, "codes", "new") == "<!-- codes:begin -->\nnew\n<!-- codes:end -->"


def test_a_backslash_stays_a_backslash() -> None:
    assert replace_region(document("old"), "codes", r"a \1 \n b") == document(r"a \1 \n b")


def test_another_region_is_left_alone() -> None:
    other = "<!-- flags:begin -->\nflags\n<!-- flags:end -->\n"
    assert replace_region(other + document("old"), "codes", "new") == other + document("new")


@pytest.mark.parametrize(
    "text",
    ["", "<!-- codes:begin -->", "<!-- codes:end --><!-- codes:begin -->", document("a") + document("b")],
)
def test_marks_that_are_not_one_pair_are_an_error_that_says_so(text: str) -> None:
    with pytest.raises(NoSuchRegion, match="one line <!-- codes:begin --> and after it one line <!-- codes:end -->"):
        replace_region(text, "codes", "new")
