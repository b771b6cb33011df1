"""CPU or CUDA, asked of a stand-in for the driver's library that is compiled here."""

import os
from pathlib import Path

import pytest

from supervisor.failures import DeviceMissing
from supervisor.machine import device
from supervisor.machine.device import Device, Gpu
from tests.compiler import shared_library

# The calls of the CUDA driver API that the probe makes, with what a test wants cuInit to do in INIT.
DRIVER = r"""
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const char *names[] = {"Tesla V100-SXM2-16GB", "NVIDIA A100-SXM4-40GB"};
static const size_t memory[] = {17066885120UL, 42505273344UL};

int cuInit(unsigned flags) { INIT }
int cuDeviceGetCount(int *count) { *count = COUNT; return 0; }
int cuDriverGetVersion(int *version) { *version = 12040; return 0; }
int cuDeviceGet(int *device, int ordinal) { *device = ordinal; return 0; }
int cuDeviceGetName(char *name, int length, int device) { strncpy(name, names[device], length); return 0; }
int cuDeviceGetUuid(unsigned char *uuid, int device) { memset(uuid, 0xa0 + device, 16); return 0; }
int cuDeviceTotalMem_v2(size_t *bytes, int device) { *bytes = memory[device]; return 0; }
"""


def driver(folder: Path, init: str = "return 0;", count: int = 2) -> dict[str, str]:
    """An environment in which that driver is found first."""
    folder.mkdir(exist_ok=True)
    shared_library(DRIVER.replace("INIT", init).replace("COUNT", str(count)), folder / "libcuda.so.1")
    return {"LD_LIBRARY_PATH": f"relative:/nowhere:{folder}"}


@pytest.fixture(autouse=True)
def bare_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever this machine has, the probe sees the tests' own folders alone."""
    monkeypatch.setattr(device, "_PLACES", ())


@pytest.mark.parametrize("wanted", ["cuda", "auto"])
def test_a_drivers_devices_are_known_by_name_and_memory(wanted: str, tmp_path: Path) -> None:
    found = device.find(wanted, driver(tmp_path))
    assert found.kind == "cuda"
    assert [(gpu.name, gpu.memory) for gpu in found.gpus] == [
        ("Tesla V100-SXM2-16GB", 17066885120),
        ("NVIDIA A100-SXM4-40GB", 42505273344),
    ]
    assert [gpu.uuid for gpu in found.gpus] == [
        "GPU-a0a0a0a0-a0a0-a0a0-a0a0-a0a0a0a0a0a0",
        "GPU-a1a1a1a1-a1a1-a1a1-a1a1-a1a1a1a1a1a1",
    ]
    assert found.driver == "12.4"
    assert found.environment(0, 1, {}) == {}


def test_cpu_asks_no_driver_and_hides_any_gpu(tmp_path: Path) -> None:
    found = device.find("cpu", driver(tmp_path, init="raise(SIGSEGV); return 0;"))
    assert (found.kind, found.note) == ("cpu", None)
    assert found.environment(0, 1, {}) == {"CUDA_VISIBLE_DEVICES": ""}


def test_without_a_driver_auto_is_the_cpu_and_says_why() -> None:
    found = device.find("auto", {})
    assert found.kind == "cpu"
    assert found.note == "no CUDA driver library (libcuda.so.1) is in the container"


@pytest.mark.parametrize(
    ("init", "why"),
    [
        ("return 100;", "sees no device (CUDA_ERROR_NO_DEVICE)"),
        ("return 999;", "does not start (cuInit says 999)"),
        ("raise(SIGSEGV); return 0;", "failed while asked (exit -11)"),
        ("_exit(0);", "failed while asked (exit 0)"),
    ],
)
def test_a_driver_that_fails_is_no_device_and_says_why(init: str, why: str, tmp_path: Path) -> None:
    environment = driver(tmp_path, init)
    assert why in (device.find("auto", environment).note or "")
    with pytest.raises(DeviceMissing, match="JOB_DEVICE is cuda, but the CUDA driver") as missing:
        device.find("cuda", environment)
    assert why in missing.value.message
    assert missing.value.code == 69
    assert "--gpus all" in missing.value.hint


def test_a_driver_without_devices_is_no_device(tmp_path: Path) -> None:
    assert device.find("auto", driver(tmp_path, count=0)).note == "the CUDA driver sees no device"


def test_a_driver_that_hangs_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "_PROBE_SECONDS", 1)
    found = device.find("auto", driver(tmp_path, init="pause(); return 0;"))
    assert found.note == "the CUDA driver did not answer within 1 s"


def test_a_driver_that_prints_is_understood(tmp_path: Path) -> None:
    found = device.find("auto", driver(tmp_path, init=r'write(1, "NVRM: hello\n", 12); return 0;'))
    assert found.kind == "cuda"


def test_a_library_that_does_not_load_says_so(tmp_path: Path) -> None:
    (tmp_path / "libcuda.so.1").write_bytes(b"")
    note = device.find("auto", {"LD_LIBRARY_PATH": str(tmp_path)}).note or ""
    assert note.startswith("the CUDA driver library does not load: ")
    assert "file too short" in note


def test_a_broken_library_does_not_hide_one_that_loads(tmp_path: Path) -> None:
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "libcuda.so.1").write_bytes(b"")
    environment = driver(tmp_path / "sound")
    environment["LD_LIBRARY_PATH"] = f"{tmp_path}/broken:" + environment["LD_LIBRARY_PATH"]
    assert device.find("auto", environment).kind == "cuda"


# several models


def cuda(count: int) -> Device:
    return Device(kind="cuda", gpus=tuple(Gpu(name=f"gpu {index}", memory=1) for index in range(count)))


@pytest.mark.parametrize(
    ("gpus", "workers", "listed", "seen"),
    [
        (2, 2, None, ["0", "1"]),
        (2, 3, None, ["0", "1", "0"]),
        (2, 2, "2,5", ["2", "5"]),
        (2, 2, "GPU-aaaa, MIG-bbbb", ["GPU-aaaa", "MIG-bbbb"]),
        (1, 2, "3,9", ["3", "3"]),  # the driver has no device 9: its list ends there
        (3, 2, "", ["0", "1"]),
    ],
)
def test_each_of_several_workers_sees_a_gpu_of_its_own(
    gpus: int, workers: int, listed: str | None, seen: list[str]
) -> None:
    given = {} if listed is None else {"CUDA_VISIBLE_DEVICES": listed}
    environments = [cuda(gpus).environment(worker, workers, given) for worker in range(workers)]
    assert [environment["CUDA_VISIBLE_DEVICES"] for environment in environments] == seen


def test_one_worker_sees_all_gpus_that_it_is_given() -> None:
    assert cuda(2).environment(0, 1, {"CUDA_VISIBLE_DEVICES": "1"}) == {}
    assert cuda(2).pinned(0, 1) == cuda(2).gpus
    assert cuda(2).pinned(3, 4) == cuda(2).gpus[1:]


def test_tensorflow_leaves_memory_to_another_worker_on_the_same_gpu() -> None:
    assert "TF_FORCE_GPU_ALLOW_GROWTH" not in cuda(2).environment(0, 2, {})
    assert cuda(1).environment(0, 2, {})["TF_FORCE_GPU_ALLOW_GROWTH"] == "true"
    assert "TF_FORCE_GPU_ALLOW_GROWTH" not in cuda(1).environment(0, 2, {"TF_FORCE_GPU_ALLOW_GROWTH": "false"})


@pytest.mark.parametrize(("cores", "workers", "share"), [(8, 2, "4"), (8, 3, "2"), (2, 4, "1")])
def test_workers_on_the_cpu_share_its_cores(
    cores: int, workers: int, share: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(cores))
    environment = Device(kind="cpu").environment(0, workers, {})
    assert environment == {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": share, "TF_NUM_INTRAOP_THREADS": share}


def test_threads_that_the_job_asks_for_are_left_alone() -> None:
    assert "OMP_NUM_THREADS" not in Device(kind="cpu").environment(0, 1, {})
    assert "OMP_NUM_THREADS" not in Device(kind="cpu").environment(0, 2, {"OMP_NUM_THREADS": "7"})
    assert Device(kind="cpu").environment(0, 2, {"TF_NUM_INTRAOP_THREADS": "7"})["TF_NUM_INTRAOP_THREADS"] == "7"
