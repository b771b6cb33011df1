"""What the pipeline's three stages do with one item: bring its input, run the model on it, take its result away."""

import shutil
import time
from collections.abc import MutableMapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from supervisor import storage
from supervisor.failures import DeviceMissing, DiskTrouble, Failure, ImageUnfit
from supervisor.job import JobSpec
from supervisor.machine import disk
from supervisor.machine.disk import ItemFolders
from supervisor.model.copies import Copies, Request
from supervisor.model.runner import Answer
from supervisor.pipeline import Room
from supervisor.status.document import DONE, ITEM_FAILED, SKIPPED, Outcome, Record
from supervisor.status.publisher import Publisher
from supervisor.storage import Object
from supervisor.work.outputs import Outputs
from supervisor.work.plan import Item
from supervisor.work.provenance import Provenance


@dataclass(kw_only=True)
class Piece:
    """One item between two stages. found: what storage said of its input; answer, log_tail: once there is an
    answer."""

    item: Item
    found: Object
    local: Path
    seconds: MutableMapping[str, float] = field(default_factory=dict)
    answer: Answer | None = None
    log_tail: tuple[str, ...] = ()
    retried: bool = False

    @property
    def folder(self) -> Path:
        """The item's own, which holds nothing but its input until there is an answer."""
        return self.local.parent

    def outcome(self, state: str, **more: Any) -> Outcome:
        return Outcome(
            item=self.item,
            state=state,
            size=self.found.size,
            etag=self.found.etag,
            seconds=self.seconds,
            retried=self.retried,
            **more,
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
        found = item.found
        try:
            with _clocked(seconds, "download"):
                found = found or look_at(item)
                self._outputs.require_writable_for(item.result_uri())
                kept = self._provenance.kept(item, found)
            if kept is not None:
                result, voucher = kept
                return self._skipped(Outcome(item=item, state=SKIPPED, result=result, size=found.size, etag=found.etag,
                                             voucher=voucher))  # fmt: skip
            room.admit(item.index, self._bytes_needed(found))
            with _clocked(seconds, "download"):
                local = self._download(item, found, self._folders.take(item.index))
        except ImageUnfit:
            raise
        except Failure as failure:
            size, etag = (found.size, found.etag) if found else (None, None)
            return Outcome(item=item, state=ITEM_FAILED, size=size, etag=etag, seconds=seconds, failure=failure)
        return Piece(item=item, found=found, local=local, seconds=seconds)

    def predict(self, predictor: int, piece: Piece) -> Piece | Outcome:
        self._copies.make_ready(predictor, piece.item.file_name)
        request = Request(
            shown=piece.item.shown,
            source=piece.local,
            arguments=piece.item.arguments,
            restore=lambda: self._restore(piece),
        )
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
            voucher = self._provenance.voucher(piece.item, piece.found, result, etag)
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

    def _download(self, item: Item, found: Object, folder: Path) -> Path:
        """Brings an input into a folder of its own, under its own name: modules read extensions, and delete."""
        disk.require_room(self._folder, item.shown, found.size, self._bytes_needed(found))
        target = folder / item.file_name
        try:
            storage.of_input(item.uri).download(found, target)
        except storage.StorageError as error:
            self._folders.give_back(folder)
            raise storage.on_input(error) from None
        return target

    def _restore(self, piece: Piece) -> None:
        """The input as it was, for a second try."""
        piece.retried = True
        self._download(piece.item, piece.found, self._folders.make_anew(piece.folder))

    def _upload(self, piece: Piece, answer: Answer) -> tuple[str, str | None]:
        """The result's URI and ETag."""
        uri = piece.item.result_uri(answer.suffix)
        record, seconds = self._record, piece.seconds["predict"]
        facts = self._provenance.facts(piece.item, piece.found, record.module, record.device, answer.runner, seconds)
        try:
            return uri, storage.of(uri).upload(answer.source, uri, media_type=answer.media_type, metadata=facts)
        except storage.StorageError as error:
            raise storage.on_output(error) from None

    def _model_identity(self) -> str:
        """The image, or outside of one the module and its version."""
        return self._spec.image.identity or self._copies.module().identity


def look_at(item: Item) -> Object:
    """What storage says of an item's input. Raises the Failure that fits."""
    try:
        return storage.of_input(item.uri).stat(item.uri, item.version)
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
