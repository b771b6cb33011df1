"""A supervisor that is killed outright (SIGKILL) leaves nothing of its guest behind, whatever that does."""

import time
from pathlib import Path

import pytest

from tests.integration.cell import alive
from tests.integration.odd_modules import await_file, bare, module

WITHIN = 2.0  # seconds

# What it does, with `started` for the file that it makes once it is at it.
HANGS = {
    "sleeps": "time.sleep(600)",
    "holds the interpreter's lock in C code": "ctypes.PyDLL(None).sleep(600)",
    "ignores all signals": "for n in set(range(1, 65)) - {9, 19, 32, 33}: signal.signal(n, signal.SIG_IGN)\n"
    "    while True: time.sleep(1)",
    "has children in sessions of their own": "start(), start(start_new_session=True)\n    time.sleep(600)",
    "is a child of its own, and the worker waits": "os.fork() and os.wait()\n    start(start_new_session=True).wait()",
    "has closed all its files": "os.closerange(3, 4096)\n    time.sleep(600)",
    "is in a pool of processes": "multiprocessing.Process(target=time.sleep, args=(600,)).start()\n    time.sleep(600)",
    "has children without our mark": "start(env={'HOME': HOME}, start_new_session=True)\n    time.sleep(600)",
}
BODY = """
import ctypes, multiprocessing, os, signal, subprocess, sys, time
HOME = {home!r}
STUBBORN = 'import signal, time; signal.signal(15, 1); time.sleep(600)'
def start(**options):
    return subprocess.Popen([sys.executable, '-c', STUBBORN], **options)
def predict(**kwargs):
    open({started!r}, 'w').close()
    {hangs}
"""


@pytest.mark.parametrize("hangs", HANGS)
def test_nothing_of_the_guest_lives_on(tmp_path: Path, recording: Path, hangs: str) -> None:
    started = tmp_path / "started"
    module(tmp_path, "odd", BODY.format(home=str(tmp_path), started=str(started), hangs=HANGS[hangs]))
    variables = {"JOB_INPUT": str(recording), "JOB_OUTPUT": str(tmp_path / "out")}
    with bare(tmp_path).start("run", **variables, JOB_RUNNER="worker") as supervisor:
        await_file(started, supervisor)
        time.sleep(0.2)  # for its children to come up, which nothing tells of
        assert len(alive(tmp_path)) > 1
        supervisor.kill()
        deadline = time.monotonic() + WITHIN
        while alive(tmp_path) and time.monotonic() < deadline:
            time.sleep(0.02)
        assert alive(tmp_path) == []


def test_a_supervisor_that_ends_as_usual_leaves_no_watcher(tmp_path: Path, recording: Path) -> None:
    module(tmp_path, "odd", "def predict(**kwargs):\n    return {'watched': os.getppid() > 0}\n")
    ended = bare(tmp_path)("run", JOB_INPUT=str(recording), JOB_OUTPUT=str(tmp_path / "out"))
    assert ended.code == 0, ended.stderr
    assert alive(tmp_path) == []


def test_the_watcher_is_none_of_the_modules_children(tmp_path: Path, recording: Path) -> None:
    """A module may wait for all that it has: with a child more than it knows of it would do so for good."""
    waits = "try:\n        os.wait()\n    except ChildProcessError:\n        return {'children': 0}"
    module(tmp_path, "odd", f"def predict(**kwargs):\n    {waits}\n")
    ended = bare(tmp_path)("run", JOB_INPUT=str(recording), JOB_OUTPUT=str(tmp_path / "out"), JOB_PREDICT_TIMEOUT="60")
    assert ended.code == 0, ended.stderr
