"""What the model uses: real processes, and a stand-in for NVML that is compiled here."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from supervisor.machine import device
from supervisor.machine.device import Gpu
from supervisor.model import usage
from supervisor.model.process_tree import ProcessTree
from supervisor.model.usage import NOTHING, Meter, Usage, in_turn, together
from tests.compiler import shared_library

MIB = 1024 * 1024
NVML = r"""
#include <string.h>
typedef struct { unsigned long long total, free, used; } Memory;
typedef struct { unsigned gpu, memory; } Rates;
int nvmlInit_v2(void) { INIT }
int nvmlDeviceGetCount_v2(unsigned *count) { *count = 2; return 0; }
int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **device) { *device = (void *) (index + 1L); return 0; }
int nvmlDeviceGetHandleByUUID(const char *uuid, void **device) {
    *device = (void *) 2L;
    return strcmp(uuid, "GPU-second");
}
int nvmlDeviceGetMemoryInfo(void *device, Memory *memory) { memory->used = 1000 * (long) device; return 0; }
int nvmlDeviceGetUtilizationRates(void *device, Rates *rates) { rates->gpu = 30 * (long) device; return 0; }
"""


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looks come without the usual pauses."""
    for pause in ("_EVERY", "_EVERY_GPU", "_FIRST_GPU"):
        monkeypatch.setattr(usage, pause, 0.01)
    monkeypatch.setattr(usage, "_PAUSE", 1)


@pytest.fixture
def guests() -> Iterator[list[ProcessTree]]:
    started: list[ProcessTree] = []
    yield started
    for guest in started:
        guest.kill()


def guest_with(guests: list[ProcessTree], code: str) -> ProcessTree:
    """A guest that has come to the end of that code, and waits."""
    guest = ProcessTree(
        [sys.executable, "-c", code + "\nprint(flush=True)\nimport time; time.sleep(600)"],
        {"PATH": os.defpath},
        stdout=subprocess.PIPE,
    )
    guests.append(guest)
    assert guest.process.stdout is not None
    guest.process.stdout.readline()
    return guest


def test_a_peak_between_two_looks_is_known(guests: list[ProcessTree]) -> None:
    guest = guest_with(guests, "held = b'x' * 200_000_000\ndel held")
    meter = Meter(guest)
    meter.look()
    meter.close()
    assert (meter.usage().peak_memory or 0) > 200_000_000


def test_children_count(guests: list[ProcessTree]) -> None:
    child = "held = b'x' * 80_000_000; print(flush=True); import time; time.sleep(600)"
    guest = guest_with(
        guests,
        "import subprocess, sys\n"
        f"for _ in range(2): subprocess.Popen([sys.executable, '-c', {child!r}], stdout=subprocess.PIPE)"
        ".stdout.readline()",
    )
    meter = Meter(guest)
    meter.look()
    meter.close()
    assert (meter.usage().peak_memory or 0) > 160_000_000


def test_the_time_of_children_that_are_gone_counts(guests: list[ProcessTree]) -> None:
    busy = "import time\nwhile time.process_time() < 0.5: pass"
    guest = guest_with(guests, f"import subprocess, sys; subprocess.run([sys.executable, '-c', {busy!r}])")
    meter = Meter(guest)
    meter.look()
    before = meter.usage().cpu_seconds or 0
    guest.kill()
    meter.close()
    assert 0.4 < before <= (meter.usage().cpu_seconds or 0) < 30


def test_a_guest_that_was_too_fast_for_any_look_has_used_its_time() -> None:
    guest = ProcessTree([sys.executable, "-c", "import time\nwhile time.process_time() < 0.3: pass"], {})
    meter = Meter(guest)
    assert guest.ended_within(60)
    guest.kill()
    meter.close()
    assert (meter.usage().cpu_seconds or 0) >= 0.3


def nvml(folder: Path, init: str = "return 0;") -> str:
    """An LD_LIBRARY_PATH in which that NVML is."""
    shared_library(NVML.replace("INIT", init), folder / "libnvidia-ml.so.1")
    return str(folder)


@pytest.fixture(autouse=True)
def bare_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "_PLACES", ())


def seen_on(gpus: tuple[Gpu, ...], library_path: str, guests: list[ProcessTree]) -> Usage:
    meter = Meter(guest_with(guests, ""), gpus, library_path)
    for _ in range(3000):
        if meter.usage().gpu_memory is not None:
            break
        time.sleep(0.01)
    meter.close()
    return meter.usage()


@pytest.mark.usefixtures("often")
def test_the_gpus_that_the_model_sees_are_looked_at(tmp_path: Path, guests: list[ProcessTree]) -> None:
    used = seen_on((Gpu(name="x", memory=1, uuid="GPU-second"),), nvml(tmp_path), guests)
    assert (used.gpu_memory, used.gpu_utilisation) == (2000, 60)


@pytest.mark.usefixtures("often")
def test_without_uuids_all_gpus_are_looked_at(tmp_path: Path, guests: list[ProcessTree]) -> None:
    used = seen_on((Gpu(name="x", memory=1), Gpu(name="y", memory=1)), nvml(tmp_path), guests)
    assert (used.gpu_memory, used.gpu_utilisation) == (3000, 45)


@pytest.mark.parametrize("init", ["return 9;", "__builtin_trap();"])
def test_an_nvml_that_fails_is_unknown(init: str, tmp_path: Path) -> None:
    assert usage._ask_nvml((Gpu(name="x", memory=1),), nvml(tmp_path, init)) is None


def test_without_nvml_nobody_is_asked() -> None:
    assert usage._ask_nvml((Gpu(name="x", memory=1),), "") is None


ONE = Usage(peak_memory=100, cpu_seconds=1.5, gpu_memory=10, gpu_utilisation=50.0)
OTHER = Usage(peak_memory=300, cpu_seconds=2.0, gpu_memory=20, gpu_utilisation=100.0)


def test_models_side_by_side_need_the_sum() -> None:
    assert together([ONE, OTHER]) == Usage(peak_memory=400, cpu_seconds=3.5, gpu_memory=30, gpu_utilisation=75.0)


def test_models_in_turn_need_the_larger() -> None:
    assert in_turn([ONE, OTHER]) == Usage(peak_memory=300, cpu_seconds=3.5, gpu_memory=20, gpu_utilisation=75.0)


@pytest.mark.parametrize("usages", [[], [NOTHING], [NOTHING, NOTHING]])
def test_nothing_known_stays_unknown(usages: list[Usage]) -> None:
    assert together(usages) == in_turn(usages) == NOTHING


def test_what_is_unknown_of_one_does_not_hide_what_is_known_of_another() -> None:
    assert together([ONE, NOTHING]) == in_turn([NOTHING, ONE]) == ONE
