"""The inputs of an item: one file, as a rule; several where the module takes several in one call."""

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass

from supervisor.storage import Object
from supervisor.storage.uri import base_name, query_digest, scheme, shown

_LONGEST_NAME = 255  # bytes in a file's name
# Characters of an identity that travels in an object's metadata, of which S3 takes 2 KB in all.
_LONGEST_IDENTITY = 512


@dataclass(frozen=True, kw_only=True, slots=True)
class Input:
    """One file of an item. field: the module's argument that takes it, None for the job's."""

    uri: str
    field: str | None = None
    version: str | None = None

    @property
    def shown(self) -> str:
        """The URI without its secrets, for logs and the status."""
        return shown(self.uri)

    @property
    def file_name(self) -> str:
        """The name under which the model sees its copy: the original base name wherever a file can have it."""
        return _fitting(base_name(self.uri.rstrip("/")) or "input")


def as_one(inputs: Sequence[Input], found: Sequence[Object]) -> Object:
    """What storage says of all of an item's inputs, told of the first: they are up to date together or not at all.

    The size is their sum; ETag and version are those of all, in the order of their fields, and None where one has none.
    """
    ordered = sorted(zip(inputs, found, strict=True), key=lambda pair: by_field(pair[0].field))
    sizes, etags = [each.size for each in found], [_etag(one, each) for one, each in ordered]
    versions = [each.version for _, each in ordered]
    return Object(
        uri=found[0].uri,
        size=None if None in sizes else sum(size or 0 for size in sizes),
        etag=None if None in etags else _joined(etags),
        version=_joined(versions) if any(versions) else None,
    )


def by_field(field: str | None) -> str:
    """The order of an item's inputs in what tells it from others; the job's own field comes first."""
    return field or ""


def _etag(one: Input, found: Object) -> str | None:
    """S3's ETags are of the content; what stands for one elsewhere, of size and date, is another file's, too."""
    if found.etag is None or scheme(one.uri) == "s3":
        return found.etag
    return hashlib.sha256(
        f"{one.shown.removesuffix('?…')} {query_digest(one.uri)} {found.etag}".encode(errors="surrogateescape")
    ).hexdigest()


def _joined(identities: Sequence[str | None]) -> str:
    text = " ".join(each or "-" for each in identities)
    return text if len(text) <= _LONGEST_IDENTITY else hashlib.sha256(text.encode()).hexdigest()


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
