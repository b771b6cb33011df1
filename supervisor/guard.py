"""What the supervisor is as a process: closed to its guest, parent of every orphan, and told to stop by signal.

And whom its guest becomes (JOB_RUN_AS)."""

import contextlib
import ctypes
import os
import pwd
import select
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from types import FrameType
from typing import NoReturn

from supervisor.failures import BadUsage, DiskTrouble, Stopped

# <linux/prctl.h>
_PR_SET_DUMPABLE = 4
_PR_SET_CHILD_SUBREAPER = 36
# Interrupts a system call, and means nothing else here.
_WAKE = signal.SIGUSR1
# Seconds that a reader of our output may take nothing once we were stopped.
_READER = 0.5


@dataclass(frozen=True, kw_only=True)
class User:
    """Whom a guest runs as, where that is not us."""

    uid: int
    gid: int


def close_to_the_guest() -> None:
    """Makes this process undumpable: its environment and memory, credentials included, can then be read by no
    process without CAP_SYS_PTRACE, which a default container's root lacks."""
    _prctl(_PR_SET_DUMPABLE, 0)


def adopt_orphans() -> None:
    """Makes processes whose parents died our children, as they are anyway where we are PID 1: none is lost."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def _raise(stopped: Stopped) -> None:
    raise stopped


# Who is told of a stop: the last of them.
_listeners: list[Callable[[Stopped], None]] = [_raise]


def stop_on_signals() -> None:
    """SIGTERM and Ctrl-C raise Stopped, once, in the main thread; what comes after does not disturb the ending, and
    neither does a reader of our output that takes none."""
    stopped: SimpleQueue[None] = SimpleQueue()

    def stop(number: int, _: FrameType | None) -> None:
        for each in (signal.SIGTERM, signal.SIGINT):
            signal.signal(each, signal.SIG_IGN)
        stopped.put(None)
        _listeners[-1](Stopped(f"stopped by {signal.Signals(number).name}"))

    for each in (signal.SIGTERM, signal.SIGINT):
        signal.signal(each, stop)
    signal.signal(_WAKE, lambda *_: None)
    threading.Thread(target=_wait_for_no_reader, args=(stopped,), name="output", daemon=True).start()
    # The image's launcher holds them back until now.
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM, signal.SIGINT})


def _wait_for_no_reader(stopped: "SimpleQueue[None]") -> None:
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
def stops_told_to(tell: Callable[[Stopped], None]) -> Iterator[None]:
    """Work in the main thread that must not be left in its middle: it is told of a stop instead, and raises it."""
    _listeners.append(tell)
    try:
        yield
    finally:
        _listeners.pop()


@contextmanager
def undisturbed() -> Iterator[None]:
    """An ending, which SIGTERM and Ctrl-C cannot bring about any sooner."""
    handlers = {each: signal.signal(each, signal.SIG_IGN) for each in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for each, handler in handlers.items():
            signal.signal(each, handler)


def leave(code: int) -> NoReturn:
    """Ends the process, also where a thread hangs in a call that nothing wakes: the interpreter would wait for it, or
    crash in taking itself down around it."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    if threading.active_count() > 1:
        os._exit(code)
    sys.exit(code)


def user(run_as: str) -> User:
    """Whom JOB_RUN_AS means: a uid, uid:gid or a name. Raises BadUsage where there is none, or we may not become it."""
    uid, _, gid = run_as.partition(":")
    try:
        if uid.isdigit():
            found = User(uid=int(uid), gid=int(gid) if gid else _group_of(int(uid)))
        else:
            entry = pwd.getpwnam(run_as)
            found = User(uid=entry.pw_uid, gid=entry.pw_gid)
    except KeyError:
        raise BadUsage(
            f"JOB_RUN_AS is {run_as!r}: the image has no such user", "use a uid or uid:gid, such as 1000:1000"
        ) from None
    if os.geteuid() != 0:
        raise BadUsage(
            f"JOB_RUN_AS is {run_as!r}, but the supervisor runs as user {os.geteuid()}, who cannot become another",
            "run the container as root (the job definition's or `docker run --user`), or leave JOB_RUN_AS out",
        )
    return found


def _group_of(uid: int) -> int:
    """The user's own group where the image knows one, else the group of the same number, as useradd makes it."""
    try:
        return pwd.getpwuid(uid).pw_gid
    except KeyError:
        return uid


def hand_over(to: User, *paths: Path) -> None:
    """Gives files and folders of ours to the model's user. Raises DiskTrouble where the file system refuses."""
    try:
        for path in paths:
            os.chown(path, to.uid, to.gid, follow_symlinks=False)
    except OSError as error:
        raise DiskTrouble(f"{path} cannot be given to the user of JOB_RUN_AS: {error.strerror}") from None


def take_back(folder: Path) -> None:
    """Makes a folder ours alone again: from now on nobody else makes, replaces or removes anything in it."""
    os.chown(folder, os.geteuid(), os.getegid(), follow_symlinks=False)
    folder.chmod(0o700)


def _prctl(option: int, value: int) -> None:
    if ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
