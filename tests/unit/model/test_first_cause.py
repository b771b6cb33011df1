"""What is told of an exception of a module's: the first error, and the last where that is another."""

from collections.abc import Callable

import pytest

from supervisor.model.worker import described


def raised(fails: Callable[[], object]) -> BaseException:
    try:
        fails()
    except BaseException as error:
        return error
    raise AssertionError("it did not fail")


def no_sound() -> None:
    raise ValueError("no sound")


def from_it() -> None:
    try:
        no_sound()
    except ValueError as error:
        raise RuntimeError("bad request") from error


def in_its_handling() -> None:
    try:
        no_sound()
    except ValueError as error:
        print("\n" in error)  # type: ignore[operator]  # as aiohttp does with a reason


def with_none() -> None:
    try:
        no_sound()
    except ValueError:
        raise RuntimeError("no sound in a.wav") from None


def says_it_itself() -> None:
    try:
        no_sound()
    except ValueError as error:
        raise RuntimeError(f"failed: {error}") from error


def several_at_once() -> None:
    raise ExceptionGroup("2 of them", [ValueError("no sound"), KeyError("x")])


def of_itself() -> None:
    error = ValueError("no sound")
    error.__context__ = error
    raise error


class Mute(Exception):
    def __str__(self) -> str:
        raise AttributeError("message")


def says_nothing() -> None:
    raise Mute


@pytest.mark.parametrize(
    ("fails", "told"),
    [
        (no_sound, "ValueError: no sound"),
        (from_it, "ValueError: no sound (then RuntimeError: bad request)"),
        (in_its_handling, "ValueError: no sound (then TypeError: argument of type 'ValueError' is not iterable)"),
        (with_none, "RuntimeError: no sound in a.wav"),
        (says_it_itself, "ValueError: no sound (then RuntimeError: failed: no sound)"),
        (several_at_once, "ValueError: no sound (then ExceptionGroup: 2 of them (2 sub-exceptions))"),
        (of_itself, "ValueError: no sound"),
        (says_nothing, "Mute"),
    ],
)
def test_the_first_error_is_told(fails: Callable[[], None], told: str) -> None:
    assert described(raised(fails)) == told


def test_a_long_one_is_cut() -> None:
    assert len(described(ValueError("x" * 100_000))) < 2100
