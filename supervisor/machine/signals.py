"""Stop signals: SIGTERM, Ctrl-C and a hang-up end a job once, in order, and nothing disturbs its ending."""

import ctypes
import os
import select
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from queue import Empty, SimpleQueue
from types import FrameType
from typing import TypeVar

from supervisor.failures import Stopped

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
# Interrupts a system call, and means nothing else here.
_WAKE = signal.SIGUSR1
# Seconds that a reader of our output may take nothing once we were stopped.
_READER = 0.5
# Seconds between two looks whether a stop has come.
_LOOK = 0.2

T = TypeVar("T")


def _raise(stopped: Stopped) -> None:
    raise stopped


def _note(_: Stopped) -> None:
    """It is among _came."""


# Who is told of a stop: the last of them.
_receivers: list[Callable[[Stopped], None]] = [_raise]
# The stop that came, if one did.
_came: list[Stopped] = []


def handle_stop_signals() -> None:
    """SIGTERM, Ctrl-C and SIGHUP raise Stopped, once, in the main thread; what comes after does not disturb the ending,
    and neither does a reader of our output that takes none. A SIGHUP that nohup has switched off stays so."""
    stopped: SimpleQueue[None] = SimpleQueue()
    _receivers[:], _came[:] = [_raise], []

    def stop(number: int, _: FrameType | None) -> None:
        for each in STOP_SIGNALS:
            signal.signal(each, signal.SIG_IGN)
        stopped.put(None)
        _came.append(Stopped(f"stopped by {signal.Signals(number).name}"))
        _receivers[-1](_came[0])

    for each in STOP_SIGNALS:
        if each != signal.SIGHUP or signal.getsignal(each) != signal.SIG_IGN:
            signal.signal(each, stop)
    signal.signal(_WAKE, lambda *_: None)
    threading.Thread(target=_drop_stalled_outputs, args=(stopped,), name="output", daemon=True).start()
    # The image's launcher holds them back until now.
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)


def _drop_stalled_outputs(stopped: "SimpleQueue[None]") -> None:
    """Once stopped: an output that takes nothing for a while, such as a log driver's that has lost its server, is given
    up. Threads that hang in writing to it are woken, and find it gone to nowhere."""
    stopped.get()
    libc = ctypes.CDLL(None)
    outputs = {1, 2}
    while outputs:
        time.sleep(_READER)
        for each in list(outputs):
            taking = select.poll()
            taking.register(each, select.POLLOUT)
            if not taking.poll(_READER * 1000):
                outputs.remove(each)
                os.dup2(os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC), each)
                for thread in threading.enumerate():  # pthread_kill may crash on one that has just ended
                    libc.tgkill(os.getpid(), thread.native_id or 0, _WAKE)


@contextmanager
def stops_delivered_to(receive: Callable[[Stopped], None]) -> Iterator[None]:
    """Work in the main thread that must not be left in its middle: it is told of a stop instead, and raises it."""
    _receivers.append(receive)
    try:
        yield
    finally:
        _receivers.pop()


@contextmanager
def stops_raised() -> Iterator[None]:
    """Work that a stop ends, also one that came before it began."""
    with stops_delivered_to(_raise):
        if _came:
            raise _came[0]
        yield


def note_stops() -> None:
    """From now on a stop raises nothing, but where `stops_raised` says so: what is under way has an end of its own, or
    its outcome stands. It brings the moments of `closer` nearer, and has stalled outputs dropped."""
    _receivers.append(_note)


def noting_stops() -> AbstractContextManager[None]:
    """The same within a block."""
    return stops_delivered_to(_note)


def closer(until: float, after_stop: float) -> Callable[[], float]:
    """A moment of time.monotonic, as it stands: a stop brings it closer, to so many seconds after itself."""
    return lambda: min(until, _came[0].at + after_stop) if _came else until


def get_until(queue: "SimpleQueue[T]", until: Callable[[], float]) -> T:
    """What comes from the queue by a moment that may come closer meanwhile. Raises Empty."""
    while True:
        left = until() - time.monotonic()
        try:
            return queue.get(timeout=max(0.0, min(left, _LOOK)))
        except Empty:
            if left <= _LOOK:
                raise
