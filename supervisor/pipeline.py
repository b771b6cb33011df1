"""Three stages that overlap: inputs come ahead of the model, the model is kept busy, results go out behind it.

    work ──▶ fetch ──▶ predict ──▶ store ──▶ told in the order of the work
             threads   one a model  threads │  │
      ▲                                     │  │
      │     Room: items, bytes on the disk  │  │
      ├─────────────────────────────────────┘  │
      │     _UNTOLD items                      │
      └────────────────────────────────────────┘

An item that ends early (skipped, failed) goes from its stage straight to the end. A stage that is slow fills what lies
before it, and so holds it back, down to the listing of the work: nothing grows with the number of items.

Where the model takes no time, what an item costs is threads that wake each other: fetchers take the work themselves,
and whichever thread ends an item tells of it.
"""

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any, Generic, Protocol, TypeVar

from supervisor.failures import Stopped
from supervisor.status.document import Outcome
from supervisor.work.plan import Item

# Items begun and not yet told of: how far the model may get ahead of one that takes long.
_UNTOLD = 4096
# Seconds for a prediction to give up once its model was ended.
_CUT_OFF = 2.0
# Seconds for whoever tells of an item at that moment: what it tells it to may take no more.
_LAST_TOLD = 1.0
# Seconds between two looks whether they have.
_LOOK = 0.02

Fetched = TypeVar("Fetched")
Predicted = TypeVar("Predicted")


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """How much may be under way at once. items, size: fetched and not yet stored; size: bytes on the local disk."""

    fetchers: int = 4
    predictors: int = 1
    storers: int = 4
    items: int = 64
    size: int = 1024**3


class Steps(Protocol[Fetched, Predicted]):
    """What the stages do with one item, each in its threads. An Outcome ends the item there and then; what is raised
    ends the job."""

    def fetch(self, item: Item, room: "Room") -> Fetched | Outcome:
        """Brings the input to the local disk, once the room has let its bytes in."""

    def predict(self, predictor: int, fetched: Fetched) -> Predicted | Outcome:
        """Runs the model. One predictor's calls come from one thread, one after the other."""

    def store(self, predicted: Predicted) -> Outcome:
        """Takes the result to where it belongs."""

    def no_more(self, predictor: int) -> None:
        """The predictor's last prediction is done."""

    def cut_off(self) -> None:
        """Ends every prediction that still runs. Called from the main thread."""


class Pipeline(Generic[Fetched, Predicted]):
    """One run through the stages. Its threads are daemons: one that hangs for good does not keep the process."""

    def __init__(self, steps: Steps[Fetched, Predicted], tell: Callable[[Outcome], None], bounds: Bounds) -> None:
        """tell: called with each outcome, in the order of the work and never twice at once, from any thread."""
        self._steps = steps
        self._room = Room(bounds)
        self._untold = _Slots(_UNTOLD)
        self._told = _InOrder(tell, self._untold)
        # All that the main thread ever waits for; unlike other queues it may be put to from a signal handler.
        self._end: SimpleQueue[BaseException | None] = SimpleQueue()
        self._stopping = self._cut = False
        self._store = _Stage("store", bounds.storers, self._stored, end=self._end)
        self._predict = _Stage("predict", bounds.predictors, self._predicted, self._store, end=self._end)
        self._fetch = _FirstStage("fetch", bounds.fetchers, self._fetched, self._predict, end=self._end)
        self._predict.after_last = steps.no_more

    def run(self, work: Iterable[Item]) -> None:
        """Returns when every item has ended and is told of. Raises what ends the job: `wind_down` comes then."""
        self._fetch.take = self._taking(iter(work))
        for stage in (self._fetch, self._predict, self._store):
            stage.begin()
        if (why := self._end.get()) is not None:
            raise why

    def add_predictor(self, begin: Callable[[int], bool], goes_on: Callable[[int], bool]) -> None:
        """One more, of the next number. Any thread may call it while the pipeline runs.

        begin: comes in the predictor's thread before its first item, goes_on before each further one; where they say
        False it takes no more.
        """
        self._predict.grow(begin, goes_on)

    def stop(self, why: BaseException) -> None:
        """Makes `run` raise it, at once. Signal handlers may call it."""
        self._end.put(why)

    def wind_down(self, predictions_until: Callable[[], float], uploads_until: Callable[[], float]) -> None:
        """Takes no new item, waits for what is being predicted, then for what is being stored, and tells of all that
        has ended. Both are moments of time.monotonic, which may come closer meanwhile."""
        self._stopping = True
        self._settle(self._predict, predictions_until)
        self._cut = True
        self._steps.cut_off()
        cut_off_until = time.monotonic() + _CUT_OFF
        self._settle(self._predict, lambda: cut_off_until)
        self._settle(self._store, uploads_until)
        self._told.flush(_LAST_TOLD)

    def _settle(self, stage: "_Stage", until: Callable[[], float]) -> None:
        """Waits until the stage has nothing in hand."""
        while stage.in_hand and time.monotonic() < until():
            time.sleep(_LOOK)

    # in threads

    def _taking(self, work: Iterator[Item]) -> Callable[[], Item | None]:
        """What gives one item of the work after the other, each once there is room for it, then None."""
        one_at_a_time = threading.Lock()

        def take() -> Item | None:
            self._untold.enter()
            self._room.enter()
            with one_at_a_time:
                item = None if self._stopping else next(work, None)
            if item is None:  # for the next fetcher, who may be waiting for just these
                self._room.leave()
                self._untold.leave()
            return item

        return take

    def _fetched(self, _: int, item: Item) -> None:
        if not self._stopping:
            self._pass_on(self._steps.fetch(item, self._room), self._predict)

    def _predicted(self, predictor: int, fetched: Fetched) -> None:
        if self._stopping:
            return
        ended = self._steps.predict(predictor, fetched)
        if not (self._cut and isinstance(ended, Outcome)):  # cut off is not failed: the next run does it
            self._pass_on(ended, self._store)

    def _stored(self, _: int, predicted: Predicted) -> None:
        self._pass_on(self._steps.store(predicted), None)

    def _pass_on(self, ended: object, following: "_Stage | None") -> None:
        if isinstance(ended, Outcome):
            if self._cut and isinstance(ended.failure, Stopped):  # cut off is not failed: the next run does it
                return
            self._room.leave(ended.item.index)
            self._told.add(ended)
        elif following:
            following.put(ended)


class Room:
    """The bounds on what is fetched and not yet stored."""

    def __init__(self, bounds: Bounds) -> None:
        self._items = _Slots(bounds.items)
        self.bound = bounds.size
        self._sizes: dict[int, int] = {}
        self._freed = threading.Condition()
        self._first_come = threading.Lock()  # else a large item would wait for as long as small ones come

    def enter(self) -> None:
        """Waits for room for one more item."""
        self._items.enter()

    def admit(self, index: int, size: int) -> None:
        """Waits for room for an item's bytes; one that is larger than the bound has the room for itself. One that was
        let in before, and needs more, gives up what it had and waits like any other."""
        if index in self._sizes:
            with self._freed:
                del self._sizes[index]
                self._freed.notify()
        with self._first_come, self._freed:
            while self._sizes and sum(self._sizes.values()) + size > self.bound:
                self._freed.wait()
            self._sizes[index] = size

    def settle(self, index: int, size: int) -> None:
        """The item that was let in turns out to have so many bytes, which are fewer."""
        with self._freed:
            self._sizes[index] = size
            self._freed.notify()

    def leave(self, index: int | None = None) -> None:
        """The item has ended, and its files are gone; None: there was no item after all."""
        if index in self._sizes:
            with self._freed:
                del self._sizes[index]
                self._freed.notify()
        self._items.leave()


class _Slots:
    """So many may be inside at once. threading.Semaphore is written in Python, and takes several locks for one."""

    def __init__(self, count: int) -> None:
        self._free: SimpleQueue[None] = SimpleQueue()
        for _ in range(count):
            self.leave()

    def enter(self) -> None:
        self._free.get()

    def leave(self) -> None:
        self._free.put(None)


class _Stage:
    """A queue and the threads that empty it. Closing it closes the next one, after the last of its work."""

    def __init__(
        self,
        name: str,
        threads: int,
        do: Callable[[int, Any], None],
        following: "_Stage | None" = None,
        *,
        end: "SimpleQueue[BaseException | None]",
    ) -> None:
        self._name, self._threads, self._left = name, threads, threads
        self._do = do
        self._following = following
        self._end = end
        self._queue: SimpleQueue[object] = SimpleQueue()
        self._lock = threading.Lock()
        self._closed = False
        self.in_hand = 0
        self.after_last: Callable[[int], None] = lambda _: None

    def begin(self) -> None:
        for number in range(self._threads):
            self._start(number, _always, _always)

    def grow(self, begin: Callable[[int], bool], goes_on: Callable[[int], bool]) -> None:
        """One thread more."""
        with self._lock:
            number = self._threads
            self._threads, self._left = self._threads + 1, self._left + 1
            if self._closed:
                self._queue.put(_CLOSED)
        self._start(number, begin, goes_on)

    def _start(self, number: int, begin: Callable[[int], bool], goes_on: Callable[[int], bool]) -> None:
        name = f"{self._name}-{number}"
        threading.Thread(target=self._work, args=(number, begin, goes_on), name=name, daemon=True).start()

    def put(self, piece: object) -> None:
        with self._lock:
            self.in_hand += 1
        self._queue.put(piece)

    def close(self) -> None:
        """No more comes: each thread ends when the queue is empty."""
        with self._lock:
            self._closed = True
            for _ in range(self._threads):
                self._queue.put(_CLOSED)

    def _next(self) -> object:
        return self._queue.get()

    def _work(self, number: int, begin: Callable[[int], bool], goes_on: Callable[[int], bool]) -> None:
        try:
            takes_more = begin(number)
            while takes_more and (piece := self._next()) is not _CLOSED:
                try:
                    self._do(number, piece)
                finally:
                    with self._lock:
                        self.in_hand -= 1
                takes_more = goes_on(number)
            self.after_last(number)
        except BaseException as why:  # raised in the main thread
            self._end.put(why)
            return
        with self._lock:
            self._left -= 1
            last = not self._left
        if last and self._following:
            self._following.close()
        elif last:
            self._end.put(None)


_CLOSED = object()


def _always(_: int) -> bool:
    return True


class _FirstStage(_Stage):
    """Has no queue: each of its threads takes the work itself, for as long as there is any."""

    take: Callable[[], Item | None]

    def _next(self) -> object:
        item = self.take()
        if item is None:
            return _CLOSED
        with self._lock:
            self.in_hand += 1
        return item


class _InOrder:
    """Outcomes as they come from any thread, told in the order of the work."""

    def __init__(self, tell: Callable[[Outcome], None], untold: _Slots) -> None:
        """untold: left once for each outcome that is told."""
        self._tell = tell
        self._untold = untold
        self._next = 0
        self._waiting: dict[int, Outcome] = {}
        self._telling = threading.Lock()
        self._over = False

    def add(self, outcome: Outcome) -> None:
        with self._telling:
            if self._over:
                return
            self._waiting[outcome.item.index] = outcome
            while (ready := self._waiting.pop(self._next, None)) is not None:
                self._tell(ready)
                self._next += 1
                self._untold.leave()

    def flush(self, patience: float) -> None:
        """Tells what is left, over the gaps of items that have not ended, and nothing after that. Not where a thread
        hangs in telling."""
        self._over = True
        if not self._telling.acquire(timeout=patience):
            return
        try:
            for index in sorted(self._waiting):
                self._tell(self._waiting.pop(index))
        finally:
            self._telling.release()
