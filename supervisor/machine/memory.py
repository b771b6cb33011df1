"""Killed for memory, or by somebody: what the kernel says of the job's memory, in cgroup v2 and v1.

A process that the kernel kills for memory ends by SIGKILL, as does one that somebody kills. The cgroup's counter of
such kills tells them apart. It counts the processes of this cgroup whichever limit they fell to: the container's own,
one above it, or the machine's.
"""

import functools
import threading
from dataclasses import dataclass
from pathlib import Path

_CGROUPS = Path("/sys/fs/cgroup")
_OWN = Path("/proc/self/cgroup")
# Version 1 writes "no limit" as the largest multiple of a page in 63 bits.
_NO_LIMIT = 1 << 62
_MIB = 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class Files:
    """What a version of cgroups calls the limit, the peak (both in bytes) and the counter of kills."""

    limit: str
    peak: str
    kills: str


_V1 = Files(limit="memory.limit_in_bytes", peak="memory.max_usage_in_bytes", kills="memory.oom_control")
_V2 = Files(limit="memory.max", peak="memory.peak", kills="memory.events")


@dataclass(frozen=True, kw_only=True)
class Killed:
    """A kill for memory, as a failure says it."""

    told: str
    hint: str | None = None


class MemoryKills:
    """The job's cgroup, from now on: each kill for memory explains one process's end."""

    def __init__(self, cgroups: Path = _CGROUPS, own: Path = _OWN) -> None:
        self._files, self._groups = _find(cgroups, own)
        self._lock = threading.Lock()
        self._explained = self._counted()

    def explain(self) -> Killed | None:
        """Why a process of the job's got SIGKILL; None where the kernel has killed nothing more for memory."""
        with self._lock:
            kills = self._counted()
            if kills is None or self._explained is None:
                return Killed(told=f"out of memory, most likely{self._bounds('; ')}")
            if kills <= self._explained:
                return None
            self._explained += 1
        limit, _ = self._limit_and_peak()
        if limit is None:
            return Killed(
                told="the machine ran out of memory; the job itself has no limit",
                hint="give the job a machine with more memory, or fewer jobs beside it",
            )
        return Killed(
            told=f"out of memory{self._bounds(': ')}",
            hint=f"give the job more memory than {_mib(limit)} (MEMORY in the job definition, `docker run --memory`), "
            "or lower JOB_WORKERS where that is set",
        )

    def not_for_memory(self) -> str:
        """For the end of one that somebody else killed."""
        return f"by somebody, not by the kernel for memory{self._bounds('; ')}"

    def _bounds(self, joint: str) -> str:
        limit, peak = self._limit_and_peak()
        facts = [f"the limit is {_mib(limit)}"] if limit is not None else []
        facts += [f"the peak was {_mib(peak)}"] if peak is not None else []
        return joint + ", ".join(facts) if facts else ""

    def _limit_and_peak(self) -> tuple[int | None, int | None]:
        """The lowest limit from the own group up, with the peak of the group that has it."""
        limits = [(limit, group) for group in self._groups if (limit := _number(group / self._files.limit)) is not None]
        limit, group = min(limits, key=lambda each: each[0], default=(None, self._groups[0]))
        return limit, _number(group / self._files.peak)

    def _counted(self) -> int | None:
        """Processes of this group killed for memory so far; None on kernels before 4.13, and without cgroups."""
        try:
            lines = (self._groups[0] / self._files.kills).read_text().splitlines()
        except OSError:
            return None
        return next((int(line.split()[1]) for line in lines if line.startswith("oom_kill ")), None)


@functools.cache
def kills() -> MemoryKills:
    """The one for all models of this process: a kill explains the end of one of them, not of each."""
    return MemoryKills()


def _find(cgroups: Path, own: Path) -> tuple[Files, list[Path]]:
    """The memory controller's files, and the folders of our group and those above it, the own first."""
    try:
        lines = [line.split(":", 2) for line in own.read_text().splitlines()]
    except OSError:
        lines = []
    paths = {controllers: path for _, controllers, path in lines}
    v1 = next((path for controllers, path in paths.items() if "memory" in controllers.split(",")), None)
    top = cgroups / "memory" if v1 is not None else cgroups
    # A container's view may begin at its own group while the path still is the host's.
    path = v1 if v1 is not None else paths.get("", "/")
    group = top / path.lstrip("/")
    if ".." in group.parts or not group.is_dir():
        group = top
    above = [parent for parent in group.parents if parent.is_relative_to(top)]
    return (_V1 if v1 is not None else _V2), [group, *above]


def _number(file: Path) -> int | None:
    """The number in a file; None where there is no such file or it means no limit."""
    try:
        number = int(file.read_text())
    except (OSError, ValueError):  # ValueError: "max"
        return None
    return number if number < _NO_LIMIT else None


def _mib(size: int) -> str:
    return f"{size / _MIB:,.0f} MiB"
