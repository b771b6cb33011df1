"""The local disk while a job runs: the job's folder, a folder for each item, and how much of it may be filled."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import Empty, SimpleQueue

from supervisor.failures import DiskTrouble
from supervisor.machine.tree_removal import remove_tree

# Left free for logs and what modules write, and with each input for its answer.
_MARGIN = 64 * 1024 * 1024
_ANSWER = 64 * 1024
# Not looked for on the disk before it is fetched: all that are under way at once find room in the margin.
_SMALL = 1024 * 1024
# Bytes of inputs on the disk at once, where it has room for them.
_MOST_INPUTS = 1024**3
# Bytes of room for an input whose size is not known; four times as many with each try for which they are too few.
FIRST_GUESS = 16 * 1024 * 1024


@contextmanager
def job_folder() -> Iterator[Path]:
    """A new folder for one job, gone again with all that is in it. Raises DiskTrouble."""
    try:
        folder = Path(tempfile.mkdtemp(prefix="supervisor-"))
    except OSError as error:
        raise DiskTrouble(
            f"no temporary folder can be made: {error}",
            "give the container a writable /tmp (--tmpfs /tmp), or set TMPDIR",
        ) from None
    try:
        yield folder
    finally:
        remove_tree(str(folder))


def inputs_bound(folder: Path) -> int:
    """How many bytes of inputs may lie on the folder's disk at once: half of what is free, at most 1 GiB."""
    return min(_MOST_INPUTS, max(0, shutil.disk_usage(folder).free - _MARGIN) // 2)


def reserve(folder: Path) -> int:
    """Bytes of the folder's disk that are the job's, and no list's: for inputs and the margin; half of a small disk."""
    return min(inputs_bound(folder) + _MARGIN, shutil.disk_usage(folder).free // 2)


def bytes_needed(size: int, copies: int) -> int:
    """What one item takes on the disk: so many copies of its input, and its answer."""
    return size * copies + _ANSWER


def room_left(folder: Path) -> int:
    """Bytes that one input may take which has the folder's disk to itself: all but the margin, half of a small disk."""
    free = shutil.disk_usage(folder).free
    return max(free - _MARGIN, free // 2)


def require_room(folder: Path, name: str, size: int, needed: int) -> None:
    """Raises DiskTrouble where an input of `size` bytes, which needs `needed`, does not fit."""
    wanted = needed + _MARGIN
    if wanted > _MARGIN + _SMALL and wanted > (free := shutil.disk_usage(folder).free):
        raise DiskTrouble(
            f"input {name} has {size:,} bytes and needs {wanted:,} on the local disk, which has {free:,} free"
        )


class ItemFolders:
    """Folders of items. Each has a name of its own, for modules remember paths, but may be an emptied one under a new
    name: ext4 makes a folder in the time of a small download. What cannot be made is DiskTrouble."""

    def __init__(self, parent: Path) -> None:
        self._parent = parent
        self._emptied: SimpleQueue[Path] = SimpleQueue()

    def take(self, index: int) -> Path:
        """An empty folder for the item of that index."""
        folder = self._parent / str(index)
        try:
            self._emptied.get_nowait().rename(folder)
        except Empty:
            _make(folder)
        except OSError as error:
            raise _not_made(error) from None
        return folder

    def make_anew(self, folder: Path) -> Path:
        """The same folder, empty again."""
        remove_tree(str(folder))
        _make(folder)
        return folder

    def give_back(self, folder: Path) -> None:
        """Removes what is in it. Folders that a module has made are left to remove_tree: they may be swapped for links
        under our hands."""
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    os.unlink(entry)  # noqa: PTH108 - a Path for each costs as much as the unlinking
        except OSError:
            remove_tree(str(folder))
        else:
            self._emptied.put(folder)


def subfolder(folder: Path, name: str) -> Path:
    """A new folder in an item's. Raises DiskTrouble."""
    _make(folder / name)
    return folder / name


def _make(folder: Path) -> None:
    try:
        folder.mkdir()
    except OSError as error:
        raise _not_made(error) from None


def _not_made(error: OSError) -> DiskTrouble:
    return DiskTrouble(f"no folder can be made for an item: {error.strerror}")
