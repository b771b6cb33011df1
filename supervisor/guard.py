"""What the supervisor is as a process: closed to its guest, parent of every orphan, and told to stop by signal."""

import ctypes
import os
import signal
from types import FrameType

from supervisor.failures import Stopped

# <linux/prctl.h>
_PR_SET_DUMPABLE = 4
_PR_SET_CHILD_SUBREAPER = 36


def close_to_the_guest() -> None:
    """Makes this process undumpable: its environment and memory, credentials included, can then be read by no
    process without CAP_SYS_PTRACE, which a default container's root lacks."""
    _prctl(_PR_SET_DUMPABLE, 0)


def adopt_orphans() -> None:
    """Makes processes whose parents died our children, as they are anyway where we are PID 1: none is lost."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def stop_on_signals() -> None:
    """SIGTERM and Ctrl-C raise Stopped, once, in the main thread; what comes after does not disturb the ending."""

    def stop(number: int, _: FrameType | None) -> None:
        for each in (signal.SIGTERM, signal.SIGINT):
            signal.signal(each, signal.SIG_IGN)
        raise Stopped(f"stopped by {signal.Signals(number).name}")

    for each in (signal.SIGTERM, signal.SIGINT):
        signal.signal(each, stop)
    # The image's launcher holds them back until now.
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM, signal.SIGINT})


def _prctl(option: int, value: int) -> None:
    if ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
