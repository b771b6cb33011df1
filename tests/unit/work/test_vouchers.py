"""What lists of earlier runs vouch for: the newest first, and no more of them than it takes."""

import json
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from supervisor import storage
from supervisor.job import JobSpec
from supervisor.machine.scheduler import Identity
from supervisor.storage import Denied, Missing, Object, StorageError
from supervisor.work import vouchers as module
from supervisor.work.vouchers import Vouchers

FOLDER = "s3://bucket/out/_status/"


@dataclass
class Lists:
    """A storage that holds lists of items alone, each by its name."""

    lists: dict[str, Iterable[int]] = field(default_factory=dict)
    modified: dict[str, float] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)
    read: list[str] = field(default_factory=list)
    refusal: StorageError | None = None

    def add(self, name: str, vouched: Iterable[int], modified: float = 0.0, size: int = 1000) -> None:
        uri = f"{FOLDER}{name}"
        self.lists[uri], self.modified[uri], self.sizes[uri] = vouched, modified, size

    def list(self, uri: str, *, after: str | None = None) -> Iterator[Object]:
        if self.refusal:
            raise self.refusal
        yield from (self.stat(each) for each in sorted(self.lists) if each.startswith(uri))

    def stat(self, uri: str) -> Object:
        if uri not in self.lists:
            raise Missing(uri)
        return Object(uri=uri, size=self.sizes[uri], modified=self.modified[uri])

    def download(self, source: Object, target: Path) -> dict[str, str]:
        self.read.append(source.uri.removeprefix(FOLDER))
        with target.open("w") as file:
            for number in self.lists[source.uri]:
                file.write(json.dumps({"input": "x", "state": "done", "voucher": f"{number:016x}"}) + "\n")
                file.write(json.dumps({"input": "x", "state": "failed"}) + "\n")
        return {}


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> Lists:
    lists = Lists()
    monkeypatch.setattr(storage, "of", lambda _: lists)
    return lists


def vouchers(index: int | None = None, **more: Any) -> Vouchers:
    return Vouchers(JobSpec(output="s3://bucket/out/", identity=Identity(id="me", array_index=index), **more))


def know(known: Vouchers, number: int) -> bool:
    return known.know(f"{number:016x}")


def test_the_newest_list_is_read_and_no_other_where_it_knows_all(here: Lists) -> None:
    for run in range(100):
        here.add(f"{run * 37 % 101}.items.jsonl", range(1000), modified=float(run))
    here.add("newest.json", range(9000), modified=1000.0)
    known = vouchers()
    assert all(know(known, number) for number in range(1000))
    assert here.read == [f"{99 * 37 % 101}.items.jsonl"]


def test_a_further_list_is_read_after_each_few_that_none_knows(here: Lists) -> None:
    here.add("a.items.jsonl", range(100), modified=1.0)
    here.add("b.items.jsonl", range(100, 200), modified=2.0)
    here.add("c.items.jsonl", [], modified=3.0)
    known = vouchers()
    told = [know(known, number) for number in range(100)]
    assert told == [False] * 14 + [True] * 86
    assert here.read == ["c.items.jsonl", "b.items.jsonl", "a.items.jsonl"]
    assert know(known, 150)
    assert not any(know(known, number) for number in range(1000, 1100))


@pytest.mark.parametrize("most", [3, 100])
def test_no_more_lists_are_read_than_that_are_worth_it(most: int, here: Lists, monkeypatch: pytest.MonkeyPatch) -> None:
    for run in range(200):
        here.add(f"{run}.items.jsonl", [run], modified=float(-run), size=10)
    if most == 3:
        monkeypatch.setattr(module, "_BYTES", 20)
    known = vouchers()
    assert not any(know(known, 5_000 + number) for number in range(2_000))
    assert here.read == [f"{run}.items.jsonl" for run in range(most)]


def test_a_child_reads_what_that_child_has_left(here: Lists) -> None:
    for name in ("job-3", "job-13", "job-1", "3", "other-3"):
        here.add(f"{name}.items.jsonl", [hash(name) & 0xFFFF])
    known = vouchers(index=3)
    assert not any(know(known, 0x10000 + number) for number in range(100))
    assert sorted(here.read) == ["job-3.items.jsonl", "other-3.items.jsonl"]


@pytest.mark.parametrize(
    ("more", "read"),
    [
        ({"status": f"{FOLDER}mine.json"}, ["mine.items.jsonl"]),
        ({"status": "s3://bucket/other/"}, []),
        ({"status": f"{FOLDER}"}, ["me.items.jsonl", "mine.items.jsonl"]),
        ({"overwrite": "always"}, ["me.items.jsonl"]),
        ({}, ["me.items.jsonl", "mine.items.jsonl"]),
    ],
)
def test_lists_are_looked_for_where_this_job_puts_its_own(more: dict[str, Any], read: list[str], here: Lists) -> None:
    here.add("mine.items.jsonl", [1], modified=1.0)
    here.add("me.items.jsonl", [2], modified=2.0)
    known = vouchers(**more)
    assert not any(know(known, 100 + number) for number in range(100))
    assert here.read == read


@pytest.mark.parametrize("refusal", [Denied("no"), Missing("no bucket")])
def test_where_lists_cannot_be_seen_nothing_is_vouched_for(refusal: StorageError, here: Lists) -> None:
    here.refusal = refusal
    assert not know(vouchers(), 1)


def test_a_list_that_the_disk_has_no_room_for_is_not_read(here: Lists, tmp_path: Path) -> None:
    here.add("a.items.jsonl", [1], size=shutil.disk_usage(tmp_path).total)
    assert not know(vouchers(), 1)
    assert here.read == []


def test_vouchers_take_eight_bytes_each(here: Lists) -> None:
    here.add("a.items.jsonl", range(0, 3_000_000, 30))
    known = vouchers()
    assert know(known, 2_999_970)
    assert not know(known, 2_999_971)
    assert sum(len(bucket) * bucket.itemsize for bucket in known._buckets) == 800_000


@pytest.mark.parametrize(
    ("status", "name", "known"), [(None, "me", True), (FOLDER, "me", True), (f"{FOLDER}fixed.json", "fixed", False)]
)
def test_always_believes_a_list_of_this_very_job_and_none_that_may_be_anothers(
    status: str | None, name: str, known: bool, here: Lists
) -> None:
    here.add(f"{name}.items.jsonl", range(10))
    here.add("other.items.jsonl", range(10), modified=9.0)
    assert know(vouchers(overwrite="always", status=status), 1) == known
