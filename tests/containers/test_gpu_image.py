"""The GPU image without a device and with one: a stand-in for the driver's library takes the place that Docker's
NVIDIA runtime mounts the real one at. And a model that was given a GPU and does not use it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tests.compiler import shared_library
from tests.containers.jobs import Jobs
from tests.containers.tracked import Containers

pytestmark = pytest.mark.containers
Derived = Callable[..., str]

PLACES = ("/usr/lib/x86_64-linux-gnu", "/usr/local/nvidia/lib64")
T4 = {"name": "Tesla T4", "memory": 15843721216}
# What the probe calls of the CUDA driver API. It needs the libraries that the real driver needs, and calls into them.
DRIVER = r"""
#include <math.h>
#include <pthread.h>
#include <string.h>
#include <time.h>

static pthread_once_t once = PTHREAD_ONCE_INIT;
static volatile double elapsed;
static void start(void) { struct timespec now; clock_gettime(CLOCK_MONOTONIC, &now); elapsed = sin(now.tv_sec); }

int cuInit(unsigned flags) { return pthread_once(&once, start); }
int cuDeviceGetCount(int *count) { *count = 1; return 0; }
int cuDriverGetVersion(int *version) { *version = 12040; return 0; }
int cuDeviceGet(int *device, int ordinal) { *device = ordinal; return 0; }
int cuDeviceGetName(char *name, int length, int device) { strncpy(name, "Tesla T4", length); return 0; }
int cuDeviceTotalMem_v2(size_t *bytes, int device) { *bytes = 15843721216UL; return 0; }
"""
MISSING = "libcudart.so.10.0: cannot open shared object file"


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Path:
    library = tmp_path_factory.mktemp("driver") / "libcuda.so.1"
    return shared_library(DRIVER, library, "-Wl,--no-as-needed", "-lm", "-ldl", "-lpthread", "-lrt")


def mounted(driver: Path, place: str = PLACES[0]) -> dict[str, dict[str, str]]:
    return {str(driver): {"bind": f"{place}/libcuda.so.1", "mode": "ro"}}


# no device


def test_without_a_device_the_job_ends_at_once_and_says_what_to_check(jobs: Jobs, derived: Derived) -> None:
    started = jobs.start(derived("python311", "gpu"))
    finished = started.wait()

    assert finished.code == 69
    assert finished.stderr.count("\n") == 1
    assert "JOB_DEVICE is cuda, but no CUDA driver library (libcuda.so.1) is in the container" in finished.stderr
    for to_check in ("job definition (resourceRequirements GPU)", "`docker run --gpus all`", "NVIDIA driver"):
        assert to_check in finished.stderr
    assert seconds_of(started.container) < 2


def test_without_a_device_the_status_says_so(jobs: Jobs, derived: Derived) -> None:
    jobs.run(derived("python36", "gpu"))

    error = jobs.status["error"]
    assert (error["code"], error["category"], error["retry"]) == (69, "device-missing", False)
    assert jobs.results == []


def test_check_finds_no_device(containers: Containers, derived: Derived) -> None:
    finished = containers.run(derived("python311", "gpu"), "check")

    assert finished.code == 69
    assert "FAIL device     JOB_DEVICE is cuda, but no CUDA driver library" in finished.stdout


def test_a_job_that_takes_either_runs_on_the_cpu_and_says_why(jobs: Jobs, derived: Derived) -> None:
    finished = jobs.run(derived("python311", "gpu"), environment={"JOB_DEVICE": "auto"})

    assert finished.code == 0, finished.stderr
    device = jobs.status["device"]
    assert (device["kind"], device["note"]) == ("cpu", "no CUDA driver library (libcuda.so.1) is in the container")


# a device


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("image", ["python36", "python311"])
def test_check_names_the_device(image: str, place: str, containers: Containers, derived: Derived, driver: Path) -> None:
    finished = containers.run(derived(image, "gpu"), "check", "--json", volumes=mounted(driver, place))

    device = finished.json()["checks"]["device"]
    assert (device["kind"], device["gpus"], device["driver"]) == ("cuda", [{**T4, "uuid": None}], "12.4")


def test_the_driver_loads_where_the_image_has_no_c_library(
    containers: Containers, derived: Derived, driver: Path
) -> None:
    finished = containers.run(derived("scratch", "gpu"), "check", volumes=mounted(driver))

    first = finished.stdout.splitlines()[0].split(maxsplit=2)
    assert first == ["ok", "device", "CUDA: Tesla T4 (14.8 GiB); driver for CUDA 12.4"]


@pytest.mark.parametrize("wanted", ["cuda", "auto"])
def test_the_status_names_the_device(wanted: str, jobs: Jobs, derived: Derived, driver: Path) -> None:
    image = derived("python311", "gpu")
    finished = jobs.run(image, environment={"JOB_DEVICE": wanted}, volumes=mounted(driver))

    assert finished.code == 0, finished.stderr
    assert (jobs.status["device"]["kind"], jobs.status["device"]["gpus"]) == ("cuda", [T4])
    assert "warnings" not in jobs.status


def test_the_cpu_image_hides_the_device_from_the_model(jobs: Jobs, derived: Derived, driver: Path) -> None:
    jobs.run(derived("python311", "cpu"), module="dumps_environment", volumes=mounted(driver))

    assert jobs.answer["environment"]["CUDA_VISIBLE_DEVICES"] == ""
    assert jobs.status["device"]["kind"] == "cpu"


# a device, and a model that does not use it


def fallen_back(jobs: Jobs, image: str, driver: Path, wanted: str, **environment: str) -> Any:
    job = {"JOB_DEVICE": wanted, **environment}
    return jobs.run(image, module="logs_cuda_fallback", environment=job, volumes=mounted(driver))


@pytest.mark.parametrize("runner", ["cli", "worker"])
def test_a_silent_fallback_ends_a_job_that_asked_for_cuda(
    runner: str, jobs: Jobs, derived: Derived, driver: Path
) -> None:
    finished = fallen_back(jobs, derived("python311", "gpu"), driver, "cuda", JOB_RUNNER=runner)

    assert finished.code == 69
    assert "TensorFlow has fallen back to the CPU; the model's log says: " in finished.stderr
    assert MISSING in finished.stderr
    assert jobs.status["error"]["category"] == "device-missing"
    assert jobs.results == []


def test_a_silent_fallback_is_a_warning_where_cuda_was_optional(jobs: Jobs, derived: Derived, driver: Path) -> None:
    finished = fallen_back(jobs, derived("python311", "gpu"), driver, "auto")

    assert finished.code == 0, finished.stderr
    [warning] = jobs.status["warnings"]
    assert MISSING in warning
    assert [event["message"] for event in finished.events if event["event"] == "warning"] == [warning]


def test_on_the_cpu_the_same_log_means_nothing(jobs: Jobs, derived: Derived, driver: Path) -> None:
    finished = fallen_back(jobs, derived("python311", "gpu"), driver, "cpu")

    assert finished.code == 0, finished.stderr
    assert "warnings" not in jobs.status


def seconds_of(container: Any) -> float:
    """How long PID 1 lived, by the engine's clock."""
    container.reload()
    started, finished = (
        datetime.fromisoformat(container.attrs["State"][name][:26].rstrip("Z")) for name in ("StartedAt", "FinishedAt")
    )
    return (finished - started).total_seconds()
