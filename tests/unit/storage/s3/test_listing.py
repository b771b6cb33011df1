"""A listing to its end, against servers of every sort: none of their keys is lost, and none comes twice."""

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from supervisor.storage import Invalid
from supervisor.storage.s3.listing import Listing


class Server:
    """A bucket that is listed some keys at a time.

    keys: in the order in which it lists them; tokens, start_after, marker: whether it knows these; overlap: how many
    keys of a page come again on the next.
    """

    def __init__(
        self, keys: list[str], page: int, *, tokens: bool, start_after: bool, marker: bool, overlap: int = 0
    ) -> None:
        self._keys, self._page, self._overlap = keys, page, overlap
        self._tokens, self._start_after, self._marker = tokens, start_after, marker
        self.asked = 0

    def __call__(self, operation: str, call: Mapping[str, Any]) -> dict[str, Any]:
        self.asked += 1
        after = call.get("StartAfter", "") if self._start_after else call.get("Marker", "") if self._marker else ""
        left = [key for key in self._keys if key.startswith(call["Prefix"]) and key > after]
        at = left.index(call["ContinuationToken"]) if "ContinuationToken" in call else 0
        page, rest = left[at : at + self._page], left[at + self._page :]
        next_ = left[at + max(1, self._page - self._overlap) :]
        token = {"NextContinuationToken": next_[0]} if self._tokens and rest else {}
        contents = [{"Key": key, "Size": 1} for key in page]
        return {"Name": "b", "IsTruncated": bool(rest), "Contents": contents, **token}


def listed(server: Server, after: str | None = None) -> list[str]:
    listing = Listing(server, lambda _: True, "s3://b/in/", "b", "in/", after)
    return [found.uri.removeprefix("s3://b/") for found in listing]


_KEYS = st.lists(st.text("ab%+/ é", min_size=1, max_size=4).map("in/".__add__), unique=True, max_size=30)


@given(keys=_KEYS, page=st.integers(1, 7), tokens=st.booleans(), start_after=st.booleans(), overlap=st.integers(0, 3))
def test_every_key_is_listed_once_and_in_order(
    keys: list[str], page: int, tokens: bool, start_after: bool, overlap: int
) -> None:
    server = Server(sorted(keys), page, tokens=tokens, start_after=start_after, marker=True, overlap=overlap)
    assert listed(server) == sorted(keys)
    assert server.asked <= 2 * len(keys) + 4


@given(keys=_KEYS, page=st.integers(1, 7), tokens=st.booleans(), start_after=st.booleans(), number=st.integers(0, 29))
def test_what_comes_after_a_key_is_listed(
    keys: list[str], page: int, tokens: bool, start_after: bool, number: int
) -> None:
    after = keys[number] if number < len(keys) else "in/b"
    server = Server(sorted(keys), page, tokens=tokens, start_after=start_after, marker=True)
    assert listed(server, after) == sorted(key for key in keys if key > after)


@given(keys=_KEYS, page=st.integers(1, 7), after=st.none() | st.just("in/a"))
def test_a_server_without_an_order_is_listed_by_its_tokens(keys: list[str], page: int, after: str | None) -> None:
    server = Server(keys, page, tokens=True, start_after=False, marker=False)
    assert listed(server, after) == [key for key in keys if key > (after or "")]


@given(keys=_KEYS, page=st.integers(1, 7))
def test_a_server_that_knows_no_way_on_is_never_listed_in_half(keys: list[str], page: int) -> None:
    server = Server(sorted(keys), page, tokens=False, start_after=False, marker=False)
    if len(keys) <= page:
        assert listed(server) == sorted(keys)
        return
    with pytest.raises(Invalid, match="comes to no end"):
        listed(server)
    assert server.asked <= 4


@given(keys=_KEYS, page=st.integers(1, 7))
def test_a_server_without_an_order_and_without_tokens_is_never_listed_in_half(keys: list[str], page: int) -> None:
    assume(keys[:page] != sorted(keys[:page]))  # else nobody could tell
    server = Server(keys, page, tokens=False, start_after=True, marker=True)
    try:
        assert sorted(listed(server)) == sorted(keys)
    except Invalid as error:
        assert "comes to no end" in str(error)  # noqa: PT017 - either will do
