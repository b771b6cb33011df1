"""When a job ends before its time: the first of its items all fail of one cause, and none has succeeded
(JOB_GIVE_UP_AFTER). Missing weights, or a network that is not there, would burn the hours of a GPU otherwise."""

import re
from collections.abc import Callable

from supervisor.failures import Failure
from supervisor.status.document import DONE, ITEM_FAILED, Outcome
from supervisor.work.plan import Item

# What differs between two items whose failures have one cause: addresses, paths, names of temporary files, numbers.
_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://\S+")
_PATH = re.compile(r"(?<![\w<])[\w.~-]*/[^\s'\",:;)\]]*")
_NUMBERED = re.compile(r"\S*[0-9]\S*|\btmp\w+")
_OWN = "\N{HORIZONTAL ELLIPSIS}"


class SameCause:
    """Is told of outcomes in the order of the work."""

    def __init__(self, enough: int, any_done: Callable[[], bool]) -> None:
        """enough: JOB_GIVE_UP_AFTER; any_done: whether an item has succeeded, be it told of or not."""
        self._enough = enough
        self._any_done = any_done
        self._first: Failure | None = None
        self._cause: tuple[int, str] | None = None
        self._count = 0

    def after(self, outcome: Outcome) -> Failure | None:
        """What the job ends with after this outcome, where it has more items; None: it goes on."""
        if not self._enough or outcome.state not in (DONE, ITEM_FAILED):
            return None
        failure = outcome.failure
        if failure is None or self._cause not in (None, cause := _cause(failure, outcome.item)):
            self._enough = 0
            return None
        self._first, self._cause = self._first or failure, cause
        self._count += 1
        if self._count < self._enough:
            return None
        enough, self._enough = self._enough, 0
        return None if self._any_done() else _given_up(enough, self._first)


def _given_up(enough: int, first: Failure) -> Failure:
    return type(first)(
        f"gave up: the first {enough} items failed of one cause and none has succeeded (JOB_GIVE_UP_AFTER is "
        f"{enough}); the first of them: {first.message}",
        f"{first.hint}. JOB_GIVE_UP_AFTER=0 has every item tried",
    )


def _cause(failure: Failure, item: Item) -> tuple[int, str]:
    """The exit code and the message, without what is the item's own."""
    message = failure.message
    for name in sorted({item.shown, item.uri, item.relative, item.file_name}, key=len, reverse=True):
        message = message.replace(name, _OWN)
    for own in (_URI, _PATH, _NUMBERED):
        message = own.sub(_OWN, message)
    return failure.code, message
