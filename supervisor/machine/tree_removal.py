"""Removing a folder with all that a module may have left in it. The worker loads this file under Python 3.6, too."""

import binascii
import os
import stat
from typing import Optional

# Of a tree that is so deep, or of one that a process goes on to fill, some may stay.
_MOST_PASSES = 100000


def remove_tree(path: str) -> bool:
    """Removes a folder, following no link, whatever its modes and however deep. Whether it is gone.

    shutil.rmtree before Python 3.13 fails at 1,000 levels, and as any user but root at a folder without its w. Here
    folders come up to the first level, from which they are removed: two descriptors and no recursion.
    """
    try:
        top = _opened(path)
        try:
            for _ in range(_MOST_PASSES):
                if not _removed_some(top):
                    break
        finally:
            os.close(top)
        os.rmdir(path)
    except OSError:
        pass
    return not os.path.lexists(path)


def _removed_some(top: int) -> bool:
    """Removes what is in a folder, files of its folders too, and moves their folders up into it."""
    some = False
    for name in os.listdir(top):
        try:
            if _is_folder(name, top):
                some = _moved_up(name, top) or some
                os.rmdir(name, dir_fd=top)
            else:
                os.unlink(name, dir_fd=top)
            some = True
        except OSError:  # the next may be another matter
            continue
    return some


def _moved_up(name: str, top: int) -> bool:
    some = False
    folder = _opened(name, top)
    try:
        for below in os.listdir(folder):
            try:
                if _is_folder(below, folder):
                    os.close(_opened(below, folder))  # what is moved has to be writable, too: it holds its parent's ..
                    os.rename(below, binascii.hexlify(os.urandom(8)), src_dir_fd=folder, dst_dir_fd=top)
                else:
                    os.unlink(below, dir_fd=folder)
                some = True
            except OSError:
                continue
    finally:
        os.close(folder)
    return some


def _is_folder(name: str, folder: int) -> bool:
    return stat.S_ISDIR(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode)


def _opened(name: str, folder: Optional[int] = None) -> int:
    """A folder's descriptor. Its mode is changed by what is held, not by name, in the place of which a link may be."""
    held = os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
    try:
        here = "/proc/self/fd/%d" % held
        if os.fstat(held).st_mode & stat.S_IRWXU != stat.S_IRWXU:
            os.chmod(here, stat.S_IRWXU)
        return os.open(here, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    finally:
        os.close(held)
