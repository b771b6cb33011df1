"""Stop signals, each time in a process of its own."""

import os
import signal

import pytest

from tests.unit.machine.processes import ran


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_the_job_once(number: signal.Signals) -> None:
    code = """
import os, signal
from supervisor.machine import signals
signals.handle_stop_signals()
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


def test_a_stop_after_the_work_raises_nothing_and_leaves_less_time_to_tell_of_it() -> None:
    code = """
import math, queue, signal, time
from supervisor.machine import signals
signals.handle_stop_signals()
signals.note_stops()
until = signals.closer(math.inf, 0.5)
print("ready", flush=True)
try:
    signals.get_until(queue.SimpleQueue(), until)
except queue.Empty:
    print("given up")
try:
    with signals.stops_raised():
        print("never begins")
except signals.Stopped as stopped:
    print(stopped)
"""
    with ran(code) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        os.kill(process.pid, signal.SIGTERM)
        assert process.stdout.read() == "given up\nstopped by SIGTERM\n"
    assert process.returncode == 0
