"""What the model uses: memory, CPU, GPU.

Looked at from outside about once a second, for less than a thousandth of a core.
"""

import contextlib
import json
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from supervisor.machine.device import Gpu, library_places
from supervisor.model.process_tree import ProcessTree

# Seconds between two looks at the processes, and at the GPUs, at least; the first at these when it has begun to work.
_EVERY, _EVERY_GPU, _FIRST_GPU = 1.0, 10.0, 3.0
# A look that took so many CPU seconds is followed by a pause of so many times that: with hundreds of processes on the
# machine, or a driver that takes long to open, it comes less often instead of costing more.
_PAUSE = 2000
_NVML_SECONDS = 20


@dataclass(frozen=True, kw_only=True)
class Usage:
    """Of one model or of several. None: unknown.

    peak_memory: bytes, the largest sum of its processes' resident memory that was seen, where pages that two of them
    share count twice; cpu_seconds: user and system, children included; gpu_memory: bytes in use at most on the GPUs
    that the model sees, others' use included; gpu_utilisation: percent of the time, the mean of what was seen.
    """

    peak_memory: int | None = None
    cpu_seconds: float | None = None
    gpu_memory: int | None = None
    gpu_utilisation: float | None = None

    def as_dict(self) -> dict[str, int | float | None]:
        figures = asdict(self)
        return {name: round(value, 3) if isinstance(value, float) else value for name, value in figures.items()}


NOTHING = Usage()


def together(usages: Sequence[Usage]) -> Usage:
    """Of models that live side by side. Their peaks need not have been at the same moment: the sum is a bound."""
    peaks, cpu, memory, utilisation = _known(usages)
    return Usage(
        peak_memory=sum(peaks) if peaks else None,
        cpu_seconds=sum(cpu) if cpu else None,
        gpu_memory=sum(memory) if memory else None,
        gpu_utilisation=sum(utilisation) / len(utilisation) if utilisation else None,
    )


def in_turn(usages: Sequence[Usage]) -> Usage:
    """Of one model's processes, each of which was started when the one before had ended."""
    peaks, cpu, memory, utilisation = _known(usages)
    return Usage(
        peak_memory=max(peaks, default=None),
        cpu_seconds=sum(cpu) if cpu else None,
        gpu_memory=max(memory, default=None),
        gpu_utilisation=sum(utilisation) / len(utilisation) if utilisation else None,
    )


def _known(usages: Sequence[Usage]) -> tuple[list[int], list[float], list[int], list[float]]:
    return (
        [u.peak_memory for u in usages if u.peak_memory is not None],
        [u.cpu_seconds for u in usages if u.cpu_seconds is not None],
        [u.gpu_memory for u in usages if u.gpu_memory is not None],
        [u.gpu_utilisation for u in usages if u.gpu_utilisation is not None],
    )


class Meter:
    """Looks at one guest's processes until it is closed."""

    def __init__(self, tree: ProcessTree, gpus: Sequence[Gpu] = (), library_path: str = "") -> None:
        """gpus: those that the guest can see; library_path: its LD_LIBRARY_PATH."""
        self._tree = tree
        self._gpus, self._library_path = gpus, library_path
        self._peak: int | None = None
        self._cpu: float | None = None
        self._gpu_peak: int | None = None
        self._utilisations: list[float] = []
        self._lock = threading.Lock()
        self._closed = threading.Event()
        threading.Thread(target=self._follow, name="guest-usage", daemon=True).start()

    def usage(self) -> Usage:
        with self._lock:
            seen = self._utilisations
            return Usage(
                peak_memory=self._peak,
                cpu_seconds=self._cpu,
                gpu_memory=self._gpu_peak,
                gpu_utilisation=sum(seen) / len(seen) if seen else None,
            )

    def look(self) -> None:
        """Takes in what the tree uses now."""
        members = self._tree.members()
        resident = sum(member.resident for member in members)
        # The kernel knows each process's own peak, also of the moments between two looks.
        peak = max([resident, *(_peak_of(member.pid) for member in members)])
        self._take(peak, sum(member.cpu for member in members))

    def close(self) -> None:
        """The tree is gone: what the kernel told when it was reaped has the last word."""
        self._closed.set()
        reaped = self._tree.reaped_usage
        # A process counts its peak from before exec, when it was a copy of us.
        ours = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        self._take(reaped.resident if reaped.resident > ours else 0, reaped.cpu)

    def _take(self, peak: int, cpu: float) -> None:
        with self._lock:
            if peak:
                self._peak = max(self._peak or 0, peak)
            if cpu:
                self._cpu = max(self._cpu or 0.0, cpu)

    def _follow(self) -> None:
        pause, gpu_due = _EVERY, time.monotonic() + _FIRST_GPU
        while not self._closed.wait(pause):
            began = time.thread_time()
            self.look()
            pause = max(_EVERY, _PAUSE * (time.thread_time() - began))
            if self._gpus and time.monotonic() >= gpu_due:
                gpu_due = time.monotonic() + max(_EVERY_GPU, _PAUSE * self._look_at_gpus())

    def _look_at_gpus(self) -> float:
        """Takes in what the GPUs are used for now; returns the CPU seconds that it cost."""
        seen = _ask_nvml(self._gpus, self._library_path)
        if seen is None:
            self._gpus = ()  # it will know no more the next time
            return 0.0
        with self._lock:
            if seen.memory is not None:
                self._gpu_peak = max(self._gpu_peak or 0, seen.memory)
            if seen.utilisation is not None:
                self._utilisations.append(seen.utilisation)
        return seen.cpu


def _peak_of(pid: int) -> int:
    """A process's peak of resident memory in bytes; 0 where it has just ended."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_bytes().splitlines():
            if line.startswith(b"VmHWM:"):
                return int(line.split()[1]) * 1024
    return 0


@dataclass(frozen=True, kw_only=True)
class _GpuUse:
    """memory: bytes over all of the GPUs, and on each; utilisation: percent, their mean; cpu: what asking cost, in
    seconds."""

    memory: int | None
    each: tuple[int, ...]
    utilisation: float | None
    cpu: float


@dataclass(frozen=True, kw_only=True)
class GpuMemory:
    """Bytes on each GPU: in use, by whomever, and in all."""

    used: tuple[int, ...]
    total: tuple[int, ...]


def gpu_memory(gpus: Sequence[Gpu], library_path: str) -> GpuMemory | None:
    """What is in use on each of these GPUs now; None where NVML does not tell."""
    seen = _ask_nvml(gpus, library_path)
    if seen is None or len(seen.each) != len(gpus):
        return None
    return GpuMemory(used=seen.each, total=tuple(gpu.memory for gpu in gpus))


def _ask_nvml(gpus: Sequence[Gpu], library_path: str) -> _GpuUse | None:
    """Asked in a short-lived process of our own, as device.find asks the driver. None without NVML."""
    places = [str(Path(place, name)) for place in library_places(library_path) for name in _NVML_LIBRARIES]
    present = [library for library in places if Path(library).exists()]
    if not present:
        return None
    uuids = [gpu.uuid for gpu in gpus if gpu.uuid]
    try:
        asked = subprocess.run(
            [sys.executable, "-I", "-S", "-c", _NVML, present[0], *uuids],
            capture_output=True,
            env={},
            timeout=_NVML_SECONDS,
            check=False,
        )
        said = json.loads(asked.stdout.splitlines()[-1])
    except (subprocess.TimeoutExpired, IndexError, ValueError):
        return None
    memory, utilisation = said["memory"], said["utilisation"]
    return _GpuUse(
        memory=sum(memory) if memory else None,
        each=tuple(memory),
        utilisation=sum(utilisation) / len(utilisation) if utilisation else None,
        cpu=said["cpu"],
    )


_NVML_LIBRARIES = ("libnvidia-ml.so.1", "libnvidia-ml.so")

# Source of the calls: NVML's API reference (nvmlInit_v2, nvmlDeviceGetHandleByUUID, nvmlDeviceGetMemoryInfo, ...).
_NVML = r"""
import ctypes, json, sys, time

class Memory(ctypes.Structure):
    _fields_ = [("total", ctypes.c_ulonglong), ("free", ctypes.c_ulonglong), ("used", ctypes.c_ulonglong)]

class Rates(ctypes.Structure):
    _fields_ = [("gpu", ctypes.c_uint), ("memory", ctypes.c_uint)]

def handles(nvml, uuids):
    count = ctypes.c_uint()
    if not uuids:
        nvml.nvmlDeviceGetCount_v2(ctypes.byref(count))
    for wanted in uuids or range(count.value):
        handle = ctypes.c_void_p()
        if uuids:
            status = nvml.nvmlDeviceGetHandleByUUID(wanted.encode(), ctypes.byref(handle))
        else:
            status = nvml.nvmlDeviceGetHandleByIndex_v2(wanted, ctypes.byref(handle))
        if not status:
            yield handle

nvml = ctypes.CDLL(sys.argv[1])
if nvml.nvmlInit_v2():
    sys.exit("NVML does not start")
used, busy = [], []
for handle in handles(nvml, sys.argv[2:]):
    memory, rates = Memory(), Rates()
    if not nvml.nvmlDeviceGetMemoryInfo(handle, ctypes.byref(memory)):
        used.append(memory.used)
    if not nvml.nvmlDeviceGetUtilizationRates(handle, ctypes.byref(rates)):
        busy.append(rates.gpu)
print(json.dumps({"memory": used, "utilisation": busy, "cpu": time.process_time()}))
"""
