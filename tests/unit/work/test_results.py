"""Which results are there: known from few pages of a listing, whatever order items and keys are in, never wrongly."""

import os
import random
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from supervisor import storage
from supervisor.job import JobSpec
from supervisor.machine.scheduler import Identity
from supervisor.model.media_types import is_suffix
from supervisor.storage import Denied, Invalid, Missing, Object, Passing, StorageError
from supervisor.work.plan import Item
from supervisor.work.results import Results

OUT = "s3://bucket/out/"
PAGE = 1000


@dataclass
class Listed:
    """A storage of nothing but keys, which are listed in the order in which they are given here: S3's, if sorted."""

    keys: Sequence[str]
    pages: int = 0
    questions: list[str] = field(default_factory=list)
    refusal: StorageError | None = None

    def list(self, uri: str, *, after: str | None = None) -> Iterator[Object]:
        if self.refusal:
            raise self.refusal
        if uri != OUT:
            self.questions.append(uri)
        else:
            self.pages += 1
        begin = bisect_right(self.keys, max(after or "", uri)) if self._is_sorted else 0
        for number in range(begin, len(self.keys)):
            if self.keys[number].startswith(uri) and self.keys[number] > (after or ""):
                yield Object(uri=self.keys[number], size=1, etag=f"etag-{number}")
            elif self._is_sorted:
                return

    def stat(self, uri: str) -> Object:
        self.questions.append(f"HEAD {uri}")
        if uri in self.keys:
            return Object(uri=uri, size=1)
        raise Missing(uri)

    @property
    def _is_sorted(self) -> bool:
        return len(self.keys) < 2 or self.keys[0] < self.keys[-1]


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> Listed:
    listed = Listed([])
    monkeypatch.setattr(storage, "of", lambda _: listed)
    return listed


def results(output: str = OUT, **more: object) -> Results:
    return Results(JobSpec(output=output, identity=Identity(id="1"), predict_args=more))


def items(names: Sequence[str]) -> list[Item]:
    return [Item(index=n, uri=f"s3://bucket/in/{name}", relative=name, output=OUT) for n, name in enumerate(names)]


def shown(names: Sequence[str]) -> dict[str, list[str] | None]:
    """What the walk knows of each, by the rest of the key: None where it has to be asked for."""
    return {
        item.relative: None if item.results is None else [each.uri.removeprefix(OUT) for each in item.results]
        for item in results().beside(items(names))
    }


def alone(known: dict[str, list[str] | None]) -> int:
    return sum(found is None for found in known.values())


# a walk along the listing


def test_a_few_items_are_asked_for_one_by_one(here: Listed) -> None:
    here.keys = [f"{OUT}{n:02}.json" for n in range(16)]
    assert alone(shown([f"{n:02}" for n in range(16)])) == 16
    assert here.pages == 0


@pytest.mark.parametrize("suffix", [".json", ".zip", ".tiff"])
def test_a_prefix_and_its_results_take_a_page_for_a_thousand(suffix: str, here: Listed) -> None:
    names = [f"{n:06}.wav" for n in range(100_000)]
    here.keys = [f"{OUT}{name}{suffix}" for name in names]
    known = shown(names)
    assert alone(known) == 16
    assert here.pages <= 102
    assert all(known[name] == [name + suffix] for name in names[16:])


def test_names_that_order_their_results_otherwise_take_no_more(here: Listed) -> None:
    """ "a" comes before "a-b", and "a-b.json" before "a.json"."""
    names = sorted(f"{n:05}{tail}" for n in range(20_000) for tail in ("", "-b", " c", "-b-d", "+"))
    here.keys = sorted(f"{OUT}{name}.json" for name in names)
    known = shown(names)
    assert alone(known) <= 16
    assert here.pages <= 102
    assert all(found in (None, [f"{name}.json"]) for name, found in known.items())


def test_results_far_behind_those_of_what_follows_are_asked_for_alone(here: Listed) -> None:
    names = sorted(["x", *(f"x-{n:04}" for n in range(5_000)), "y", *(f"y-{n:04}" for n in range(5_000))])
    here.keys = sorted(f"{OUT}{name}.json" for name in names)
    known = shown(names)
    assert known["y"] is None
    assert alone(known) <= 17
    assert here.pages <= 16


def test_few_items_in_a_folder_of_a_million_results_do_not_list_it(here: Listed) -> None:
    here.keys = _Numbers(1_000_000)
    known = shown([f"{n:07}" for n in range(0, 1_000_000, 15_384)])
    assert len(known) == 66
    assert here.pages <= 6
    assert all(found in (None, [f"{name}.json"]) for name, found in known.items())


class _Numbers(Sequence[str]):
    """The keys of so many results."""

    def __init__(self, count: int) -> None:
        self._count = count

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, number: int) -> str:  # type: ignore[override]
        return f"{OUT}{range(self._count)[number]:07}.json"


def test_a_new_prefix_takes_no_question_but_of_the_first(here: Listed) -> None:
    known = shown([f"{n:05}" for n in range(5_000)])
    assert (alone(known), here.pages) == (16, 1)
    assert all(found in (None, []) for found in known.values())


def test_items_in_no_order_sweep_the_listing_once_they_are_many(here: Listed) -> None:
    names = [f"{n:05}" for n in range(30_000)]
    here.keys = [f"{OUT}{name}.json" for name in names]
    random.Random(7).shuffle(names)
    known = shown(names)
    assert alone(known) <= 3_000
    assert here.pages <= 80
    assert all(found in (None, [f"{name}.json"]) for name, found in known.items())


def test_exact_places_are_known_from_the_same_pages(here: Listed) -> None:
    here.keys = [f"{OUT}{n:05}.txt" for n in range(0, 5_000, 2)]
    exact = [
        Item(index=n, uri=f"s3://bucket/{n}", relative="", output="", exactly=f"{OUT}{n:05}.txt") for n in range(5_000)
    ]
    elsewhere = Item(index=5_000, uri="s3://bucket/x", relative="", output="", exactly="s3://other/x")
    *known, last = results().beside([*exact, elsewhere])
    assert last.results is None
    for item in known[16:]:
        assert item.results is not None
        assert [each.uri for each in item.results] == ([] if item.index % 2 else [item.exactly])
    assert here.pages <= 4


NAMES = st.lists(st.text(st.sampled_from("ab-./ \xff🎙"), min_size=1, max_size=5), min_size=1, max_size=60, unique=True)


@settings(max_examples=300, deadline=None)
@given(NAMES, NAMES, st.randoms(use_true_random=False), st.booleans(), st.integers(1, 12), st.integers(0, 3))
def test_what_the_walk_tells_is_true_whatever_the_names(
    names: list[str], others: list[str], dice: random.Random, in_order: bool, page: int, one_by_one: int
) -> None:
    keys = sorted(
        {f"{OUT}{name}" for name in others}
        | {f"{OUT}{n}{e}" for n in names for e in (".json", ".zip") if dice.random() < 0.7}
    )
    listed = Listed(keys)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(storage, "of", lambda _: listed)
        patch.setattr("supervisor.work.results._PAGE", page)
        patch.setattr("supervisor.work.results._ONE_BY_ONE", one_by_one)
        told = shown(sorted(names) if in_order else names)
        for name, found in told.items():
            tails = [key.removeprefix(OUT + name) for key in keys if key.startswith(f"{OUT}{name}.")]
            assert found in (None, [name + tail for tail in tails if is_suffix(tail)])


@pytest.mark.parametrize("refusal", [Denied("no"), Invalid("no"), Missing("no")])
def test_a_listing_that_is_refused_leaves_each_to_be_asked_for(refusal: StorageError, here: Listed) -> None:
    here.refusal = refusal
    assert alone(shown([f"{n:03}" for n in range(100)])) == 100


def test_passing_trouble_with_a_page_leaves_only_some_to_be_asked_for(here: Listed) -> None:
    here.refusal = Passing("slow down")
    known = {}
    for item in results().beside(items([f"{n:03}" for n in range(200)])):
        known[item.index] = item.results
        if item.index == 50:
            here.refusal = None
    assert known[60] is None
    assert known[199] == ()


def test_a_listing_in_no_order_tells_nothing(here: Listed) -> None:
    here.keys = [f"{OUT}{n:03}.json" for n in reversed(range(500))]
    assert alone(shown([f"{n:03}" for n in range(500)])) == 500


# a question of its own


def test_local_results_of_any_kind_are_found_whatever_else_lies_there(tmp_path: Path) -> None:
    odd = [os.fsdecode(b"a.wav.\xff"), *(f"a.wav.{n:03}" for n in range(300)), "b.wav.tif", "a.wav.tif", "a.wav", "a"]
    for name in odd:
        (tmp_path / name).touch()
    for output in (f"{tmp_path}/", f"file://{tmp_path}/"):
        (item,) = items(["a.wav"])
        found = results(output).of(replace(item, output=output))
        assert [each.uri for each in found] == [f"{output}a.wav.tif"]


def test_one_item_is_asked_for_with_every_extension(here: Listed) -> None:
    names = ["a.wav", "a.wav.JSON", "a.wav.json", "a.wav.001", "a.wav.tar.gz", "a.wav.zip", "a.wav.zip/b", "a.wav0"]
    here.keys = sorted(OUT + name for name in names)
    (item,) = items(["a.wav"])
    assert [each.uri.removeprefix(OUT) for each in results().of(item)] == ["a.wav.json", "a.wav.zip"]
    assert here.questions == [f"{OUT}a.wav."]


@pytest.mark.parametrize("refusal", [Denied("no"), Invalid("no")])
def test_where_listings_are_refused_the_usual_names_are_asked_for(refusal: StorageError, here: Listed) -> None:
    here.keys = [f"{OUT}a.wav.json", f"{OUT}a.wav.tiff"]
    here.refusal = refusal
    asked = results(accept="image/tiff")
    for item in items(["a.wav", "b.wav"]):
        found = [each.uri.removeprefix(f"{OUT}{item.relative}") for each in asked.of(item)]
        assert found == ([".json", ".tiff"] if item.index == 0 else [])
    assert here.questions[:2] == [f"HEAD {OUT}a.wav.json", f"HEAD {OUT}a.wav.tif"]
