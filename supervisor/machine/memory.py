"""Killed for memory, or by somebody: what the kernel says of the job's memory, in cgroup v2 and v1.

A process that the kernel kills for memory ends by SIGKILL, as does one that somebody kills. The cgroup's counter of
such kills tells them apart. It counts the processes of this cgroup whichever limit they fell to: the container's own,
one above it, or the machine's.
"""

import functools
import threading
from dataclasses import dataclass
from pathlib import Path

from supervisor.machine.cgroup import CGROUPS, OWN, groups, number

_MEMINFO = Path("/proc/meminfo")
_MIB = 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class Files:
    """What a version of cgroups calls the limit, the peak, the use (all in bytes), the part of it that the kernel can
    take back at once (of memory.stat), and the counter of kills."""

    limit: str
    peak: str
    used: str
    cache: str
    kills: str


_VERSIONS = {
    1: Files(
        limit="memory.limit_in_bytes",
        peak="memory.max_usage_in_bytes",
        used="memory.usage_in_bytes",
        cache="total_inactive_file",
        kills="memory.oom_control",
    ),
    2: Files(
        limit="memory.max", peak="memory.peak", used="memory.current", cache="inactive_file", kills="memory.events"
    ),
}


def available(cgroups: Path = CGROUPS, own: Path = OWN, meminfo: Path = _MEMINFO) -> int | None:
    """Bytes that this process and its children can still take: what the machine has free, or its control groups leave
    it. None where nothing tells."""
    version, folders = groups("memory", cgroups, own)
    files = _VERSIONS[version]
    rooms = [_field(meminfo, "MemAvailable:")]
    for folder in folders:
        limit, used = number(folder / files.limit), number(folder / files.used)
        if limit is not None and used is not None:
            rooms.append(max(0, limit - used + (_field(folder / "memory.stat", files.cache) or 0)))
    return min((room for room in rooms if room is not None), default=None)


@dataclass(frozen=True, kw_only=True)
class Killed:
    """A kill for memory, as a failure says it."""

    told: str
    hint: str | None = None


class MemoryKills:
    """The job's cgroup, from now on: each kill for memory explains one process's end."""

    def __init__(self, cgroups: Path = CGROUPS, own: Path = OWN) -> None:
        version, self._groups = groups("memory", cgroups, own)
        self._files = _VERSIONS[version]
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
        limits = [(limit, group) for group in self._groups if (limit := number(group / self._files.limit)) is not None]
        limit, group = min(limits, key=lambda each: each[0], default=(None, self._groups[0]))
        return limit, number(group / self._files.peak)

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


def _field(file: Path, name: str) -> int | None:
    """The number behind a name in a file of such lines, in bytes (/proc/meminfo's are in kB)."""
    try:
        words = next(line.split() for line in file.read_text().splitlines() if line.split()[:1] == [name])
        return int(words[1]) * (1024 if words[2:] == ["kB"] else 1)
    except (OSError, StopIteration, ValueError, IndexError):
        return None


def _mib(size: int) -> str:
    return f"{size / _MIB:,.0f} MiB"
