"""Whose process is whose: a guest and all that it has started, told apart from other guests and from our own children.

A guest's tree is what belongs to its session or its group, what carries its mark in the environment, and all that
descends from these. Orphans become our children (PR_SET_CHILD_SUBREAPER, or PID 1), and one that has shed its session
and its mark is nobody's: it goes with the last guest.

Three rules keep several guests in one process from harming each other, whichever thread ends which of them:
- Children are born, killed and reaped under one lock.
- A guest that has ended stays unreaped until its tree is gone. A zombie keeps its number, so no signal to
  the number of the process, its group or its session can reach somebody else's.
- Nobody waits for "any child": what is in our own group (the device's probe, the reader of large answers) has a
  Popen that waits for it.
"""

import contextlib
import os
import resource
import secrets
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from supervisor.machine.users import User

# The mark's name in the guest's environment. What it starts inherits it.
MARK = "SUPERVISOR_GUEST"

# Seconds in which the killed must have gone. A process in an uninterruptible sleep (a dead network disk, a GPU
# driver that hangs) outlasts any patience, and the job's status is to be written before Batch kills us.
_KILLED_WITHIN = 5.0
# Seconds between two looks, from the first to the longest.
_FIRST_LOOK, _LONGEST_LOOK = 0.001, 0.05
# Seconds between two searches of /proc for orphans that ended behind a child that is not ours to reap.
_SEARCH = 1.0
_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = resource.getpagesize()

_lock = threading.RLock()
_roots: set[int] = set()  # the guests' own processes, from birth until they are reaped
_searched = 0.0


@dataclass(frozen=True, slots=True)
class Process:
    """One process as /proc tells of it. started: clock ticks since boot; cpu: seconds, with children waited for;
    resident: bytes."""

    pid: int
    state: str
    parent: int
    group: int
    session: int
    started: int
    cpu: float
    resident: int


@dataclass(frozen=True, kw_only=True)
class ReapedUsage:
    """What reaped processes have used. cpu: seconds; resident: bytes, the peak of the largest."""

    cpu: float = 0.0
    resident: int = 0


class ProcessTree:
    """One guest's process and everything that it has started."""

    def __init__(
        self, argv: Sequence[str], environment: Mapping[str, str], user: User | None = None, **options: Any
    ) -> None:
        """Options are Popen's. Raises OSError where the program does not start, or not as that user."""
        self._mark = secrets.token_hex(8)
        dropped: dict[str, Any] = {"user": user.uid, "group": user.gid, "extra_groups": []} if user else {}
        self._status: int | None = None
        self._reaped = False
        self._known: dict[int, int] = {}  # when each member started that was seen last, by its number
        self.reaped_usage = ReapedUsage()
        with _lock:
            self.process: subprocess.Popen[bytes] = subprocess.Popen(
                argv, env={**environment, MARK: self._mark}, start_new_session=True, **dropped, **options
            )
            self.pid = self.process.pid
            _roots.add(self.pid)
            self._started = _process(self.pid)

    def poll(self) -> int | None:
        """How the guest ended, as Popen.returncode; None while it lives. It is not reaped by this."""
        with _lock:
            if self._status is None:
                ended = os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
                if ended:
                    exited = ended.si_code == os.CLD_EXITED
                    self._status = ended.si_status if exited else -ended.si_status
            return self._status

    def ended_within(self, seconds: float) -> bool:
        """Waits for the guest itself to end."""
        return _within(seconds, lambda: self.poll() is not None)

    def signal(self, number: int) -> None:
        """Sends a signal to the guest's group."""
        with _lock, contextlib.suppress(ProcessLookupError, PermissionError):
            if not self._reaped:
                self._members()  # their descent is told by parents that are about to die
                os.killpg(self.pid, number)

    def kill(self) -> bool:
        """Kills and reaps the tree; False where some of it could not be killed in time.

        Killing a process hands us its children, so it goes in rounds.
        """
        self.signal(signal.SIGKILL)
        self.ended_within(_KILLED_WITHIN)
        gone = _within(_KILLED_WITHIN, self._round)
        with _lock:
            self._reap_root()
        kill_orphans()
        return gone

    def members(self) -> list[Process]:
        """The tree as it is now, its root included."""
        with _lock:
            return [] if self._reaped else self._members()

    def _round(self) -> bool:
        """Kills what there is and reaps what is ours; True once nothing is left but the root, who is not reaped
        before, for its number tells the others."""
        with _lock:
            rest = [member for member in self.members() if member.pid != self.pid]
            for member in rest:
                _kill(member)
            for member in rest:
                if member.parent == os.getpid():
                    self._reap(member.pid)
            return not rest and self.poll() is not None

    def _members(self) -> list[Process]:
        everyone = [p for p in processes() if self._started is None or p.started >= self._started.started]
        own_group, others = os.getpgrp(), _roots - {self.pid}
        mark = f"{MARK}={self._mark}".encode()
        found: dict[int, Process] = {}
        rest = []
        for process in everyone:
            if self.pid in (process.pid, process.session, process.group):
                found[process.pid] = process
            elif process.group != own_group and process.pid not in others and process.session not in others:
                rest.append(process)
        for process in rest:
            if self._known.get(process.pid) == process.started or _carries(process.pid, mark):
                found[process.pid] = process
        grown = True
        while grown:
            children = [p for p in rest if p.parent in found and p.pid not in found]
            found.update({p.pid: p for p in children})
            grown = bool(children)
        self._known = {p.pid: p.started for p in found.values()}
        return list(found.values())

    def _reap(self, pid: int) -> bool:
        try:
            reaped, status, usage = os.wait4(pid, os.WNOHANG)
        except ChildProcessError:
            return False
        if reaped:
            cpu = usage.ru_utime + usage.ru_stime
            self.reaped_usage = ReapedUsage(
                cpu=self.reaped_usage.cpu + cpu, resident=max(self.reaped_usage.resident, usage.ru_maxrss * 1024)
            )
            if pid == self.pid:
                self._status = os.waitstatus_to_exitcode(status)
        return bool(reaped)

    def _reap_root(self) -> None:
        if not self._reaped and self._reap(self.pid):
            self._reaped = True
            self.process.returncode = self._status  # lest Popen waits for a number that may be another's by then
            _roots.discard(self.pid)


def reap_orphans() -> None:
    """Reaps the modules' daemons that have ended: a daemon for each of a million items would fill the table of
    processes. Costs one system call where there is nothing to do."""
    if not _lock.acquire(blocking=False):
        return  # the next request will do
    try:
        with contextlib.suppress(ChildProcessError, ProcessLookupError):
            while ended := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT):
                if not _is_orphan(ended.si_pid, os.getpgid(ended.si_pid)):
                    _reap_behind()
                    return
                os.waitpid(ended.si_pid, os.WNOHANG)
    finally:
        _lock.release()


def _reap_behind() -> None:
    """The kernel shows the first child that has ended, and one that others wait for may be that for hours."""
    global _searched  # noqa: PLW0603 - under the lock, as the table of guests
    if time.monotonic() - _searched < _SEARCH:
        return
    _searched = time.monotonic()
    for process in processes():
        if process.parent == os.getpid() and process.state == "Z" and _is_orphan(process.pid, process.group):
            with contextlib.suppress(ChildProcessError):
                os.waitpid(process.pid, os.WNOHANG)


def kill_orphans() -> None:
    """Once no guest is left: kills and reaps the children that nobody of ours has started, whosever they were."""
    _within(_KILLED_WITHIN, _no_orphan_left)


def _no_orphan_left() -> bool:
    with _lock:
        if _roots:
            return True
        orphans = [p for p in processes() if p.parent == os.getpid() and _is_orphan(p.pid, p.group)]
        for orphan in orphans:
            _kill(orphan)
        for orphan in orphans:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(orphan.pid, os.WNOHANG)
        return not orphans


def _is_orphan(pid: int, group: int) -> bool:
    return pid not in _roots and group != os.getpgrp()


def _kill(process: Process) -> None:
    """Kills a process unless its number has come to be another's since it was seen."""
    now = _process(process.pid)
    if now and now.started == process.started and now.state != "Z":
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(process.pid, signal.SIGKILL)


def _within(seconds: float, done: Callable[[], bool]) -> bool:
    """Asks until it is so, at most for so long."""
    deadline, pause = time.monotonic() + seconds, _FIRST_LOOK
    while not done():
        if time.monotonic() >= deadline:
            return False
        time.sleep(min(pause, max(0.0, deadline - time.monotonic())))
        pause = min(2 * pause, _LONGEST_LOOK)
    return True


def processes() -> Iterator[Process]:
    """Every process that /proc shows."""
    for name in os.listdir("/proc"):  # noqa: PTH208 - pathlib takes three times as long
        if name.isdigit() and (process := _process(int(name))) is not None:
            yield process


def _process(pid: int) -> Process | None:
    """proc(5): the name, in parentheses, may hold anything; fields are counted from behind it."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:  # noqa: PTH123 - asked for many processes, every second
            stat = file.read()
    except OSError:  # it has just ended
        return None
    state, *numbers = stat.rpartition(b")")[2].split()
    field = [int(number) for number in numbers[:21]]
    return Process(
        pid=pid,
        state=state.decode(),
        parent=field[0],
        group=field[1],
        session=field[2],
        started=field[18],
        cpu=sum(field[10:14]) / _TICKS,
        resident=field[20] * _PAGE,
    )


def _carries(pid: int, mark: bytes) -> bool:
    """Whether a process has the mark. Under another user (JOB_RUN_AS) none can be read without CAP_SYS_PTRACE."""
    try:
        return mark in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return False
