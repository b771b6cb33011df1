"""The status document: one JSON object that says how a job stands, and in the end how it went.

What its members mean is written down in schema.py, from which docs/status.schema.json is made.
"""

import threading
import time
from collections import Counter, deque
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

from supervisor import __version__
from supervisor.failures import SUCCESS, Failure, SpotReclaimed, Stopped, job_exit_code
from supervisor.job import JobSpec
from supervisor.machine.device import Device
from supervisor.model.description import Module
from supervisor.model.runner import Choice
from supervisor.status.redaction import redacted
from supervisor.storage import Object
from supervisor.work.plan import Item

if TYPE_CHECKING:
    from supervisor.model.usage import Usage

# 1 knew neither PARTIAL nor INTERRUPTED, which were FAILED, or SUCCEEDED within JOB_MAX_FAILURES.
VERSION = 2
RUNNING, SUCCEEDED, PARTIAL, FAILED, INTERRUPTED = "RUNNING", "SUCCEEDED", "PARTIAL", "FAILED", "INTERRUPTED"
DONE, SKIPPED, ITEM_FAILED = "done", "skipped", "failed"
# Of an item that turned out to be a job's own writing: it is in no list, and in no count of items.
LEFT_OUT = "left out"

# Items listed in the document itself, failures first; the counts count all.
LISTED = 100
_WARNINGS = 100
# Bytes of the model's log with the job's own failure, and with each item's.
_LOG, _ITEM_LOG = 16 * 1024, 2 * 1024


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How one item ended. found: what storage said of each of its inputs, as far as it was asked; seconds: by stage
    (download, predict, upload); finished: seconds since the epoch; retried: the model crashed on it, and it was tried
    once more; voucher: by which the next run knows that the result stands."""

    item: Item
    state: str
    result: str | None = None
    found: tuple[Object, ...] = ()
    runner: str | None = None
    seconds: Mapping[str, float] = field(default_factory=dict)
    failure: Failure | None = None
    log_tail: tuple[str, ...] = ()
    retried: bool = False
    voucher: str | None = None
    finished: float = field(default_factory=time.time)

    @property
    def input(self) -> Object | None:
        """What storage said of all of its inputs, as one."""
        return self.item.as_one(self.found) if self.found else None

    def as_dict(self) -> dict[str, Any]:
        whole = self.input
        return without_none(
            {
                "input": self.item.shown,
                "inputs": self._inputs() if self.item.others else None,
                "version": self.item.version,
                "etag": whole.etag if whole else None,
                "bytes": whole.size if whole else None,
                "state": self.state,
                "result": self.result,
                "runner": self.runner,
                "seconds": {stage: round(spent, 4) for stage, spent in self.seconds.items()} or None,
                "finished": _timestamp(datetime.fromtimestamp(self.finished, UTC)),
                "retried": self.retried or None,
                "voucher": self.voucher,
                "error": failure_as_dict(self.failure, self.log_tail, _ITEM_LOG) if self.failure else None,
            }
        )

    def _inputs(self) -> list[dict[str, Any]]:
        return [
            without_none(
                {
                    "field": each.field,
                    "input": each.shown,
                    "version": each.version,
                    "etag": seen.etag if seen else None,
                    "bytes": seen.size if seen else None,
                }
            )
            for each, seen in zip_longest(self.item.inputs, self.found)
        ]


class Record:
    """The job's story so far, in memory that does not grow with its items. `document` is what the sinks are given.

    Several threads tell it what happens; each of its methods is one moment, whole.
    """

    def __init__(self, spec: JobSpec) -> None:
        self.spec = spec
        self._total: int | None = 0  # None while a prefix is being listed
        self._seen = 0  # of the listing
        self._placeholders = 0
        self._left_out = 0
        self._device: Device | None = None
        self._module: Module | None = None
        self._choice: Choice | None = None
        self._usage: Usage | None = None
        self._items_uri: str | None = None
        self._results_table: str | None = None
        self._failure: Failure | None = None
        self._log_tail: tuple[str, ...] = ()
        self._exit_code: int | None = None
        self._seconds: dict[str, float] = {}
        self._states = {DONE: 0, SKIPPED: 0, ITEM_FAILED: 0}
        self._failures: Counter[int] = Counter()
        self._first_failed: dict[int, Outcome] = {}  # by exit code
        self._failed: list[Outcome] = []
        self._rest: deque[Outcome] = deque(maxlen=LISTED)
        self._warnings: list[str] = []
        self._warnings_more = 0
        self._started = datetime.now(UTC)
        self._finished: datetime | None = None
        self._clock = time.monotonic()
        self._elapsed: float | None = None
        self._cut_short = False  # by a failure of the job itself
        # Taken with `with` alone: a signal handler that raises in the main thread leaves it released.
        self._lock = threading.RLock()

    # what happens

    def planned(self, total: int | None, placeholders: int) -> None:
        """The work is known; total: None where a listing has yet to tell."""
        with self._lock:
            self._total, self._placeholders = total, placeholders

    def listed(self, seen: int, placeholders: int) -> None:
        """The work has shown so many items, and left out so many placeholders."""
        with self._lock:
            self._seen, self._placeholders = seen, placeholders

    def listed_all(self, placeholders: int) -> None:
        """The work has come to its end."""
        with self._lock:
            self._total, self._placeholders = self._seen, placeholders

    def runs_on(self, device: Device) -> None:
        with self._lock:
            self._device = device

    def prepared(self, module: Module, choice: Choice, seconds: float) -> None:
        """The model is ready, after so many seconds."""
        with self._lock:
            self._module, self._choice = module, choice
            self._seconds["model"] = seconds

    def runs_by(self, choice: Choice) -> None:
        """Items are run in another way than was chosen."""
        with self._lock:
            self._choice = choice

    def keeps(self, items_uri: str | None, results_table: str | None) -> None:
        """Where the list of all items and the table of results will be."""
        with self._lock:
            self._items_uri, self._results_table = items_uri, results_table

    def keeps_not(self, uri: str) -> None:
        """One of these could not be written: the document names no list that is not there."""
        with self._lock:
            self._items_uri = None if self._items_uri == uri else self._items_uri
            self._results_table = None if self._results_table == uri else self._results_table

    def used(self, usage: "Usage") -> None:
        """What the models used in all."""
        with self._lock:
            self._usage = usage

    def add(self, outcome: Outcome) -> None:
        with self._lock:
            if outcome.state == LEFT_OUT:
                self._left_out += 1
                return
            self._states[outcome.state] += 1
            for stage, spent in outcome.seconds.items():
                self._seconds[stage] = self._seconds.get(stage, 0.0) + spent
            if outcome.failure is None:
                self._rest.append(outcome)
                return
            self._failures[outcome.failure.code] += 1
            self._first_failed.setdefault(outcome.failure.code, outcome)
            if len(self._failed) < LISTED:
                self._failed.append(outcome)

    def warn(self, message: str) -> None:
        with self._lock:
            if len(self._warnings) < _WARNINGS:
                self._warnings.append(message)
            else:
                self._warnings_more += 1

    def close(self, failure: Failure | None, log_tail: tuple[str, ...] = ()) -> int:
        """Settles the exit code: the job's own failure, else what its items come to."""
        with self._lock:
            self._finished, self._elapsed = datetime.now(UTC), self.elapsed
            self._failure, self._log_tail = failure, log_tail
            self._cut_short = failure is not None
            succeeded = self._states[DONE] + self._states[SKIPPED]
            code = failure.code if failure else job_exit_code(succeeded, self._failures, self.spec.max_failures)
            if not failure and code != SUCCESS:
                # One failure tells all: the first of the kind that gave the job its code.
                worst = self._first_failed.get(code) or self._failed[0]
                self._failure, self._log_tail = worst.failure, worst.log_tail
            self._exit_code = code
            return code

    # what there is to tell

    @property
    def total(self) -> int | None:
        """How many items the job has; None while that is not known."""
        return None if self._total is None else self._total - self._left_out

    @property
    def device(self) -> Device | None:
        return self._device

    @property
    def module(self) -> Module | None:
        return self._module

    @property
    def choice(self) -> Choice | None:
        return self._choice

    @property
    def failure(self) -> Failure | None:
        """What ended the job, or the failure that stands for those of its items."""
        return self._failure

    @property
    def exit_code(self) -> int | None:
        """None while it runs."""
        return self._exit_code

    @property
    def interrupted(self) -> bool:
        """Whether it was stopped from outside, rather than ended."""
        return isinstance(self._failure, Stopped | SpotReclaimed)

    @property
    def state(self) -> str:
        if self._exit_code is None:
            return RUNNING
        if self.interrupted:
            return INTERRUPTED
        failed = self._states[ITEM_FAILED]
        if self._cut_short or (failed and failed == self.ended):
            return FAILED
        return PARTIAL if failed else SUCCEEDED

    @property
    def ended(self) -> int:
        """Items that are done, skipped or failed."""
        return sum(self._states.values())

    @property
    def unended(self) -> bool:
        """Whether there is more work than has ended, or may be."""
        return self._total is None or self._total > self.ended

    @property
    def several(self) -> bool:
        """Whether the job may have more than one item."""
        return self._total is None or self._total > 1

    @property
    def counts(self) -> dict[str, Any]:
        with self._lock:
            return self._counts()

    def _counts(self) -> dict[str, Any]:
        listing = {"listing": True} if self._total is None else {}
        left_out = {"written_by_jobs": self._left_out} if self._left_out else {}
        known = max(self._seen, self.ended + self._left_out) if self._total is None else self._total
        total = known - self._left_out
        return {
            "total": total,
            **self._states,
            "pending": max(0, total - self.ended),
            "placeholders": self._placeholders,
            **left_out,
            **listing,
        }

    @property
    def elapsed(self) -> float:
        """Seconds since the job began, to its end where it has one."""
        return time.monotonic() - self._clock if self._elapsed is None else self._elapsed

    def document(self) -> dict[str, Any]:
        """From any thread: one moment's story, whole."""
        with self._lock:
            now, elapsed = self._finished or datetime.now(UTC), self.elapsed
            module, image = self._module, self.spec.image
            document = without_none(
                {
                    "version": VERSION,
                    "state": self.state,
                    "exit_code": self._exit_code,
                    "job": self._job(),
                    "started": _timestamp(self._started),
                    "updated": _timestamp(now),
                    "finished": _timestamp(now) if self._finished else None,
                    "counts": self._counts(),
                    "seconds": {name: round(spent, 4) for name, spent in self._seconds.items()}
                    | {"total": round(elapsed, 4)},
                    "throughput": round(self.ended / elapsed, 3) if self.ended and elapsed else None,
                    "module": without_none({"name": module.name, "version": module.version}) if module else None,
                    "image": without_none(
                        {"name": image.name, "base": image.base, "module": image.module, "variant": image.variant}
                    )
                    or None,
                    "versions": without_none(
                        {
                            "supervisor": __version__,
                            "deepaas": module.deepaas if module else None,
                            "python": module.python if module else None,
                        }
                    ),
                    "device": _device_as_dict(self._device) if self._device else None,
                    "runner": {"name": self._choice.runner, "why": self._choice.why} if self._choice else None,
                    "usage": without_none(self._usage.as_dict()) or None if self._usage else None,
                    "warnings": self._told_warnings() or None,
                    "items": self._listed(),
                    "items_uri": self._items_uri,
                    "results_table": self._results_table,
                    "error": failure_as_dict(self._failure, self._log_tail, _LOG) if self._failure else None,
                }
            )
        # Redacting a hundred items takes milliseconds; outcomes do not change.
        return document | {"items": [outcome.as_dict() for outcome in document["items"]]}

    def _job(self) -> dict[str, Any]:
        identity, share = self.spec.identity, self.spec.slice
        return without_none(
            {
                "id": identity.id,
                "attempt": identity.attempt,
                "array_index": identity.array_index,
                "array_size": share.count if share else None,
                "queue": identity.queue,
            }
        )

    def _told_warnings(self) -> list[str]:
        more = [f"and {self._warnings_more:,} more"] if self._warnings_more else []
        return self._warnings + more

    def _listed(self) -> list[Outcome]:
        rest = list(self._rest)[max(0, len(self._rest) + len(self._failed) - LISTED) :]
        return sorted(self._failed + rest, key=lambda outcome: outcome.item.index)


def _device_as_dict(device: Device) -> dict[str, Any]:
    gpus = [without_none(asdict(gpu)) for gpu in device.gpus]
    return without_none({"kind": device.kind, "gpus": gpus, "driver": device.driver, "note": device.note})


def failure_as_dict(failure: Failure, log_tail: Iterable[str] = (), most: int = _LOG) -> dict[str, Any]:
    """The failure for machines, with at most `most` bytes of what the model printed last."""
    told: dict[str, Any] = {
        "code": failure.code,
        "category": failure.category,
        "retry": failure.retry,
        "message": redacted(failure.message),
        "hint": redacted(failure.hint),
    }
    log = _last(log_tail, most)
    return told | ({"log": log} if log else {})


def _last(lines: Iterable[str], most: int) -> list[str]:
    """The last lines that fit into so many bytes, redacted."""
    kept: list[str] = []
    for line in reversed(tuple(lines)):
        text = redacted(line)
        most -= len(text.encode(errors="replace"))
        if most < 0:
            break
        kept.append(text)
    return kept[::-1]


def _timestamp(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds")[: -len("+00:00")] + "Z"


def without_none(members: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in members.items() if value is not None}
