"""Local files as inputs. The model gets a copy of each, and not all that the supervisor can read may be one."""

import contextlib
import ctypes
import os
import sys
import time
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path

from supervisor import job
from supervisor.machine import credential_files
from supervisor.storage import Invalid
from supervisor.storage.local import Local, descriptor

# What the kernel shows of processes and devices: /proc/self/environ holds the supervisor's own secrets.
_KERNELS = (Path("/proc"), Path("/sys"), Path("/dev"))
# The same where it is mounted elsewhere: f_type of statfs(2), as <linux/magic.h> has them.
_KERNELS_FILE_SYSTEMS = {
    0x9FA0: "proc",
    0x62656572: "sysfs",
    0x1CD1: "devpts",
    0x27E0EB: "cgroup",
    0x63677270: "cgroup2",
    0x64626720: "debugfs",
    0x74726163: "tracefs",
    0x73636673: "securityfs",
    0x62656570: "configfs",
    0x19800202: "mqueue",
    0x6E736673: "nsfs",
    0xCAFE4A11: "bpf",
    0x6165676C: "pstore",
    0xDE5E81E4: "efivarfs",
}
_NO_INPUTS = "where there are no inputs"
_MOST_LINKS = 40  # as many as the kernel follows
_LIBC = ctypes.CDLL(None, use_errno=True)


class LocalInputs(Local):
    """None of the kernel's files, and none that holds credentials of the supervisor's."""

    def __init__(self) -> None:
        places = (*_KERNELS, *credential_files.places(job.environment()))
        self._refused = frozenset((*places, *(place.resolve() for place in places)))
        devices = _device(Path("/dev"))
        self._devices = devices if devices != _device(Path("/")) else None  # where it is a file system of its own

    @contextlib.contextmanager
    def _held(self, path: Path) -> Iterator[int]:
        """The way there counts as much as where it leads: /proc/self/root and /proc/self/fd lead anywhere."""
        self._refuse(path, _way(path))
        with super()._held(path) as held:
            real = descriptor(held).readlink()
            self._refuse(path, (real, *real.parents))
            kind, found = _KERNELS_FILE_SYSTEMS.get(_file_system(held)), os.fstat(held)
            if (found.st_dev, found.st_ino) in _credentials(int(time.monotonic())):
                raise Invalid(f"{path}: is a file of credentials by another name, {_NO_INPUTS}")
            if kind or found.st_dev == self._devices:
                raise Invalid(f"{path}: lies in a file system of the kernel's ({kind or '/dev'}), {_NO_INPUTS}")
            yield held

    def _refuse(self, path: Path, places: Iterable[Path]) -> None:
        for place in places:
            if place in self._refused:
                raise Invalid(f"{path}: lies in {place}, {_NO_INPUTS}")


@lru_cache(maxsize=1)
def _credentials(second: int) -> frozenset[tuple[int, int]]:  # noqa: ARG001 - looked for once in each
    """Which files hold some: tokens are written anew while a job runs."""
    return credential_files.identities(job.environment())


def _way(path: Path) -> Iterator[Path]:
    """Every place that an absolute path leads through, links followed, in order."""
    place, links = Path("/"), 0
    rest = list(reversed(path.parts[1:]))
    while rest and links <= _MOST_LINKS:
        part = rest.pop()
        if part == "..":
            place = place.parent
            continue
        place /= part  # an absolute one, of a link, begins anew
        yield place
        with contextlib.suppress(OSError):  # no link; or not there, as opening it will tell
            rest += reversed(place.readlink().parts)
            place, links = place.parent, links + 1


def _file_system(held: int) -> int:
    """f_type of fstatfs(2), which Python does not tell: the first member, a word."""
    told = ctypes.create_string_buffer(256)
    if _LIBC.fstatfs(held, told) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return int.from_bytes(told.raw[: ctypes.sizeof(ctypes.c_long)], sys.byteorder)


def _device(path: Path) -> int | None:
    try:
        return path.stat().st_dev
    except OSError:
        return None
