"""The guest's process: what it is given, how it may misbehave, and how it is ended."""

import os
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from supervisor.model import guest as guest_module
from supervisor.model.find import Installation
from supervisor.model.guest import Guest, GuestDied, GuestDismissed, GuestTimeout, described_exit

HEAD = """
import json, os, sys, time
requests, replies = os.fdopen(int(sys.argv[1])), int(sys.argv[2])
def reply(line):
    os.write(replies, (line if isinstance(line, str) else json.dumps(line)).encode() + b"\\n")
request = json.loads(requests.readline())
"""


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], tuple[Guest, list[str]]]]:
    """Starts a guest with such a body, and gives it and its log; sees all of them off."""
    guests = []

    def start_one(body: str) -> tuple[Guest, list[str]]:
        (tmp_path / "worker.py").write_text(HEAD + body)
        monkeypatch.setattr(guest_module, "WORKER", tmp_path / "worker.py")
        lines: list[str] = []
        guest = Guest(installation(), {"PATH": os.defpath}, tmp_path, lines.append)
        guests.append(guest)
        return guest, lines

    yield start_one
    for guest in guests:
        guest.end()


def installation(*, on_path: bool = True) -> Installation:
    return Installation(python=Path(sys.executable), programs_folder=Path("/opt/x/bin"), programs=(), on_path=on_path)


Start = Callable[[str], tuple[Guest, list[str]]]


def test_only_the_reply_to_the_last_request_counts(start: Start) -> None:
    guest, _ = start(
        "for line in ('', 'garbage', '[1]', 'null', '[' * 5000, {'id': 7, 'ok': True}, {'id': 1}, {'ok': True}):\n"
        "    reply(line)\n"
        "reply({'id': 1, 'ok': True, 'mine': 'ü'})\n"
    )
    assert guest.ask("describe") == {"id": 1, "ok": True, "mine": "ü"}


def test_a_reply_may_come_in_pieces(start: Start) -> None:
    guest, _ = start(
        "line = json.dumps({'id': 1, 'ok': True, 'n': 'x' * 300000}).encode() + b'\\n'\n"
        "while line:\n"
        "    line = line[os.write(replies, line[:7001]):]\n"
    )
    assert len(guest.ask("describe")["n"]) == 300000


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ("os._exit(0)", 0),
        ("sys.exit(7)", 7),
        ("os.kill(os.getpid(), 11)", -11),
        ("os.close(replies); time.sleep(600)", None),
        ("while True: os.write(replies, b'x' * 65536)", None),
    ],
)
def test_a_guest_that_will_never_answer_is_given_up(start: Start, body: str, status: int | None) -> None:
    guest, _ = start(body)
    with pytest.raises(GuestDied) as died:
        guest.ask("describe")
    assert died.value.status == status


def test_the_last_words_of_a_dying_guest_count(start: Start) -> None:
    guest, _ = start("reply({'id': 1, 'ok': True})\nos._exit(9)\n")
    guest.send("describe")
    assert guest.tree.ended_within(30)
    assert guest.receive() == {"id": 1, "ok": True}


def test_the_end_of_a_guest_is_noticed_though_its_child_holds_the_pipe(start: Start, tmp_path: Path) -> None:
    guest, _ = start("if os.fork() == 0: time.sleep(600)\nos._exit(5)\n")
    with pytest.raises(GuestDied) as died:
        guest.ask("describe")
    assert died.value.status == 5


def test_a_guest_that_takes_too_long_is_killed(start: Start) -> None:
    guest, _ = start("time.sleep(600)")
    guest.send("describe")
    began = time.monotonic()
    with pytest.raises(GuestTimeout):
        guest.receive(0.3)
    assert time.monotonic() - began < 5
    assert guest.tree.poll() == -9


IGNORES_TERM = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); reply({'id': 1, 'ok': True})\n"


def test_whoever_waits_for_a_guest_is_told_at_once_that_another_thread_ends_it(start: Start) -> None:
    """While the guest, which ignores SIGTERM, still has all the grace that there is."""
    guest, _ = start(IGNORES_TERM + "time.sleep(600)")
    guest.ask("describe")
    guest.send("predict")
    with ThreadPoolExecutor() as threads:
        waiting = threads.submit(guest.receive)
        ending = threads.submit(guest.end, 600)
        assert isinstance(waiting.exception(30), GuestDismissed)
        assert not ending.done()
        guest.tree.kill()
        ending.result(30)
    assert guest.tree.poll() == -9


def test_after_its_grace_a_guest_is_killed(start: Start) -> None:
    guest, _ = start(IGNORES_TERM + "time.sleep(600)")
    guest.ask("describe")
    guest.end(0.1)
    assert guest.tree.poll() == -9


def test_a_guest_that_ends_in_its_grace_is_not_killed(start: Start) -> None:
    guest, _ = start(
        "import signal\nsignal.signal(signal.SIGTERM, lambda *_: os._exit(7))\n"
        "reply({'id': 1, 'ok': True}); time.sleep(600)"
    )
    guest.ask("describe")
    guest.end(60)
    assert guest.tree.poll() == 7


def test_a_guest_that_does_not_read_holds_nobody_who_ends_it(start: Start) -> None:
    guest, _ = start(IGNORES_TERM + "time.sleep(600)")
    guest.ask("describe")
    with ThreadPoolExecutor() as threads:
        sending = threads.submit(guest.ask, "predict", text="x" * 1024 * 1024)
        guest.end(0.1)
        assert isinstance(sending.exception(30), GuestDismissed)


def test_several_threads_may_end_a_guest(start: Start) -> None:
    guest, _ = start(IGNORES_TERM + "time.sleep(600)")
    guest.ask("describe")
    with ThreadPoolExecutor() as threads:
        for ended in [threads.submit(guest.end, 0.1) for _ in range(4)]:
            ended.result(30)
    with pytest.raises(GuestDismissed):
        guest.ask("predict")


def test_what_was_printed_before_a_reply_is_logged_before_it(start: Start) -> None:
    guest, lines = start("print('x' * 20000)\nprint('last', flush=True)\nreply({'id': 1, 'ok': True})\n")
    guest.ask("describe")
    assert lines == ["x" * 8192, "x" * 8192, "x" * (20000 - 2 * 8192), "last"]
    assert guest.log.tail()[-1] == "last"


@pytest.mark.parametrize(("printed", "logged"), [("a\\nb", ["a", "b"]), ("a\\n\\nb\\n", ["a", "", "b"]), ("", [])])
def test_the_log_ends_with_the_last_line(start: Start, printed: str, logged: list[str]) -> None:
    guest, lines = start(f"print('{printed}', end='', flush=True)")
    with pytest.raises(GuestDied):
        guest.ask("describe")
    guest.log.join()
    assert lines == logged


def test_colours_and_bytes_that_are_no_text_do_not_reach_the_log(start: Start) -> None:
    guest, lines = start(
        "sys.stdout.buffer.write(b'\\x1b[31mred\\x1b[00m \\xff\\r\\n'); sys.stdout.flush(); reply({'id': 1, 'ok': 1})"
    )
    guest.ask("describe")
    assert lines == ["red \N{REPLACEMENT CHARACTER}"]


def test_more_than_its_share_of_the_log_is_counted_instead(start: Start) -> None:
    guest, lines = start("for n in range(30000): print('x' * 99)\nreply({'id': 1, 'ok': True})\nrequests.readline()\n")
    guest.ask("describe")
    guest.send("predict")
    assert len(lines) == 1024 * 1024 // 100 + 1
    assert lines[-1] == f"({30000 - len(lines) + 1:,} more lines not shown: over 1,024 KiB in one prediction)"


def test_ending_leaves_no_descriptor_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "worker.py").write_text(HEAD)
    monkeypatch.setattr(guest_module, "WORKER", tmp_path / "worker.py")
    before = set(Path("/proc/self/fd").iterdir())
    for _ in range(3):
        guest = Guest(installation(), {}, tmp_path, lambda line: None)
        guest.end()
    assert set(Path("/proc/self/fd").iterdir()) == before


def test_a_python_that_cannot_start_leaves_no_descriptor_open(tmp_path: Path) -> None:
    broken = Installation(python=tmp_path / "none", programs_folder=tmp_path, programs=(), on_path=True)
    before = set(Path("/proc/self/fd").iterdir())
    with pytest.raises(OSError, match="none"):
        Guest(broken, {}, tmp_path, lambda line: None)
    assert set(Path("/proc/self/fd").iterdir()) == before


def environment(**variables: str) -> dict[str, str]:
    return guest_module._environment(installation(), variables, Path("/scratch"))


@pytest.mark.parametrize("variables", [{}, {"LANG": ""}, {"LANG": "C"}, {"LC_CTYPE": "POSIX", "LANG": "en_US.UTF-8"}])
def test_without_a_locale_texts_are_utf_8(variables: dict[str, str]) -> None:
    assert environment(**variables)["LC_CTYPE"] == "C.UTF-8"


@pytest.mark.parametrize("variables", [{"LANG": "es_ES.UTF-8"}, {"LC_ALL": "C"}, {"LC_CTYPE": "C.UTF-8"}])
def test_a_locale_of_the_image_is_left_alone(variables: dict[str, str]) -> None:
    assert environment(**variables) == {**variables, "TMPDIR": "/scratch"}


def test_programs_off_path_are_put_there() -> None:
    given = guest_module._environment(installation(on_path=False), {"PATH": "/bin", "LC_ALL": "C"}, Path("/scratch"))
    assert given["PATH"] == "/opt/x/bin:/bin"


@pytest.mark.parametrize(
    ("status", "says"),
    [(0, "exit status 0"), (255, "exit status 255"), (-11, "SIGSEGV"), (-64, "signal 64|SIGRTMAX"), (None, "pipes")],
)
def test_an_end_is_described(status: int | None, says: str) -> None:
    assert any(word in described_exit(status) for word in says.split("|"))
