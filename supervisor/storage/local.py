"""Files and folders of this machine."""

import contextlib
import errno
import hashlib
import io
import json
import os
import re
import secrets
import shutil
import stat
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import IO
from urllib.parse import quote_from_bytes, unquote_to_bytes

from supervisor.storage import Changed, Exists, Invalid, Missing, Object, StorageError, disk_error
from supervisor.storage.uri import local_path, scheme

_LONGEST_NAME = 255  # bytes, on every file system in use
_PIECE = 1024 * 1024
# Names by which a file system shows whether case counts.
_SAMPLE = 100
# What a file system without hard links says to one.
_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)
# What upload leaves beside a result, and what a crash in the midst of it may.
_OURS = re.compile(rb"\..+\.provenance(\.partial)?|\.[0-9a-f]{16}\.partial", re.DOTALL)
_KINDS = {
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


class Local:
    """Local files. The provenance that S3 keeps as an object's metadata lies beside a result, in
    `.<name>.provenance`."""

    def stat(self, uri: str, version: str | None = None) -> Object:
        path = _path(uri)
        try:
            with self._held(path) as held:
                found = _require_file(path, held)
        except OSError as error:
            raise _about(path, error) from error
        return Object(
            uri=uri,
            size=found.st_size,
            etag=_etag(found),
            metadata=_provenance(path, _etag(found)),
        )

    def list(self, uri: str, *, after: str | None = None) -> Iterator[Object]:
        """The regular files of a folder and of those below it, links to files among them.

        Links to folders are not followed: they may lead in circles, or to what nobody meant.
        """
        folder, prefix = _path(uri), uri if uri.endswith("/") else uri + "/"
        for name in self._names(folder, _name_below(prefix, after)):
            path = folder / os.fsdecode(name)
            try:
                found = path.stat()
            except FileNotFoundError:  # removed since
                continue
            except OSError as error:
                raise _about(path, error) from error
            shown = quote_from_bytes(name) if scheme(uri) == "file" else os.fsdecode(name)
            yield Object(uri=prefix + shown, size=found.st_size, etag=_etag(found), modified=found.st_mtime)

    def download(self, source: Object, target: Path) -> Object:
        """Copies the file: the model gets bytes of its own, whatever it does to them."""
        path = _path(source.uri)
        try:
            with self._held(path) as held:
                _require_file(path, held)
                with descriptor(held).open("rb") as reader, target.open("xb") as writer:
                    shutil.copyfileobj(reader, writer, _PIECE)
                    seen = _etag(os.fstat(reader.fileno()))
        except OSError as error:
            raise _about(path, error) from error
        if seen != source.etag:
            raise Changed(f"{path}: the file changed while it was being read")
        return replace(source, metadata=_provenance(path, seen))

    def upload(self, source: Path | bytes, uri: str, *, media_type: str, metadata: Mapping[str, str]) -> str | None:
        target = _path(uri)
        try:
            _refuse_to_replace(target)
            return _store(target, source, metadata, os.replace)
        except OSError as error:
            raise _about(target, error) from error

    def create(self, source: Path | bytes, uri: str, *, media_type: str, metadata: Mapping[str, str]) -> str | None:
        """By a link, of which the file system promises that one of several succeeds. One without hard links (FAT, some
        network shares) is looked at just before: there two at the same moment may both succeed."""
        target = _path(uri)
        try:
            return _store(target, source, metadata, _link)
        except FileExistsError as error:
            if os.path.lexists(target) and not target.is_dir():
                raise Exists(f"{target}: there is such a file already") from error
            raise _about(target, error) from error  # a folder, or a file that is in a folder's way
        except OSError as error:
            raise _about(target, error) from error

    def probe(self, uri: str) -> None:
        folder = _path(uri)
        try:
            while not folder.exists():
                folder = folder.parent
        except OSError as error:
            raise _about(folder, error) from error
        if not folder.is_dir():
            raise Missing(f"{folder}: is not a folder")
        if not os.access(folder, os.W_OK | os.X_OK):
            raise disk_error(PermissionError(13, "not writable"), folder)

    @contextlib.contextmanager
    def _held(self, path: Path) -> Iterator[int]:
        """A descriptor of what is at the path. Raises Invalid where it is not to be read."""
        with hold(path) as held:
            yield held

    def _names(self, folder: Path, after: bytes) -> Iterator[bytes]:
        """Paths below the folder in the order of S3's keys, that is of bytes, from the first that comes after that one.
        The whole of one folder at a time is in memory, as names; the file system alone bounds the depth."""
        pending = [b""]
        while pending:
            name = pending.pop()
            if name and not name.endswith(b"/"):
                yield name
                continue
            path = folder / os.fsdecode(name)
            try:
                with self._held(path) as held:
                    below = [each for entry in _entries(held) if _comes_after(each := name + entry, after)]
            except OSError as error:
                raise _about(path, error) from error
            pending += sorted(below, reverse=True)


@contextlib.contextmanager
def hold(path: Path) -> Iterator[int]:
    """A descriptor of whatever is at the path (O_PATH). Nothing is opened yet, so that no FIFO makes us wait and no
    device notices; and what is looked at by it is what will be read, whatever takes its place."""
    held = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        yield held
    finally:
        os.close(held)


def descriptor(held: int) -> Path:
    """The path under which the kernel shows what a descriptor holds."""
    return Path(f"/proc/self/fd/{held}")


def _require_file(path: Path, held: int) -> os.stat_result:
    found = os.fstat(held)
    if stat.S_ISDIR(found.st_mode):
        raise Missing(f"{path}: is a folder, not a file")
    if not stat.S_ISREG(found.st_mode):
        raise Invalid(f"{path}: is {_KINDS.get(stat.S_IFMT(found.st_mode), 'something else')}, not a regular file")
    return found


def _refuse_to_replace(target: Path) -> None:
    """Raises Invalid for what is no file, which a file would take the place of: with JOB_STATUS=/dev/null, as root, the
    machine's /dev/null. What is in a folder's place is told by the file system."""
    with contextlib.suppress(FileNotFoundError):
        mode = target.stat().st_mode
        if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
            kind = _KINDS.get(stat.S_IFMT(mode), "something else")
            raise Invalid(f"{target}: is {kind}, in whose place no file is put", "name another file")


def _name_below(prefix: str, after: str | None) -> bytes:
    """The path of a listed URI below the prefix; b"" for none."""
    if after is None:
        return b""
    if not after.startswith(prefix):
        raise Invalid(f"{after} is not below {prefix}")
    below = after[len(prefix) :]
    return unquote_to_bytes(below) if scheme(prefix) == "file" else os.fsencode(below)


def _comes_after(name: bytes, after: bytes) -> bool:
    """Whether this file, or a file in this folder, which ends in "/", may come after that one."""
    return name > after or (name.endswith(b"/") and after.startswith(name))


def _entries(held: int) -> Iterator[bytes]:
    """What one folder holds and we list; a folder's name ends in "/"."""
    folder = os.open(descriptor(held), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                name = os.fsencode(entry.name)
                if entry.is_dir(follow_symlinks=False):
                    yield name + b"/"
                elif entry.is_file() and not _OURS.fullmatch(name):
                    yield name
    finally:
        os.close(folder)


def _store(
    target: Path, source: Path | bytes, metadata: Mapping[str, str], move: Callable[[Path, Path], object]
) -> str:
    """Makes a file of these bytes by that move, with a note of its metadata beside it; returns what stands for an ETag.

    The note says of which bytes it tells, by their SHA-256: where a writer was killed between the two, or another one
    came in between, it is a note on bytes that are not there, and the item runs again.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256()
    with _partial(target) as partial, _reader(source) as reader:
        with partial.open("xb") as writer:
            while piece := reader.read(_PIECE):
                digest.update(piece)
                writer.write(piece)
            writer.flush()
            os.fsync(writer.fileno())
            found = os.fstat(writer.fileno())
        move(partial, target)
    if metadata:
        note = {"sha256": digest.hexdigest(), "metadata": dict(metadata)}
        with _partial(target) as partial:
            partial.write_text(json.dumps(note))
            partial.replace(_note(target))
    return _etag(found)


@contextlib.contextmanager
def _partial(target: Path) -> Iterator[Path]:
    """A new name beside the target, so that a move is whole or not at all; what is left under it is removed."""
    partial = target.with_name(f".{secrets.token_hex(8)}.partial")
    try:
        yield partial
    except BaseException:
        with contextlib.suppress(OSError):
            partial.unlink()
        raise


def _reader(source: Path | bytes) -> IO[bytes]:
    return io.BytesIO(source) if isinstance(source, bytes) else source.open("rb")


def _link(partial: Path, target: Path) -> None:
    """Moves it to where there is nothing. Raises FileExistsError."""
    try:
        os.link(partial, target)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        if os.path.lexists(target):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target)) from error
        partial.replace(target)
    else:
        partial.unlink()


def _path(uri: str) -> Path:
    try:
        path = local_path(uri)
    except ValueError as error:
        raise Invalid(str(error)) from None
    if "\0" in str(path):
        raise Invalid(f"{uri!r}: holds a zero byte")
    return path


def _about(path: Path, error: OSError) -> StorageError:
    return Missing(f"{path}: no such file") if isinstance(error, FileNotFoundError) else disk_error(error, path)


def _etag(found: os.stat_result) -> str:
    """What stands for an ETag: changes when the file is written again."""
    return f"{found.st_size:x}-{found.st_mtime_ns:x}"


def _note(path: Path) -> Path:
    name = f".{path.name}.provenance"
    if len(os.fsencode(name)) > _LONGEST_NAME:
        name = f".{hashlib.sha256(os.fsencode(path.name)).hexdigest()}.provenance"
    return path.with_name(name)


def _provenance(path: Path, etag: str) -> Mapping[str, str]:
    """What was recorded beside this file, if it is of the bytes that it had with that ETag. A link has its file's."""
    try:
        note = _note(path.resolve() if path.is_symlink() else path)
        with hold(note) as held:
            _require_file(note, held)
            told = json.loads(descriptor(held).read_bytes())
        with hold(path) as held:
            _require_file(path, held)
            with descriptor(held).open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
                if told["sha256"] == digest and _etag(os.fstat(file.fileno())) == etag:
                    return {str(name): str(value) for name, value in told["metadata"].items()}
    except (StorageError, OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError, RuntimeError):
        pass
    return {}


# names in a folder


def is_note(name: str) -> bool:
    """Whether a file of that name is none but what upload leaves beside a result."""
    return _OURS.fullmatch(os.fsencode(name)) is not None


def extensions(folder: str) -> frozenset[str]:
    """The last extensions of what lies in a local folder, each with its dot; none where there is no such folder.

    Raises a StorageError where it cannot be seen.
    """
    path = _path(folder)
    try:
        with os.scandir(path) as entries:
            return frozenset(f".{name.rpartition('.')[2]}" for entry in entries if "." in (name := entry.name))
    except (FileNotFoundError, NotADirectoryError):
        return frozenset()
    except OSError as error:
        raise _about(path, error) from error


def folds_case(folder: str) -> bool:
    """Whether the file system takes names that differ in their case alone for one, as far as what is there tells:
    the folder itself and what lies in it, or in the nearest one that exists."""
    try:
        path = _path(folder)
        while not path.exists():
            path = path.parent
        with os.scandir(path) as entries:
            names = [path, *(path / entry.name for entry in islice(entries, _SAMPLE))]
        return any(map(_is_its_twin, names))
    except (StorageError, OSError):  # who cannot look there cannot write there
        return False


def _is_its_twin(path: Path) -> bool:
    swapped = path.with_name(path.name.swapcase()) if path.name else path
    try:
        return swapped.name != path.name and swapped.samefile(path)
    except OSError:
        return False
