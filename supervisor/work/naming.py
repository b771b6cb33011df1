"""Where the result of each input goes, and which places no result may take."""

import os
import re
from typing import NamedTuple
from urllib.parse import unquote

from supervisor.failures import BadUsage
from supervisor.job import JobSpec
from supervisor.storage.uri import base_name, comparable, local_path, scheme, shown

WRITABLE = ("s3", "file", "")
STATUS_FOLDER = "_status/"
_READABLE = (*WRITABLE, "https", "http")
_READABLE_PLACES = "name a readable place: s3://bucket/key, https://host/file or a path"
_SPECIAL = {"": "%2F", ".": "%2E", "..": "%2E%2E"}
# What is in a name as it stands and looks as if _inside had written it.
_LOOKALIKE = re.compile(r"%(?=(?:25)*00)|\A%(?=(?:25)*(?:2F|2E|2E%2E)\Z)")


class Target(NamedTuple):
    """The place of one result: folder + relative + the kind's extension, or exactly where a manifest says."""

    folder: str
    relative: str
    exactly: str | None = None


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
        self._place = normal(self._output)
        self._reserved = self._place + STATUS_FOLDER
        self._status = normal(spec.status_uri) if spec.status_uri else None
        # s3://bucket/ of the input before, which was sound; at first what no input begins with.
        self._bucket = "\0"

    def target(self, uri: str, output: str | None = None) -> Target:
        """Where the result of an input goes. output: what its line in a manifest asks for."""
        name, relative = self._names(uri)
        if output is None:
            return Target(self._output, relative if self._kind == "s3" else _kept(relative, self._kind))
        _refuse_own_place(uri, output)
        place = self._asked_for(output)
        return Target(place, _kept(name, scheme(place))) if output.endswith("/") else Target("", relative, place)

    def below(self, uri: str, below: str) -> Target:
        """Where the result of an object of a listing goes: `below` is its path below JOB_INPUT."""
        relative = _below(uri, self._root) if self._root else below
        return Target(self._output, _kept(relative, self._kind))

    def place(self, target: Target) -> str:
        """The result's place as text that no other spelling of it shares. Raises BadUsage where it is the status's."""
        if target.exactly is not None or target.folder is not self._output:
            place = normal(target.exactly or target.folder + target.relative + ".json")
        else:
            relative = target.relative if self._kind != "file" else _decoded(target.relative)
            place = self._place + relative + ".json"
        if place == self._status or place.startswith(self._reserved):
            raise BadUsage(
                f"the result {shown(place)} would take the place of the status document, or lie among such",
                "results have no place in JOB_OUTPUT's _status/: name another one, or leave the input out",
            )
        return place

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
            raise BadUsage(f"input {error}", _READABLE_PLACES) from None
        if scheme(uri) == "s3":
            self._bucket = uri[: uri.index("/", len("s3://")) + 1]
        return name, relative

    def further(self, uri: str, output: str | None) -> None:
        """A further input of an item, which names no result."""
        self.require_readable(uri)
        _refuse_own_place(uri, output)

    def require_readable(self, uri: str) -> str:
        """The base name of an input, of a kind that can be read and that names a file."""
        kind = scheme(uri)
        if kind not in _READABLE:
            raise BadUsage(f"input {shown(uri)}: {kind}:// cannot be read", "use s3://, https://, file:// or a path")
        try:
            name = base_name(uri)
        except ValueError as error:
            raise BadUsage(f"input {error}", _READABLE_PLACES) from None
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
            return output
        if any(part in _SPECIAL for part in output.removesuffix("/").split("/")):
            raise BadUsage(
                f'"output" {output!r} is no plain path below JOB_OUTPUT',
                "write a path without empty, . and .. parts, or a whole URI",
            )
        return self._output + _kept(output.removesuffix("/"), self._kind) + ("/" if output.endswith("/") else "")


def normal(uri: str) -> str:
    """A place as text that can be compared: without the query of a web address, a path absolute and decoded. A
    trailing slash stays."""
    if scheme(uri) == "s3":
        return uri
    try:
        if scheme(uri) not in WRITABLE:
            return comparable(uri)
        path = os.path.normpath(local_path(uri))
    except ValueError as error:
        raise BadUsage(str(error)) from None
    return path.rstrip("/") + "/" if uri.endswith("/") else path


def _below(uri: str, root: str) -> str:
    """The path of an input below JOB_INPUT_ROOT."""
    place, top = comparable(uri), comparable(root).removesuffix("/") + "/"
    if not place.startswith(top) or place == top:
        raise not_below(uri, root)
    return place[len(top) :]


def _refuse_own_place(uri: str, output: str | None) -> None:
    if output == uri:
        raise BadUsage(f'input {shown(uri)}: "output" would put its result in its own place')


def not_below(uri: str, root: str) -> BadUsage:
    return BadUsage(
        f"input {shown(uri)} is not below JOB_INPUT_ROOT {shown(root)}",
        "correct JOB_INPUT_ROOT, or unset it to name results by their base name",
    )


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


def _decoded(relative: str) -> str:
    return unquote(relative, errors="surrogateescape")
