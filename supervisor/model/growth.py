"""How many copies of the model there are where the job leaves it to us (JOB_WORKERS=auto):
docs/decisions/0009-how-many-copies.md."""

import math
import time
from collections.abc import Callable

# What a step has to run before its rate counts for the next one, and before it counts against the step itself: a
# moment's trouble on a shared machine is no reason to go back. Items for each copy, and seconds.
_UP, _BACK = (4, 0.5), (16, 5.0)
# The part of what further copies could bring at best that they must bring to stay.
_WORTH = 0.2


class Growth:
    """Twice as many copies at each step, for as long as the rate grows and the machine carries them; all there may be
    where twice as many leave out but one.

    Called from the copies' threads, one at a time. The first step is taken as soon as one item shows what a copy takes:
    its rate is compared with that of the first copy while the second was being loaded. Each later step waits for the
    rate of the one before.
    """

    def __init__(self, most: int, carried: Callable[[], int], clock: Callable[[], float] = time.monotonic) -> None:
        """most: copies, as many as there are cores or items; carried: asked before each step, how many find room."""
        self.wanted = 1
        self.most = most
        self._carried = carried
        self._clock = clock
        self._predicting = 1
        self._settled = most == 1
        self._began: float | None = None
        self._items = 0
        self._earlier = 1  # copies of the step before
        self._before: float | None = None  # its rate

    @property
    def following(self) -> int:
        """How many there are after the next step, if it is taken."""
        double = 2 * self.wanted
        return self.most if double + 1 >= self.most else double

    def ended(self) -> None:
        """An item has been predicted. Changes `wanted` where that is called for."""
        if self._settled:
            return
        if self._began is None:  # the very first: the clock starts with its end
            self._began = self._clock()
            self._step()
            return
        self._items += 1
        if self._predicting < self.wanted:  # some are being loaded
            return
        if not self._has_run(*_UP):
            return
        rate = self._rate()
        if self._before is None or rate >= self._before * (1 + _WORTH * (self._predicting / self._earlier - 1)):
            self._before = rate
            self._step()
        elif self._has_run(*_BACK):
            self._settle(self._earlier)

    def arrived(self) -> None:
        """One more copy is ready."""
        self._predicting += 1
        if self._predicting == self.wanted:
            if self._before is None and self._items:
                self._before = self._rate()
            self._began, self._items = self._clock(), 0

    def lost(self) -> None:
        """A copy has died for want of memory: back to the step before, and no further."""
        self._settle(self._earlier)

    def not_loaded(self, copy: int) -> None:
        """A copy cannot be had: those before it stay, and there are no more."""
        self._settle(min(self.wanted, max(self._earlier, copy)))

    def _step(self) -> None:
        self.most = max(1, min(self.most, self._carried()))
        if self.most <= self.wanted:
            self._settle(self.wanted)
        else:
            self._earlier, self.wanted = self.wanted, self.following

    def _settle(self, copies: int) -> None:
        self.wanted, self._settled = copies, True

    def _has_run(self, items: int, seconds: float) -> bool:
        return self._items >= items * self._predicting and self._clock() - (self._began or 0.0) >= seconds

    def _rate(self) -> float:
        """Items a second of this step so far."""
        seconds = self._clock() - (self._began or 0.0)
        return self._items / seconds if seconds > 0 else math.inf
