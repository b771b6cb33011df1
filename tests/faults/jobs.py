"""Jobs of many small objects, run by the real supervisor, and what must be true of the bucket however they end."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from tests.conftest import Ended, S3Server, Supervisor

_DEFAULTS = {"label": "speech", "top": 3, "threshold": 0.5, "detailed": False}  # of tests/modules/plain.py


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What one run left, measured against the right results. Each field lists keys; all but `right` must be empty.

    wrong: told as done, and not there or not right. half_written: there, and not right, whoever was told.
    lost: right before the run, and gone after it.
    """

    right: Sequence[str]
    wrong: Sequence[str]
    half_written: Sequence[str]
    lost: Sequence[str]

    @property
    def clean(self) -> bool:
        return not (self.wrong or self.half_written or self.lost)


@dataclass(frozen=True, kw_only=True)
class Batch:
    """So many objects in a folder of a bucket, and the job that predicts on them with the test module `plain`.

    folder: a prefix that ends in a slash, or nothing.
    """

    server: S3Server
    count: int
    size: int = 2000
    folder: str = ""

    def put(self) -> "Batch":
        for number in range(self.count):
            self.server.put(self._key(number), self._content(number))
        return self

    def job(self, endpoint: str | None = None) -> dict[str, str]:
        """The job's variables. endpoint: of what stands in front of the server."""
        bucket = self.server.bucket
        return {
            "JOB_INPUT": f"s3://{bucket}/{self.folder}in/",
            "JOB_OUTPUT": f"s3://{bucket}/{self.folder}out/",
            "JOB_STATUS": f"s3://{bucket}/{self.folder}status.json",  # the same in every run, as faults go by it
            **self.server.variables,
            **({"AWS_ENDPOINT_URL": endpoint} if endpoint else {}),
        }

    def results(self) -> dict[str, bytes]:
        """Every object where results go."""
        return self._below("out/")

    def written(self) -> list[bytes]:
        """All that jobs wrote: results and status."""
        return [body for key, body in self._below("").items() if not key.startswith(f"{self.folder}in/")]

    def _below(self, prefix: str) -> dict[str, bytes]:
        pages = self.server.client.get_paginator("list_objects_v2").paginate(
            Bucket=self.server.bucket, Prefix=self.folder + prefix
        )
        keys = [found["Key"] for page in pages for found in page.get("Contents", [])]
        return {key: self.server.get(key) for key in keys}

    def is_right(self, key: str, body: bytes) -> bool:
        """Whether a result is the one that its input has to have: whole, and with every byte of the input seen."""
        try:
            return key in self._right and bool(json.loads(body) == self._right[key])
        except ValueError:
            return False

    def judge(self, ended: Ended, before: Sequence[str] = ()) -> Verdict:
        """before: the results that were right when the run began."""
        found = self.results()
        right = [key for key, body in found.items() if self.is_right(key, body)]
        claimed = set(self._right) if ended.code == 0 else _claimed(ended, self.server.bucket)
        return Verdict(
            right=right,
            wrong=sorted(claimed - set(right)),
            half_written=sorted(set(found) - set(right)),
            lost=sorted(set(before) - set(right)),
        )

    @cached_property
    def _right(self) -> dict[str, Any]:
        """Every result by its key."""
        return {f"{self.folder}out/{number:03}.wav.json": self._answer(number) for number in range(self.count)}

    def _answer(self, number: int) -> Any:
        return {
            "name": f"{number:03}.wav",
            "size": self.size,
            "sha256": hashlib.sha256(self._content(number)).hexdigest(),
            "arguments": _DEFAULTS,
        }

    def _content(self, number: int) -> bytes:
        return hashlib.shake_128(str(number).encode()).digest(self.size)

    def _key(self, number: int) -> str:
        return f"{self.folder}in/{number:03}.wav"


def impatient(supervisor: Supervisor, stall: float = 0.5) -> Supervisor:
    """The same supervisor, with shorter waits between its tries and for a silent server; as many tries."""
    return replace(supervisor, command=("-m", "tests.faults.impatient", str(stall)))


def _claimed(ended: Ended, bucket: str) -> set[str]:
    """The results that a run said are there."""
    items = [event["item"] for event in ended.events if event["event"] == "item"]
    return {each["result"].removeprefix(f"s3://{bucket}/") for each in items if each["state"] in ("done", "skipped")}
