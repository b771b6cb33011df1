"""Who has a result in which place: no two inputs of a job may share one, whatever extensions their answers get."""

from array import array
from bisect import bisect_left
from collections.abc import Iterable
from itertools import pairwise
from typing import Generic, NamedTuple, TypeVar

from supervisor.work.naming import Exact

Who = TypeVar("Who")


class Claim(NamedTuple, Generic[Who]):
    who: Who
    place: str


class Claims(Generic[Who]):
    """Who has a result in which place. A place without its extension may become any that is it and an extension."""

    def __init__(self) -> None:
        self._stems: dict[str, Claim[Who]] = {}
        self._exact: dict[str, Claim[Who]] = {}
        self._stems_of_exact: dict[str, Claim[Who]] = {}

    def made_before(self, place: str, who: Who) -> Claim[Who] | None:
        """What somebody else has claimed before; without that it is this one's from now on."""
        claim = Claim(who, place)
        if not isinstance(place, Exact):
            other = self._stems_of_exact.get(place) or self._stems.setdefault(place, claim)
            return None if other is claim else other
        stem = _stem(place)
        other = (self._stems.get(stem) if stem else None) or self._exact.setdefault(place, claim)
        if other is not claim:
            return other
        if stem:
            self._stems_of_exact.setdefault(stem, claim)
        return None

    def made_on(self, places: Iterable[str]) -> Claim[Who] | None:
        """The claim on one of them."""
        for place in places:
            if claim := (self._exact if isinstance(place, Exact) else self._stems).get(place):
                return claim
        return None


def _stem(path: str) -> str | None:
    """What a place is without its extension; None where it has none."""
    stem, dot, extension = path.rpartition(".")
    return stem if dot and extension and "/" not in extension else None


def hashes(place: str) -> tuple[int, ...]:
    """Of all that it may share with another: see Claims."""
    stem = _stem(place) if isinstance(place, Exact) else None
    return (hash(place), hash(stem)) if stem else (hash(place),)


class MetPlaces:
    """Which of many places may be shared, in 64-bit hashes: 8 bytes a place, 16 one that is exact."""

    def __init__(self) -> None:
        # In buckets, so that one of them at a time is a set, which takes ten times as much.
        self._stems, self._exact, self._stems_of_exact = ([array("q") for _ in range(256)] for _ in range(3))

    def add(self, place: str) -> None:
        if not isinstance(place, Exact):
            hashed = hash(place)
            self._stems[hashed & 255].append(hashed)
            return
        hashed, *stem = hashes(place)
        self._exact[hashed & 255].append(hashed)
        for each in stem:
            self._stems_of_exact[each & 255].append(each)

    def __len__(self) -> int:
        return sum(map(len, self._stems)) + sum(map(len, self._exact))

    def met_again(self) -> set[int]:
        """The hashes of those that were met more than once."""
        again: set[int] = set()
        for stems, exact, stems_of_exact in zip(self._stems, self._exact, self._stems_of_exact, strict=True):
            again.update(_repeated(stems), _repeated(exact), set(stems).intersection(stems_of_exact))
        return again

    def sort(self) -> None:
        """Makes it ready for `holds`."""
        for buckets in (self._stems, self._exact):
            buckets[:] = [array("q", sorted(bucket)) for bucket in buckets]

    def holds(self, place: str) -> bool:
        """Whether such a place was met, most probably."""
        hashed = hash(place)
        bucket = (self._exact if isinstance(place, Exact) else self._stems)[hashed & 255]
        at = bisect_left(bucket, hashed)
        return at < len(bucket) and bucket[at] == hashed


def _repeated(hashes: "array[int]") -> set[int]:
    if len(set(hashes)) == len(hashes):
        return set()
    return {one for one, other in pairwise(sorted(hashes)) if one == other}
