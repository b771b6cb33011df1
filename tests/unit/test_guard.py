"""The supervisor as a process, each time in one of its own."""

import os
import signal
import subprocess
import sys

import pytest


def ran(code: str) -> "subprocess.Popen[str]":
    return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)


def said(code: str) -> str:
    with ran(code) as process:
        stdout, _ = process.communicate(timeout=30)
    assert process.returncode == 0
    return stdout.strip()


def test_the_process_is_closed_to_others() -> None:
    code = """
import ctypes
from supervisor import guard
guard.close_to_the_guest()
print(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))  # PR_GET_DUMPABLE
"""
    assert said(code) == "0"


def test_orphans_become_the_supervisors_children() -> None:
    code = """
import os, subprocess, sys
from supervisor import guard
guard.adopt_orphans()
code = "import os, sys, time; sys.exit() if os.fork() else time.sleep(0.2)"
subprocess.run([sys.executable, "-c", code], check=True)
pid, status = os.wait()
print(status)
"""
    assert said(code) == "0"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_the_job_once(number: signal.Signals) -> None:
    code = """
import os, signal
from supervisor import guard
guard.stop_on_signals()
try:
    print("ready", flush=True)
    signal.pause()
except BaseException as stopped:
    print(stopped)
    for each in (signal.SIGTERM, signal.SIGINT):
        os.kill(os.getpid(), each)  # does not disturb the ending
    print("ended")
"""
    with ran(code) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        os.kill(process.pid, number)
        assert process.stdout.read() == f"stopped by {number.name}\nended\n"
    assert process.returncode == 0
