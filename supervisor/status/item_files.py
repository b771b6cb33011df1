"""What is too long for the status document, a line an item: how each item ended, and what the module answered.

Lines are kept in a local file as items end, in constant memory, and go to storage when the job has ended.
"""

import json
import shutil
import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO

from supervisor import storage
from supervisor.machine import disk
from supervisor.status.document import SKIPPED, Outcome, without_none

# An answer with more bytes is left out of the table; its result is where the row says.
LONGEST_ANSWER = 1024 * 1024
# Failed items whose line has the model's log, too: 2 KiB each.
_WITH_LOG = 1_000
_BUFFER = 256 * 1024
# Bytes of lines between two looks at the disk.
_LOOK_EVERY = 1024 * 1024
_NONE: Mapping[str, str] = {}


class LinesFile:
    """A local file that grows by lines, from any thread, and is uploaded once. A full disk ends it, and not the job:
    before it is full, so that the job has room to go on."""

    def __init__(self, path: Path, uri: str, metadata: Mapping[str, str] = _NONE) -> None:
        self._path = path
        self._metadata = metadata
        self._reserve = disk.reserve(path.parent)
        self._unlooked = 0  # bytes since the disk was looked at
        self.uri = uri
        self.problem: str | None = None
        self._over = False
        self._lock = threading.Lock()
        self._file: IO[bytes] = path.open("wb", buffering=_BUFFER)

    def add(self, line: bytes) -> None:
        with self._lock:
            if self._over:
                return
            try:
                self._file.write(line)
                self._look(len(line))
            except OSError as error:
                self._give_up(f"it cannot be kept on the local disk: {error.strerror or error}")

    def upload(self) -> None:
        """No line is taken after this. Raises StorageError."""
        with self._lock:
            self._over = True
            if self.problem:
                return
            try:
                self._file.close()
            except OSError as error:
                self._give_up(f"it cannot be kept on the local disk: {error.strerror or error}")
                return
        storage.of(self.uri).upload(self._path, self.uri, media_type="application/x-ndjson", metadata=self._metadata)

    def give_up(self, why: str) -> None:
        """The list will not be written, for that reason."""
        with self._lock:
            if not self._over:
                self._give_up(why)

    def _look(self, written: int) -> None:
        self._unlooked += written
        if self._unlooked >= _LOOK_EVERY:
            self._unlooked = 0
            if (free := shutil.disk_usage(self._path.parent).free) < self._reserve:
                self._give_up(f"the local disk has {free:,} bytes left, which the job needs")

    def _give_up(self, why: str) -> None:
        """A list with a hole in it would not be the truth: there is none then."""
        self._over = True
        self.problem = f"{self.uri} is not written: {why}"
        with suppress(OSError):
            self._file.close()
        with suppress(OSError):
            self._path.unlink()


class ItemList:
    """How each item ended, in the order of the work: the document's `items`, whole."""

    def __init__(self, lines: LinesFile) -> None:
        self._lines = lines
        self.uri = lines.uri
        self._failed = 0

    def add(self, outcome: Outcome) -> None:
        told = outcome.as_dict()
        if outcome.failure:
            self._failed += 1
            if self._failed > _WITH_LOG:
                told["error"].pop("log", None)
        self._lines.add(_line(told))


class ResultsTable:
    """The module's answers, in the order in which they were stored."""

    def __init__(self, lines: LinesFile) -> None:
        self._lines = lines
        self.uri = lines.uri
        self.give_up = lines.give_up

    def add(self, outcome: Outcome, source: Path | bytes) -> None:
        """source: the answer, strict JSON. It is taken as it is: parsing megabytes would cost more than storing
        them."""
        whole = outcome.input
        row = without_none(
            {
                "input": outcome.item.shown,
                "result": outcome.result,
                "etag": whole.etag if whole else None,
                "bytes": whole.size if whole else None,
                "seconds": {stage: round(spent, 4) for stage, spent in outcome.seconds.items()} or None,
            }
        )
        answer = _answer(outcome, source)
        if isinstance(answer, str):
            self._lines.add(_line(row | {"answer_left_out": answer}))
        else:
            # Within JSON a line break is white space: in a text it is written \n.
            one_line = answer.strip().replace(b"\r", b" ").replace(b"\n", b" ")
            self._lines.add(_line(row)[:-2] + b', "answer": ' + one_line + b"}\n")


def _answer(outcome: Outcome, source: Path | bytes) -> bytes | str:
    """The answer's bytes, or why they are not in the table."""
    try:
        size = len(source) if isinstance(source, bytes) else source.stat().st_size
        if size > LONGEST_ANSWER:
            return f"{size:,} bytes, more than {LONGEST_ANSWER:,}"
        raw = source if isinstance(source, bytes) else source.read_bytes()
    except OSError as error:
        return f"the local copy cannot be read: {error.strerror or error}"
    if outcome.state == SKIPPED:  # JOB_OVERWRITE=never keeps what is there, whoever wrote it
        try:
            json.loads(raw, parse_constant=_refuse)
        except (ValueError, RecursionError):
            return "the result that was there is not JSON"
    return raw


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


# json.dumps would make one for each line.
_encode = json.JSONEncoder(ensure_ascii=False).encode


def _line(row: dict[str, object]) -> bytes:
    return _encode(row).encode(errors="backslashreplace") + b"\n"
