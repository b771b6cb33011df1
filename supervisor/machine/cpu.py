"""How many cores this process may use."""

import os
from collections.abc import Iterator
from pathlib import Path

from supervisor.machine.cgroup import CGROUPS, OWN, groups


def cores(cgroups: Path = CGROUPS, own: Path = OWN) -> int:
    """Those that it may run on, or as many as its control groups give it the time of, where that is less
    (`docker run --cpus`, Fargate, Kubernetes' limits)."""
    return min([len(os.sched_getaffinity(0)), *(max(1, round(share)) for share in _shares(cgroups, own))])


def share(processes: int) -> int:
    """Of each of so many processes that work side by side, at least one."""
    return max(1, cores() // processes)


def _shares(cgroups: Path, own: Path) -> Iterator[float]:
    version, folders = groups("cpu", cgroups, own)
    for folder in folders:
        try:
            if version == 1:
                quota, period = ((folder / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period"))
            else:
                quota, period = (folder / "cpu.max").read_text().split()
            if int(quota) > 0:
                yield int(quota) / int(period)
        except (OSError, ValueError, ZeroDivisionError):  # none of its own, or "max"
            continue
