"""stdout and stderr, which may be closed, broken or full: what is said there fails without changing anything else."""

import contextlib
import os
import sys

from supervisor.failures import DiskTrouble


def open_missing() -> None:
    """Gives a process that was started without stdin, stdout or stderr nowhere to read and write: the next file that
    it opened, a socket perhaps, would get the free number and all that is said."""
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.dup2(os.open(os.devnull, os.O_RDWR), number)  # os.open may have got that very number
    sys.stdout = sys.stdout or open(1, "w", closefd=False)  # noqa: SIM115 - for as long as the process lives
    sys.stderr = sys.stderr or open(2, "w", closefd=False)  # noqa: SIM115


def put(text: str) -> bool:
    """A command's answer on stdout; False where its reader has gone, as `head` does. Raises DiskTrouble where it cannot
    be written."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        return False
    except (OSError, ValueError) as error:
        raise DiskTrouble(
            f"stdout cannot be written: {getattr(error, 'strerror', None) or error}", "make room, or redirect it"
        ) from None
    return True


def say(text: str) -> None:
    """A line on stderr, where there is anybody to read it."""
    with contextlib.suppress(OSError, ValueError):
        print(text, file=sys.stderr, flush=True)


def flush() -> None:
    """Sends off what is buffered; what cannot be sent goes to nowhere, lest the interpreter tries again as it ends and
    makes its failure the exit code (120)."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            with contextlib.suppress(OSError, ValueError):
                os.dup2(os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC), stream.fileno())
