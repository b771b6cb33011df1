"""A place for jobs of many items: an S3 server with a bucket, a folder, and the supervisor as its user runs it."""

import asyncio
import json
import os
import sys
import tempfile
import wave
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from obstore.store import S3Store

from benchmarks import process
from benchmarks.process import Ran
from benchmarks.s3_server import S3Server, seaweedfs

SUPERVISOR = (sys.executable, "-m", "supervisor", "run")
BUCKET = "benchmark"
_AT_ONCE = 32  # requests


@dataclass(frozen=True, kw_only=True)
class Image:
    """A stand-in for an image: the environment that holds its DEEPaaS, and variables of its own."""

    environment: Path
    variables: Mapping[str, str] = field(default_factory=dict)

    @property
    def python(self) -> str:
        return f"{self.environment}/bin/python"


@dataclass(frozen=True, kw_only=True)
class Bench:
    """A server with an empty bucket, and a folder that is removed in the end."""

    server: S3Server
    folder: Path
    bucket: str = BUCKET

    def uri(self, prefix: str) -> str:
        return f"s3://{self.bucket}/{prefix}/"

    def put(self, prefix: str, objects: Iterable[tuple[str, bytes]]) -> None:
        """Stores objects, given as (name, content), below the prefix."""
        asyncio.run(self._put(prefix, objects))

    async def _put(self, prefix: str, objects: Iterable[tuple[str, bytes]]) -> None:
        store = self.store()
        waiting = iter(objects)

        async def sender() -> None:
            for name, content in waiting:
                await store.put_async(f"{prefix}/{name}", content)

        await asyncio.gather(*(sender() for _ in range(_AT_ONCE)))

    def results(self, prefix: str) -> list[str]:
        """The keys of the results below a prefix."""
        store = self.store()
        keys = (each["path"] for batch in store.list(f"{prefix}/") for each in batch)
        return sorted(key for key in keys if not key.startswith(f"{prefix}/_status/"))

    def store(self) -> S3Store:
        return S3Store(
            self.bucket,
            endpoint=self.server.endpoint,
            region=self.server.credentials["AWS_DEFAULT_REGION"],
            access_key_id=self.server.credentials["AWS_ACCESS_KEY_ID"],
            secret_access_key=self.server.credentials["AWS_SECRET_ACCESS_KEY"],
            client_options={"allow_http": True},
        )

    def surroundings(self, image: Image) -> dict[str, str]:
        """What a program of the image's finds in its environment."""
        return {
            "PATH": f"{image.environment}/bin:{os.defpath}",
            "HOME": str(self.folder),
            "LANG": "C.UTF-8",
            "TMPDIR": str(_made(self.folder / "tmp")),
            **image.variables,
        }

    def environment(self, image: Image, source: str, target: str, **variables: str) -> dict[str, str]:
        """The environment of a job over everything below one prefix, its results below another."""
        return {
            **self.surroundings(image),
            **self.server.variables,
            "JOB_INPUT": self.uri(source),
            "JOB_OUTPUT": self.uri(target),
            **variables,
        }

    def job(self, image: Image, source: str, target: str, items: int, **variables: str) -> Ran:
        """Runs it. Raises RuntimeError where not each of its items is done."""
        ran = process.run(SUPERVISOR, self.environment(image, source, target, **variables))
        done = last_status(ran)["counts"]["done"]
        stored = len(self.results(target))
        if not done == stored == items:
            raise RuntimeError(f"a job of {items} items says that {done} are done, and {stored} results are there")
        return ran


@contextmanager
def bench() -> Iterator[Bench]:
    with seaweedfs() as server, tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
        server.client().create_bucket(Bucket=BUCKET)
        yield Bench(server=server, folder=Path(folder))


def last_status(ran: Ran) -> dict[str, dict[str, int]]:
    """The status document that a job ended with."""
    events = (json.loads(line) for line in ran.stdout.splitlines())
    status: dict[str, dict[str, int]] = [event["status"] for event in events if event["event"] == "status"][-1]
    return status


def cut(recording: Path, into: Path, pieces: int, seconds: float) -> list[Path]:
    """As many pieces of a recording as asked for, each from a place of its own."""
    into.mkdir(parents=True)
    paths = []
    with wave.open(str(recording)) as whole:
        length = int(seconds * whole.getframerate())
        for number in range(pieces):
            whole.setpos((whole.getnframes() - length) * number // max(1, pieces - 1))
            paths.append(into / f"{number:05}.wav")
            with wave.open(str(paths[-1]), "wb") as piece:
                piece.setparams(whole.getparams())
                piece.writeframes(whole.readframes(length))
    return paths


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder
