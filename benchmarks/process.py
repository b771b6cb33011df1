"""One command, run to its end and watched from outside: its time, and its own process's CPU and memory."""

import os
import select
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_LOOK_EVERY = 0.05  # seconds
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, kw_only=True)
class Ran:
    """seconds: on the clock. Of its own process, children apart: cpu, user and system seconds; peak, resident bytes."""

    seconds: float
    cpu: float
    peak: int
    stdout: str


def run(command: Sequence[str], environment: Mapping[str, str], stdin: str = "") -> Ran:
    """Raises RuntimeError where the command fails."""
    with (
        tempfile.TemporaryFile("w+") as given,
        tempfile.TemporaryFile("w+") as out,
        tempfile.TemporaryFile("w+") as said,
    ):
        given.write(stdin)
        given.seek(0)
        began, peak = time.perf_counter(), 0
        with subprocess.Popen(command, env=dict(environment), stdin=given, stdout=out, stderr=said) as process:
            with os.fdopen(os.pidfd_open(process.pid)) as ending:
                while not select.select([ending], [], [], _LOOK_EVERY)[0]:
                    peak = max(peak, _high_water_mark(process.pid))
            seconds, cpu = time.perf_counter() - began, _own_cpu(process.pid)
        if process.returncode:
            said.seek(0)
            raise RuntimeError(f"{command}: exit {process.returncode}: {said.read()[-2000:]}")
        out.seek(0)
        return Ran(seconds=seconds, cpu=cpu, peak=peak, stdout=out.read())


def _high_water_mark(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return 0  # it has just ended


def _own_cpu(pid: int) -> float:
    """Of a process that has ended and is not waited for yet. wait4 would add its children's."""
    words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / _TICKS
