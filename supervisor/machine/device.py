"""CPU or CUDA: what is really there, asked of the driver (libcuda) itself.

The question is put in a short-lived process of our own: a driver that crashes or hangs takes only that process
along, and the supervisor keeps no handle on the GPU.
"""

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from supervisor.failures import DeviceMissing
from supervisor.machine import cpu

# cuInit on a cold machine with many GPUs takes some seconds; a minute means that the driver hangs.
_PROBE_SECONDS = 60
_LIBRARIES = ("libcuda.so.1", "libcuda.so")
_PLACES = (
    "/usr/lib/x86_64-linux-gnu",
    "/usr/lib64",
    "/usr/lib",
    "/usr/local/nvidia/lib64",
    "/usr/local/nvidia/lib",
    "/usr/local/cuda/compat",
    "/usr/lib/aarch64-linux-gnu",
    "/usr/lib/wsl/lib",
)


@dataclass(frozen=True, kw_only=True)
class Gpu:
    """One CUDA device. memory: bytes; uuid: as nvidia-smi and NVML write it; None where the driver is too old."""

    name: str
    memory: int
    uuid: str | None = None


@dataclass(frozen=True, kw_only=True)
class Device:
    """What the model runs on. driver: the highest CUDA version that the driver speaks, "12.4"."""

    kind: str
    gpus: tuple[Gpu, ...] = ()
    driver: str | None = None
    note: str | None = None

    def as_dict(self) -> dict[str, object]:
        return asdict(self)

    def environment(self, worker: int, workers: int, given: Mapping[str, str]) -> Mapping[str, str]:
        """What makes the frameworks of one of several models keep to their share of this device.

        given: the environment that the model has anyway. What it says of threads is left as it is; of the GPUs that it
        makes visible, worker i of several gets the i-th, and begins again with the first where there are more workers.
        """
        if self.kind == "cpu":
            return {"CUDA_VISIBLE_DEVICES": "", **(_share_of_cores(workers, given) if workers > 1 else {})}
        if workers == 1:
            return {}
        # An index counts the devices of the driver in its own order, as the probe did; a list counts as it stands,
        # be its entries indices or UUIDs.
        listed = [entry.strip() for entry in given.get("CUDA_VISIBLE_DEVICES", "").split(",") if entry.strip()]
        visible = listed[: len(self.gpus)] or [str(index) for index in range(len(self.gpus))]
        pinned = {"CUDA_VISIBLE_DEVICES": visible[worker % len(visible)]}
        if workers > len(visible) and "TF_FORCE_GPU_ALLOW_GROWTH" not in given:
            pinned["TF_FORCE_GPU_ALLOW_GROWTH"] = "true"  # TensorFlow takes all of a GPU's memory for itself
        return pinned

    def pinned(self, worker: int, workers: int) -> tuple[Gpu, ...]:
        """The GPUs that one of several models can see."""
        return self.gpus if workers == 1 or not self.gpus else (self.gpus[worker % len(self.gpus)],)


def _share_of_cores(workers: int, given: Mapping[str, str]) -> Mapping[str, str]:
    """Every framework starts a thread for each core, and several models that all do so wait for each other: their
    pools spin for work (OpenMP's default), so that n pools on the same cores are slower than one.

    PyTorch, NumPy's OpenBLAS and MKL read OMP_NUM_THREADS, TensorFlow only its own variable. One model alone knows
    best, and whoever sets OMP_NUM_THREADS has decided.
    """
    if "OMP_NUM_THREADS" in given:
        return {}
    share = str(cpu.share(workers))
    return {"OMP_NUM_THREADS": share, "TF_NUM_INTRAOP_THREADS": given.get("TF_NUM_INTRAOP_THREADS", share)}


def find(wanted: str, environment: Mapping[str, str]) -> Device:
    """The device for JOB_DEVICE=cpu|cuda|auto. environment: the model's, whose LD_LIBRARY_PATH counts.

    Raises DeviceMissing where CUDA is asked for and absent.
    """
    if wanted == "cpu":
        return Device(kind="cpu")
    device = _probe(environment)
    if wanted == "cuda" and device.kind != "cuda":
        raise DeviceMissing(f"JOB_DEVICE is cuda, but {device.note}")
    return device


def library_places(library_path: str) -> list[str]:
    """Where the driver's libraries may be: in the model's LD_LIBRARY_PATH, then where they usually are."""
    return [place for place in library_path.split(":") if place.startswith("/")] + list(_PLACES)


def _probe(environment: Mapping[str, str]) -> Device:
    places = library_places(environment.get("LD_LIBRARY_PATH", ""))
    if not any(Path(place, name).exists() for place in places for name in _LIBRARIES):
        return Device(kind="cpu", note="no CUDA driver library (libcuda.so.1) is in the container")
    visible = {k: v for k, v in environment.items() if k in ("CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER")}
    try:
        probe = subprocess.run(
            [sys.executable, "-I", "-S", "-c", _PROBE, *places],
            capture_output=True,
            env=visible,
            timeout=_PROBE_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Device(kind="cpu", note=f"the CUDA driver did not answer within {_PROBE_SECONDS} s")
    try:
        said = json.loads(probe.stdout.splitlines()[-1])  # a driver may print lines of its own
    except (IndexError, ValueError):
        return Device(kind="cpu", note=f"the CUDA driver failed while asked (exit {probe.returncode})")
    if "note" in said:
        return Device(kind="cpu", note=said["note"])
    version = int(said["driver"])
    return Device(
        kind="cuda",
        gpus=tuple(Gpu(name=name, memory=memory, uuid=uuid) for name, memory, uuid in said["gpus"]),
        driver=f"{version // 1000}.{version % 1000 // 10}",
    )


# Source of the calls: the CUDA driver API's reference (cuInit, cuDeviceGetCount, ..., CUresult).
_PROBE = r"""
import ctypes, json, os, sys

def load():
    names = [os.path.join(p, n) for p in sys.argv[1:] for n in ("libcuda.so.1", "libcuda.so")]
    failed = None
    for name in names:
        if not os.path.exists(name):
            continue
        try:
            return ctypes.CDLL(name), None
        except OSError as error:
            failed = failed or str(error)
    return None, failed

def uuid(cuda, device):
    ask = getattr(cuda, "cuDeviceGetUuid", None)
    told = (ctypes.c_ubyte * 16)()
    if ask is None or ask(told, device):
        return None
    digits = bytes(told).hex()
    return "GPU-" + "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))

def probe():
    cuda, failed = load()
    if cuda is None:
        return {"note": "the CUDA driver library does not load: %s" % failed}
    status = cuda.cuInit(0)
    if status == 100:
        return {"note": "the CUDA driver sees no device (CUDA_ERROR_NO_DEVICE)"}
    if status:
        return {"note": "the CUDA driver does not start (cuInit says %d)" % status}
    count, version = ctypes.c_int(), ctypes.c_int()
    cuda.cuDeviceGetCount(ctypes.byref(count))
    cuda.cuDriverGetVersion(ctypes.byref(version))
    if not count.value:
        return {"note": "the CUDA driver sees no device"}
    gpus = []
    for ordinal in range(count.value):
        device, memory, name = ctypes.c_int(), ctypes.c_size_t(), ctypes.create_string_buffer(256)
        cuda.cuDeviceGet(ctypes.byref(device), ordinal)
        cuda.cuDeviceGetName(name, 256, device)
        total = getattr(cuda, "cuDeviceTotalMem_v2", None) or cuda.cuDeviceTotalMem
        total(ctypes.byref(memory), device)
        gpus.append((name.value.decode("utf-8", "replace"), memory.value, uuid(cuda, device)))
    return {"driver": version.value, "gpus": gpus}

print(json.dumps(probe()))
"""
