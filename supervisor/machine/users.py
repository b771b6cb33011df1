"""Whom the guest runs as (JOB_RUN_AS), and which files are whose."""

import os
import pwd
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from supervisor.failures import BadUsage, DiskTrouble


@dataclass(frozen=True, kw_only=True)
class User:
    """Whom a guest runs as, where that is not us."""

    uid: int
    gid: int


def find(run_as: str) -> User:
    """Whom JOB_RUN_AS means: a uid, uid:gid or a name. Raises BadUsage where there is none, or we may not become it."""
    uid, _, gid = run_as.partition(":")
    try:
        if uid.isdigit():
            found = User(uid=int(uid), gid=int(gid) if gid else _group_of(int(uid)))
        else:
            entry = pwd.getpwnam(run_as)
            found = User(uid=entry.pw_uid, gid=entry.pw_gid)
    except KeyError:
        raise BadUsage(
            f"JOB_RUN_AS is {run_as!r}: the image has no such user", "use a uid or uid:gid, such as 1000:1000"
        ) from None
    if os.geteuid() != 0:
        raise BadUsage(
            f"JOB_RUN_AS is {run_as!r}, but the supervisor runs as user {os.geteuid()}, who cannot become another",
            "run the container as root (the job definition's or `docker run --user`), or leave JOB_RUN_AS out",
        )
    return found


def _group_of(uid: int) -> int:
    """The user's own group where the image knows one, else the group of the same number, as useradd makes it."""
    try:
        return pwd.getpwuid(uid).pw_gid
    except KeyError:
        return uid


def give(to: User, *paths: Path) -> None:
    """Gives files and folders of ours to the model's user. Raises DiskTrouble where the file system refuses."""
    try:
        for path in paths:
            os.chown(path, to.uid, to.gid, follow_symlinks=False)
    except OSError as error:
        raise DiskTrouble(f"{path} cannot be given to the user of JOB_RUN_AS: {error.strerror}") from None


def reclaim(folder: Path) -> None:
    """Makes a folder ours alone again: from now on nobody else makes, replaces or removes anything in it."""
    os.chown(folder, os.geteuid(), os.getegid(), follow_symlinks=False)
    folder.chmod(0o700)


@contextmanager
def acting_as(user: User) -> Iterator[None]:
    """What files we could open as that user. Of the whole process: no other thread may be at work meanwhile."""
    uid, gid, groups = os.geteuid(), os.getegid(), os.getgroups()
    os.setgroups([])
    os.setegid(user.gid)
    os.seteuid(user.uid)
    try:
        yield
    finally:
        os.seteuid(uid)
        os.setegid(gid)
        os.setgroups(groups)
