"""The module's temporary folder, tidied between items by the worker, which loads this file under Python 3.6 too."""

import json
import os
import shutil
import stat
import traceback
from typing import Any, Dict, FrozenSet, Iterator, Optional, Set, Tuple

# Predictions that may fail, and sets of arguments that may come, before TMPDIR is cleared whatever the module may keep.
SETTLING = 20


class TemporaryFolder:
    """The module's TMPDIR. What predictions leave there is removed, or it would grow to the end of the job.

    What was there once the module had answered for the first time stays, for it may remember the path: a model that was
    unpacked in import, warm() or the first prediction; and so with other arguments, which may choose another model.
    What is open stays too, and what is no file, link or folder: a socket.
    """

    def __init__(self, path: Optional[str]) -> None:
        self.path = os.path.realpath(path) if path else None
        self.kept: Dict[str, Tuple[int, FrozenSet[str]]] = {}  # by folder: when it was changed, and what was in it
        self.settled: Set[str] = set()  # the arguments
        self.failed = 0
        self.held = 0  # how much of what was left is in use

    def after_prediction(self, arguments: Dict[str, Any], succeeded: bool) -> None:
        if self.path is None:
            return
        try:
            asked = json.dumps(arguments, sort_keys=True)
            if asked in self.settled or len(self.settled) >= SETTLING:
                self.clear()
            elif succeeded or self.failed >= SETTLING:
                self.settled.add(asked)
                self.kept = {
                    folder: (changed_at(folder), frozenset(os.listdir(folder))) for folder in folders(self.path)
                }
            else:
                self.failed += 1
        except Exception:  # beside a module that may do anything: without it, predictions are as good
            traceback.print_exc()
            self.path = None

    def clear(self) -> None:
        """Where nothing was left, that is a system call for each folder that is kept."""
        in_use: Optional[Set[str]] = None
        self.held = 0
        for folder, (changed, names) in list(self.kept.items()):
            try:
                if changed_at(folder) == changed:
                    continue
                left = [os.path.join(folder, name) for name in os.listdir(folder) if name not in names]
            except OSError:  # the module has removed it
                del self.kept[folder]
                continue
            if left and in_use is None:
                in_use = open_files()
            held = [path for path in left if not remove(path, in_use or set())]
            self.held += len(held)
            if not held:
                self.kept[folder] = changed_at(folder), names


def changed_at(folder: str) -> int:
    return os.stat(folder).st_mtime_ns


def folders(path: str) -> Iterator[str]:
    for folder, _, _ in os.walk(path):
        yield folder


def open_files() -> Set[str]:
    """What the processes of the module's session have open, mapped, or as their working folder: paths."""
    found = set()  # type: Set[str]
    for process in filter(str.isdigit, os.listdir("/proc")):
        try:
            if os.getsid(int(process)) == os.getsid(0):
                found.update(open_in("/proc/" + process))
        except OSError:  # it has just ended, or is another user's
            continue
    return found


def open_in(process: str) -> Iterator[str]:
    yield os.readlink(process + "/cwd")
    for number in os.listdir(process + "/fd"):
        try:
            yield os.readlink(process + "/fd/" + number)
        except OSError:  # of the listing itself
            continue
    with open(process + "/maps", errors="surrogateescape") as maps:
        for line in maps:
            if "/" in line:
                yield line.split(None, 5)[5].rstrip("\n")


def remove(path: str, in_use: Set[str]) -> bool:
    """Removes it with all that lies below it, unless some of it is in use. Whether it is gone."""
    if is_in_use(path, in_use):
        return False
    try:
        if stat.S_ISDIR(os.lstat(path).st_mode):
            shutil.rmtree(path, ignore_errors=True)
        else:
            os.unlink(path)
    except OSError:
        pass
    return not os.path.lexists(path)


def is_in_use(path: str, in_use: Set[str]) -> bool:
    # multiprocessing remembers its own folder (pymp-…) for as long as a process lives.
    if path in in_use or os.path.basename(path).startswith("pymp-"):
        return True
    try:
        kind = os.lstat(path).st_mode
        if stat.S_ISDIR(kind):
            return any(is_in_use(os.path.join(path, name), in_use) for name in os.listdir(path))
    except OSError:  # removed since
        return False
    return not (stat.S_ISREG(kind) or stat.S_ISLNK(kind))
