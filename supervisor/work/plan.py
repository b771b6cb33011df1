"""From the job to its work: which inputs, and where the result of each one goes.

An input comes from an object, an event, a manifest or everything below a prefix; of the last two a child of an array
takes its slice. Nothing after this room cares which.
"""

import zlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from supervisor import storage
from supervisor.failures import BadUsage, InputMissing
from supervisor.job import JobSpec
from supervisor.storage import Object
from supervisor.storage.uri import base_name, scheme, shown
from supervisor.work import events
from supervisor.work.claims import Claims, MetPlaces, hashes
from supervisor.work.events import CreatedObject
from supervisor.work.inputs import Input, as_one
from supervisor.work.manifest import Line, Manifest
from supervisor.work.naming import WRITABLE, Exact, Naming, normal, not_below, shown_place
from supervisor.work.prefix import Globs, Origin, Written, is_beside_inputs, is_placeholder, path_below


@dataclass(frozen=True, kw_only=True, slots=True)
class Item:
    """One call of the module: an input, or several, and where the result goes.

    index: its place in this job's order, from 0; uri, version, field: of the first input, which names the result, and
    whose field is None for the job's; others: the further inputs; found: what a listing said of the first; arguments:
    its own, None where the job's hold; exactly: the URI of the result, whatever its kind, where a manifest names it;
    doubtful: by its name it may be the result of another; among_inputs: its result may lie where inputs do; results:
    what a listing showed of its own, None where it has to be asked for.
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
    doubtful: bool = False
    among_inputs: bool = False
    results: tuple[Object, ...] | None = None

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

    @property
    def stem(self) -> str:
        """The URI of the result without its extension, which the answer will decide."""
        return self.output + self.relative

    def result_uri(self, suffix: str = ".json") -> str:
        return self.exactly or self.stem + suffix


class Work:
    """The items of a job, streamed once and in order.

    total: how many they are, None for a prefix: its listing tells. placeholders: those left out so far; warnings: what
    whoever named them should know.
    """

    total: int | None = None
    placeholders: int = 0
    warnings: tuple[str, ...] = ()

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
        return _Created(events.parse(spec.event), naming)
    return _One(uri, naming)


class _One(Work):
    """The one input."""

    total = 1

    def __init__(self, uri: str, naming: Naming) -> None:
        target = naming.target(uri)
        naming.place(target)
        self._item = Item(
            index=0, uri=uri, relative=target.relative, output=target.folder, among_inputs=naming.is_among_results(uri)
        )

    def __iter__(self) -> Iterator[Item]:
        yield self._item


class _Created(Work):
    """The objects of an event, but placeholders. Of several versions of one key the newest is taken, for they would
    share a result; and what lies where the result of another one goes is that result, as it is below a prefix."""

    def __init__(self, objects: Sequence[CreatedObject], naming: Naming) -> None:
        newest = events.newest(objects)
        self.placeholders = sum(each.is_placeholder for each in newest)
        claims = Claims[CreatedObject]()
        targets = {each: naming.target_of_key(each.uri) for each in newest if not each.is_placeholder}
        for each, target in targets.items():
            if other := claims.made_before(naming.place(target), each):
                raise BadUsage(
                    f"input {other.who.uri} and input {each.uri} would share the result {shown_place(other.place)}",
                    "set JOB_INPUT_ROOT, so that results keep the path of their input, or split the job",
                )
        results = [each for each in targets if claims.made_on(naming.overwriting(each.uri))]
        mixed = any(naming.is_among_results(each.uri) for each in targets)
        self._items = [
            Item(
                index=index,
                uri=each.uri,
                version=each.version,
                relative=target.relative,
                output=target.folder,
                among_inputs=mixed,
            )
            for index, (each, target) in enumerate((e, t) for e, t in targets.items() if e not in results)
        ]
        self.total = len(self._items)
        self.warnings = (
            *(
                f"JOB_EVENT names {versions} versions of {uri}: the newest is taken, and has the only result"
                for uri, versions in Counter(each.uri for each in objects).items()
                if versions > 1
            ),
            *(f"{each.uri} is left out: the result of another object of JOB_EVENT goes there" for each in results),
        )

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
                among_inputs=self._mixed,
                arguments=None if line.arguments is None else {**self._arguments, **line.arguments},
            )

    def _survey(self) -> int:
        """Counts the lines and looks at each, also at other slices': children that share a result would overwrite
        one another's, and so would a result another line's input."""
        met, mixed = MetPlaces(), False
        for line, place in self._places():
            met.add(place)
            mixed = mixed or line.output is not None or any(map(self._naming.is_among_results, line.inputs))
        if again := met.met_again():
            self._refuse_shared(again)
        self._mixed = mixed
        if mixed:
            self._refuse_overwritten(met)
        return len(met)

    def _refuse_shared(self, again: set[int]) -> None:
        claims = Claims[Line]()
        for line, place in self._places():
            if again.isdisjoint(hashes(place)):
                continue
            if other := claims.made_before(place, line):
                shared = place if isinstance(place, Exact) else other.place
                raise BadUsage(
                    f"{self._manifest.shown}, lines {other.who.number} and {line.number}: {shown(other.who.input)} and "
                    f"{shown(line.input)} would share the result {shown_place(shared)}",
                    'set JOB_INPUT_ROOT, so that results keep the path of their input, or give each line an "output"',
                )

    def _refuse_overwritten(self, met: MetPlaces) -> None:
        """Results may lie among the inputs here: no input may lie in the place of one."""
        met.sort()
        overwritten = {
            line.number: places
            for line in self._manifest.lines()
            if any(map(met.holds, places := [each for uri in line.inputs for each in self._naming.overwriting(uri)]))
        }
        if not overwritten:
            return
        claims, wanted = Claims[Line](), set().union(*overwritten.values())
        for line, place in self._places():
            if place in wanted:
                claims.made_before(place, line)
        for number, places in overwritten.items():
            if other := claims.made_on(places):
                where = shown_place(other.place)
                self._manifest.refuse(
                    number,
                    f"an input lies where the result of line {other.who.number} goes, {where}"
                    if other.who.number != number
                    else f'"output" would put the result of {where} in its own place',
                    'name a JOB_OUTPUT apart from the inputs, or another "output"',
                )

    def _places(self) -> Iterator[tuple[Line, str]]:
        for line in self._manifest.lines():
            try:
                for _, uri in line.others:
                    self._naming.require_readable(uri)
                yield line, self._naming.place(self._naming.target(line.input, line.output))
            except BadUsage as failure:
                self._manifest.refuse(line.number, failure.message, failure.hint)


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
        self._beside = is_beside_inputs(spec)
        self._met: set[int] = set()
        try:
            base_name(self._prefix)
        except ValueError as error:
            raise BadUsage(f"input {error}") from None
        if spec.input_root and not normal(self._prefix).startswith(normal(spec.input_root)):
            raise not_below(self._prefix, spec.input_root)

    def __iter__(self) -> Iterator[Item]:
        index, empty = 0, True
        for found, below, doubtful in self._objects():
            empty = False
            if not self._is_ours(below):
                continue
            if is_placeholder(below, found):
                self.placeholders += 1
            elif self._globs.take(below):
                target = self._naming.below(found.uri, below)
                place = self._naming.place(target)
                self._written.refuse_among_inputs(found.uri, place)
                if self._naming.folds_case:
                    self._refuse_twin(found.uri, place)
                yield Item(
                    index=index, uri=found.uri, relative=target.relative, output=target.folder, found=found,
                    doubtful=doubtful, among_inputs=self._beside,
                )  # fmt: skip
                index += 1
        if empty:
            raise InputMissing(f"input {self._prefix}: there is nothing below this prefix")

    def _objects(self) -> Iterator[tuple[Object, str, bool]]:
        """What lies below the prefix and was not written there by a job as far as its name tells, each with its path
        below it, and whether its name leaves a doubt."""
        try:
            for found in storage.of_input(self._prefix).list(self._prefix):
                below = path_below(found.uri, self._prefix)
                origin = self._written.origin(below)
                if origin is not Origin.JOB:
                    yield found, below, origin is Origin.DOUBTFUL
        except storage.StorageError as error:
            raise storage.on_input(error) from None

    def _refuse_twin(self, uri: str, place: str) -> None:
        if hash(place) in self._met:
            raise BadUsage(
                f"input {shown(uri)} and another would share the result {shown_place(place)}: JOB_OUTPUT's file system "
                "takes names that differ in case alone for one",
                "name a JOB_OUTPUT where case counts, or leave one of them out with JOB_EXCLUDE",
            )
        self._met.add(hash(place))

    def _is_ours(self, below: str) -> bool:
        if self._slice is None:
            return True
        return zlib.crc32(below.encode(errors="surrogateescape")) % self._slice.count == self._slice.index
