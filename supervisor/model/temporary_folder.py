"""The module's temporary folder, tidied between items by the worker, which loads this file under Python 3.6 too."""

import json
import os
import stat
import traceback
from collections import deque
from itertools import islice
from typing import Any, Callable, Dict, FrozenSet, Iterator, Optional, Set, Tuple

# Predictions that may fail, and sets of arguments that may come, before TMPDIR is cleared whatever the module may keep.
SETTLING = 20
# Folders that are looked at after each prediction, 1 us each, those nearest to TMPDIR; in others things stay.
MOST_FOLDERS = 1000
# By which a process is known that the module started in a session of its own: see process_tree.
MARK = "SUPERVISOR_GUEST"


class TemporaryFolder:
    """The module's TMPDIR. What predictions leave there is removed, or it would grow to the end of the job.

    What was there once the module had answered for the first time stays, for it may remember the path: a model that was
    unpacked in import, warm() or the first prediction; and so with other arguments, which may choose another model.
    What is open stays too, and what is no file, link or folder: a socket.
    """

    def __init__(self, path: Optional[str], remove_tree: Callable[[str], bool]) -> None:
        self.remove_tree = remove_tree
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
                    folder: (changed_at(folder), frozenset(os.listdir(folder)))
                    for folder in islice(readable_folders(self.path), MOST_FOLDERS)
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
            except OSError:  # the module has removed it, or has put a link in its place
                del self.kept[folder]
                continue
            if left and in_use is None:
                in_use = open_files()
            held = [path for path in left if not self.removed(path, in_use or set())]
            self.held += len(held)
            if not held:
                self.kept[folder] = changed_at(folder), names

    def removed(self, path: str, in_use: Set[str]) -> bool:
        """Removes it with all that lies below it, unless some of it is in use. Whether it is gone."""
        try:
            if is_in_use(path, in_use):
                return False
            if is_folder(path):
                return self.remove_tree(path)
            os.unlink(path)
        except OSError:
            pass
        return not os.path.lexists(path)


def changed_at(folder: str) -> int:
    """Raises NotADirectoryError for a link, which leads to what was never the module's temporary folder."""
    found = os.lstat(folder)
    if not stat.S_ISDIR(found.st_mode):
        raise NotADirectoryError(folder)
    return found.st_mtime_ns


def is_folder(path: str) -> bool:
    return stat.S_ISDIR(os.lstat(path).st_mode)


def tree(path: str) -> Iterator[Tuple[str, int]]:
    """All that lies below a path with its mode, and itself, the nearest first; what cannot be looked at apart."""
    pending = deque([path])
    while pending:
        each = pending.popleft()
        try:
            mode = os.lstat(each).st_mode
            yield each, mode
            if stat.S_ISDIR(mode):
                pending.extend(os.path.join(each, name) for name in os.listdir(each))
        except OSError:  # removed since, closed, or with a longer path than the kernel takes
            continue


def readable_folders(path: str) -> Iterator[str]:
    return (each for each, mode in tree(path) if stat.S_ISDIR(mode) and os.access(each, os.R_OK | os.X_OK))


def open_files() -> Set[str]:
    """What the module's processes have open, mapped, or as their working folder: paths."""
    found = set()  # type: Set[str]
    for process in filter(str.isdigit, os.listdir("/proc")):
        try:
            if is_the_modules(process):
                found.update(open_in("/proc/" + process))
        except OSError:  # it has just ended, or is another user's
            continue
    return found


def is_the_modules(process: str) -> bool:
    """Whether it is of our session, or inherited our mark."""
    if os.getsid(int(process)) == os.getsid(0):
        return True
    mark = "%s=%s" % (MARK, os.environ.get(MARK))
    with open("/proc/" + process + "/environ", "rb") as environment:
        return mark.encode() in environment.read().split(b"\0")


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


def is_in_use(path: str, in_use: Set[str]) -> bool:
    """Whether it, or any of what lies below it, is open; or is no file, link or folder, of which nobody knows."""
    # multiprocessing remembers its own folder (pymp-...) for as long as a process lives.
    if any(used == path or used.startswith(path + os.sep) for used in in_use):
        return True
    return any(
        os.path.basename(each).startswith("pymp-")
        or not (stat.S_ISREG(mode) or stat.S_ISLNK(mode) or stat.S_ISDIR(mode))
        for each, mode in tree(path)
    )
