"""What came of one fault: a row of the report."""

from collections import Counter
from dataclasses import dataclass, field
from typing import ClassVar

from tests.conftest import Ended
from tests.faults.jobs import Verdict

_STOP_WITHIN = 30.0  # seconds from SIGTERM to the end


@dataclass(kw_only=True)
class Row:
    """What came of one fault. The five counts in `MUST_BE_0` have to stay 0; stop: the slowest, in seconds."""

    fault: str
    cases: int = 0
    runs: int = 0
    codes: Counter[int] = field(default_factory=Counter)
    other_endings: int = 0
    wrong: int = 0
    spoilt: int = 0
    processes: int = 0
    secrets: int = 0
    stop: float | None = None

    MUST_BE_0: ClassVar = ("other_endings", "wrong", "spoilt", "processes", "secrets")

    @property
    def holds(self) -> bool:
        return not any(getattr(self, name) for name in self.MUST_BE_0) and (self.stop or 0.0) <= _STOP_WITHIN

    def ended(self, ended: Ended, promised: set[int]) -> None:
        self.runs += 1
        self.codes[ended.code] += 1
        self.other_endings += ended.code not in promised or "Traceback" in ended.stderr

    def judged(self, verdict: Verdict) -> None:
        self.wrong += len(verdict.wrong)
        self.spoilt += len({*verdict.half_written, *verdict.lost})

    def add(self, other: "Row") -> None:
        for name in ("cases", "runs", *self.MUST_BE_0):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.codes += other.codes
        self.stopped_after(other.stop or 0.0)

    def stopped_after(self, seconds: float) -> None:
        self.stop = max(self.stop or 0.0, seconds)
