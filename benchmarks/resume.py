"""What a job costs over what is done already: requests, memory and time, with a million results and the lists of a
hundred earlier runs beside it.

S3 is a stand-in that makes its objects up (listing_server.py), on the same two cores. The job is whole and its module
real, though there is nothing to predict on.
"""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks import process
from benchmarks.figures import Figure
from benchmarks.jobs import SUPERVISOR, Image, last_status
from benchmarks.listing_server import ListingServer, MadeUp, Stored, of_bytes
from benchmarks.process import Ran
from scripts import environments
from scripts.demo import DEEPAAS
from supervisor import job
from supervisor.storage import Object
from supervisor.work.plan import Item
from supervisor.work.provenance import Provenance
from tests.modules.install import install

BUCKET, IMAGE = "benchmark", "r/plain@sha256:1"
RESULTS, LISTS = 1_000_000, 100
_LINE = 256  # bytes of a line in a list of items


@dataclass(frozen=True, kw_only=True)
class Done:
    """Inputs that have their results. numbers: of the inputs, out of so many that have one."""

    numbers: range
    results_in_all: int = RESULTS
    suffix: str = ".json"
    variables: Mapping[str, str] = field(
        default_factory=lambda: {
            "JOB_INPUT": f"s3://{BUCKET}/in/",
            "JOB_OUTPUT": f"s3://{BUCKET}/out/",
            "SUPERVISOR_IMAGE": IMAGE,
        }
    )

    @property
    def inputs(self) -> MadeUp:
        return MadeUp(count=len(self.numbers), key=lambda n: _input(self.numbers[n]), stored=self._input)

    @property
    def results(self) -> MadeUp:
        return MadeUp(count=self.results_in_all, key=self._result_key, stored=self._result)

    def lists(self, count: int) -> Iterator[tuple[str, Stored]]:
        """The lists that so many runs have left, each after all of it was done: key and object, the newest last."""
        for run in range(count):
            size = len(self.numbers) * _LINE
            modified = f"2026-02-01T00:{run // 60:02}:{run % 60:02}.000Z"
            name = f"out/_status/{(run * 37) % 101:03}.items.jsonl"  # no order in the names
            yield name, Stored(size=size, etag=f"{size}-1", read=self._lines, modified=modified)

    def _lines(self, start: int, end: int) -> bytes:
        """Of one length, so that any range can be made up."""
        lines = b"".join(self._line(self.numbers[n]) for n in range(start // _LINE, -(-end // _LINE)))
        return lines[start % _LINE :][: end - start]

    def _line(self, number: int) -> bytes:
        item, result = self._item(number), f"s3://{BUCKET}/{self._result_key(number)}"
        voucher = self._provenance.voucher(item, self._found(number), result, self._result(number).etag)
        line = json.dumps({"input": item.uri, "state": "done", "result": result, "voucher": voucher})
        return line.encode().ljust(_LINE - 1) + b"\n"

    def _input(self, at: int) -> Stored:
        return of_bytes(_input(self.numbers[at]).encode())

    def _result_key(self, number: int) -> str:
        return f"out/{number:07}.bin{self.suffix}"

    def _result(self, number: int) -> Stored:
        return of_bytes(
            b'{"number": %d}' % number,
            lambda: self._provenance.facts(self._item(number), self._found(number), None, None, "worker", 0.0),
        )

    def _item(self, number: int) -> Item:
        return Item(index=0, uri=f"s3://{BUCKET}/{_input(number)}", relative="", output="")

    def _found(self, number: int) -> Object:
        return Object(uri="", size=0, etag=of_bytes(_input(number).encode()).etag)

    @cached_property
    def _provenance(self) -> Provenance:
        return Provenance(job.read(self.variables, {}), lambda: IMAGE)


def _input(number: int) -> str:
    return f"in/{number:07}.bin"


@dataclass(frozen=True, kw_only=True)
class Resumed:
    """One job over what is done: how it ran, and the requests that it took, by kind."""

    ran: Ran
    asked: Mapping[str, int]

    @property
    def requests(self) -> int:
        return sum(self.asked.values())


def resumed(done: Done, image: Image, folder: Path, lists: int, **variables: str) -> Resumed:
    """Runs a job over it. Raises RuntimeError where it did not leave all of it alone."""
    with ListingServer((done.inputs, done.results)) as server:
        for key, stored in done.lists(lists):
            server.put(key, stored)
        environment = {
            "PATH": f"{image.environment}/bin:{os.defpath}",
            "HOME": str(folder),
            "TMPDIR": str(folder),
            "LANG": "C.UTF-8",
            "AWS_ENDPOINT_URL": server.endpoint,
            "AWS_ACCESS_KEY_ID": "x",
            "AWS_SECRET_ACCESS_KEY": "x",
            "AWS_DEFAULT_REGION": "eu-west-1",
            **image.variables,
            **done.variables,
            **variables,
        }
        ran = process.run(SUPERVISOR, environment)
        counts = last_status(ran)["counts"]
        if counts["skipped"] != counts["total"] or counts["total"] != len(done.numbers):
            raise RuntimeError(f"of {len(done.numbers)} items that are done it tells {counts}")
        return Resumed(ran=ran, asked=dict(server.asked))


@contextmanager
def plain() -> Iterator[tuple[Image, Path]]:
    """A stand-in for an image with a module that takes no time, and a folder."""
    with TemporaryDirectory(prefix="benchmark-") as name:
        site = install("plain", Path(name) / "site")
        yield Image(environment=environments.ensure(DEEPAAS), variables={"PYTHONPATH": str(site)}), Path(name)


def measure() -> list[Figure]:
    """All figures of this file."""
    with plain() as (image, folder):
        some = resumed(Done(numbers=range(100_000)), image, folder, LISTS)
        all_of_them = resumed(Done(numbers=range(RESULTS)), image, folder, LISTS)
        few = resumed(Done(numbers=range(0, RESULTS, RESULTS // 64)), image, folder, LISTS)
    beside = f"{RESULTS:,} results and the lists of {LISTS} earlier runs beside it"
    return [
        Figure(
            name="requests of a job over 100,000 items that are done",
            value=some.requests,
            unit="",
            target="at most 300",
            beside=f"{_told(some.asked)}; {beside}",
        ),
        Figure(
            name="the same: CPU of the supervisor's own process for each item",
            value=some.ran.cpu / 100_000 * 1e6,
            unit="µs",
            beside=f"{some.ran.seconds:.1f} s in all",
        ),
        Figure(name="the same: peak memory", value=some.ran.peak / 1e6, unit="MB", target="at most 130"),
        Figure(
            name="peak memory of a job over 1,000,000 items that are done",
            value=all_of_them.ran.peak / 1e6,
            unit="MB",
            target="at most 130",
            beside=f"{beside}; {all_of_them.requests:,} requests, {all_of_them.ran.seconds:.0f} s",
        ),
        Figure(
            name="requests of a job of 65 items that are done, spread over a million results",
            value=few.requests,
            unit="",
            beside=_told(few.asked),
        ),
    ]


def _told(asked: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {kind}" for kind, count in sorted(asked.items()))
