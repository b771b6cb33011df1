"""One build of a name at a time on this machine, whatever checkout and command it comes from."""

from __future__ import annotations

import fcntl
import hashlib
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def one_at_a_time(name: str, wait: Callable[[], None]) -> Iterator[None]:
    """Holds the name for the length of the block. `wait` is called again and again while another has it."""
    folder = Path(tempfile.gettempdir()) / f"deepaas-batch-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    with (folder / f"{hashlib.sha256(name.encode()).hexdigest()[:32]}.lock").open("w") as lock:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                wait()
            else:
                break
        yield
