"""What a run left behind: processes that still live, and secrets where somebody may read them."""

import contextlib
import os
import signal
import time
from collections.abc import Iterable
from pathlib import Path

from tests.conftest import Ended

_PATIENCE = 10.0  # seconds for a guest to notice that its supervisor was killed


def survivors(home: Path) -> list[int]:
    """The processes that still run of the image in that folder: it is HOME to all that the supervisor starts."""
    mark = f"HOME={home}".encode()
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if mark in (process / "environ").read_bytes().split(b"\0"):
                found.append(int(process.name))
        except OSError:  # it has just ended
            continue
    return found


def count_and_end_survivors(home: Path, patience: float = 0.0) -> int:
    """How many outlived the run by `patience` seconds. None lives on after that."""
    deadline = time.monotonic() + patience
    while (left := survivors(home)) and time.monotonic() < deadline:
        time.sleep(0.05)
    for pid in left:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return len(left)


def count_orphans_of_a_kill(home: Path) -> int:
    """Survivors of a supervisor that was killed itself: its guests may take a moment to see that they are alone."""
    return count_and_end_survivors(home, _PATIENCE)


def secrets_in(ended: Ended, written: Iterable[bytes], folders: Iterable[Path], secrets: Iterable[str]) -> int:
    """How many of the secrets are in what a run said, wrote to storage, or left below some folders."""
    told = [ended.stdout.encode(errors="surrogateescape"), ended.stderr.encode(errors="surrogateescape"), *written]
    told += [path.read_bytes() for folder in folders for path in folder.rglob("*") if path.is_file()]
    return sum(any(secret.encode() in text for text in told) for secret in secrets)
