"""The status document: one JSON object that says how a job stands, and in the end how it went."""

import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from supervisor import __version__
from supervisor.device import Device
from supervisor.failures import SUCCESS, Failure, job_exit_code
from supervisor.job import JobSpec
from supervisor.model.description import Module
from supervisor.model.runner import Choice
from supervisor.work import Item

VERSION = 1
RUNNING, SUCCEEDED, FAILED = "RUNNING", "SUCCEEDED", "FAILED"
DONE, SKIPPED, ITEM_FAILED = "done", "skipped", "failed"

# Items listed in the document itself, failures first; the counts count all.
_LISTED = 100


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How one item ended. seconds: by stage (download, predict, upload)."""

    item: Item
    state: str
    result: str | None = None
    size: int | None = None
    etag: str | None = None
    runner: str | None = None
    seconds: Mapping[str, float] = field(default_factory=dict)
    failure: Failure | None = None
    log_tail: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        return _without_none(
            {
                "input": self.item.shown,
                "version": self.item.version,
                "etag": self.etag,
                "bytes": self.size,
                "state": self.state,
                "result": self.result,
                "runner": self.runner,
                "seconds": {stage: round(spent, 4) for stage, spent in self.seconds.items()} or None,
                "error": failure_as_dict(self.failure, self.log_tail) if self.failure else None,
            }
        )


class Record:
    """The job's story so far. Changed by the pipeline alone; `document` is what the sinks are given."""

    def __init__(self, spec: JobSpec) -> None:
        self.spec = spec
        self.total = 0
        self.placeholders = 0
        self.device: Device | None = None
        self.module: Module | None = None
        self.choice: Choice | None = None
        self.outcomes: list[Outcome] = []
        self.warnings: list[str] = []
        self.failure: Failure | None = None
        self.log_tail: tuple[str, ...] = ()
        self.exit_code: int | None = None
        self.seconds: dict[str, float] = {}
        self._started = datetime.now(UTC)
        self._finished: datetime | None = None
        self._clock = time.monotonic()
        self._elapsed: float | None = None

    def add(self, outcome: Outcome) -> None:
        self.outcomes.append(outcome)
        for stage, spent in outcome.seconds.items():
            self.seconds[stage] = self.seconds.get(stage, 0.0) + spent

    def close(self, failure: Failure | None, log_tail: tuple[str, ...] = ()) -> int:
        """Settles the exit code: the job's own failure, else what its items come to."""
        failures = [o.failure for o in self.outcomes if o.failure]
        self._finished, self._elapsed = datetime.now(UTC), self.elapsed
        self.failure, self.log_tail = failure, log_tail
        self.exit_code = failure.code if failure else job_exit_code(self.total, failures, self.spec.max_failures)
        if not failure and self.exit_code != SUCCESS:
            # One failure tells all: the first of the kind that gave the job its code.
            worst = next((o for o in self.outcomes if o.failure and o.failure.code == self.exit_code), None)
            worst = worst or next(o for o in self.outcomes if o.failure)
            self.failure, self.log_tail = worst.failure, worst.log_tail
        return self.exit_code

    @property
    def state(self) -> str:
        if self.exit_code is None:
            return RUNNING
        return SUCCEEDED if self.exit_code == SUCCESS else FAILED

    @property
    def counts(self) -> dict[str, int]:
        states = Counter(o.state for o in self.outcomes)
        return {
            "total": self.total,
            DONE: states[DONE],
            SKIPPED: states[SKIPPED],
            ITEM_FAILED: states[ITEM_FAILED],
            "placeholders": self.placeholders,
        }

    @property
    def elapsed(self) -> float:
        """Seconds since the job began, to its end where it has one."""
        return time.monotonic() - self._clock if self._elapsed is None else self._elapsed

    def document(self) -> dict[str, Any]:
        now = self._finished or datetime.now(UTC)
        spec, module, image = self.spec, self.module, self.spec.image
        return _without_none(
            {
                "version": VERSION,
                "state": self.state,
                "exit_code": self.exit_code,
                "job": _without_none(
                    {
                        "id": spec.identity.id,
                        "attempt": spec.identity.attempt,
                        "array_index": spec.identity.array_index,
                        "queue": spec.identity.queue,
                    }
                ),
                "started": _timestamp(self._started),
                "updated": _timestamp(now),
                "finished": _timestamp(now) if self._finished else None,
                "counts": self.counts,
                "seconds": {name: round(spent, 4) for name, spent in self.seconds.items()}
                | {"total": round(self.elapsed, 4)},
                "module": {"name": module.name, "version": module.version} if module else None,
                "image": _without_none(
                    {"name": image.name, "base": image.base, "module": image.module, "variant": image.variant}
                )
                or None,
                "versions": _without_none(
                    {
                        "supervisor": __version__,
                        "deepaas": module.deepaas if module else None,
                        "python": module.python if module else None,
                    }
                ),
                "device": self.device.as_dict() if self.device else None,
                "runner": {"name": self.choice.runner, "why": self.choice.why} if self.choice else None,
                "warnings": list(self.warnings) or None,
                "items": [o.as_dict() for o in self._listed()],
                "error": failure_as_dict(self.failure, self.log_tail) if self.failure else None,
            }
        )

    def _listed(self) -> list[Outcome]:
        failed = [o for o in self.outcomes if o.failure][:_LISTED]
        rest = [o for o in self.outcomes if not o.failure][-max(0, _LISTED - len(failed)) :]
        return sorted(failed + (rest if len(failed) < _LISTED else []), key=lambda o: o.item.index)


def failure_as_dict(failure: Failure, log_tail: tuple[str, ...] = ()) -> dict[str, Any]:
    told: dict[str, Any] = {
        "code": failure.code,
        "category": failure.category,
        "retry": failure.retry,
        "message": failure.message,
        "hint": failure.hint,
    }
    return told | ({"log": list(log_tail)} if log_tail else {})


def _timestamp(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _without_none(members: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in members.items() if value is not None}
