"""What the pipeline's three stages do with one item: bring its input, run the model on it, take its result away."""

import shutil
import time
from collections.abc import Iterable, Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from supervisor import storage
from supervisor.failures import DeviceMissing, Failure, ImageUnfit
from supervisor.job import JobSpec
from supervisor.machine import disk
from supervisor.machine.disk import ItemFolders
from supervisor.model.copies import Copies, Predicted, Request
from supervisor.model.runner import Answer, LocalFile
from supervisor.pipeline import Room
from supervisor.status.document import DONE, ITEM_FAILED, LEFT_OUT, SKIPPED, Outcome, Record
from supervisor.status.publisher import Publisher
from supervisor.storage import Object
from supervisor.work.outputs import Outputs
from supervisor.work.plan import Item
from supervisor.work.provenance import Provenance
from supervisor.work.resume import Resume


@dataclass(kw_only=True)
class Piece:
    """One item between two stages. found: what storage said of each input; files: their local copies, in their order;
    folder: the item's own, which holds nothing else until there is an answer; predicted, log_tail: once there is."""

    item: Item
    found: tuple[Object, ...]
    files: tuple[LocalFile, ...]
    folder: Path
    seconds: MutableMapping[str, float] = field(default_factory=dict)
    predicted: Predicted | None = None
    log_tail: tuple[str, ...] = ()
    retried: bool = False

    @property
    def input(self) -> Object:
        """What storage said of all of them, as one."""
        return self.item.as_one(self.found)

    def outcome(self, state: str, **more: Any) -> Outcome:
        return Outcome(
            item=self.item, state=state, found=self.found, seconds=self.seconds, retried=self.retried, **more
        )


class Stages:
    """One job's pipeline.Steps. A failure of an item is its Outcome; a failure of the job is raised."""

    def __init__(
        self, spec: JobSpec, record: Record, publisher: Publisher, copies: Copies, outputs: Outputs, folder: Path
    ) -> None:
        self._spec = spec
        self._record = record
        self._publisher = publisher
        self._copies = copies
        self._folder = folder
        self._folders = ItemFolders(folder)
        self._outputs = outputs
        self._provenance = Provenance(spec, self._model_identity)
        self._resume = Resume(spec, self._provenance)
        self.any_done = False  # an item of this very job, also one that is not told of yet

    def beside_results(self, items: Iterable[Item]) -> Iterator[Item]:
        """The items, each with what is known of its results before it is looked at."""
        return self._resume.beside(items)

    # pipeline.Steps

    def fetch(self, item: Item, room: Room) -> Piece | Outcome:
        seconds: dict[str, float] = {}
        found: tuple[Object, ...] = ()
        try:
            with _clocked(seconds, "download"):
                found = look_at_all(item)
                whole = item.as_one(found)
                if self._provenance.is_no_input(whole.metadata):
                    return self._left_out(item)
                self._outputs.require_writable_for(item.result_uri())
                kept = self._resume.kept(item, whole)
            if kept is not None:
                result, voucher = kept
                return self._skipped(Outcome(item=item, state=SKIPPED, result=result, found=found, voucher=voucher))
            return self._brought(item, found, room, seconds)
        except ImageUnfit:
            raise
        except Failure as failure:
            return Outcome(item=item, state=ITEM_FAILED, found=found, seconds=seconds, failure=failure)

    def predict(self, predictor: int, piece: Piece) -> Piece | Outcome:
        request = Request(
            shown=piece.item.shown,
            files=piece.files,
            folder=piece.folder,
            fields=piece.item.fields,
            arguments=piece.item.arguments,
            restore=lambda: self._restore(piece),
        )
        self._copies.make_ready(predictor, request)
        try:
            with _clocked(piece.seconds, "predict"):
                piece.predicted = self._copies.predict(predictor, request)
            piece.log_tail = self._copies.log_tail(predictor)
        except (DeviceMissing, ImageUnfit):
            raise
        except Failure as failure:
            self._folders.give_back(piece.folder)
            return piece.outcome(ITEM_FAILED, failure=failure, log_tail=self._copies.log_tail(predictor))
        return piece

    def store(self, piece: Piece) -> Outcome:
        try:
            outcome = self._stored(piece)
            self.any_done = True
        except Failure as failure:
            outcome = piece.outcome(ITEM_FAILED, failure=failure, log_tail=piece.log_tail)
        finally:
            self._folders.give_back(piece.folder)
        return outcome

    def no_more(self, predictor: int) -> None:
        self._copies.dismiss(predictor)

    def cut_off(self) -> None:
        self._copies.cut_off()

    # their parts

    def _left_out(self, item: Item) -> Outcome:
        """Of a job's own writing, which its provenance alone gave away."""
        return Outcome(item=item, state=LEFT_OUT)

    def _skipped(self, outcome: Outcome) -> Outcome:
        """A result that stands belongs to this run's table of results, too."""
        if self._publisher.keeps_results and outcome.result and outcome.result.endswith(".json"):
            folder = self._folder / f"{outcome.item.index}-result"
            try:
                folder.mkdir()
                store = storage.of(outcome.result)
                store.download(store.stat(outcome.result), folder / "result.json")
                self._publisher.result(outcome, folder / "result.json")
            except (storage.Full, OSError) as error:  # of ours: the result itself is in order
                self._publisher.give_up_results(f"there is no room for a copy of {outcome.result}: {error}")
            except storage.StorageError as error:
                raise storage.on_output(error) from None
            finally:
                shutil.rmtree(folder, ignore_errors=True)
        return outcome

    def _brought(self, item: Item, found: tuple[Object, ...], room: Room, seconds: dict[str, float]) -> Piece | Outcome:
        """The item with its inputs on the local disk. Those of unknown size are let in with little room, and tried
        again with more where they turn out to need that: there is never more on the disk than was let in."""
        known = sum(each.size or 0 for each in found)
        unknown = disk.FIRST_GUESS if any(each.size is None for each in found) else 0
        while True:
            most = known + unknown
            room.admit(item.index, self._bytes_needed(most))
            has_all = most > room.bound
            try:
                with _clocked(seconds, "download"):
                    folder = self._folders.take(item.index)
                    left = self._room_left() - known if has_all else unknown
                    files, metadata = self._download(item, found, folder, left)
            except storage.Larger as larger:
                if has_all:
                    raise storage.on_input(larger) from None
                unknown *= 4
                continue
            if unknown:
                room.settle(item.index, self._bytes_needed(sum(each.path.stat().st_size for each in files)))
            if self._provenance.is_no_input(metadata):
                self._folders.give_back(folder)
                return self._left_out(item)
            return Piece(item=item, found=found, files=files, folder=folder, seconds=seconds)

    def _bytes_needed(self, size: int) -> int:
        """Bytes on the local disk."""
        return disk.bytes_needed(size, copies=self._copies_of_inputs())

    def _room_left(self) -> int:
        """Bytes that inputs may have which have the disk to themselves."""
        return disk.room_left(self._folder) // self._copies_of_inputs()

    def _copies_of_inputs(self) -> int:
        """deepaas-cli makes a copy of its own."""
        by_cli = self._spec.runner == "cli" or (self._spec.runner == "auto" and self._record.total == 1)
        return 2 if by_cli else 1

    def _download(
        self, item: Item, found: Sequence[Object], folder: Path, most: int
    ) -> tuple[tuple[LocalFile, ...], Mapping[str, str]]:
        """Brings the inputs into the item's folder, each under its own name: modules read extensions, and delete. Where
        two have one name, each has a folder of its own in there. Returns the metadata of the first, too.

        most: bytes that those of unknown size may have together, else Larger is raised.
        """
        known = sum(each.size or 0 for each in found)
        disk.require_room(self._folder, item.shown, known, self._bytes_needed(known))
        names = [each.file_name for each in item.inputs]
        apart = len(set(names)) < len(names)
        files: list[LocalFile] = []
        first: Object | None = None
        try:
            for number, (each, seen) in enumerate(zip(item.inputs, found, strict=True)):
                path = disk.subfolder(folder, str(number)) / each.file_name if apart else folder / each.file_name
                wanted = replace(seen, most=most) if seen.size is None else seen
                read = storage.of_input(each.uri).download(wanted, path)
                most -= path.stat().st_size if seen.size is None else 0
                first = first or read
                files.append(LocalFile(path=path, media_type=read.media_type))
        except storage.StorageError as error:
            self._folders.give_back(folder)
            if isinstance(error, storage.Larger):
                raise
            raise storage.on_input(error) from None
        return tuple(files), first.metadata if first else {}

    def _restore(self, piece: Piece) -> None:
        """The inputs as they were, for a second try."""
        piece.retried = True
        try:
            folder = self._folders.make_anew(piece.folder)
            self._download(piece.item, piece.found, folder, self._room_left())
        except storage.Larger as larger:
            raise storage.on_input(larger) from None

    def _stored(self, piece: Piece) -> Outcome:
        assert piece.predicted is not None  # noqa: S101 - there was a prediction
        answer = self._copies.settled(piece.predicted)
        uri = piece.item.result_uri(answer.suffix)
        try:
            with _clocked(piece.seconds, "upload"):
                etag = self._upload(piece, answer, uri)
        except storage.Exists:  # since it was looked for
            return self._skipped(piece.outcome(SKIPPED, result=uri))
        except storage.StorageError as error:
            raise storage.on_output(error) from None
        voucher = self._provenance.voucher(piece.item, piece.input, uri, etag)
        outcome = piece.outcome(DONE, result=uri, runner=answer.runner, voucher=voucher)
        if self._publisher.keeps_results and answer.suffix == ".json":
            self._publisher.result(outcome, answer.source)
        return outcome

    def _upload(self, piece: Piece, answer: Answer, uri: str) -> str | None:
        """The result's ETag. Raises StorageError: Exists where JOB_OVERWRITE is never, and something is there."""
        self._resume.require_free(piece.item, uri)
        record, seconds = self._record, piece.seconds["predict"]
        facts = self._provenance.facts(piece.item, piece.input, record.module, record.device, answer.runner, seconds)
        store = storage.of(uri)
        put = store.create if self._spec.overwrite == "never" else store.upload
        return put(answer.source, uri, media_type=answer.media_type, metadata=facts)

    def _model_identity(self) -> str:
        """The image, and which of its modules; where no digest pins the image, the module and its version, too."""
        image, wanted = self._spec.image, self._spec.environment.get("DEEPAAS_V2_MODEL")
        if image.is_pinned:
            return f"{image.identity} {wanted}" if wanted else f"{image.identity}"
        module = self._copies.module().identity
        return f"{image.identity} {module}" if image.identity else module


def look_at(item: Item) -> Object:
    """What storage says of an item's input, or of several as one. Raises the Failure that fits."""
    return item.as_one(look_at_all(item))


def look_at_all(item: Item) -> tuple[Object, ...]:
    """What storage says of each of an item's inputs; a listing has told of a single one."""
    if item.found and not item.others and not item.doubtful:
        return (item.found,)
    try:
        return tuple(storage.of_input(each.uri).stat(each.uri, each.version) for each in item.inputs)
    except storage.StorageError as error:
        raise storage.on_input(error) from None


class _clocked:
    """Adds what its block takes to the seconds of a stage."""

    def __init__(self, seconds: MutableMapping[str, float], stage: str) -> None:
        self._seconds = seconds
        self._stage = stage

    def __enter__(self) -> None:
        self._began = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        self._seconds[self._stage] = self._seconds.get(self._stage, 0.0) + time.perf_counter() - self._began
