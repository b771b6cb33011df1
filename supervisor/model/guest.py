"""The guest's process: started apart, spoken to over pipes, listened to, and ended with all its offspring."""

import contextlib
import json
import math
import os
import select
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from supervisor.machine.device import Gpu
from supervisor.machine.users import User
from supervisor.model.find import Installation
from supervisor.model.guest_log import GuestLog
from supervisor.model.process_tree import ProcessTree, reap_orphans
from supervisor.model.usage import Meter, Usage

WORKER = Path(__file__).with_name("worker.py")

# A reply is a line; the longest honest one describes a module's arguments.
_LONGEST_REPLY = 16 * 1024 * 1024
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


class GuestDismissed(Exception):
    """Another thread is seeing the guest off: no reply will come."""


class Guest:
    """One process of the image's Python with worker.py, in a session of its own, under whichever user.

    One thread asks; `end` may be called from any other meanwhile.
    """

    def __init__(
        self,
        installation: Installation,
        environment: Mapping[str, str],
        scratch: Path,
        log: Callable[[str], None],
        *,
        user: User | None = None,
        gpus: Sequence[Gpu] = (),
    ) -> None:
        """scratch: a folder of the job's that becomes the guest's TMPDIR; log: called for each line it prints; user:
        whom it runs as, if not as us; gpus: those that it can see."""
        requests, self._requests = os.pipe()
        self._replies, replies = os.pipe()
        lifeline, self._lifeline = os.pipe()  # nobody writes to it: its end says that we are gone, however we ended
        given = requests, replies, lifeline
        programs = str(installation.programs_folder)
        try:
            self.tree = ProcessTree(
                [str(installation.python), "-u", str(WORKER), *map(str, given), programs],
                _environment(installation, environment, scratch),
                user,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                pass_fds=given,
            )
        except BaseException:
            for kept in (self._requests, self._replies, self._lifeline):
                os.close(kept)
            raise
        finally:
            for each in given:
                os.close(each)
        os.set_blocking(self._requests, False)
        self._asked = 0
        self._ending = threading.Event()
        self._wake = os.eventfd(0)  # readable once the guest is being ended: whoever waits for it stops waiting
        self._heard = select.poll()
        self._heard.register(self._replies, select.POLLIN)
        self._heard.register(self._wake, select.POLLIN)
        self._reaped_at = 0.0
        self._sending, self._receiving, self._seeing_off = threading.Lock(), threading.Lock(), threading.Lock()
        self._closed = self._over = False
        self.log = GuestLog(self.tree.process, log)
        self._meter = Meter(self.tree, gpus, environment.get("LD_LIBRARY_PATH", ""))

    def ask(self, do: str, timeout: float | None = None, **arguments: Any) -> dict[str, Any]:
        """Sends one request and waits for its reply.

        Raises GuestDied, GuestTimeout after `timeout` seconds, when the guest has been killed, and GuestDismissed.
        """
        self.send(do, **arguments)
        return self.receive(timeout)

    def send(self, do: str, **arguments: Any) -> None:
        """Sends one request and does not wait; `receive` is for the reply."""
        self._asked += 1
        self._reap_now_and_then()
        self.log.begin()
        line = json.dumps({"id": self._asked, "do": do, "with": arguments}) + "\n"
        with self._sending:
            if not self._closed:  # receive says that no reply will come, or how the guest died
                self._write(line.encode())

    def _reap_now_and_then(self) -> None:
        if (now := time.monotonic()) - self._reaped_at >= _LOOK:
            self._reaped_at = now
            reap_orphans()

    def _write(self, line: bytes) -> None:
        """A guest that does not read could hold us here for good: it is not waited for once it is being ended."""
        view = memoryview(line)
        with contextlib.suppress(BrokenPipeError):
            while view and not self._ending.is_set():
                try:
                    view = view[os.write(self._requests, view) :]
                except BlockingIOError:
                    ready = select.poll()
                    ready.register(self._requests, select.POLLOUT)
                    ready.register(self._wake, select.POLLIN)
                    ready.poll()

    def receive(self, timeout: float | None = None) -> dict[str, Any]:
        """Waits for the reply to the last request."""
        with self._receiving:
            return self._receive(math.inf if timeout is None else time.monotonic() + timeout)

    def _receive(self, deadline: float) -> dict[str, Any]:
        buffer = bytearray()
        ended = False
        while True:
            if self._ending.is_set():
                raise GuestDismissed
            left = deadline - time.monotonic()
            if left <= 0:
                self.tree.kill()
                raise GuestTimeout
            events = dict(self._heard.poll(0 if ended else min(left, _LOOK) * 1000))
            if self._replies not in events:
                if ended:
                    self._died()
                ended = self.tree.poll() is not None  # what it said last may only just have come
                self._reap_now_and_then()
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
            line = buffer[:end]
            del buffer[: end + 1]
            with contextlib.suppress(ValueError, RecursionError):
                reply = json.loads(line.decode())  # of bytes it would look for UTF-16 first
                if isinstance(reply, dict) and reply.get("id") == self._asked and "ok" in reply:
                    return reply
        return None

    def _died(self) -> None:
        """The guest has ended, or has closed its pipe and will never answer."""
        if self._ending.is_set():
            raise GuestDismissed
        if not self.tree.ended_within(1):
            self.tree.kill()
            raise GuestDied(None)
        raise GuestDied(self.tree.poll())

    def lives(self) -> bool:
        """Whether it can still be asked."""
        return not self._closed and self.tree.poll() is None

    @property
    def dismissed(self) -> bool:
        """Whether it was told that there is no more work."""
        return self._closed

    def usage(self) -> Usage:
        """What it has used until now."""
        return self._meter.usage()

    def look(self) -> None:
        """Takes in what it uses now."""
        self._meter.look()

    def dismiss(self) -> None:
        """Tells the guest that there is no more work; it may leave while results are uploaded."""
        with self._sending:
            if not self._closed:
                self._meter.look()  # which cannot be done once it has left
                self._closed = True
                os.close(self._requests)

    def end(self, grace: float | None = None) -> None:
        """Sees the guest off with everything it started: it may leave, is told to, is made to.

        grace: seconds that it has after SIGTERM, which comes at once; None: it may leave on its own before that. From
        now on whoever waits for a reply gets GuestDismissed. Returns when all of it is gone.
        """
        self._ending.set()
        with self._seeing_off:
            if self._over:
                return
            os.eventfd_write(self._wake, 1)
            self.dismiss()
            if not (grace is None and self.tree.ended_within(_LEAVE)):
                self.tree.signal(signal.SIGTERM)
                self.tree.ended_within(_TERM if grace is None else grace)
            self.tree.kill()
            self._meter.close()
            self.log.join()
            with self._receiving:  # its descriptors may be another's once they are closed
                self._over = True
                os.close(self._replies)
                os.close(self._lifeline)
                os.close(self._wake)


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
