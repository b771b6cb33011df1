"""Where the status of a run lies: a folder, or a prefix in S3."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from tempfile import SpooledTemporaryFile
from typing import IO, TYPE_CHECKING, Protocol

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, PartialCredentialsError, ProfileNotFound

from supervisor.failures import BadUsage, Failure, InputDenied, InputMissing, PassingTrouble
from supervisor.storage.uri import local_path, scheme, split_s3

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_AHEAD = 8  # files on their way from S3 while one is read
_SPOOLED = 1024 * 1024


class Unreadable(Exception):
    """One file that could not be read; the rest can."""


class Source(Protocol):
    """A place with the files of one run."""

    def names(self) -> list[str]:
        """The files right in it. Raises a Failure where the place itself cannot be read."""

    def open(self, name: str) -> IO[bytes]:
        """One file, to be read from its beginning. Raises Unreadable."""


def source(status: str) -> Source:
    """The place that STATUS names. Raises BadUsage."""
    if not status.strip() or "\0" in status:
        raise BadUsage(
            "STATUS names nothing", "use a folder or a prefix: results/_status, s3://bucket/results/_status/"
        )
    try:
        match scheme(status):
            case "s3":
                bucket, prefix = split_s3(status)
                return Bucket(bucket, prefix if prefix.endswith("/") or not prefix else prefix + "/")
            case "" | "file":
                return Folder(local_path(status))
            case other:
                raise BadUsage(f"{status}: {other}:// cannot be read", "STATUS is a folder or s3://bucket/prefix/")
    except ValueError as error:
        raise BadUsage(str(error), "STATUS is a folder or s3://bucket/prefix/") from None


@dataclass(frozen=True)
class Folder:
    """A folder of this machine."""

    path: Path

    def names(self) -> list[str]:
        try:
            with os.scandir(self.path) as entries:
                return [entry.name for entry in entries if entry.is_file()]
        except FileNotFoundError:
            raise InputMissing(
                f"{self.path}: no such folder", "give the folder that holds <job>-<index>.json"
            ) from None
        except NotADirectoryError:
            raise InputMissing(f"{self.path}: is a file", f"give its folder: {self.path.parent}") from None
        except PermissionError:
            raise InputDenied(f"{self.path}: may not be read", "look at the folder's permissions") from None
        except OSError as error:
            raise InputMissing(
                f"{self.path}: {error.strerror}", "give the folder that holds <job>-<index>.json"
            ) from None

    def open(self, name: str) -> IO[bytes]:
        try:
            return (self.path / name).open("rb")
        except OSError as error:
            raise Unreadable(error.strerror or str(error)) from None


@dataclass(frozen=True)
class Bucket:
    """A prefix in S3, or in whatever AWS_ENDPOINT_URL[_S3] points to."""

    bucket: str
    prefix: str

    @cached_property
    def _client(self) -> S3Client:
        return boto3.client("s3", config=Config(max_pool_connections=2 * _AHEAD, retries={"mode": "standard"}))

    def names(self) -> list[str]:
        try:
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self.bucket, Prefix=self.prefix, Delimiter="/"
            )
            keys = [stored["Key"] for page in pages for stored in page.get("Contents", [])]
        except (ClientError, BotoCoreError) as error:
            raise self._sorted(error) from None
        return [key.removeprefix(self.prefix) for key in keys if key != self.prefix]

    def open(self, name: str) -> IO[bytes]:
        file: IO[bytes] = SpooledTemporaryFile(_SPOOLED)  # noqa: SIM115 # handed on, open
        try:
            body = self._client.get_object(Bucket=self.bucket, Key=self.prefix + name)["Body"]
            for piece in body.iter_chunks(256 * 1024):
                file.write(piece)
        except (ClientError, BotoCoreError, OSError) as error:
            file.close()
            raise Unreadable(str(error)) from None
        file.seek(0)
        return file

    def _sorted(self, error: ClientError | BotoCoreError) -> Failure:
        where = f"s3://{self.bucket}/{self.prefix}"
        if isinstance(error, NoCredentialsError | PartialCredentialsError | ProfileNotFound):
            return InputDenied(f"{where}: {error}", "set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")
        if not isinstance(error, ClientError):
            return PassingTrouble(f"{where}: {error}", "check the region and AWS_ENDPOINT_URL, or try again")
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        if error.response.get("Error", {}).get("Code") == "NoSuchBucket":
            return InputMissing(f"{where}: there is no bucket {self.bucket}", "check its spelling and the region")
        if status in (400, 401, 403):
            return InputDenied(f"{where}: {error}", "reading a report needs s3:ListBucket and s3:GetObject there")
        return PassingTrouble(f"{where}: {error}", "try again")


def opened_ahead(place: Source, names: Iterable[str]) -> Iterator[tuple[str, IO[bytes] | Unreadable]]:
    """Each file in turn, while the next ones are on their way: an array of thousands is thousands of round trips."""
    with ThreadPoolExecutor(_AHEAD) as pool:
        waiting: deque[tuple[str, Future[IO[bytes]]]] = deque()
        for name in names:
            waiting.append((name, pool.submit(place.open, name)))
            if len(waiting) > _AHEAD:
                yield _arrived(*waiting.popleft())
        while waiting:
            yield _arrived(*waiting.popleft())


def _arrived(name: str, coming: Future[IO[bytes]]) -> tuple[str, IO[bytes] | Unreadable]:
    try:
        return name, coming.result()
    except Unreadable as error:
        return name, error
