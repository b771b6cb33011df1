"""What is too long for the status document, a line an item: how each item ended, and what the module answered.

Lines are kept in a local file as items end, in constant memory, and go to storage when the job has ended.
"""

import json
import threading
from contextlib import suppress
from pathlib import Path
from typing import IO

from supervisor import storage
from supervisor.status.document import SKIPPED, Outcome, without_none

# An answer with more bytes is left out of the table; its result is where the row says.
LONGEST_ANSWER = 1024 * 1024
# Failed items whose line has the model's log, too: 2 KiB each.
_WITH_LOG = 1_000
_BUFFER = 256 * 1024


class LinesFile:
    """A local file that grows by lines, from any thread, and is uploaded once. A full disk ends it, and not the job."""

    def __init__(self, path: Path, uri: str) -> None:
        self._path = path
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
            except OSError as error:
                self._give_up(error)

    def upload(self) -> None:
        """No line is taken after this. Raises StorageError."""
        with self._lock:
            self._over = True
            if self.problem:
                return
            try:
                self._file.close()
            except OSError as error:
                self._give_up(error)
                return
        storage.of(self.uri).upload(self._path, self.uri, media_type="application/x-ndjson", metadata={})

    def _give_up(self, error: OSError) -> None:
        """A list with a hole in it would not be the truth: there is none then."""
        self._over = True
        self.problem = f"{self.uri} is not written: it cannot be kept on the local disk: {error.strerror or error}"
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
