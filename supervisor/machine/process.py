"""What the supervisor is as a process: closed to its guest, the parent of every orphan, and how it exits."""

import ctypes
import os
from typing import NoReturn

from supervisor.machine import console

# <linux/prctl.h>
_PR_SET_DUMPABLE = 4
_PR_SET_CHILD_SUBREAPER = 36


def make_undumpable() -> None:
    """No process without CAP_SYS_PTRACE, which a default container's root lacks, can then read this one's environment
    and memory, credentials included."""
    _prctl(_PR_SET_DUMPABLE, 0)


def become_subreaper() -> None:
    """Makes processes whose parents died our children, as they are anyway where we are PID 1: none is lost."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def exit_with(code: int) -> NoReturn:
    """Ends the process, also where a thread hangs in a call that nothing wakes: the interpreter would wait for it, or
    crash in taking itself down around it."""
    console.flush()
    os._exit(code)


def _prctl(option: int, value: int) -> None:
    if ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
