"""Where the status goes: lines on stdout for people or for machines, and the document in storage."""

import io
import json
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol, TextIO

from supervisor import storage
from supervisor.failures import Failure
from supervisor.status.document import Outcome, Record
from supervisor.storage.uri import shown


class Reporter(Protocol):
    """Tells the job's story while it happens."""

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
    """A text stream that may be closed on us: a reader gone away must not end the job."""

    def __init__(self, stream: TextIO) -> None:
        self._stream: TextIO | None = stream

    def line(self, text: str) -> None:
        if self._stream is None:
            return
        try:
            self._stream.write(text + "\n")
            self._stream.flush()
        except (OSError, ValueError):
            self._stream = None


class JsonLines:
    """One JSON object a line, for logs. What the model prints rides inside one and cannot be taken for ours."""

    def __init__(self, stream: TextIO) -> None:
        self._out = _Stream(stream)

    def started(self, record: Record) -> None:
        self._say("status", status=record.document())

    def model_ready(self, record: Record) -> None:
        document = record.document()
        self._say("model", **{k: document[k] for k in ("module", "versions", "device", "runner") if k in document})

    def item(self, record: Record, outcome: Outcome) -> None:
        self._say("item", counts=record.counts, item=outcome.as_dict())

    def log(self, line: str) -> None:
        self._say("log", line=line)

    def warning(self, message: str) -> None:
        self._say("warning", message=message)

    def finished(self, record: Record) -> None:
        self._say("status", status=record.document())

    def _say(self, event: str, **members: Any) -> None:
        now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        self._out.line(json.dumps({"time": now, "event": event, **members}))


class Terminal:
    """Lines for a person."""

    def __init__(self, stream: TextIO) -> None:
        self._out = _Stream(stream)

    def started(self, record: Record) -> None:
        counts = record.counts
        left_out = f", {counts['placeholders']} placeholders left out" if counts["placeholders"] else ""
        self._out.line(f"job {record.spec.identity.name}: {counts['total']} to do{left_out}")

    def model_ready(self, record: Record) -> None:
        if not (record.module and record.choice and record.device):
            return
        module, choice = record.module, record.choice
        self._out.line(
            f"module {module.name} {module.version or ''} on DEEPaaS {module.deepaas}, Python {module.python}, "
            f"{record.device.kind}, by {choice.runner} ({choice.why})"
        )

    def item(self, record: Record, outcome: Outcome) -> None:
        seconds = ", ".join(f"{stage} {spent:.2f} s" for stage, spent in outcome.seconds.items())
        number = f"[{len(record.outcomes)}/{record.total}]"
        where = f" -> {outcome.result}" if outcome.result else ""
        told = f"{number} {outcome.state}: {outcome.item.shown}{where}" + (f" ({seconds})" if seconds else "")
        self._out.line(printable(told))
        if outcome.failure:
            self._out.line(f"    {outcome.failure.message}")

    def log(self, line: str) -> None:
        self._out.line("  | " + printable(line))

    def warning(self, message: str) -> None:
        self._out.line(f"warning: {message}")

    def finished(self, record: Record) -> None:
        counts = record.counts
        told = ", ".join(f"{counts[name]} {name}" for name in ("done", "skipped", "failed"))
        where = f"; status in {shown(record.spec.status_uri)}" if record.spec.status_uri else ""
        self._out.line(f"{record.state}: {told} in {record.elapsed:.1f} s{where}")


def printable(text: str) -> str:
    """Control characters in a key or in the model's output must not drive a terminal."""
    return "".join(c if c.isprintable() or c == "\t" else "\N{REPLACEMENT CHARACTER}" for c in text)


def for_stdout() -> Reporter:
    """Readable lines on a terminal, JSON Lines anywhere else."""
    if isinstance(sys.stdout, io.TextIOWrapper):  # a name that the locale has no letters for ends no job
        sys.stdout.reconfigure(errors="backslashreplace")
    return Terminal(sys.stdout) if sys.stdout.isatty() else JsonLines(sys.stdout)


def error_line(failure: Failure) -> str:
    """The one line that a person reads when a job fails."""
    return f"supervisor: {failure.message} (exit {failure.code}, {failure.category}). To do: {failure.hint}"


class DocumentFile:
    """The status document in storage, rewritten whole each time."""

    def __init__(self, uri: str) -> None:
        self._uri = uri

    def write(self, record: Record) -> None:
        """Raises StorageError where it cannot be written."""
        with tempfile.TemporaryDirectory(prefix="supervisor-status-") as folder:
            path = Path(folder, "status.json")
            path.write_text(
                json.dumps(record.document(), indent=2, ensure_ascii=False) + "\n",
                encoding="utf-8",
                errors="backslashreplace",
            )
            storage.of(self._uri).upload(path, self._uri, media_type="application/json", metadata={})
