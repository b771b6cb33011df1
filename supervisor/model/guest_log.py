"""What the guest prints: passed on line by line within bounds, and its end kept."""

import os
import re
import select
import subprocess
import threading
from collections import deque
from collections.abc import Callable

_LONGEST_LOG_LINE = 8 * 1024
_ANSI = re.compile(r"\x1b\[[0-9;]*m")  # colours: oslo.log ends each line with a reset
_TAIL_LINES = 40
# How much of what the model prints goes on to our own log, for each request; the rest is counted.
_FORWARDED_BYTES = 1024 * 1024
# What a pipe can hold at most, in reads of 64 KiB (fs.pipe-max-size).
_PIPE_READS = 16


class GuestLog:
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

    def begin_item(self) -> None:
        """Another item: what was printed until now is not its own."""
        self.catch_up()
        with self._lock:
            self._tail.clear()

    def catch_up(self) -> None:
        """Takes in what was printed before now, a line without an end too: the guest flushes its streams before it
        replies."""
        with self._lock:
            for _ in range(_PIPE_READS):
                if not self._take():
                    break
            if self._rest:
                self._line(self._rest)
                self._rest = b""

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
