"""The guest's process: started apart, spoken to over pipes, listened to, and ended with all its offspring."""

import contextlib
import json
import math
import os
import re
import select
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from supervisor.model.find import Installation

WORKER = Path(__file__).with_name("worker.py")

# A reply is a line; the longest honest one describes a module's arguments.
_LONGEST_REPLY = 16 * 1024 * 1024
_LONGEST_LOG_LINE = 8 * 1024
_ANSI = re.compile(r"\x1b\[[0-9;]*m")  # colours: oslo.log ends each line with a reset
_TAIL_LINES = 40
# How much of what the model prints goes on to our own log, for each request; the rest is counted.
_FORWARDED_BYTES = 1024 * 1024
# What a pipe can hold at most, in reads of 64 KiB (fs.pipe-max-size).
_PIPE_READS = 16
# Seconds that the guest has to leave on its own, and then after SIGTERM.
_LEAVE, _TERM = 2.0, 3.0
# Seconds between two looks whether the guest lives. Its end closes the pipe, but for what it has forked and left
# behind. (A pidfd would tell; Linux 4.14, which Batch's Amazon Linux 2 runs, has none.)
_LOOK = 1.0
# Where Python takes the locale for ASCII.
_NO_LOCALE = ("", "C", "POSIX")


class GuestDied(Exception):
    """The guest ended, or closed its pipes, in the middle of a request. status: as Popen.returncode."""

    def __init__(self, status: int | None) -> None:
        self.status = status
        super().__init__(described_exit(status))


class GuestTimeout(Exception):
    """The guest did not answer in time; it has been killed."""


class Guest:
    """One process of the image's Python with worker.py, in a process group of its own."""

    def __init__(
        self,
        installation: Installation,
        environment: Mapping[str, str],
        scratch: Path,
        log: Callable[[str], None],
    ) -> None:
        """scratch: a folder of the job's that becomes the guest's TMPDIR; log: called for each line it prints."""
        requests, self._requests = os.pipe()
        self._replies, replies = os.pipe()
        programs = str(installation.programs_folder)
        try:
            self._process = subprocess.Popen(
                [str(installation.python), "-u", str(WORKER), str(requests), str(replies), programs],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env=_environment(installation, environment, scratch),
                pass_fds=(requests, replies),
                start_new_session=True,
            )
        except BaseException:
            os.close(self._requests)
            os.close(self._replies)
            raise
        finally:
            os.close(requests)
            os.close(replies)
        self._asked = 0
        self._closed = False
        self.log = Log(self._process, log)

    def ask(self, do: str, timeout: float | None = None, **arguments: Any) -> dict[str, Any]:
        """Sends one request and waits for its reply.

        Raises GuestDied, and GuestTimeout after `timeout` seconds, when the guest has been killed.
        """
        self.send(do, **arguments)
        return self.receive(timeout)

    def send(self, do: str, **arguments: Any) -> None:
        """Sends one request and does not wait; `receive` is for the reply."""
        self._asked += 1
        self._bury_orphans()
        self.log.begin()
        line = json.dumps({"id": self._asked, "do": do, "with": arguments}) + "\n"
        with contextlib.suppress(BrokenPipeError):  # receive says how it died
            _write_all(self._requests, line.encode())

    def receive(self, timeout: float | None = None) -> dict[str, Any]:
        """Waits for the reply to the last request."""
        deadline = time.monotonic() + (math.inf if timeout is None else timeout)
        buffer = bytearray()
        replies = select.poll()
        replies.register(self._replies, select.POLLIN)
        while True:
            left = deadline - time.monotonic()
            if left <= 0:
                self.kill()
                raise GuestTimeout
            ended = self._process.poll() is not None
            if not replies.poll(0 if ended else min(left, _LOOK) * 1000):
                if ended:
                    self._died()
                self._bury_orphans()
                continue
            piece = os.read(self._replies, 1024 * 1024)
            buffer += piece
            if (reply := self._reply_in(buffer)) is not None:
                self.log.catch_up()
                return reply
            if not piece or len(buffer) > _LONGEST_REPLY:
                self._died()

    def _reply_in(self, buffer: bytearray) -> dict[str, Any] | None:
        """Takes whole lines off the buffer; what is not the reply to the last request is not ours."""
        while (end := buffer.find(b"\n")) >= 0:
            line = bytes(buffer[:end])
            del buffer[: end + 1]
            with contextlib.suppress(ValueError, RecursionError):
                reply = json.loads(line)
                if isinstance(reply, dict) and reply.get("id") == self._asked and "ok" in reply:
                    return reply
        return None

    def _died(self) -> None:
        """The guest has ended, or has closed its pipe and will never answer."""
        try:
            self._process.wait(1)
        except subprocess.TimeoutExpired:
            self.kill()
            raise GuestDied(None) from None
        raise GuestDied(self._process.returncode)

    def dismiss(self) -> None:
        """Tells the guest that there is no more work; it may leave while results are uploaded."""
        if not self._closed:
            self._closed = True
            os.close(self._requests)

    def end(self) -> None:
        """Sees the guest off with everything it started: it may leave, is told to, is made to."""
        self.dismiss()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_LEAVE)
        if self._process.poll() is None:
            self._signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_TERM)
        self.kill()
        self.log.join()
        os.close(self._replies)

    def kill(self) -> None:
        """Kills the guest's group, and its orphans that left the group (they are our children by then)."""
        self._signal(signal.SIGKILL)
        self._process.wait()
        kill_orphans()

    def _bury_orphans(self) -> None:
        """Reaps the module's daemons that have ended. They are our children (PR_SET_CHILD_SUBREAPER, or PID 1), and
        a daemon for each of a million items would fill the table of processes."""
        with contextlib.suppress(ChildProcessError, ProcessLookupError):
            while ended := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT):
                if ended.si_pid == self._process.pid or os.getpgid(ended.si_pid) == os.getpgrp():
                    return  # somebody waits for this one
                os.waitpid(ended.si_pid, 0)

    def _signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, number)


def _environment(installation: Installation, environment: Mapping[str, str], scratch: Path) -> dict[str, str]:
    """The guest's environment: the image's own, with what its Python needs to be found and to see our paths."""
    path = environment.get("PATH", os.defpath)
    ours = {"TMPDIR": str(scratch)}
    if not installation.on_path:
        ours["PATH"] = f"{installation.programs_folder}:{path}"
    locale = environment.get("LC_ALL") or environment.get("LC_CTYPE") or environment.get("LANG") or ""
    if locale in _NO_LOCALE and not environment.get("LC_ALL"):
        # Python 3.7 does this itself (PEP 538); 3.6 could not open a file whose name is not ASCII.
        ours["LC_CTYPE"] = "C.UTF-8"
    return {**environment, **ours}


class Log:
    """Reads what the guest prints, passes lines on within bounds, and keeps the end of it.

    A thread waits for it all the time; whoever holds the lock may read what is there.
    """

    def __init__(self, process: subprocess.Popen[bytes], emit: Callable[[str], None]) -> None:
        assert process.stdout is not None  # noqa: S101 - Popen was given a pipe
        self._pipe = process.stdout
        os.set_blocking(self._pipe.fileno(), False)
        self._emit = emit
        self._open = True
        self._rest = b""
        self._tail: deque[str] = deque(maxlen=_TAIL_LINES)
        self._left = _FORWARDED_BYTES
        self._dropped = 0
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._follow, name="guest-log", daemon=True)
        self._thread.start()

    def begin(self) -> None:
        """A new request: its lines are counted afresh."""
        with self._lock:
            self._say_dropped()
            self._left = _FORWARDED_BYTES

    def catch_up(self) -> None:
        """Takes in what was printed before now: the guest flushes its streams before it replies."""
        with self._lock:
            for _ in range(_PIPE_READS):
                if not self._take():
                    return

    def tail(self) -> tuple[str, ...]:
        """The last lines that the guest printed."""
        with self._lock:
            return tuple(self._tail)

    def join(self) -> None:
        """Waits for the end of the log. A process that nobody could kill may hold it open: not for ever."""
        self._thread.join(1.0)
        with self._lock:
            self._say_dropped()

    def _follow(self) -> None:
        printed = select.poll()
        printed.register(self._pipe.fileno(), select.POLLIN)
        while self._open:
            printed.poll()
            with self._lock:
                self._take()
        self._pipe.close()

    def _take(self) -> bool:
        """Reads once what the pipe holds; False where it holds nothing now."""
        if not self._open:
            return False
        try:
            piece = os.read(self._pipe.fileno(), 64 * 1024)
        except BlockingIOError:
            return False
        *lines, self._rest = (part for line in (self._rest + piece).split(b"\n") for part in _parts(line))
        for line in lines:
            self._line(line)
        if self._rest and not piece:
            self._line(self._rest)
        self._open = bool(piece)
        return self._open

    def _line(self, raw: bytes) -> None:
        text = _ANSI.sub("", raw.decode("utf-8", "replace")).rstrip("\r")
        self._tail.append(text[:1000])
        if len(raw) > self._left:
            self._dropped += 1
            return
        self._left -= len(raw) + 1
        self._emit(text)

    def _say_dropped(self) -> None:
        if self._dropped:
            self._emit(
                f"({self._dropped:,} more lines not shown: over {_FORWARDED_BYTES // 1024:,} KiB in one prediction)"
            )
            self._dropped = 0


def _parts(line: bytes) -> list[bytes]:
    """A line in pieces that are short enough for the log."""
    return [line[at : at + _LONGEST_LOG_LINE] for at in range(0, len(line), _LONGEST_LOG_LINE)] or [b""]


def described_exit(status: int | None) -> str:
    """How a process ended, for people."""
    if status is None:
        return "the module closed the worker's pipes"
    if status >= 0:
        return f"the model's process ended with exit status {status}"
    try:
        name = signal.Signals(-status).name
    except ValueError:
        name = f"signal {-status}"
    return f"the model's process was killed by {name}"


def kill_orphans() -> None:
    """Kills and reaps the guest's processes that are our children now: those that left its group were handed to
    us (PR_SET_CHILD_SUBREAPER) when their parents died. Killing one hands us its children, so it goes in rounds.

    Children of our own (a device probe) are in our group and are left alone.
    """
    for _ in range(100):
        strays = [
            pid for pid, parent, their_group in _processes() if parent == os.getpid() and their_group != os.getpgrp()
        ]
        if not strays:
            return
        for pid in strays:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for pid in strays:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, 0)


def _processes() -> list[tuple[int, int, int]]:
    """(pid, parent, process group) of every process that /proc shows."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / "stat").read_bytes()
            except OSError:  # it has just ended
                continue
            parent, group = stat.rpartition(b")")[2].split()[1:3]
            found.append((int(entry.name), int(parent), int(group)))
    return found


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
