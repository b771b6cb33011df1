"""The supervisor as a process, each time in one of its own."""

from tests.unit.machine.processes import said


def test_the_process_is_closed_to_others() -> None:
    code = """
import ctypes
from supervisor.machine import process
process.make_undumpable()
print(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))  # PR_GET_DUMPABLE
"""
    assert said(code) == "0"


def test_orphans_become_the_supervisors_children() -> None:
    code = """
import os, subprocess, sys
from supervisor.machine import process
process.become_subreaper()
code = "import os, sys, time; sys.exit() if os.fork() else time.sleep(0.2)"
subprocess.run([sys.executable, "-c", code], check=True)
pid, status = os.wait()
print(status)
"""
    assert said(code) == "0"
