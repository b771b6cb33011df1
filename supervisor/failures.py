"""Every way a job can end badly, side by side; the one table that the exit code, the status, the docs
and Batch's retryStrategy are read from.

Failure
├── BadUsage            64  the job's environment or the command line
├── ItemFailed          65  bad input, or the module answered with an error
├── InputMissing        66  no such object
├── DeviceMissing       69  CUDA asked for and absent
├── Bug                 70  ours
├── OutputUnwritable    73  no bucket, denied, not a folder
├── DiskTrouble         74  full, or an I/O error
├── PassingTrouble      75  S3 5xx, throttling, unreachable, Spot notice: the only one worth a retry
├── InputDenied         77  credentials or policy
├── ImageUnfit          78  no DEEPaaS, no module, several, a broken import
├── PredictionTimedOut 124
├── OutOfMemory        137  the kernel killed the model
└── Stopped            143  SIGTERM or Ctrl-C, no Spot notice
"""

import time
from collections.abc import Mapping
from typing import ClassVar

__all__ = [
    "SUCCESS",
    "TABLE",
    "BadUsage",
    "Bug",
    "DeviceMissing",
    "DiskTrouble",
    "Failure",
    "ImageUnfit",
    "InputDenied",
    "InputMissing",
    "ItemFailed",
    "OutOfMemory",
    "OutputUnwritable",
    "PassingTrouble",
    "PredictionTimedOut",
    "SpotReclaimed",
    "Stopped",
    "job_exit_code",
]

SUCCESS = 0


class Failure(BaseException):
    """A reason why an item or a whole job failed.

    No Exception, because Stopped is raised wherever the main thread is, and libraries catch Exception around their
    calls: botocore takes one for a broken connection and tries again.

    message: one line, what was wrong and with which value; hint: one line, what to do about it.
    """

    code: ClassVar[int]
    category: ClassVar[str]
    meaning: ClassVar[str]
    advice: ClassVar[str]
    retry: ClassVar[bool] = False
    # Whether the model's process died of it: the item may do better in a new one.
    crashed: bool = False

    def __init__(self, message: str, hint: str | None = None) -> None:
        self.message = _one_line(message)
        self.hint = _one_line(hint or self.advice)
        super().__init__(self.message)


def _one_line(text: str) -> str:
    """Line breaks become spaces; what could drive a terminal, or is no character at all, is escaped."""
    joined = " ".join(line.strip() for line in text.splitlines())
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in joined)


class BadUsage(Failure):
    code = 64
    category = "bad-usage"
    meaning = "bad job environment or usage"
    advice = "correct the job's environment or flags; `supervisor run --help` lists them"


class ItemFailed(Failure):
    code = 65
    category = "item-failed"
    meaning = "more items failed than JOB_MAX_FAILURES: bad input, or the module answered with an error"
    advice = "look at the module's log above and at the input file"


class InputMissing(Failure):
    code = 66
    category = "input-missing"
    meaning = "input does not exist"
    advice = "check the bucket, the key and the spelling of the URI"


class DeviceMissing(Failure):
    code = 69
    category = "device-missing"
    meaning = "device asked for is not there"
    advice = (
        "ask for a GPU in the job definition (resourceRequirements GPU) or with `docker run --gpus all`, check "
        "the host's NVIDIA driver and container toolkit, or use the cpu image"
    )


class Bug(Failure):
    code = 70
    category = "bug"
    meaning = "a bug of ours"
    advice = "please report it with the log"


class OutputUnwritable(Failure):
    code = 73
    category = "output-unwritable"
    meaning = "output cannot be written (no bucket, denied)"
    advice = "check that JOB_OUTPUT exists and that the job's role may write there"


class DiskTrouble(Failure):
    code = 74
    category = "disk"
    meaning = "local disk full or I/O error"
    advice = "give the job more disk, or smaller inputs"


class PassingTrouble(Failure):
    code = 75
    category = "passing"
    meaning = "passing trouble: S3 5xx/throttled/unreachable after retries, Spot notice"
    advice = "run the job again: what is done is kept"
    retry = True


class SpotReclaimed(PassingTrouble):
    """Told to stop because the machine is being taken back."""


class InputDenied(Failure):
    code = 77
    category = "input-denied"
    meaning = "access to the input denied"
    advice = "check the job role's policy (s3:GetObject) and the credentials"


class ImageUnfit(Failure):
    code = 78
    category = "image-unfit"
    meaning = "the image is unfit: no DEEPaaS, no module, several and none chosen, module fails to import"
    advice = "see in the module's log above what it could not find or load: the image has to hold it"


class PredictionTimedOut(Failure):
    code = 124
    category = "timeout"
    meaning = "prediction timed out"
    advice = "raise JOB_PREDICT_TIMEOUT, or look at the module's log for where it hangs"


class OutOfMemory(Failure):
    code = 137
    category = "memory"
    meaning = "the model was killed for memory"
    advice = "give the job more memory"


class Stopped(Failure):
    """at: when, by time.monotonic: what is left of JOB_GRACE counts from then."""

    code = 143
    category = "stopped"
    meaning = "told to stop (SIGTERM) with no Spot notice"
    advice = "run the job again: what is done is kept"

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message, hint)
        self.at = time.monotonic()


TABLE: tuple[type[Failure], ...] = (
    BadUsage,
    ItemFailed,
    InputMissing,
    DeviceMissing,
    Bug,
    OutputUnwritable,
    DiskTrouble,
    PassingTrouble,
    InputDenied,
    ImageUnfit,
    PredictionTimedOut,
    OutOfMemory,
    Stopped,
)


def job_exit_code(succeeded: int, failures: Mapping[int, int], max_failures: int) -> int:
    """The job's exit code from how many of its items succeeded, and how many failed with which code.

    75 if any ended in passing trouble (the retry resumes), else 0 within max_failures where any succeeded, else the
    code that all failures share, else 65. So a single item's code is its own.
    """
    codes = [code for code, count in failures.items() if count]
    if not codes:
        return SUCCESS
    if PassingTrouble.code in codes:
        return PassingTrouble.code
    if succeeded and sum(failures.values()) <= max_failures:
        return SUCCESS
    return codes[0] if len(codes) == 1 else ItemFailed.code
