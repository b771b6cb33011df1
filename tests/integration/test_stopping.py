"""SIGTERM is heard wherever the job stands, and nothing of the model outlives it."""

import contextlib
import fcntl
import json
import os
import signal
import subprocess
import sys
import termios
import threading
import time
from array import array
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Supervisor
from tests.integration.cell import alive
from tests.integration.gate import Gate, Refusal, Request
from tests.integration.odd_modules import await_file, bare, module
from tests.metadata import NOTICE, Metadata

# Ignores SIGTERM, as do all that it starts: a child, its child, one in a session of its own, and a daemon. The last of
# them has started when the file `pids-<name of the input>` is there.
TREE = """
import signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
def predict(**kwargs):
    child = subprocess.Popen(["sh", "-c", "trap '' TERM; sleep 600 & echo $!; wait"], stdout=subprocess.PIPE)
    child.stdout.readline()
    subprocess.Popen(["sleep", "600"], start_new_session=True)
    if os.fork() == 0:
        os.setsid()
        subprocess.Popen(["sh", "-c", "trap '' TERM; sleep 600"], start_new_session=True)
        os._exit(0)
    os.wait()
    open(os.path.join(PIDS, "pids-" + kwargs["files"].original_filename), "w").close()
    time.sleep(600)
"""


def test_a_stop_in_the_middle_of_a_request_to_s3_is_not_taken_for_a_broken_connection(
    plain: Supervisor, tmp_path: Path
) -> None:
    asked, ended = threading.Event(), threading.Event()

    def hold(_: Request) -> Refusal:
        asked.set()
        ended.wait(30)
        return Refusal(status=404, code="NoSuchKey")

    with (
        Gate("127.0.0.1:1", hold) as gate,
        plain.start("run", JOB_INPUT="s3://recordings/a.wav", JOB_OUTPUT=str(tmp_path / "out"),
                    AWS_ACCESS_KEY_ID="x", AWS_SECRET_ACCESS_KEY="y", AWS_ENDPOINT_URL=gate.endpoint) as process,
    ):  # fmt: skip
        assert asked.wait(60)
        process.send_signal(signal.SIGTERM)
        _, stderr = process.communicate(timeout=20)
        ended.set()
    assert process.returncode == 143, stderr
    assert len(stderr.splitlines()) == 1
    assert len(gate.requests) == 1


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_takes_whole_trees_along_that_ignore_it(tmp_path: Path, workers: int, number: int) -> None:
    process = started(tmp_path, workers)
    with process:
        for item in range(workers):
            await_file(tmp_path / f"pids-{item}.wav", process)
        process.send_signal(number)
        stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 143, stderr
    assert "Traceback" not in stderr
    status = json.loads(stdout.splitlines()[-1])["status"]
    assert (status["exit_code"], status["state"]) == (143, "INTERRUPTED")
    assert alive(tmp_path) == []
    assert list((tmp_path / "tmp").glob("supervisor-*")) == []


@pytest.mark.parametrize("told", ["by the notice alone", "by SIGTERM, before the next poll"])
def test_after_a_spot_notice_a_stop_is_worth_a_retry(tmp_path: Path, told: str) -> None:
    metadata = Metadata()
    try:
        process = started(tmp_path, 1, AWS_EC2_METADATA_SERVICE_ENDPOINT=metadata.address)
        with process:
            await_file(tmp_path / "pids-0.wav", process)
            metadata.answer = (200, NOTICE)
            if told.startswith("by SIGTERM"):
                process.send_signal(signal.SIGTERM)
            stdout, stderr = process.communicate(timeout=60)
    finally:
        metadata.close()
    assert process.returncode == 75, stderr
    assert json.loads(stdout.splitlines()[-1])["status"]["exit_code"] == 75
    assert alive(tmp_path) == []


@pytest.mark.parametrize("flooded", ["the log of the model", "the items"])
def test_a_log_that_nobody_takes_holds_no_stop_up(tmp_path: Path, flooded: str) -> None:
    """As where a log driver in blocking mode has lost its server: the status says how the job ended all the same."""
    prints = "    print('x' * 8000, flush=True)\n" if flooded == "the log of the model" else ""
    module(tmp_path, "odd", "import time\ndef predict(**kwargs):\n" + prints + "    time.sleep(0.02)\n    return {}\n")
    (tmp_path / "in").mkdir()
    for item in range(200):
        (tmp_path / f"in/{item:03}-{'long' * 50}.wav").write_bytes(b"RIFF")
    job = {"JOB_INPUT": f"{tmp_path}/in/", "JOB_OUTPUT": str(tmp_path / "out"), "JOB_GRACE": "2"}
    with bare(tmp_path).start("run", **job, JOB_EXCLUDE="1[0-9]*", AWS_BATCH_JOB_ID="full") as process:
        wait_until_held_up(process, tmp_path / "out")
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=20) == 143
    status = json.loads((tmp_path / "out" / "_status" / "full.json").read_text())
    assert (status["exit_code"], status["state"]) == (143, "INTERRUPTED")
    assert alive(tmp_path) == []


@pytest.mark.parametrize(("there", "code"), [(True, 0), (False, 66)])
def test_a_stop_while_nobody_takes_how_the_job_ended_leaves_its_exit_code(
    tmp_path: Path, there: bool, code: int, plain: Supervisor
) -> None:
    if there:
        (tmp_path / "a.wav").write_bytes(b"RIFF")
    reading, full = os.pipe()
    fcntl.fcntl(full, fcntl.F_SETPIPE_SZ, 4096)
    os.write(full, b"x" * (2048 if there else 4096))  # there is room for how it begins, not for how it ends
    job = {"JOB_INPUT": str(tmp_path / "a.wav"), "JOB_OUTPUT": str(tmp_path / "out"), "JOB_GRACE": "2"}
    command = [sys.executable, *plain.command, "run", "--runner", "worker"]
    with subprocess.Popen(
        command,
        env={**plain.environment, **job, "AWS_BATCH_JOB_ID": "full"},
        stdout=full if there else subprocess.DEVNULL,
        stderr=subprocess.DEVNULL if there else full,
    ) as process:
        try:
            state = await_ending(tmp_path / "out/_status/full.json", process)
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(timeout=2)
            process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=20) == code
        finally:
            process.kill()
    assert state == ("SUCCEEDED" if there else "FAILED")
    os.close(reading)
    os.close(full)


def test_a_stop_while_the_end_is_told_cuts_the_telling_short_and_leaves_the_outcome(
    tmp_path: Path, plain: Supervisor
) -> None:
    """A scheduler's SIGKILL, which comes 30 s later, would make it 137."""
    (tmp_path / "a.wav").write_bytes(b"RIFF")
    told: list[str] = []

    def answer(request: Request) -> Refusal:
        told.append(request.method)
        return Refusal(status=200 if len(told) == 1 else 503, code="x")

    job = {"JOB_INPUT": str(tmp_path / "a.wav"), "JOB_OUTPUT": str(tmp_path / "out"), "JOB_GRACE": "1"}
    with (
        Gate("127.0.0.1:1", answer) as gate,
        plain.start("run", **job, JOB_STATUS_URL=f"{gate.endpoint}/x", AWS_BATCH_JOB_ID="told") as process,
    ):
        try:
            assert await_ending(tmp_path / "out/_status/told.json", process) == "SUCCEEDED"
            process.send_signal(signal.SIGTERM)
            stdout, _ = process.communicate(timeout=15)
        finally:
            process.kill()
    assert process.returncode == 0
    assert "was not told the end of the job" in stdout


def await_ending(document: Path, process: "subprocess.Popen[Any]") -> str:
    """Until the status says that the job has ended; returns its state."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        assert process.poll() is None
        with contextlib.suppress(FileNotFoundError):
            state: str = json.loads(document.read_text())["state"]
            if state != "RUNNING":
                return state
        time.sleep(0.05)
    raise AssertionError(f"{document} never says that the job has ended")


def test_items_whose_model_was_still_loading_have_not_failed(tmp_path: Path) -> None:
    """They asked it what it is: there are results, which may stand."""
    (tmp_path / "in").mkdir()
    for item in range(3):
        (tmp_path / f"in/{item}.wav").write_bytes(b"RIFF")
    loads = tmp_path / "loads"
    slow = f"""
import os, time
if os.path.exists({str(loads)!r}):
    open({str(loads)!r} + "-now", "w").close()
    time.sleep(600)
"""
    module(tmp_path, "odd", slow + "def predict(**kwargs):\n    return {}\n")
    job = {"JOB_INPUT": f"{tmp_path}/in/", "JOB_OUTPUT": str(tmp_path / "out"), "JOB_GRACE": "0.5"}
    assert bare(tmp_path)("run", **job).code == 0
    loads.touch()
    with bare(tmp_path).start("run", **job) as process:
        await_file(tmp_path / "loads-now", process)
        process.send_signal(signal.SIGTERM)
        stdout, _ = process.communicate(timeout=60)
    assert process.returncode == 143
    counts = json.loads(stdout.splitlines()[-1])["status"]["counts"]
    assert (counts["failed"], counts["pending"]) == (0, 3)


def wait_until_held_up(process: "subprocess.Popen[str]", results: Path) -> None:
    """Until nothing moves any more, for nobody reads what the process prints."""
    assert process.stdout is not None
    fcntl.fcntl(process.stdout, fcntl.F_SETPIPE_SZ, 4096)
    seen, since, deadline = (0, 0), time.monotonic(), time.monotonic() + 60
    while time.monotonic() - since < 3 or not seen[0]:
        assert process.poll() is None
        assert time.monotonic() < deadline
        printed = array("i", [0])
        fcntl.ioctl(process.stdout, termios.FIONREAD, printed)
        now = printed[0], len(list(results.glob("*.json")))
        if now != seen:
            seen, since = now, time.monotonic()
        time.sleep(0.05)


def started(folder: Path, workers: int, **variables: str) -> "subprocess.Popen[str]":
    """A job of that many items, each of which will hang."""
    module(folder, "odd", f"PIDS = {str(folder)!r}\n" + TREE)
    (folder / "in").mkdir()
    for item in range(workers):
        (folder / f"in/{item}.wav").write_bytes(b"RIFF")
    job = {"JOB_INPUT": f"{folder}/in/", "JOB_OUTPUT": str(folder / "out"), "JOB_GRACE": "0.5", "JOB_RUNNER": "worker"}
    return bare(folder).start("run", **job, JOB_WORKERS=str(workers), SUPERVISOR_COPIES="many", **variables)
