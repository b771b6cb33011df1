"""From the job to its work: which inputs, and where the result of each one goes.

Prefixes, manifests and array slices will join here as further sources of items; nothing after this room
cares where an item came from.
"""

import hashlib
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from supervisor import events
from supervisor.failures import BadUsage
from supervisor.job import JobSpec
from supervisor.storage.uri import base_name, comparable, scheme, shown

_LONGEST_NAME = 255  # bytes in a file's name
_WRITABLE = ("s3", "file", "")
_READABLE = (*_WRITABLE, "https", "http")


@dataclass(frozen=True, kw_only=True)
class Item:
    """One input and where its result goes."""

    index: int
    uri: str
    version: str | None = None
    relative: str
    output: str

    @property
    def shown(self) -> str:
        """The input's URI without its secrets, for logs and the status."""
        return shown(self.uri)

    @property
    def file_name(self) -> str:
        """The name under which the model sees its copy: the original base name wherever a file can have it."""
        return _fitting(base_name(self.uri))

    def result_uri(self, suffix: str = ".json") -> str:
        return self.output + self.relative + suffix


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The items of a job, in order, and the placeholders left out."""

    items: Sequence[Item]
    placeholders: tuple[str, ...] = ()


def plan(spec: JobSpec) -> Plan:
    """The work of one job. Raises BadUsage where it cannot be done as asked; nothing has run by then."""
    if spec.manifest:
        raise BadUsage(
            "JOB_MANIFEST is not supported in this release",
            "start a job for each input, with JOB_INPUT, or pass several records in JOB_EVENT",
        )
    sources: Iterable[tuple[str, str | None]]
    placeholders: tuple[str, ...] = ()
    if spec.event:
        objects = events.parse(spec.event)
        placeholders = tuple(f"s3://{o.bucket}/{o.key}" for o in objects if o.is_placeholder)
        sources = [(f"s3://{o.bucket}/{o.key}", o.version) for o in objects if not o.is_placeholder]
    else:
        sources = [(_one_input(spec.input or ""), None)]
    _refuse_unwritable(spec.output or "")
    items = [_item(spec, index, uri, version) for index, (uri, version) in enumerate(sources)]
    _refuse_shared_results(items, spec.status_uri)
    return Plan(items=items, placeholders=placeholders)


def _one_input(uri: str) -> str:
    # The query of a web address may end as it likes.
    if (uri.partition("?")[0] if scheme(uri) in ("http", "https") else uri).endswith("/"):
        raise BadUsage(
            f"JOB_INPUT {shown(uri)} is a prefix: everything below a prefix is not supported in this release",
            "name one object: JOB_INPUT=s3://bucket/key",
        )
    return uri


def _refuse_unwritable(output: str) -> None:
    if scheme(output) not in _WRITABLE:
        raise BadUsage(f"JOB_OUTPUT {shown(output)} cannot be written to", "use s3://bucket/prefix/ or a folder")
    try:
        base_name(output)
    except ValueError as error:
        raise BadUsage(f"JOB_OUTPUT {error}") from None


def _item(spec: JobSpec, index: int, uri: str, version: str | None) -> Item:
    if scheme(uri) not in _READABLE:
        raise BadUsage(f"input {shown(uri)}: {scheme(uri)}:// cannot be read", "use s3://, https://, file:// or a path")
    try:
        name = base_name(uri)
        relative = _below(uri, spec.input_root) if spec.input_root else name
    except ValueError as error:
        raise BadUsage(f"input {error}") from None
    if not name:
        raise BadUsage(f"input {shown(uri)} names no file", "name an object: s3://bucket/key, https://host/file")
    output = spec.output or ""
    return Item(
        index=index,
        uri=uri,
        version=version,
        relative=relative if scheme(output) == "s3" else _inside(relative, encoded=scheme(output) == "file"),
        output=output,
    )


def _below(uri: str, root: str) -> str:
    """The path of an input below JOB_INPUT_ROOT."""
    place, top = comparable(uri), comparable(root).removesuffix("/") + "/"
    if not place.startswith(top) or place == top:
        raise BadUsage(
            f"input {shown(uri)} is not below JOB_INPUT_ROOT {shown(root)}",
            "correct JOB_INPUT_ROOT, or unset it to name results by their base name",
        )
    return place[len(top) :]


def _inside(relative: str, *, encoded: bool) -> str:
    """A key as a path that stays inside the output folder: what a file system would read otherwise ("..", ".",
    an empty segment, a zero byte) is percent-encoded."""
    special = {"": "%2F", ".": "%2E", "..": "%2E%2E"}
    path = "/".join(special.get(part, part.replace("\0", "%00")) for part in relative.split("/"))
    return path.replace("%", "%25") if encoded else path


def _fitting(name: str) -> str:
    """A base name that any file system takes: not "..", no zero byte, at most 255 bytes with its extension."""
    name = {".": "%2E", "..": "%2E%2E"}.get(name, name.replace("\0", "%00").replace("/", "%2F"))
    raw = os.fsencode(name)
    if len(raw) <= _LONGEST_NAME:
        return name
    stem, dot, extension = name.rpartition(".")
    tail = f"-{hashlib.sha256(raw).hexdigest()[:16]}"
    if stem and len(os.fsencode(extension)) <= 16:
        tail += dot + extension
    return os.fsdecode(raw[: _LONGEST_NAME - len(os.fsencode(tail))]).encode(errors="ignore").decode() + tail


def _refuse_shared_results(items: Sequence[Item], status_uri: str | None) -> None:
    taken: dict[str, str] = {status_uri: "the status document"} if status_uri else {}
    for item in items:
        result = item.result_uri()
        if result in taken:
            raise BadUsage(
                f"input {item.shown} and {taken[result]} would share the result {shown(result)}",
                "set JOB_INPUT_ROOT, so that results keep the path of their input, or split the job",
            )
        taken[result] = f"input {item.shown}"
