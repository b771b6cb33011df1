"""Whose process is whose: on real trees of processes, each under a supervisor of its own that adopts orphans."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from dataclasses import replace
from pathlib import Path

import pytest

from supervisor.model import process_tree
from supervisor.model.process_tree import MARK, ProcessTree, kill_orphans, processes

HEAD = """
import os, signal, subprocess, sys, threading, time
from supervisor.machine import process
from supervisor.model import process_tree
from supervisor.model.process_tree import ProcessTree, reap_orphans, kill_orphans, processes
process.become_subreaper()

def guest(code):
    return ProcessTree([sys.executable, "-c", code], {"PATH": os.defpath}, stdout=subprocess.PIPE)

def said(guest):
    return [int(word) for word in guest.process.stdout.readline().split()]

def alive(*pids):
    return [p.pid for p in processes() if p.pid in pids and p.state != "Z"]

def children():
    return [p.pid for p in processes() if p.parent == os.getpid()]

DAEMON = '''
import os, subprocess, sys, time
IGNORE = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
def daemon(**options):
    reader, writer = os.pipe()
    if os.fork() == 0:
        os.setsid()
        daemon = subprocess.Popen([sys.executable, "-c", IGNORE], start_new_session=True, **options)
        os.write(writer, str(daemon.pid).encode())
        os._exit(0)
    os.wait()
    return int(os.read(reader, 20))
def tree():
    kept = subprocess.Popen(["sh", "-c", "trap '' TERM; sleep 600 & echo $!; wait"], stdout=subprocess.PIPE)
    return [kept.pid, int(kept.stdout.readline())]
'''
"""


def under_a_supervisor(code: str) -> str:
    """What the code says in a process of its own, after HEAD."""
    ended = subprocess.run(
        [sys.executable, "-c", HEAD + textwrap.dedent(code)], capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def test_the_whole_tree_goes_with_its_head_and_no_zombie_stays() -> None:
    assert under_a_supervisor("""
        one = guest(DAEMON + "print(*tree(), daemon(), flush=True); time.sleep(600)")
        pids = [one.pid, *said(one)]
        print(len(alive(*pids)), one.kill(), alive(*pids), children(), one.poll())
    """) == "4 True [] [] -9\n"  # fmt: skip


def test_what_a_dead_head_leaves_is_found_by_its_session_and_its_mark() -> None:
    assert under_a_supervisor("""
        one = guest(DAEMON + "print(*tree(), daemon(), flush=True); os._exit(3)")
        pids = said(one)
        print(one.ended_within(30), len(alive(*pids)), one.kill(), alive(*pids), children(), one.poll())
    """) == "True 3 True [] [] 3\n"  # fmt: skip


def test_the_end_of_one_guest_touches_no_other_and_no_child_of_ours() -> None:
    assert under_a_supervisor("""
        code = DAEMON + "print(*tree(), daemon(), flush=True); time.sleep(600)"
        one, other = guest(code), guest(code)
        ours = subprocess.Popen(["sleep", "600"])
        gone, kept = [one.pid, *said(one)], [other.pid, *said(other)]
        one.kill()
        print(alive(*gone), alive(*kept, ours.pid) == sorted([*kept, ours.pid]))
        ours.kill(), ours.wait()
        other.kill()
        print(alive(*kept), children())
    """) == "[] True\n[] []\n"  # fmt: skip


def test_a_daemon_without_mark_and_session_goes_with_the_last_guest() -> None:
    assert under_a_supervisor("""
        one = guest(DAEMON + "print(daemon(env={}), flush=True); os._exit(0)")
        other = guest(DAEMON + "print(flush=True); time.sleep(600)")
        [nobodys], _ = said(one), said(other)
        one.ended_within(30)
        one.kill()
        print(alive(nobodys) == [nobodys])
        other.kill()
        print(alive(nobodys), children())
    """) == "True\n[] []\n"  # fmt: skip


def test_a_daemon_without_a_mark_is_found_while_its_parent_lives() -> None:
    """As is every one under JOB_RUN_AS, whose environment we may not read."""
    assert under_a_supervisor("""
        one = guest(
            "import subprocess, time\\n"
            "child = subprocess.Popen(['sleep', '600'], env={}, start_new_session=True)\\n"
            "print(child.pid, flush=True)\\n"
            "time.sleep(600)"
        )
        other = guest("import time; time.sleep(600)")
        [child] = said(one)
        one.kill()
        print(alive(child), alive(other.pid) == [other.pid])
        other.kill()
    """) == "[] True\n"  # fmt: skip


def test_daemons_that_ended_are_buried_behind_a_guest_that_nobody_has_reaped() -> None:
    assert under_a_supervisor("""
        dead = guest("")
        dead.ended_within(30)
        busy = guest(
            "import os, time\\n"
            "if os.fork() == 0:\\n"
            "    os.setsid()\\n"
            "    if os.fork(): os._exit(0)\\n"
            "    print(os.getpid(), flush=True)\\n"
            "    os._exit(0)\\n"
            "os.wait()\\n"
            "time.sleep(600)"
        )
        [daemon] = said(busy)
        while [p for p in processes() if p.pid == daemon and p.state != "Z"]:
            pass
        reap_orphans()
        print(daemon in children(), sorted(children()) == sorted([dead.pid, busy.pid]), dead.poll())
        dead.kill(), busy.kill()
    """) == "False True 0\n"  # fmt: skip


def test_children_of_ours_are_reaped_by_whoever_waits_for_them_while_guests_come_and_go() -> None:
    """Two threads make and end guests and bury orphans while others run children of our own to their end."""
    assert under_a_supervisor("""
        statuses, over = [], threading.Event()

        def guests():
            while not over.is_set():
                one = guest(DAEMON + "daemon()")
                reap_orphans()
                one.kill()

        def ours():
            for _ in range(40):
                statuses.append(subprocess.run(["sh", "-c", "exit 7"]).returncode)

        background = [threading.Thread(target=guests) for _ in range(2)]
        runs = [threading.Thread(target=ours) for _ in range(2)]
        for thread in background + runs: thread.start()
        for thread in runs: thread.join()
        over.set()
        for thread in background: thread.join()
        print(set(statuses), len(statuses), children())
    """) == "{7} 80 []\n"  # fmt: skip


def test_no_guest_inherits_a_pipe_of_another() -> None:
    assert under_a_supervisor("""
        code = "import os; print(*[int(n) for n in os.listdir('/proc/self/fd')], flush=True); input()"

        def start():
            for _ in range(5):
                reader, writer = os.pipe()
                one = ProcessTree([sys.executable, "-c", code], {}, stdin=reader, stdout=subprocess.PIPE)
                found.append(said(one))
                one.kill()

        found = []
        threads = [threading.Thread(target=start) for _ in range(4)]
        for thread in threads: thread.start()
        for thread in threads: thread.join()
        print(len(found), set(map(tuple, found)))
    """) == "20 {(0, 1, 2, 3)}\n"  # fmt: skip


def test_a_number_that_has_come_to_be_anothers_is_not_killed() -> None:
    bystander = subprocess.Popen(["sleep", "600"])
    try:
        [seen] = [process for process in processes() if process.pid == bystander.pid]
        process_tree._kill(replace(seen, started=seen.started - 1))
        assert bystander.poll() is None
        process_tree._kill(seen)
        assert bystander.wait(30) == -signal.SIGKILL
    finally:
        bystander.kill()


def test_children_of_our_own_are_no_orphans() -> None:
    ours = subprocess.Popen(["sleep", "600"])
    stray = subprocess.Popen(["sleep", "600"], start_new_session=True)
    try:
        kill_orphans()
        assert ours.poll() is None
        assert not Path(f"/proc/{stray.pid}").exists()
    finally:
        ours.kill()
        ours.wait()
        stray.wait()


@pytest.mark.parametrize(
    ("code", "status"),
    [
        *((f"import os; os._exit({status})", status) for status in (0, 1, 127, 128, 255)),
        *((f"import os; os.kill(os.getpid(), {number})", -number) for number in (6, 9, 11, 15)),
    ],
)
def test_how_a_guest_ended_is_known_before_and_after_it_is_reaped(code: str, status: int) -> None:
    guest = ProcessTree([sys.executable, "-c", code], {})
    assert guest.ended_within(30)
    before = guest.poll()
    guest.kill()
    assert (before, guest.poll(), guest.process.returncode) == (status, status, status)


def test_what_the_tree_used_is_told_when_it_is_gone() -> None:
    code = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'for _ in range(10**7): pass'])"
    guest = ProcessTree([sys.executable, "-c", code], {"PATH": os.defpath})
    assert guest.ended_within(60)
    guest.kill()
    assert guest.reaped_usage.cpu > 0.05
    assert guest.reaped_usage.resident > 1024 * 1024


def mark_of(pid: int) -> bytes:
    """A process has an environment to be read some moments after it has been told of."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if mark := Path(f"/proc/{pid}/environ").read_bytes().partition(f"{MARK}=".encode())[2]:
            return mark
    raise AssertionError(f"{pid} carries no mark")


def test_a_guest_carries_its_own_mark() -> None:
    guests = [ProcessTree(["sleep", "600"], {"PATH": os.defpath}) for _ in range(2)]
    marks = {mark_of(guest.pid) for guest in guests}
    for guest in guests:
        guest.kill()
    assert len(marks) == 2
