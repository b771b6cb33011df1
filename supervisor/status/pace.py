"""How fast items end now, and how long the rest will take at that."""

import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

# Seconds that the pace is taken over: long enough to be steady, short enough to forget a run of skipped items.
_WINDOW = 60.0
_SAMPLES = 60


class Pace:
    """Items a second over the last minute, from at most one sample a second."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._samples: deque[tuple[float, int]] = deque([(clock(), 0)], maxlen=_SAMPLES + 1)

    def now(self, counts: Mapping[str, Any]) -> tuple[float | None, float | None]:
        """(items a second, seconds left), each None while there is nothing to go by."""
        ended, moment = counts["done"] + counts["skipped"] + counts["failed"], self._clock()
        if moment - self._samples[-1][0] >= _WINDOW / _SAMPLES:
            self._samples.append((moment, ended))
        while len(self._samples) > 2 and moment - self._samples[1][0] > _WINDOW:
            self._samples.popleft()
        since, before = self._samples[0]
        if moment <= since or ended <= before:
            return None, None
        rate = (ended - before) / (moment - since)
        return rate, None if counts.get("listing") else counts["pending"] / rate
