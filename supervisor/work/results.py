"""Which results are there already: a walk along their listing beside the items, a question of its own for the rest.

What kind of file an answer is decides the extension of its result, so that each item is asked for every extension:
x.wav.json, x.wav.zip, whatever lies between "x.wav." and "x.wav/" in key order.
"""

import json
import zlib
from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import islice, pairwise
from typing import NamedTuple

from supervisor import storage
from supervisor.job import JobSpec
from supervisor.model.media_types import is_suffix
from supervisor.storage import Object
from supervisor.storage.local import extensions
from supervisor.storage.uri import scheme
from supervisor.work.naming import usual_suffixes
from supervisor.work.plan import Item

# Keys in one page of S3's listings.
_PAGE = 1_000
# Pages that are remembered of a walk and, of a sweep, as they are, 200 bytes a key; and packed, into 25.
_PAGES, _UNPACKED, _SWEPT = 8, 64, 1_000
# Items that are asked for one by one before a page is listed, and that a page has to know of so that the next one comes
# at once: a page costs what some ten questions do. Where it knows of fewer, twice as many are asked before the next.
_ONE_BY_ONE = 16


class Results:
    """What lies where the results of this job's items go. `of` is asked from many threads."""

    def __init__(self, spec: JobSpec) -> None:
        self._spec = spec
        self._output = spec.output or ""
        self._may_list = True
        self._extensions = lru_cache(256)(extensions)

    def beside(self, items: Iterable[Item]) -> Iterator[Item]:
        """The items, each with what a listing shows of its results, as far as that costs less than asking."""
        if scheme(self._output) != "s3":
            yield from items
            return
        walk = _Walk(self._output)
        for item in items:
            yield replace(item, results=shown) if (shown := walk.of(item)) is not None else item

    def of(self, item: Item) -> Sequence[Object]:
        """The results that an item has or may have, its metadata known or not. Raises StorageError."""
        if item.results is not None:
            return item.results
        if item.exactly:
            return _stat(item.exactly)
        if scheme(item.output) != "s3":
            return self._of_local(item)
        if self._may_list:
            try:
                between = storage.of(item.stem).list(item.stem + ".")
                return _variants(item.stem, islice(between, _PAGE))
            except storage.Missing:  # the bucket: what is written there says so
                return ()
            except (storage.Denied, storage.Invalid):  # no s3:ListBucket, or none but of whole folders
                self._may_list = False
        return [found for suffix in self.usual(item) for found in _stat(item.stem + suffix)]

    def usual(self, item: Item) -> tuple[str, ...]:
        """The extensions by which an item's result is known, whoever wrote it."""
        return usual_suffixes(self._spec.predict_args if item.arguments is None else item.arguments)

    def _of_local(self, item: Item) -> list[Object]:
        """By the extensions of all that its folder holds. That is looked at once: what comes there later is new."""
        folder, _, _ = item.stem.rpartition("/")
        others = sorted(filter(is_suffix, self._extensions(folder + "/")))
        return [found for suffix in dict.fromkeys((*self.usual(item), *others)) for found in _stat(item.stem + suffix)]


class _Walk:
    """Goes along the listing of JOB_OUTPUT as the items come, a page at a time.

    What lies below a prefix and its results are both in key order, though not in quite the same: "a" comes before
    "a-b", and "a-b.json" before "a.json". But all results of "a" and of what comes after it are greater than "a": there
    a page begins. An item whose results lie beyond its end is asked for alone, and the walk goes on from where it is.

    Where items come in no order a page knows of few, and the listing is swept from its start instead, a page now and
    then. Which of both does not help gives way to the other, after twice as many items.
    """

    def __init__(self, output: str) -> None:
        self._output = output
        self._swept: list[_Packed] = []  # from the listing's start, without a gap
        self._ahead: deque[_Page] = deque(maxlen=_PAGES)  # each from where an item was
        self._is_sweeping = False
        self._known = 0  # items that pages knew of, and
        self._alone = 0  # that are asked for alone, since the last page was listed
        self._patience = _ONE_BY_ONE
        self._is_over = False

    def of(self, item: Item) -> tuple[Object, ...] | None:
        """What a page shows of an item's results; None where it has to be asked for."""
        place = item.exactly or item.stem
        if self._is_over or not place.startswith(self._output):
            return None
        span = _Span.of(item)
        page = self._covering(span)
        if page is None and (self._known >= _ONE_BY_ONE or self._alone >= self._patience):
            self._list_more(span.begin)
            page = self._covering(span)
        if page is None:
            self._alone += 1
            return None
        self._known += 1
        shown = page.between(span)
        return tuple(shown) if item.exactly else _variants(place, shown)

    def _covering(self, span: "_Span") -> "_Page | None":
        for page in reversed(self._ahead):
            if page.covers(span):
                return page
        at = bisect_right(self._swept, span.first, key=lambda packed: packed.low) - 1
        return self._swept[at].page if at >= 0 and self._swept[at].covers(span) else None

    def _list_more(self, begin: str) -> None:
        if self._swept:
            self._choose()
        self._known = self._alone = 0
        try:
            if self._is_sweeping or not self._swept:
                self._swept.append(_Packed.of(_Page.listed(self._output, self._swept_to)))
            if not self._is_sweeping and self._swept[-1].high is not None:
                self._ahead.append(_Page.listed(self._output, begin))
        except storage.Passing:
            return
        except (storage.StorageError, _UnorderedError):
            self._is_over = True

    def _choose(self) -> None:
        """Goes on in the way that has helped since the last page, or tries the other one later."""
        if self._known >= (1 if self._is_sweeping else _ONE_BY_ONE):
            self._patience = _ONE_BY_ONE
        else:
            self._patience *= 2
            self._is_sweeping = not self._is_sweeping
        if self._swept[-1].high is None or len(self._swept) >= _SWEPT:
            self._is_sweeping = False

    @property
    def _swept_to(self) -> str:
        return (self._swept[-1].high if self._swept else None) or self._output


class _Span(NamedTuple):
    """Where the results of an item lie in key order: from `first` to before `end`; all those of later items after
    `begin`."""

    begin: str
    first: str
    end: str

    @classmethod
    def of(cls, item: Item) -> "_Span":
        if not item.exactly:
            return cls(item.stem, item.stem + ".", item.stem + "/")
        stem, dot, extension = item.exactly.rpartition(".")
        begin = stem if dot and "/" not in extension else item.exactly[:-1]
        return cls(max(begin, item.exactly[: item.exactly.rfind("/") + 1]), item.exactly, item.exactly + "\0")


@dataclass(frozen=True, slots=True)
class _Stretch:
    """Of a listing: all keys after `low`, up to `high` or to the end."""

    low: str
    high: str | None

    def covers(self, span: _Span) -> bool:
        return self.low < span.first and (self.high is None or span.end <= self.high)


@dataclass(frozen=True, slots=True)
class _Page(_Stretch):
    """With what it shows."""

    uris: Sequence[str]
    etags: Sequence[str | None]

    @classmethod
    def listed(cls, output: str, low: str) -> "_Page":
        """Raises StorageError, and _UnorderedError where keys are in no order, so that a stretch tells nothing."""
        listing = storage.of(output).list(output, after=None if low == output else low)
        found = list(islice(listing, _PAGE))
        uris = [each.uri for each in found]
        if any(one >= other for one, other in pairwise([low, *uris])):
            raise _UnorderedError
        high = uris[-1] if len(found) == _PAGE else None
        return cls(low=low, high=high, uris=uris, etags=[each.etag for each in found])

    def between(self, span: _Span) -> list[Object]:
        places = range(bisect_left(self.uris, span.first), bisect_left(self.uris, span.end))
        return [Object(uri=self.uris[n], size=None, etag=self.etags[n]) for n in places]


@dataclass(frozen=True, slots=True)
class _Packed(_Stretch):
    """A page in little memory."""

    packed: bytes

    @classmethod
    def of(cls, page: _Page) -> "_Packed":
        text = json.dumps([page.low, page.high, page.uris, page.etags])
        return cls(low=page.low, high=page.high, packed=zlib.compress(text.encode(), level=1))

    @property
    def page(self) -> _Page:
        return _unpacked(self.packed)


@lru_cache(_UNPACKED)
def _unpacked(packed: bytes) -> _Page:
    return _Page(*json.loads(zlib.decompress(packed)))


class _UnorderedError(Exception):
    """A server's listing is not in key order."""


def _variants(stem: str, objects: Iterable[Object]) -> tuple[Object, ...]:
    """Those of the objects that are named like an input and an extension that a result may have: x.000, x.001, … beside
    x are nobody's results."""
    return tuple(each for each in objects if is_suffix(each.uri[len(stem) :]))


def _stat(uri: str) -> list[Object]:
    try:
        return [storage.of(uri).stat(uri)]
    except storage.Missing:
        return []
