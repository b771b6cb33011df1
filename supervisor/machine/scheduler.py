"""Who scheduled the job, and which child of an array this is: AWS Batch, SLURM, Kubernetes, or whoever sets
JOB_ARRAY_INDEX and JOB_ARRAY_SIZE."""

import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass

from supervisor.failures import BadUsage

# Read beside the table of job.py, for schedulers set them rather than people.
ARRAY_VARIABLES = ("JOB_ARRAY_INDEX", "JOB_ARRAY_SIZE", "JOB_COMPLETION_INDEX")
_INDEX_VARIABLES = ("AWS_BATCH_JOB_ARRAY_INDEX", "JOB_ARRAY_INDEX", "SLURM_ARRAY_TASK_ID", "JOB_COMPLETION_INDEX")


@dataclass(frozen=True, kw_only=True)
class Identity:
    """Which job this is, as its scheduler names it. attempt: 1 for the first."""

    id: str
    attempt: int = 1
    array_index: int | None = None
    queue: str | None = None

    @property
    def name(self) -> str:
        """`<job id>[-<index>]`, as used in the status document's name."""
        return self.id if self.array_index is None else f"{self.id}-{self.array_index}"


@dataclass(frozen=True, kw_only=True)
class Slice:
    """One child's share of an array's work: the index-th, from 0, of count."""

    index: int
    count: int

    def of(self, total: int) -> range:
        """This child's positions among total: contiguous, and no child has more than one more than another."""
        return range(total * self.index // self.count, total * (self.index + 1) // self.count)


def identity(environ: Mapping[str, str]) -> Identity:
    """The job as its scheduler names it; a made-up id where there is none. Raises BadUsage for a bad array index."""
    # Batch names an array's child <parent>:<index>; the index has its own place in the name.
    batch, _, child = environ.get("AWS_BATCH_JOB_ID", "").partition(":")
    name = next((name for name in _INDEX_VARIABLES if environ.get(name)), None)
    index = environ[name] if name else child if is_whole_number(child) else None
    if index is not None and not is_whole_number(index):
        raise BadUsage(f"{name} is {index!r}, not an array index", "use a whole number from 0 up")
    slurm = environ.get("SLURM_ARRAY_JOB_ID") or environ.get("SLURM_JOB_ID")
    attempt = environ.get("AWS_BATCH_JOB_ATTEMPT", "")
    restarts = environ.get("SLURM_RESTART_COUNT", "")
    return Identity(
        id=_file_name(batch or slurm or "") or f"local-{time.strftime('%Y%m%dT%H%M%S')}-{secrets.token_hex(3)}",
        attempt=int(attempt) if is_whole_number(attempt) else int(restarts) + 1 if is_whole_number(restarts) else 1,
        array_index=None if index is None else int(index),
        queue=environ.get("AWS_BATCH_JQ_NAME") or environ.get("SLURM_JOB_PARTITION"),
    )


def salvaged_identity(environ: Mapping[str, str]) -> Identity:
    """As `identity`; without the array index where that is what is wrong."""
    try:
        return identity(environ)
    except BadUsage:
        return identity({name: value for name, value in environ.items() if "ARRAY" not in name and "INDEX" not in name})


def array_slice(environ: Mapping[str, str]) -> Slice | None:
    """This child's share. Raises BadUsage where the array's variables do not say it."""
    name = next((name for name in _INDEX_VARIABLES if environ.get(name)), None)
    if name is None:
        if environ.get("JOB_ARRAY_SIZE"):
            raise BadUsage("JOB_ARRAY_SIZE is set without an index", "set JOB_ARRAY_INDEX too, or unset both")
        return None
    if name == "SLURM_ARRAY_TASK_ID" and not environ.get("JOB_ARRAY_SIZE"):
        return _slurm_slice(environ)
    size_name = "AWS_BATCH_JOB_ARRAY_SIZE" if name == "AWS_BATCH_JOB_ARRAY_INDEX" else "JOB_ARRAY_SIZE"
    size_name = size_name if environ.get(size_name) else "JOB_ARRAY_SIZE"
    index, size = environ[name], environ.get(size_name)
    advice = f"set {size_name} to the number of children, whose indices run from 0"
    if not size:
        raise BadUsage(f"{name} is {index}, but of how many is not said: {size_name} is not set", advice)
    if not (is_whole_number(size) and int(size) > 0):
        raise BadUsage(f"{size_name} is {size!r}, not a number of children", advice)
    if not is_whole_number(index):
        raise BadUsage(f"{name} is {index!r}, not an array index", "use a whole number from 0 up")
    if int(index) >= int(size):
        raise BadUsage(f"{name} is {index}, but {size_name} is {size}", advice)
    return Slice(index=int(index), count=int(size))


def _slurm_slice(environ: Mapping[str, str]) -> Slice:
    """SLURM's own ids start and step as --array says: 0-30:10 has the ids 0, 10, 20 and 30."""
    facts = {
        fact: environ[f"SLURM_ARRAY_TASK_{fact}"]
        for fact in ("ID", "MIN", "MAX", "STEP", "COUNT")
        if environ.get(f"SLURM_ARRAY_TASK_{fact}")
    }
    told = " ".join(f"SLURM_ARRAY_TASK_{fact}={value}" for fact, value in facts.items())
    advice = "use --array=0-N or an even step, or set JOB_ARRAY_INDEX and JOB_ARRAY_SIZE"
    if not all(is_whole_number(value) for value in facts.values()) or not {"MIN", "COUNT"} <= facts.keys():
        raise BadUsage(f"{told} does not say which child of how many this is", advice)
    number = {fact: int(value) for fact, value in facts.items()}
    step = number.get("STEP", 1) or 1
    index, beside = divmod(number["ID"] - number["MIN"], step)
    # A list such as --array=1,5,9 has gaps that no step describes, and its ids no place among COUNT.
    last = number["MIN"] + step * (number["COUNT"] - 1)
    if beside or not 0 <= index < number["COUNT"] or number.get("MAX", last) != last:
        raise BadUsage(f"{told}: the ids are not evenly spaced", advice)
    return Slice(index=index, count=number["COUNT"])


def is_whole_number(text: str) -> bool:
    """Whether int() can read it: str.isdigit alone says so of "²", and int() gives up at 4,300 digits."""
    return text.isascii() and text.isdigit() and len(text) <= 9


def _file_name(text: str) -> str:
    return "".join(c if c.isalnum() or c in "-_." else "_" for c in text).lstrip(".")
