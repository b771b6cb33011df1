"""A list of inputs in a file: a URI a line, or JSON Lines, either one gzipped; of any length, in little memory."""

import difflib
import gzip
import json
import os
import shutil
import tempfile
import zlib
from array import array
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, NamedTuple, NoReturn

from supervisor import storage
from supervisor.failures import BadUsage, DiskTrouble
from supervisor.storage.uri import shown

_MEMBERS = ("input", "field", "files", "output", "args")
_EXAMPLE = 'write a URI, or JSON such as {"input": "s3://bucket/a.wav", "output": "a.json", "args": {"threshold": 0.6}}'
_SEVERAL = 'write {"files": {"image": "s3://bucket/a.png", "audio": "s3://bucket/a.wav"}, "output": "a.json"}'
# Bytes in one line. A gzip of a few MB can hold one line of GBs.
_LONGEST_LINE = 64 * 1024
_MOST_LINES = 100_000_000
# Entries between two places that are remembered: a slice begins to read at most so many before its first.
_STRIDE = 1000


class Line(NamedTuple):
    """One entry, parsed. number: of its line, from 1; output, arguments, field: None where it names none; others: its
    further inputs, each with the field that takes it."""

    number: int
    input: str
    output: str | None = None
    arguments: Mapping[str, Any] | None = None
    field: str | None = None
    others: tuple[tuple[str, str], ...] = ()

    @property
    def inputs(self) -> tuple[str, ...]:
        """The URIs of all."""
        return (self.input, *(uri for _, uri in self.others))


class Manifest:
    """The entries of a manifest, in order, read as a stream as often as needed; by one thread at a time."""

    def __init__(self, uri: str) -> None:
        """Downloads it to a file that has no name any more, so that nothing is left behind however the job ends."""
        self.shown = shown(uri)
        self._stream = _opened(_fetched(uri), self.shown)
        self._offsets, self._numbers = array("q", [0]), array("q", [0])  # of every _STRIDE-th entry

    def lines(self, start: int = 0) -> Iterator[Line]:
        """The entries from the start-th, counted from 0, on. Raises BadUsage for a line that is none, by its number."""
        mark = min(start // _STRIDE, len(self._offsets) - 1)
        offset, number, position = self._offsets[mark], self._numbers[mark], mark * _STRIDE
        with _readable(self.shown):
            self._stream.seek(offset)
            while raw := self._stream.readline(_LONGEST_LINE + 1):
                number += 1
                entry = self._parsed(raw, number)
                if entry is not None:
                    if position == len(self._offsets) * _STRIDE:
                        self._offsets.append(offset)
                        self._numbers.append(number - 1)
                    if position >= start:
                        yield entry
                    position += 1
                offset += len(raw)

    def refuse(self, number: int, failure: str, hint: str = _EXAMPLE) -> NoReturn:
        raise BadUsage(f"{self.shown}, line {number}: {failure}", hint) from None

    def _parsed(self, raw: bytes, number: int) -> Line | None:
        if len(raw) > _LONGEST_LINE:
            self.refuse(number, f"longer than {_LONGEST_LINE:,} bytes")
        if number > _MOST_LINES:
            self.refuse(number, f"a manifest has at most {_MOST_LINES:,} lines", "split it")
        try:
            text = raw.decode("utf-8-sig" if number == 1 else "utf-8").strip(" \t\r\n")
        except UnicodeDecodeError:
            self.refuse(number, "not UTF-8", "save the manifest as UTF-8")
        if not text or text[0] == "#":
            return None
        if "\0" in text:
            self.refuse(number, "holds a zero byte", "save the manifest as UTF-8 text")
        return self._from_json(text, number) if text[0] == "{" else Line(number, text)

    def _from_json(self, text: str, number: int) -> Line:
        try:
            entry, end = _DECODER.raw_decode(text)
            if end != len(text):
                raise ValueError(f"there is more after the object: {text[end : end + 20]!r}")
        except (ValueError, RecursionError) as error:
            self.refuse(number, f"not JSON: {error}")
        for member in entry:
            if member not in _MEMBERS:
                close = difflib.get_close_matches(member.lower(), _MEMBERS, n=1)
                guess = f": did you mean {close[0]}?" if close else ""
                self.refuse(number, f"the member {member!r} is not known{guess}", f"use {', '.join(_MEMBERS)}")
        (field, source), *others = self._inputs(entry, number)
        output = self._text(entry["output"], '"output"', number) if "output" in entry else None
        arguments = entry.get("args", {})
        if not isinstance(arguments, dict):
            self.refuse(number, f'"args" is a JSON {type(arguments).__name__}, not an object')
        return Line(number, source, output, arguments or None, field, tuple(others))

    def _inputs(self, entry: Mapping[str, Any], number: int) -> list[tuple[Any, str]]:
        """The inputs of one entry with their fields, "input" first where there is one: it names the result."""
        files = entry.get("files", {})
        if not isinstance(files, dict) or ("files" in entry and not files):
            self.refuse(number, f'"files" is {json.dumps(files)[:100]}, not an object of fields and URIs', _SEVERAL)
        for each in files:
            self._text(each, 'a field of "files"', number, "the name of an argument")
        inputs = [(field, self._text(uri, f'"{field}" of "files"', number)) for field, uri in files.items()]
        field = self._text(entry["field"], '"field"', number, "the name of an argument") if "field" in entry else None
        if "input" in entry or not files:
            if field in files:
                self.refuse(number, f'two files are given for the field "{field}"', _SEVERAL)
            return [(field, self._text(entry.get("input"), '"input"', number)), *inputs]
        if field:
            self.refuse(number, '"field" says which argument takes "input", which is not there', _SEVERAL)
        return inputs

    def _text(self, value: object, member: str, number: int, wanted: str = "a URI or path") -> str:
        if not (isinstance(value, str) and value.strip()) or "\0" in value or not _is_encodable(value):
            self.refuse(number, f"{member} is {json.dumps(value)[:100]}, not {wanted}")
        return value


def _is_encodable(text: str) -> bool:
    """Whether a file may have that name: an escape in JSON can be half a character, as \\ud800, in no encoding."""
    try:
        os.fsencode(text)
    except UnicodeEncodeError:
        return False
    return True


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


_DECODER = json.JSONDecoder(parse_constant=_no_constant)


def _fetched(uri: str) -> IO[bytes]:
    """The manifest's bytes in a local file, opened and already unlinked."""
    try:
        folder = Path(tempfile.mkdtemp(prefix="supervisor-manifest-"))
    except OSError as error:
        raise DiskTrouble(f"no temporary folder can be made: {error}") from None
    try:
        store = storage.of_input(uri)
        found = store.stat(uri)
        free = shutil.disk_usage(folder).free
        if (found.size or 0) > free:
            raise DiskTrouble(f"the manifest {shown(uri)} has {found.size:,} bytes; the local disk has {free:,} free")
        store.download(found, folder / "manifest")
        return (folder / "manifest").open("rb")
    except storage.StorageError as error:
        raise storage.on_input(error) from None
    except OSError as error:
        raise DiskTrouble(f"the local copy of {shown(uri)} cannot be read: {error.strerror}") from None
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _opened(file: IO[bytes], name: str) -> IO[bytes] | gzip.GzipFile:
    """The text's bytes. gzip is known by its first bytes: names of objects promise nothing."""
    start = file.read(2)
    file.seek(0)
    if start in (b"\xff\xfe", b"\xfe\xff"):
        raise BadUsage(f"{name} is UTF-16", "save the manifest as UTF-8")
    return gzip.open(file) if start == b"\x1f\x8b" else file


@contextmanager
def _readable(name: str) -> Iterator[None]:
    try:
        yield
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise BadUsage(f"{name} is not a whole gzip file: {error}", "upload it again") from None
    except OSError as error:
        raise DiskTrouble(f"the local copy of {name} cannot be read: {error.strerror}") from None
