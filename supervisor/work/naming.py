"""Where the result of each input goes, and which places no result may take."""

import os
import re
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple
from urllib.parse import unquote

from supervisor.failures import BadUsage
from supervisor.job import JobSpec
from supervisor.model.media_types import suffixes_for
from supervisor.storage.local import folds_case, is_note
from supervisor.storage.uri import base_name, comparable, local_path, scheme, shown, spelled, split_s3

WRITABLE = ("s3", "file", "")
STATUS_FOLDER = "_status/"
_READABLE = (*WRITABLE, "https", "http")
_SPECIAL = {"": "%2F", ".": "%2E", "..": "%2E%2E"}
# What is in a name as it stands and looks as if _inside had written it.
_LOOKALIKE = re.compile(r"%(?=(?:25)*00)|\A%(?=(?:25)*(?:2F|2E|2E%2E)\Z)")


class Target(NamedTuple):
    """The place of one result: folder + relative + the answer's extension, or exactly where a manifest says."""

    folder: str
    relative: str
    exactly: str | None = None


class Exact(str):
    """A result's place, whole. A plain string is one without its extension, which the answer will decide."""

    __slots__ = ()


def shown_place(place: str) -> str:
    """A result's place for people, with the extension that it has most probably."""
    return shown(place if isinstance(place, Exact) else place + ".json")


class Naming:
    """A job's rules. Raises BadUsage where an input cannot be read or its result cannot be written as asked.

    A manifest of a million lines asks for all of them before the first item runs: 2 µs are 2 s.
    """

    def __init__(self, spec: JobSpec) -> None:
        self._output = spec.output or ""
        self._root = spec.input_root
        self._top = f"{self._root.removesuffix('/')}/" if self._root and scheme(self._root) == "s3" else None
        _refuse_unwritable("JOB_OUTPUT", self._output)
        if spec.results_table:
            _refuse_unwritable("JOB_RESULTS_TABLE", spec.results_table)
        self._kind = scheme(self._output)
        self._follow: Callable[[str], str] = lru_cache(1024)(os.path.realpath)
        self._place = real(self._output)
        self._reserved = self._place + STATUS_FOLDER
        self._told = [pattern for pattern in (status_pattern(spec), _table_pattern(spec)) if pattern]
        self.folds_case = self._kind != "s3" and folds_case(self._output)
        self._usual = usual_suffixes(spec.predict_args)
        # s3://bucket/ of the input before, which was sound; at first what no input begins with.
        self._bucket = "\0"

    def target(self, uri: str, output: str | None = None) -> Target:
        """Where the result of an input goes. output: what its line in a manifest asks for."""
        name, relative = self._names(uri)
        if output is None:
            return Target(self._output, relative if self._kind == "s3" else _kept(relative, self._kind))
        place = self._asked_for(output)
        return Target(place, _kept(name, scheme(place))) if output.endswith("/") else Target("", relative, place)

    def target_of_key(self, uri: str) -> Target:
        """The same of an object that an event names, whose key may end in a slash."""
        if not uri.endswith("/"):
            return self.target(uri)
        try:
            key = split_s3(uri)[1]
        except ValueError as error:
            raise _unreadable(error) from None
        name = key.rstrip("/").rpartition("/")[2] + key[len(key.rstrip("/")) :]
        return self.below(uri, name)

    def below(self, uri: str, below: str) -> Target:
        """Where the result of an object of a listing goes: `below` is its path below JOB_INPUT."""
        relative = _below(uri, self._root) if self._root else below
        return Target(self._output, _kept(relative, self._kind))

    def place(self, target: Target) -> str:
        """Where a result goes as text that no other spelling shares, Exact or without its extension. Raises BadUsage
        where that is the status's."""
        if target.exactly is not None:
            place: str = Exact(real(target.exactly, self._follow))
        elif target.folder is not self._output:
            place = real(target.folder + target.relative, self._follow)
        elif self._kind == "s3":
            place = self._place + target.relative
        else:
            relative = target.relative if self._kind == "" else unquote(target.relative, errors="surrogateescape")
            place = _followed(self._place + relative, self._follow)
        if place.startswith(self._reserved) or (self._told and self._is_told(place)):
            raise BadUsage(
                f"the result {shown_place(place)} would take the place of the status document, or lie among such",
                "results have no place in JOB_OUTPUT's _status/: name another one, or leave the input out",
            )
        return type(place)(place.casefold()) if self.folds_case else place

    def _is_told(self, place: str) -> bool:
        """Whether some answer's extension would make it the place of the status document, or of what goes with it."""
        path = place if isinstance(place, Exact) else place + ".json"
        return any(path.startswith(stem) and pattern.fullmatch(path) for stem, pattern in self._told)

    def is_among_results(self, uri: str) -> bool:
        """Whether an input lies below JOB_OUTPUT."""
        if (self._kind == "s3") != (scheme(uri) == "s3") or scheme(uri) not in WRITABLE:
            return False
        return real(uri, self._follow).startswith(self._place)

    def overwriting(self, uri: str) -> Sequence[str]:
        """The places of results that would lie where an input does."""
        if scheme(uri) not in WRITABLE:
            return ()
        path = real(uri, self._follow)
        path = path.casefold() if self.folds_case else path
        return [Exact(path), *(path.removesuffix(suffix) for suffix in self._usual if path.endswith(suffix))]

    def _names(self, uri: str) -> tuple[str, str]:
        """(base name, path below JOB_INPUT_ROOT or base name) of an input."""
        if uri.startswith(self._bucket) and uri[-1] != "/":
            name = uri[uri.rfind("/") + 1 :]
            if self._root is None:
                return name, name
            if self._top and uri.startswith(self._top):
                return name, uri[len(self._top) :]
        name = self.require_readable(uri)
        try:
            relative = _below(uri, self._root) if self._root else name
        except ValueError as error:
            raise _unreadable(error) from None
        if scheme(uri) == "s3":
            self._bucket = uri[: uri.index("/", len("s3://")) + 1]
        return name, relative

    def require_readable(self, uri: str) -> str:
        """The base name of an input, of a kind that can be read and that names a file."""
        kind = scheme(uri)
        if kind not in _READABLE:
            raise BadUsage(f"input {shown(uri)}: {kind}:// cannot be read", "use s3://, https://, file:// or a path")
        try:
            name = base_name(uri)
        except ValueError as error:
            raise _unreadable(error) from None
        if not name:
            raise BadUsage(
                f"input {shown(uri)} names no file",
                "name an object: s3://bucket/key, https://host/file; what lies below a prefix: JOB_INPUT=s3://bucket/in/",
            )
        return name

    def _asked_for(self, output: str) -> str:
        """The URI that a line's "output" means."""
        kind = scheme(output)
        if kind or output.startswith("/"):
            _refuse_unwritable('"output"', output)
            if kind == "s3" and "/" not in output[len("s3://") :]:
                raise BadUsage(f'"output" {output} names a bucket, not an object')
            return self._no_note(spelled(output))
        if any(part in _SPECIAL for part in output.removesuffix("/").split("/")):
            raise BadUsage(
                f'"output" {output!r} is no plain path below JOB_OUTPUT',
                "write a path without empty, . and .. parts, or a whole URI",
            )
        place = self._output + _kept(output.removesuffix("/"), self._kind) + ("/" if output.endswith("/") else "")
        return self._no_note(place)

    def _no_note(self, place: str) -> str:
        """The place of a line's "output", which is none that a local result's note may need."""
        if scheme(place) != "s3" and is_note(base_name(place)):
            raise BadUsage(f'"output" {place} has a name that notes beside local results have', "name another one")
        return place


def normal(uri: str) -> str:
    """A place as text that can be compared: without the query of a web address, a path absolute and decoded. A
    trailing slash stays."""
    if scheme(uri) == "s3":
        return spelled(uri)
    try:
        if scheme(uri) not in WRITABLE:
            return comparable(uri)
        path = os.path.normpath(local_path(uri))
    except ValueError as error:
        raise BadUsage(str(error)) from None
    if "\0" in path:
        raise BadUsage(f"{uri!r} holds a zero byte")
    return path.rstrip("/") + "/" if uri.endswith("/") else path


def real(uri: str, follow: Callable[[str], str] = os.path.realpath) -> str:
    """As `normal`, with the links of its folder followed: two spellings of one place are one text. follow: realpath,
    whose answers may be kept where there are many of one folder."""
    place = normal(uri)
    return place if scheme(uri) not in ("file", "") else _followed(place, follow)


def _followed(path: str, follow: Callable[[str], str]) -> str:
    folder, slash, name = path.rpartition("/")
    return f"{follow(folder or '/').rstrip('/')}{slash}{name}"


def usual_suffixes(arguments: Mapping[str, Any]) -> tuple[str, ...]:
    """The extensions by which a result is known, whoever wrote it: JSON, and what a module is asked for."""
    accept = arguments.get("accept")
    return (".json", *(suffixes_for(accept) if isinstance(accept, str) else ()))


Told = tuple[str, re.Pattern[str]]


def status_pattern(spec: JobSpec) -> Told | None:
    """What JOB_STATUS gives a name to, with the other children's and what is written beside it: how all such places
    begin, and what they look like."""
    if not spec.status:
        return None
    place = real(spec.status + spec.identity.id if spec.status.endswith("/") else spec.status)
    folder, slash, name = place.rpartition("/")
    stem = folder + slash + (name if spec.status.endswith("/") else name.rpartition(".")[0] or name)
    return stem, re.compile(rf"{re.escape(stem)}(-[0-9]+)?(\.[^/]*)?", re.DOTALL)


def _table_pattern(spec: JobSpec) -> Told | None:
    if not spec.results_table:
        return None
    stem = real(spec.results_table) + spec.identity.id
    return stem, re.compile(rf"{re.escape(stem)}(-[0-9]+)?\.results\.[^/]*", re.DOTALL)


def _below(uri: str, root: str) -> str:
    """The path of an input below JOB_INPUT_ROOT."""
    place, top = comparable(uri), comparable(root).removesuffix("/") + "/"
    if not place.startswith(top) or place == top:
        raise not_below(uri, root)
    return place[len(top) :]


def not_below(uri: str, root: str) -> BadUsage:
    return BadUsage(
        f"input {shown(uri)} is not below JOB_INPUT_ROOT {shown(root)}",
        "correct JOB_INPUT_ROOT, or unset it to name results by their base name",
    )


def _unreadable(error: ValueError) -> BadUsage:
    return BadUsage(f"input {error}", "name a readable place: s3://bucket/key, https://host/file or a path")


def _refuse_unwritable(what: str, output: str) -> None:
    if scheme(output) not in WRITABLE:
        raise BadUsage(f"{what} {shown(output)} cannot be written to", "use s3://bucket/prefix/ or a folder")
    try:
        base_name(output)
    except ValueError as error:
        raise BadUsage(f"{what} {error}") from None


def _kept(relative: str, kind: str) -> str:
    """A path below a folder or prefix, as a URI of that scheme has it."""
    if kind == "s3":
        return relative
    path = "/".join(map(_inside, relative.split("/")))
    return path.replace("%", "%25") if kind == "file" else path


def _inside(part: str) -> str:
    """One part of a key as a name in a file system that stays in its folder: what would be read otherwise ("..", ".",
    an empty part, a zero byte) is percent-encoded. No two parts become one: a lookalike is encoded once more."""
    special = _SPECIAL.get(part)
    if special is not None:
        return special
    return _LOOKALIKE.sub("%25", part).replace("\0", "%00") if "%" in part or "\0" in part else part
