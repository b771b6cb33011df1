"""What the pipeline's three stages do with one item: bring its input, run the model on it, take its result away."""

import mimetypes
import shutil
import time
from collections.abc import MutableMapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from supervisor import storage
from supervisor.failures import DeviceMissing, DiskTrouble, Failure, ImageUnfit
from supervisor.job import JobSpec
from supervisor.machine import disk
from supervisor.machine.disk import ItemFolders
from supervisor.model.copies import Copies, Request
from supervisor.model.runner import Answer, LocalFile
from supervisor.pipeline import Room
from supervisor.status.document import DONE, ITEM_FAILED, SKIPPED, Outcome, Record
from supervisor.status.publisher import Publisher
from supervisor.storage import Object
from supervisor.work.outputs import Outputs
from supervisor.work.plan import Item
from supervisor.work.provenance import Provenance


@dataclass(kw_only=True)
class Piece:
    """One item between two stages. found: what storage said of each input; files: their local copies, in their order;
    folder: the item's own, which holds nothing else until there is an answer; answer, log_tail: once there is one."""

    item: Item
    found: tuple[Object, ...]
    files: tuple[LocalFile, ...]
    folder: Path
    seconds: MutableMapping[str, float] = field(default_factory=dict)
    answer: Answer | None = None
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

    # pipeline.Steps

    def fetch(self, item: Item, room: Room) -> Piece | Outcome:
        seconds: dict[str, float] = {}
        found: tuple[Object, ...] = ()
        try:
            with _clocked(seconds, "download"):
                found = look_at_all(item)
                whole = item.as_one(found)
                self._outputs.require_writable_for(item.result_uri())
                kept = self._provenance.kept(item, whole)
            if kept is not None:
                result, voucher = kept
                return self._skipped(Outcome(item=item, state=SKIPPED, result=result, found=found, voucher=voucher))
            room.admit(item.index, self._bytes_needed(whole))
            with _clocked(seconds, "download"):
                folder = self._folders.take(item.index)
                files = self._download(item, found, folder)
        except ImageUnfit:
            raise
        except Failure as failure:
            return Outcome(item=item, state=ITEM_FAILED, found=found, seconds=seconds, failure=failure)
        return Piece(item=item, found=found, files=files, folder=folder, seconds=seconds)

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
                piece.answer = self._copies.predict(predictor, request)
            piece.log_tail = self._copies.log_tail(predictor)
        except (DeviceMissing, ImageUnfit):
            raise
        except Failure as failure:
            self._folders.give_back(piece.folder)
            return piece.outcome(ITEM_FAILED, failure=failure, log_tail=self._copies.log_tail(predictor))
        return piece

    def store(self, piece: Piece) -> Outcome:
        assert piece.answer is not None  # noqa: S101 - there was a prediction
        try:
            answer = piece.answer.settled()
            with _clocked(piece.seconds, "upload"):
                result, etag = self._upload(piece, answer)
            voucher = self._provenance.voucher(piece.item, piece.input, result, etag)
            outcome = piece.outcome(DONE, result=result, runner=answer.runner, voucher=voucher)
            if self._publisher.keeps_results and answer.suffix == ".json":
                self._publisher.result(outcome, answer.source)
        except Failure as failure:
            return piece.outcome(ITEM_FAILED, failure=failure, log_tail=piece.log_tail)
        finally:
            self._folders.give_back(piece.folder)
        return outcome

    def no_more(self, predictor: int) -> None:
        self._copies.dismiss(predictor)

    def cut_off(self) -> None:
        self._copies.cut_off()

    # their parts

    def _skipped(self, outcome: Outcome) -> Outcome:
        """A result that stands belongs to this run's table of results, too."""
        if self._publisher.keeps_results and outcome.result and outcome.result.endswith(".json"):
            folder = self._folder / str(outcome.item.index)
            try:
                folder.mkdir()
                store = storage.of(outcome.result)
                store.download(store.stat(outcome.result), folder / "result.json")
                self._publisher.result(outcome, folder / "result.json")
            except storage.StorageError as error:
                raise storage.on_output(error) from None
            except OSError as error:
                raise DiskTrouble(f"no local copy of {outcome.result} can be made: {error.strerror}") from None
            finally:
                shutil.rmtree(folder, ignore_errors=True)
        return outcome

    def _bytes_needed(self, found: Object) -> int:
        """Bytes on the local disk. deepaas-cli makes a copy of its own."""
        by_cli = self._spec.runner == "cli" or (self._spec.runner == "auto" and self._record.total == 1)
        return disk.bytes_needed(found.size, copies=2 if by_cli else 1)

    def _download(self, item: Item, found: Sequence[Object], folder: Path) -> tuple[LocalFile, ...]:
        """Brings the inputs into the item's folder, each under its own name: modules read extensions, and delete. Where
        two have one name, each has a folder of its own in there."""
        whole = item.as_one(found)
        disk.require_room(self._folder, item.shown, whole.size, self._bytes_needed(whole))
        names = [each.file_name for each in item.inputs]
        apart = len(set(names)) < len(names)
        files = []
        try:
            for number, (each, seen) in enumerate(zip(item.inputs, found, strict=True)):
                path = disk.subfolder(folder, str(number)) / each.file_name if apart else folder / each.file_name
                store = storage.of_input(each.uri)
                store.download(seen, path)
                media_type = seen.media_type
                if item.found and mimetypes.guess_type(path)[0] is None:  # which a listing does not tell
                    media_type = store.stat(each.uri).media_type
                files.append(LocalFile(path=path, media_type=media_type))
        except storage.StorageError as error:
            self._folders.give_back(folder)
            raise storage.on_input(error) from None
        return tuple(files)

    def _restore(self, piece: Piece) -> None:
        """The inputs as they were, for a second try."""
        piece.retried = True
        self._download(piece.item, piece.found, self._folders.make_anew(piece.folder))

    def _upload(self, piece: Piece, answer: Answer) -> tuple[str, str | None]:
        """The result's URI and ETag."""
        uri = piece.item.result_uri(answer.suffix)
        record, seconds = self._record, piece.seconds["predict"]
        facts = self._provenance.facts(piece.item, piece.input, record.module, record.device, answer.runner, seconds)
        try:
            return uri, storage.of(uri).upload(answer.source, uri, media_type=answer.media_type, metadata=facts)
        except storage.StorageError as error:
            raise storage.on_output(error) from None

    def _model_identity(self) -> str:
        """The image, or outside of one the module and its version."""
        return self._spec.image.identity or self._copies.module().identity


def look_at(item: Item) -> Object:
    """What storage says of an item's input, or of several as one. Raises the Failure that fits."""
    return item.as_one(look_at_all(item))


def look_at_all(item: Item) -> tuple[Object, ...]:
    """What storage says of each of an item's inputs; a listing has told of the first."""
    if item.found and not item.others:
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
