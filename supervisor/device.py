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
    """One CUDA device. memory: bytes."""

    name: str
    memory: int


@dataclass(frozen=True, kw_only=True)
class Device:
    """What the model runs on. driver: the highest CUDA version that the driver speaks, "12.4"."""

    kind: str
    gpus: tuple[Gpu, ...] = ()
    driver: str | None = None
    note: str | None = None

    def as_dict(self) -> dict[str, object]:
        return asdict(self)

    def environment(self) -> Mapping[str, str]:
        """What makes the model's frameworks keep to this device."""
        return {"CUDA_VISIBLE_DEVICES": ""} if self.kind == "cpu" else {}


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


def _probe(environment: Mapping[str, str]) -> Device:
    places = [p for p in environment.get("LD_LIBRARY_PATH", "").split(":") if p.startswith("/")] + list(_PLACES)
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
        gpus=tuple(Gpu(name=name, memory=memory) for name, memory in said["gpus"]),
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
        gpus.append((name.value.decode("utf-8", "replace"), memory.value))
    return {"driver": version.value, "gpus": gpus}

print(json.dumps(probe()))
"""
