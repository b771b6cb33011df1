"""Where objects come from and go to, behind URIs: one small interface, a file for each kind of place.

To add a kind: write a class with the methods of Storage and add its schemes to _BACKENDS.
"""

import errno
import importlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Protocol

from supervisor.failures import (
    BadUsage,
    DiskTrouble,
    Failure,
    InputDenied,
    InputMissing,
    OutputUnwritable,
    PassingTrouble,
)
from supervisor.storage.uri import shown

__all__ = [
    "Changed",
    "Denied",
    "Exists",
    "Full",
    "Invalid",
    "Larger",
    "Missing",
    "Object",
    "Passing",
    "Settings",
    "Storage",
    "StorageError",
    "disk_error",
    "of",
    "of_input",
    "on_input",
    "on_output",
    "set_up",
    "settings",
]


@dataclass(frozen=True, kw_only=True)
class Object:
    """What is known of one stored object before its bytes are moved. size: bytes, None where unknown; most: bytes that
    may be moved where it is unknown; modified: when, in seconds since the epoch, where a listing tells it."""

    uri: str
    size: int | None
    most: int | None = None
    etag: str | None = None
    modified: float | None = field(default=None, compare=False)
    version: str | None = None
    media_type: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)


class Storage(Protocol):
    """One kind of place. Every method raises a StorageError of the kind that fits."""

    def stat(self, uri: str, version: str | None = None) -> Object:
        """Looks at one object without moving it."""

    def list(self, uri: str, *, after: str | None = None) -> Iterator[Object]:
        """Everything below a prefix or folder (ends in "/"), as a stream in key order: uri, size and ETag known.

        after: the URI of an object below it, spelled as a listing gives it, whether there is such an object or not:
        only what comes after it in key order (by the bytes of the decoded key) is listed.

        Nothing below an S3 prefix is an empty stream; a missing bucket or folder is Missing, at the first step.
        """

    def download(self, source: Object, target: Path) -> Object:
        """Writes the object's bytes to a new local file, whole and just as stat saw them, or raises. Returns what is
        known of it by then: a listing tells neither media type nor metadata."""

    def upload(self, source: Path | bytes, uri: str, *, media_type: str, metadata: Mapping[str, str]) -> str | None:
        """Makes the object appear whole, with its checksum verified, or not at all. Returns its ETag where known.

        source: a local file, or the bytes themselves where they are few.
        """

    def create(self, source: Path | bytes, uri: str, *, media_type: str, metadata: Mapping[str, str]) -> str | None:
        """As upload, but the object appears only where there is none: raises Exists where there is one.

        Of several that create one object at once a single one succeeds, as far as the place can promise it: see each
        storage's own.
        """

    def probe(self, uri: str) -> None:
        """Raises unless an object could be written below this prefix; leaves nothing behind."""


class StorageError(Exception):
    """Trouble with one object, sorted by kind; the pipeline knows whether it was reading or writing.

    hint: one line, what to do about it, where that is not what its kind of failure says anyway.
    """

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint


class Missing(StorageError):
    """There is no such object, bucket or folder."""


class Denied(StorageError):
    """The credentials, policy or permissions do not allow it."""


class Passing(StorageError):
    """Server errors, throttling, broken connections: gone the next time, perhaps."""


class Full(StorageError):
    """The local disk is full or failing."""


class Invalid(StorageError):
    """The URI cannot be served at all."""


class Changed(Passing):
    """The object was replaced while it was being read."""


class Larger(StorageError):
    """The object, whose size was not known, has more bytes than may be moved."""


class Exists(StorageError):
    """There is such an object already, and it was to be made only where there is none."""


def disk_error(error: OSError, path: Path) -> StorageError:
    """What an OSError on a local path means: missing, denied, or a disk that is full or failing."""
    reason = f"{path}: {error.strerror or error}"
    match error:
        case FileNotFoundError() | NotADirectoryError() | IsADirectoryError() | FileExistsError():
            return Missing(reason)
        case PermissionError():
            return Denied(reason)
        case _ if error.errno == errno.EROFS:
            return Denied(reason)
        case _ if error.errno in (errno.ENAMETOOLONG, errno.ELOOP):
            return Invalid(reason)
        case _:
            return Full(reason)


_BACKENDS = {
    "s3": ("supervisor.storage.s3", "S3"),
    "file": ("supervisor.storage.local", "Local"),
    "": ("supervisor.storage.local", "Local"),
    "https": ("supervisor.storage.http", "Http"),
    "http": ("supervisor.storage.http", "Http"),
}


# The model gets a copy of every input: not all that we can read may be one.
_INPUT_BACKENDS = _BACKENDS | dict.fromkeys(("file", ""), ("supervisor.storage.local_inputs", "LocalInputs"))


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What a job says of its storages. request_payer: "requester" where the readers of its buckets pay."""

    request_payer: str | None = None


_settings = Settings()


def set_up(settings: Settings) -> None:
    """To be called before the first `of`: what the job says of its storages."""
    global _settings  # noqa: PLW0603 - one job a process
    _settings = settings
    _instance.cache_clear()


def settings() -> Settings:
    """What was set up last."""
    return _settings


def of(uri: str) -> Storage:
    """The storage that serves a URI. Imported on first use: boto3 alone is 0.2 s of start-up."""
    return _serving(uri, _BACKENDS)


def of_input(uri: str) -> Storage:
    """The same for an input, or a list of inputs, to be read."""
    return _serving(uri, _INPUT_BACKENDS)


def _serving(uri: str, backends: Mapping[str, tuple[str, str]]) -> Storage:
    scheme, separator, _ = uri.partition("://")
    backend = backends.get(scheme.lower() if separator else "")
    if backend is None:
        raise Invalid(f"{shown(uri)}: the scheme {scheme}:// is not one of s3://, https://, file://")
    return _instance(*backend)


@cache
def _instance(module: str, name: str) -> Storage:
    storage: Storage = getattr(importlib.import_module(module), name)()
    return storage


def on_input(error: StorageError) -> Failure:
    """What a storage error means where an input was being read."""
    message = f"input {error}"
    match error:
        case Missing():
            return InputMissing(message, error.hint)
        case Denied():
            return InputDenied(message, error.hint)
        case Passing():
            return PassingTrouble(message, error.hint)
        case Full() | Larger():
            return DiskTrouble(message, error.hint)
        case _:
            return BadUsage(message, error.hint)


def on_output(error: StorageError) -> Failure:
    """What a storage error means where a result or a status was being written."""
    message = f"output {error}"
    match error:
        case Missing() | Denied() | Exists():
            return OutputUnwritable(message, error.hint)
        case Passing():
            return PassingTrouble(message, error.hint)
        case Full():
            return DiskTrouble(message, error.hint)
        case _:
            return BadUsage(message, error.hint)
