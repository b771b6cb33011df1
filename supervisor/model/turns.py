"""Who predicts beside whom in one job, and whether two copies have written their answers to one file."""

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum, auto

from supervisor.model.runner import Origin

# Files of answers that are remembered: a file of one name for all is used again at once.
_PATHS = 64


class Turns:
    """Usually every copy predicts beside the others; an item that killed its model, or whose answer may be another's,
    is tried with none beside it."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._inside = 0
        self._alone = 0  # who predict alone, or wait for it: they come first
        self._one_by_one = False

    @contextmanager
    def beside_others(self) -> Iterator[None]:
        with self._changed:
            self._changed.wait_for(lambda: not self._alone and not (self._one_by_one and self._inside))
            self._inside += 1
        try:
            yield
        finally:
            self._leave()

    @contextmanager
    def alone(self) -> Iterator[None]:
        with self._changed:
            self._alone += 1
            self._changed.wait_for(lambda: not self._inside)
            self._inside += 1
        try:
            yield
        finally:
            with self._changed:
                self._alone -= 1
            self._leave()

    @property
    def are_one_by_one(self) -> bool:
        return self._one_by_one

    def one_by_one(self) -> bool:
        """From now on none predicts beside another; whether it was otherwise before."""
        with self._changed:
            before, self._one_by_one = self._one_by_one, True
            return not before

    def _leave(self) -> None:
        with self._changed:
            self._inside -= 1
            self._changed.notify_all()


class Sharing(Enum):
    """Whether two predictions had one file. POSSIBLE: one of them failed, and where it had written nobody knows."""

    NONE = auto()
    POSSIBLE = auto()
    CERTAIN = auto()


@dataclass(eq=False, slots=True)
class Ran:
    """What others know of a prediction that ran beside them. origin: the file that its answer came from, if any."""

    ended: bool = False
    failed: bool = False
    origin: Origin | None = None


@dataclass(eq=False, slots=True)
class Prediction:
    """One prediction, with all that ran at some moment of it. used_before: its file has held an earlier answer."""

    ran: Ran = field(default_factory=Ran)
    beside: list[Ran] = field(default_factory=list)
    used_before: bool = False


class Overlaps:
    """Which predictions ran at the same time. Two that answered through one file may each have the other's answer."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._running: list[Prediction] = []
        self._paths: deque[str] = deque(maxlen=_PATHS)

    def begin(self, prediction: Prediction) -> None:
        with self._changed:
            prediction.beside.extend(other.ran for other in self._running)
            for other in self._running:
                other.beside.append(prediction.ran)
            self._running.append(prediction)

    def end(self, prediction: Prediction, origin: Origin | None, *, failed: bool) -> None:
        ran = prediction.ran
        with self._changed:
            ran.ended, ran.failed, ran.origin = True, failed, origin
            self._running.remove(prediction)
            if origin:
                prediction.used_before = origin.path in self._paths
                self._paths.append(origin.path)
            self._changed.notify_all()

    def sharing(self, prediction: Prediction) -> Sharing:
        """Whether its answer may be another's, or its failure another's doing. Waits until all that ran beside it have
        ended."""
        with self._changed:
            self._changed.wait_for(lambda: all(other.ended for other in prediction.beside))
        origin, beside = prediction.ran.origin, prediction.beside
        if origin is None:
            failed = prediction.ran.failed and any(other.origin for other in beside)
            return Sharing.POSSIBLE if failed else Sharing.NONE
        if any(other.origin.is_also(origin) if other.origin else other.failed and prediction.used_before
               for other in beside):  # fmt: skip
            return Sharing.CERTAIN
        # The file of its answer is no other's, but one that failed has told of none.
        return Sharing.POSSIBLE if any(other.failed for other in beside) else Sharing.NONE
