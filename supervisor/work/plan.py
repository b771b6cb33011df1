"""From the job to its work: which inputs, and where the result of each one goes.

An input comes from an object, an event, a manifest or everything below a prefix; of the last two a child of an array
takes its slice. Nothing after this room cares which.
"""

import zlib
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from supervisor import storage
from supervisor.failures import BadUsage, InputMissing
from supervisor.job import JobSpec
from supervisor.storage import Object
from supervisor.storage.uri import base_name, scheme, shown
from supervisor.work import events
from supervisor.work.inputs import Input, as_one
from supervisor.work.manifest import Line, Manifest
from supervisor.work.naming import WRITABLE, Naming, normal, not_below
from supervisor.work.prefix import Globs, Written, is_placeholder, path_below


@dataclass(frozen=True, kw_only=True, slots=True)
class Item:
    """One call of the module: an input, or several, and where the result goes.

    index: its place in this job's order, from 0; uri, version, field: of the first input, which names the result, and
    whose field is None for the job's; others: the further inputs; found: what a listing said of the first; arguments:
    its own, None where the job's hold; exactly: the URI of the result, whatever its kind, where a manifest names it.
    """

    index: int
    uri: str
    version: str | None = None
    field: str | None = None
    others: tuple[Input, ...] = ()
    relative: str
    output: str
    exactly: str | None = None
    found: Object | None = None
    arguments: Mapping[str, Any] | None = None

    @property
    def inputs(self) -> tuple[Input, ...]:
        """All of them, the first first."""
        return (Input(uri=self.uri, field=self.field, version=self.version), *self.others)

    @property
    def fields(self) -> tuple[str | None, ...]:
        """The arguments that take them, as the item names them."""
        return (self.field, *(each.field for each in self.others))

    def as_one(self, found: Sequence[Object]) -> Object:
        """What storage says of its inputs, of several together."""
        return as_one(self.inputs, found) if self.others else found[0]

    @property
    def shown(self) -> str:
        """The first input's URI without its secrets, for logs and the status."""
        return shown(self.uri)

    @property
    def file_name(self) -> str:
        """The name under which the model sees its copy of the first input."""
        return self.inputs[0].file_name

    def result_uri(self, suffix: str = ".json") -> str:
        return self.exactly or self.output + self.relative + suffix


class Work:
    """The items of a job, streamed once and in order.

    total: how many they are, None for a prefix: its listing tells. placeholders: those left out so far.
    """

    total: int | None = None
    placeholders: int = 0

    def __iter__(self) -> Iterator[Item]:
        raise NotImplementedError


def plan_work(spec: JobSpec) -> Work:
    """The work of one job. Raises BadUsage where it cannot be done as asked; nothing has run by then.

    A manifest is read, and may fail as an input does; a prefix is listed as its items are asked for.
    """
    naming = Naming(spec)
    uri = spec.input or ""
    if uri.endswith("/") and scheme(uri) in WRITABLE:
        return _Below(spec, naming)
    if spec.include or spec.exclude:
        raise BadUsage(
            f"{'JOB_INCLUDE' if spec.include else 'JOB_EXCLUDE'} is set, but the inputs are named one by one",
            "unset it, or name a prefix: JOB_INPUT=s3://bucket/prefix/",
        )
    if spec.manifest:
        return _Listed(spec, naming)
    if spec.event:
        objects = events.parse(spec.event)
        named = [(f"s3://{o.bucket}/{o.key}", o.version) for o in objects if not o.is_placeholder]
        return _Named(named, naming, placeholders=len(objects) - len(named))
    return _Named([(uri, None)], naming)


class _Named(Work):
    """The one input, or the objects of an event: (URI, version) each."""

    def __init__(self, sources: Sequence[tuple[str, str | None]], naming: Naming, *, placeholders: int = 0) -> None:
        self._items: list[Item] = []
        self.total, self.placeholders = len(sources), placeholders
        taken: dict[str, Item] = {}
        for index, (uri, version) in enumerate(sources):
            target = naming.target(uri)
            item = Item(index=index, uri=uri, version=version, relative=target.relative, output=target.folder)
            other = taken.setdefault(naming.place(target), item)
            if other is not item:
                raise BadUsage(
                    f"input {item.shown} and input {other.shown} would share the result {shown(item.result_uri())}",
                    "set JOB_INPUT_ROOT, so that results keep the path of their input, or split the job",
                )
            self._items.append(item)

    def __iter__(self) -> Iterator[Item]:
        return iter(self._items)


class _Listed(Work):
    """This child's slice of a manifest, all of whose lines are sound and have a result of their own."""

    def __init__(self, spec: JobSpec, naming: Naming) -> None:
        self._naming = naming
        self._arguments = spec.predict_args
        self._manifest = Manifest(spec.manifest or "")
        entries = self._survey()
        if not entries:
            raise InputMissing(f"{self._manifest.shown} lists no input", "write a URI a line")
        self._slice = spec.slice.of(entries) if spec.slice else range(entries)
        self.total = len(self._slice)

    def __iter__(self) -> Iterator[Item]:
        lines = self._manifest.lines(self._slice.start)
        for index, line in zip(range(self.total or 0), lines, strict=False):
            target = self._naming.target(line.input, line.output)
            yield Item(
                index=index,
                uri=line.input,
                field=line.field,
                others=tuple(Input(uri=uri, field=field) for field, uri in line.others),
                relative=target.relative,
                output=target.folder,
                exactly=target.exactly,
                arguments=None if line.arguments is None else {**self._arguments, **line.arguments},
            )

    def _survey(self) -> int:
        """Counts the lines and looks at each, also at other slices': children that share a result would overwrite
        one another's."""
        places = _MetPlaces()
        for _, place in self._places():
            places.add(place)
        if again := places.met_again():
            self._refuse_shared(again)
        return len(places)

    def _refuse_shared(self, again: set[int]) -> None:
        first: dict[str, Line] = {}
        for line, place in self._places():
            if hash(place) not in again:
                continue
            other = first.setdefault(place, line)
            if other is not line:
                raise BadUsage(
                    f"{self._manifest.shown}, lines {other.number} and {line.number}: {shown(other.input)} and "
                    f"{shown(line.input)} would share the result {shown(place)}",
                    'set JOB_INPUT_ROOT, so that results keep the path of their input, or give each line an "output"',
                )

    def _places(self) -> Iterator[tuple[Line, str]]:
        for line in self._manifest.lines():
            try:
                for _, uri in line.others:
                    self._naming.further(uri, line.output)
                yield line, self._naming.place(self._naming.target(line.input, line.output))
            except BadUsage as failure:
                self._manifest.refuse(line.number, failure.message, failure.hint)


class _MetPlaces:
    """Which of many places are met twice, in 8 bytes a place: 64-bit hashes."""

    def __init__(self) -> None:
        # In buckets, so that one of them at a time is a set, which takes ten times as much.
        self._buckets = [array("q") for _ in range(256)]

    def add(self, place: str) -> None:
        hashed = hash(place)
        self._buckets[hashed & 255].append(hashed)

    def __len__(self) -> int:
        return sum(map(len, self._buckets))

    def met_again(self) -> set[int]:
        """The hashes that were met more than once."""
        again: set[int] = set()
        for bucket in self._buckets:
            if len(set(bucket)) < len(bucket):
                ordered = sorted(bucket)
                again.update(one for one, other in pairwise(ordered) if one == other)
        return again


class _Below(Work):
    """Everything below a prefix, but what is no input: placeholders, and what jobs have written there.

    An array's children divide it by a hash of the path: positions in a listing shift while objects come and go.
    """

    def __init__(self, spec: JobSpec, naming: Naming) -> None:
        self._prefix = spec.input or ""
        self._naming = naming
        self._slice = spec.slice
        self._globs = Globs(spec.include, spec.exclude)
        self._written = Written(spec)
        try:
            base_name(self._prefix)
        except ValueError as error:
            raise BadUsage(f"input {error}") from None
        if spec.input_root and not normal(self._prefix).startswith(normal(spec.input_root)):
            raise not_below(self._prefix, spec.input_root)

    def __iter__(self) -> Iterator[Item]:
        index, empty = 0, True
        for found, below in self._objects():
            empty = False
            if not self._is_ours(below):
                continue
            if is_placeholder(below, found):
                self.placeholders += 1
            elif self._globs.take(below):
                target = self._naming.below(found.uri, below)
                self._written.refuse_among_inputs(found.uri, self._naming.place(target))
                yield Item(index=index, uri=found.uri, relative=target.relative, output=target.folder, found=found)
                index += 1
        if empty:
            raise InputMissing(f"input {self._prefix}: there is nothing below this prefix")

    def _objects(self) -> Iterator[tuple[Object, str]]:
        """What lies below the prefix and was not written there by a job, each with its path below it."""
        try:
            for found in storage.of_input(self._prefix).list(self._prefix):
                below = path_below(found.uri, self._prefix)
                if not self._written.holds(below):
                    yield found, below
        except storage.StorageError as error:
            raise storage.on_input(error) from None

    def _is_ours(self, below: str) -> bool:
        if self._slice is None:
            return True
        return zlib.crc32(below.encode(errors="surrogateescape")) % self._slice.count == self._slice.index
