"""A download into a new local file: whole, or in ranges by several threads at once."""

import os
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, wait
from pathlib import Path
from types import TracebackType
from typing import TypeVar

from supervisor.storage import disk_error

# A larger object is read in ranges of this size, by the thread that wants it and HELPERS, which all downloads share.
# Each range goes to the disk in pieces: 20 MB of memory. Ranges taken whole took 53 MB, and half as much CPU time more.
RANGE = 8 * 1024 * 1024
HELPERS = 4

T = TypeVar("T")


def in_ranges(size: int, read: Callable[[range], T], helpers: Executor) -> T:
    """Reads all of an object's ranges, this thread among others; returns what one of them gave. Raises what the first
    of them that failed raised."""
    starts = deque(range(0, size, RANGE))
    given: list[T] = []

    def work() -> None:
        try:
            while (start := _taken(starts)) is not None:
                given.append(read(range(start, min(start + RANGE, size))))
        except BaseException:
            starts.clear()  # nobody goes on
            raise

    helping = [helpers.submit(work) for _ in range(HELPERS)]
    try:
        work()
    finally:
        # Those that other downloads kept from beginning are not waited for. Of the others none writes to the
        # descriptor any more once it is another file's.
        begun = [each for each in helping if not each.cancel()]
        wait(begun)
    for each in begun:
        each.result()
    return given[0]


def _taken(starts: "deque[int]") -> int | None:
    try:
        return starts.popleft()
    except IndexError:
        return None


class NewFile:
    """A new local file to be written by several threads, gone again where the block does not end well."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> "NewFile":
        try:
            self._file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        except OSError as error:
            raise disk_error(error, self._path) from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            os.close(self._file)
        except OSError as broken:
            kind = OSError
            raise disk_error(broken, self._path) from broken
        finally:
            if kind:
                self._path.unlink(missing_ok=True)

    def cut(self, size: int) -> None:
        """To so many bytes: a try that went wrong may have written more."""
        try:
            os.ftruncate(self._file, size)
        except OSError as error:
            raise disk_error(error, self._path) from error

    def write(self, piece: bytes, start: int) -> None:
        left = memoryview(piece)
        try:
            while left:
                written = os.pwrite(self._file, left, start)
                left, start = left[written:], start + written
        except OSError as error:
            raise disk_error(error, self._path) from error
