"""What stdout is told: lines for machines, or a bar and lines for a person. And the document's way to storage."""

import io
import json
import os
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from queue import Empty, SimpleQueue
from typing import Any, Protocol, TextIO

from supervisor import job, storage
from supervisor.status import bar
from supervisor.status.document import LISTED, Outcome, Record
from supervisor.status.pace import Pace
from supervisor.status.redaction import redacted
from supervisor.storage.uri import shown
from supervisor.work.provenance import of_document

# Seconds between two `progress` lines in a log, and between two drawings of the bar as items end.
_PROGRESS, _REDRAW = 10.0, 0.1
# Seconds after which the bar is drawn again although nothing ended: the pace falls, and what came last is shown.
_IDLE = 1.0
# Failed items that are told one by one; those after them are counted, and stand in the items list.
_TOLD_FAILED = 1_000


class Reporter(Protocol):
    """Tells the job's story while it happens. `log` and `warning` are called from any thread."""

    def started(self, record: Record) -> None:
        """The job begins: what is to be done is known."""

    def model_ready(self, record: Record) -> None:
        """The module has answered for itself."""

    def item(self, record: Record, outcome: Outcome) -> None:
        """One item has ended."""

    def log(self, line: str) -> None:
        """A line that the model printed, or a remark of ours on it."""

    def warning(self, message: str) -> None:
        """Something went wrong that does not end the job."""

    def finished(self, record: Record) -> None:
        """The job has ended."""


class _Stream:
    """A text stream that may be closed on us: a reader gone away must not end the job. Each text goes out whole."""

    def __init__(self, stream: TextIO) -> None:
        self._stream: TextIO | None = stream
        self._lock = threading.Lock()

    def line(self, text: str) -> None:
        self.write(text + "\n")

    def write(self, text: str) -> None:
        with self._lock:
            if self._stream is None:
                return
            try:
                self._stream.write(text)
                self._stream.flush()
            except (OSError, ValueError):
                self._stream = None


class _Choosing:
    """Which items of a job are told one by one: all of a small job, of a large one those that failed."""

    def __init__(self) -> None:
        self._failed = 0

    def tells(self, record: Record, outcome: Outcome) -> bool:
        if outcome.failure:
            self._failed += 1
            return self._failed <= _TOLD_FAILED
        # While a listing has not come to its end, the first ones.
        return record.ended <= LISTED and (record.total is None or record.total <= LISTED)


class JsonLines:
    """One JSON object a line, for logs. What the model prints rides inside one and cannot be taken for ours."""

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self._out = _Stream(stream)
        self._clock = clock
        self._pace = Pace(clock)
        self._told = clock()
        self._chosen = _Choosing()

    def started(self, record: Record) -> None:
        self._pace = Pace(self._clock)
        self._say("status", status=record.document())

    def model_ready(self, record: Record) -> None:
        document = record.document()
        self._say("model", **{k: document[k] for k in ("module", "versions", "device", "runner") if k in document})

    def item(self, record: Record, outcome: Outcome) -> None:
        if self._chosen.tells(record, outcome):
            self._say("item", counts=record.counts, item=outcome.as_dict())
        if record.several and self._clock() - self._told >= _PROGRESS:
            self._told = self._clock()
            self._progress(record)

    def log(self, line: str) -> None:
        self._say("log", line=line)

    def warning(self, message: str) -> None:
        self._say("warning", message=message)

    def finished(self, record: Record) -> None:
        self._say("status", status=record.document())

    def _progress(self, record: Record) -> None:
        counts = record.counts
        rate, left = self._pace.now(counts)
        pace = {"items_per_second": rate, "seconds_left": left}
        self._say("progress", counts=counts, **{name: round(f, 3) for name, f in pace.items() if f is not None})

    def _say(self, event: str, **members: Any) -> None:
        now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        self._out.line(json.dumps({"time": now, "event": event, **members}))


class PlainText:
    """Lines for a person."""

    def __init__(self, stream: TextIO) -> None:
        self._out = _Stream(stream)
        self._chosen = _Choosing()

    def started(self, record: Record) -> None:
        counts = record.counts
        left_out = f", {counts['placeholders']} placeholders left out" if counts["placeholders"] else ""
        todo = "all of a prefix" if counts.get("listing") else counts["total"]
        self._line(f"job {record.spec.identity.name}: {todo} to do{left_out}")

    def model_ready(self, record: Record) -> None:
        if not (record.module and record.choice and record.device):
            return
        module, choice = record.module, record.choice
        self._line(
            f"module {module.name} {module.version or ''} on DEEPaaS {module.deepaas}, Python {module.python}, "
            f"{record.device.kind}, by {choice.runner} ({choice.why})"
        )

    def item(self, record: Record, outcome: Outcome) -> None:
        if not self._chosen.tells(record, outcome):
            return
        seconds = ", ".join(f"{stage} {spent:.2f} s" for stage, spent in outcome.seconds.items())
        number = f"[{record.ended}/{'?' if record.total is None else record.total}]"
        where = f" -> {outcome.result}" if outcome.result else ""
        self._line(f"{number} {outcome.state}: {outcome.item.shown}{where}" + (f" ({seconds})" if seconds else ""))
        if outcome.failure:
            self._line(f"    {redacted(outcome.failure.message)}")

    def log(self, line: str) -> None:
        self._line("  | " + line)

    def warning(self, message: str) -> None:
        self._line(f"warning: {message}")

    def finished(self, record: Record) -> None:
        counts = record.counts
        told = ", ".join(f"{counts[name]} {name}" for name in ("done", "skipped", "failed"))
        pending = f", {counts['pending']} not reached" if counts["pending"] else ""
        where = f"; status in {shown(record.spec.status_uri)}" if record.spec.status_uri else ""
        self._line(f"{record.state}: {told}{pending} in {record.elapsed:.1f} s{where}")

    def _line(self, text: str) -> None:
        self._out.line(printable(text))


class Terminal(PlainText):
    """Lines for a person and, below them, a bar while several items are on their way."""

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(stream)
        self._terminal = stream
        self._clock = clock
        self._pace = Pace(clock)
        self._drawn_at = clock()
        self._record: Record | None = None
        self._drawing = threading.Lock()
        self._over: SimpleQueue[None] = SimpleQueue()

    def started(self, record: Record) -> None:
        super().started(record)
        if record.several:
            self._pace = Pace(self._clock)
            self._record = record
            threading.Thread(target=self._keep_fresh, name="bar", daemon=True).start()

    def item(self, record: Record, outcome: Outcome) -> None:
        if self._record is None or outcome.failure:
            super().item(record, outcome)
        if self._clock() - self._drawn_at >= _REDRAW:
            self._draw()

    def finished(self, record: Record) -> None:
        self._over.put(None)
        with self._drawing:
            if self._record:
                self._out.write(bar.ERASE)
            self._record = None
        super().finished(record)

    def _line(self, text: str) -> None:
        """Above the bar, which the next drawing brings back."""
        with self._drawing:
            self._out.write((bar.ERASE if self._record else "") + printable(text) + "\n" + self._bar())

    def _keep_fresh(self) -> None:
        while True:
            self._draw()
            with suppress(Empty):
                return self._over.get(timeout=_IDLE)

    def _draw(self) -> None:
        with self._drawing:
            if self._record:
                self._drawn_at = self._clock()
                self._out.write(bar.ERASE + self._bar())

    def _bar(self) -> str:
        record = self._record
        if record is None:
            return ""
        counts = record.counts
        rate, left = self._pace.now(counts)
        return bar.line(counts, rate, left, self._width())

    def _width(self) -> int:
        with suppress(OSError, ValueError):
            return os.get_terminal_size(self._terminal.fileno()).columns or 80
        return 80


def printable(text: str) -> str:
    """Control characters in a key or in the model's output must not drive a terminal."""
    return "".join(c if c.isprintable() or c == "\t" else "\N{REPLACEMENT CHARACTER}" for c in text)


def for_stdout() -> Reporter:
    """Readable lines on a terminal, JSON Lines anywhere else."""
    if isinstance(sys.stdout, io.TextIOWrapper):  # a name that the locale has no letters for ends no job
        sys.stdout.reconfigure(errors="backslashreplace")
    if not sys.stdout.isatty():
        return JsonLines(sys.stdout)
    return PlainText(sys.stdout) if job.environment().get("TERM", "dumb") == "dumb" else Terminal(sys.stdout)


class DocumentFile:
    """The status document in storage, rewritten whole each time."""

    def __init__(self, uri: str, job: str) -> None:
        self._uri = uri
        self._metadata = of_document(uri, job)

    def write(self, document: dict[str, Any]) -> None:
        """Raises StorageError where it cannot be written."""
        text = json.dumps(document, indent=2, ensure_ascii=False) + "\n"
        source = text.encode(errors="backslashreplace")
        storage.of(self._uri).upload(source, self._uri, media_type="application/json", metadata=self._metadata)
