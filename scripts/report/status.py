"""What a status document and a line of an item list say, checked once, at the edge."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

DONE, SKIPPED, FAILED = "done", "skipped", "failed"
LONGEST_TEXT = 2_000


class Malformed(Exception):
    """A document or a line is not what it should be; the message says in a few words what it is."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Error:
    """Why an item or a whole child failed, as the status tells it."""

    category: str
    message: str
    hint: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Child:
    """One status document. Moments: seconds since the epoch."""

    name: str
    job: str
    index: int | None
    attempt: int | None
    state: str
    exit_code: int | None
    total: int
    done: int
    skipped: int
    failed: int
    placeholders: int
    seconds: Mapping[str, float]
    started: float | None
    updated: float | None
    facts: Mapping[str, str]
    error: Error | None

    @property
    def left(self) -> int:
        return max(0, self.total - self.ended)

    @property
    def ended(self) -> int:
        return self.done + self.skipped + self.failed

    @property
    def spent(self) -> float | None:
        return self.seconds.get("total")

    @property
    def order(self) -> tuple[str, int]:
        return self.job, -1 if self.index is None else self.index

    @property
    def identity(self) -> str:
        """What its results table is named after, whatever JOB_STATUS calls the document."""
        return self.job if self.index is None else f"{self.job}-{self.index}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Item:
    """How one item ended. size: bytes; finished: seconds since the epoch."""

    input: str
    state: str
    size: int | None
    seconds: Mapping[str, float]
    finished: float | None
    error: Error | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One line of a results table. left_out: the answer is not in it, only in the result."""

    input: str
    result: str
    etag: str | None
    size: int | None
    seconds: Mapping[str, float]
    answer: Any
    left_out: bool


def child(name: str, told: Any) -> Child:
    """Raises Malformed where `told` is not a status document."""
    if not isinstance(told, dict) or not {"version", "state", "counts"} <= told.keys():
        raise Malformed("is not a status document")
    counts = as_object(told["counts"], "counts")
    job = as_object(told.get("job", {}), "job")
    return Child(
        name=name,
        job=_text(job.get("id"), "job.id") or name,
        index=_number(job.get("array_index"), "job.array_index"),
        attempt=_number(job.get("attempt"), "job.attempt"),
        state=_text(told["state"], "state") or "",
        exit_code=_number(told.get("exit_code"), "exit_code"),
        total=_number(counts.get("total"), "counts.total") or 0,
        done=_number(counts.get(DONE), "counts.done") or 0,
        skipped=_number(counts.get(SKIPPED), "counts.skipped") or 0,
        failed=_number(counts.get(FAILED), "counts.failed") or 0,
        placeholders=_number(counts.get("placeholders"), "counts.placeholders") or 0,
        seconds=_seconds(told.get("seconds")),
        started=_moment(told.get("started")),
        updated=_moment(told.get("updated")),
        facts=_facts(told),
        error=_error(told.get("error")),
    )


def item(told: Any) -> Item:
    """Raises Malformed where `told` is not how an item ended."""
    told = as_object(told, "the line")
    name, state = told.get("input"), told.get("state")
    if not isinstance(name, str):
        raise Malformed("names no input")
    if state not in (DONE, SKIPPED, FAILED):
        raise Malformed("has no state")
    return Item(
        input=name,
        state=state,
        size=_number(told.get("bytes"), "bytes"),
        seconds=_seconds(told.get("seconds")),
        finished=_moment(told.get("finished")),
        error=_error(told.get("error")),
    )


def row(told: Any) -> Row:
    """Raises Malformed where `told` is no line of a results table."""
    told = as_object(told, "the line")
    name, result = told.get("input"), told.get("result")
    if not (isinstance(name, str) and isinstance(result, str)):
        raise Malformed("names no input and result")
    if "answer" not in told and "answer_left_out" not in told:
        raise Malformed("holds no answer")
    return Row(
        input=name,
        result=result,
        etag=_text(told.get("etag"), "etag"),
        size=_number(told.get("bytes"), "bytes"),
        seconds=_seconds(told.get("seconds")),
        answer=told.get("answer"),
        left_out="answer" not in told,
    )


def _facts(told: Mapping[str, Any]) -> dict[str, str]:
    """What the head of the page says, where the document knows it."""
    job, module, image, versions, runner = (
        as_object(told.get(name) or {}, name) for name in ("job", "module", "image", "versions", "runner")
    )
    facts = {
        "module": " ".join(str(module[key]) for key in ("name", "version") if module.get(key)),
        "image": image.get("name"),
        "base image": image.get("base"),
        "variant": image.get("variant"),
        "device": _device(as_object(told.get("device") or {}, "device")),
        "runner": runner.get("name"),
        "DEEPaaS": versions.get("deepaas"),
        "Python": versions.get("python"),
        "supervisor": versions.get("supervisor"),
        "queue": job.get("queue"),
    }
    return {name: str(value)[:LONGEST_TEXT] for name, value in facts.items() if value}


def _device(device: Mapping[str, Any]) -> str:
    gpus = [gpu for gpu in device.get("gpus") or [] if isinstance(gpu, dict)]
    parts = [str(device.get("kind") or "")]
    for name, number in Counter(str(gpu.get("name")) for gpu in gpus).items():
        parts.append(f"{number} x {name}")
    if device.get("driver"):
        parts.append(f"driver {device['driver']}")
    if device.get("note"):
        parts.append(str(device["note"]))
    return ", ".join(part for part in parts if part)


def as_object(value: Any, name: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise Malformed(f"{name} is not an object")
    return value


def _text(value: Any, name: str) -> str | None:
    if value is not None and not isinstance(value, str):
        raise Malformed(f"{name} is not text")
    return value


def _number(value: Any, name: str) -> int | None:
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**63:
        raise Malformed(f"{name} is not a count")
    return value


def _seconds(value: Any) -> dict[str, float]:
    seconds = as_object(value or {}, "seconds")
    for name, spent in seconds.items():
        if not isinstance(spent, int | float) or isinstance(spent, bool) or not 0 <= spent < 1e9:
            raise Malformed(f"seconds.{name[:40]} is not a time")
    return seconds


def _moment(value: Any) -> float | None:
    """Seconds since the epoch, of an ISO timestamp (UTC where it names no zone)."""
    if value is None:
        return None
    try:
        moment = datetime.fromisoformat(value)
    except (ValueError, TypeError):
        raise Malformed("has a time that is none") from None
    if not 2000 <= moment.year < 3000:
        raise Malformed("has a time out of this age")
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _error(value: Any) -> Error | None:
    if value is None:
        return None
    error = as_object(value, "error")
    category, message, hint = (_text(error.get(name), f"error.{name}") for name in ("category", "message", "hint"))
    return Error(category=category or "unknown", message=message or "", hint=hint or "")
