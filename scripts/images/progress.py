"""How builds get on: bars on a terminal, JSON Lines elsewhere."""

from __future__ import annotations

import json
import threading
import time
from datetime import UTC, datetime
from types import TracebackType
from typing import Protocol, Self, TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn


class BuildProgress(Protocol):
    """Is told of each image by its name, from several threads, and shows it from enter to exit."""

    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
    def stage(self, name: str, stage: str, detail: str = "") -> None: ...
    def note(self, name: str, text: str) -> None: ...
    def ended(self, name: str, state: str, seconds: float, error: str | None = None) -> None: ...


def for_stream(out: TextIO, total: int) -> BuildProgress:
    """What fits the stream. total: how many images."""
    return TerminalProgress(out, total) if out.isatty() else JsonProgress(out)


class TerminalProgress:
    """A bar for all, and one for each image that is being made; what has ended stays above them."""

    def __init__(self, out: TextIO, total: int) -> None:
        self._bars = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=20),
            TextColumn("{task.fields[doing]}", markup=False),
            TimeElapsedColumn(),
            console=Console(file=out, highlight=False),
            transient=True,
        )
        self._total, self._done = total, 0
        self._all = self._bars.add_task("images", total=total, doing=f"0/{total}")
        self._active: dict[str, TaskID] = {}
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()

    def stage(self, name: str, stage: str, detail: str = "") -> None:
        doing = f"{stage} {detail}".strip()
        with self._lock:
            if name in self._active:
                self._bars.update(self._active[name], doing=doing)
            else:
                self._active[name] = self._bars.add_task(name.rpartition("/")[2], total=None, doing=doing)

    def note(self, name: str, text: str) -> None:
        self._line(f"  {name}: {text}")

    def ended(self, name: str, state: str, seconds: float, error: str | None = None) -> None:
        with self._lock:
            self._done += 1
            self._bars.update(self._all, completed=self._done, doing=f"{self._done}/{self._total}")
            if name in self._active:
                self._bars.remove_task(self._active.pop(name))
        self._line(f"  {name}: {'FAILED' if error else state} in {seconds:.1f} s")

    def _line(self, text: str) -> None:
        self._bars.console.print(text, markup=False, soft_wrap=True)


class JsonProgress:
    """A line for each new stage, and one every few seconds within it."""

    EVERY_SECONDS = 5.0

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._last: dict[str, tuple[str, float]] = {}
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Every line is flushed as it is written."""

    def stage(self, name: str, stage: str, detail: str = "") -> None:
        with self._lock:
            before, when = self._last.get(name, ("", 0.0))
            if stage != before or time.monotonic() - when >= self.EVERY_SECONDS:
                self._last[name] = (stage, time.monotonic())
                self._write(event="stage", image=name, stage=stage, detail=detail)

    def note(self, name: str, text: str) -> None:
        with self._lock:
            self._write(event="note", image=name, text=text)

    def ended(self, name: str, state: str, seconds: float, error: str | None = None) -> None:
        with self._lock:
            self._write(event="ended", image=name, state=state, seconds=round(seconds, 1), error=error)

    def _write(self, **event: object) -> None:
        event = {"time": datetime.now(UTC).isoformat(timespec="seconds"), **event}
        self._out.write(json.dumps({key: value for key, value in event.items() if value not in (None, "")}) + "\n")
        self._out.flush()
