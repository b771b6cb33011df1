"""Where it all happens: one S3 server, a folder for each image, and what is asked of a batch after each run."""

import itertools
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.reliability.row import Row
from benchmarks.s3_server import seaweedfs
from tests import conftest
from tests.conftest import BUCKET, Ended, Supervisor
from tests.faults.jobs import Batch
from tests.faults.traces import count_and_end_survivors, secrets_in


@dataclass(frozen=True, kw_only=True)
class Bucket(conftest.S3Server):
    """A bucket of the benchmarks' server, with its own credentials."""

    given: Mapping[str, str]

    @property
    def variables(self) -> dict[str, str]:
        return dict(self.given)

    @property
    def secrets(self) -> tuple[str, ...]:
        return (self.given["AWS_SECRET_ACCESS_KEY"],)


class Scene:
    """Where it all happens: an S3 server with one bucket, and a fresh folder for each image."""

    def __init__(self, bucket: Bucket, folder: Path) -> None:
        self.bucket = bucket
        self._folder = folder
        self._numbers = itertools.count()

    def home(self) -> Path:
        home = self._folder / str(next(self._numbers))
        home.mkdir()
        return home

    def batch(self, count: int) -> Batch:
        return Batch(server=self.bucket, count=count, folder=f"{next(self._numbers)}/").put()


@contextmanager
def scene() -> Iterator[Scene]:
    with seaweedfs() as server, tempfile.TemporaryDirectory(prefix="reliability-") as folder:
        client = server.client()
        client.create_bucket(Bucket=BUCKET)
        yield Scene(Bucket(endpoint=server.endpoint, client=client, given=server.variables), Path(folder))


def examine(scene: Scene, row: Row, ended: Ended, home: Path, batch: Batch, before: Sequence[str] = ()) -> None:
    """What must be true after any run of a batch. before: the results that were right when it began."""
    row.judged(batch.judge(ended, before))
    row.processes += count_and_end_survivors(home)
    row.secrets += secrets_in(ended, batch.written(), [home / "tmp"], scene.bucket.secrets)


def finish(scene: Scene, row: Row, supervisor: Supervisor, home: Path, batch: Batch) -> None:
    """A run after the trouble: every result is there, and those of before are as they were."""
    before = [key for key, body in batch.results().items() if batch.is_right(key, body)]
    again = supervisor("run", **batch.job())
    row.ended(again, {0})
    examine(scene, row, again, home, batch, before)
