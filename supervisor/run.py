"""One job, whole: its work is planned, its models are started, its items go through the pipeline, its status is told.

A failure of one item does not stop the others. A failure of the job (its arguments, its image, its device) does.
"""

import gc
import os
import shutil
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

from supervisor import device, guard, spot, storage, work
from supervisor.failures import (
    Bug,
    DeviceMissing,
    DiskTrouble,
    Failure,
    ImageUnfit,
    OutputUnwritable,
    SpotReclaimed,
    Stopped,
)
from supervisor.job import JobSpec
from supervisor.model import silent_fallback, usage
from supervisor.model.description import Module
from supervisor.model.releases import CLI, WORKER
from supervisor.model.runner import Answer, Model
from supervisor.pipeline import Bounds, Pipeline, Room
from supervisor.provenance import Provenance
from supervisor.status.document import DONE, ITEM_FAILED, SKIPPED, Outcome, Record
from supervisor.status.redaction import redacted
from supervisor.status.sinks import Reporter
from supervisor.status.telling import Telling
from supervisor.storage import Object
from supervisor.work import Item, Work

# Left free on the disk for logs and what modules write, and with each input for its answer.
_MARGIN = 64 * 1024 * 1024
_ANSWER = 64 * 1024
# Not looked for on the disk before it is fetched: all that are under way at once find room in the margin.
_SMALL = 1024 * 1024
# Seconds between SIGTERM and SIGKILL for models that are cut off.
_TERM = 1.0


def run(spec: JobSpec, reporter: Reporter) -> Record:
    """Runs one job to its end and tells its status everywhere. Never raises for what a job can run into."""
    record = Record(spec)
    telling = Telling(record, reporter)
    failure: Failure | None = None
    log_tail: tuple[str, ...] = ()
    notice = spot.watch(lambda _: os.kill(os.getpid(), signal.SIGTERM))
    try:
        with _job_folder() as folder:
            job = Job(spec, telling, record, folder)
            try:
                job.run()
            except Failure:
                log_tail = job.log_tail()
                raise
            finally:
                with guard.undisturbed():
                    job.end()
    except Stopped as stopped:
        failure = SpotReclaimed(f"{stopped.message}, for a Spot notice") if notice.seen() else stopped
    except Failure as known:
        failure = known
    except Exception as unknown:  # every ending gets a status; a bug of ours is told as such
        print(redacted(traceback.format_exc()), file=sys.stderr)
        failure = Bug(f"{type(unknown).__name__}: {unknown}")
    with guard.undisturbed():
        notice.stop()
        record.close(failure, log_tail)
        telling.last()
    return record


def refuse(spec: JobSpec, failure: Failure, reporter: Reporter) -> Record:
    """Tells the status of a job that cannot begin: spec holds what could be read of it."""
    record = Record(spec)
    record.close(failure)
    Telling(record, reporter).last()
    return record


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


class Job:
    """One job in the middle of its work. fetch, predict and store are the pipeline's stages."""

    def __init__(self, spec: JobSpec, telling: Telling, record: Record, folder: Path) -> None:
        self._spec = spec
        self._telling = telling
        self._record = record
        self._folder = folder
        self._models: list[Model] = []
        self._first: Module | None = None  # what the first model says of itself, once it was asked
        self._describing = threading.Lock()
        self._folders = _Folders(folder)
        self._fitted: dict[int, Mapping[str, Any]] = {}  # by predictor: the job's arguments, under the module's names
        self._seats = _Seats(spec.workers)
        self._provenance = Provenance(spec, self._model_identity)
        self._cut = False

    def run(self) -> None:
        plan = work.plan(self._spec)
        self._record.total, self._record.placeholders = plan.total, plan.placeholders
        if plan.total != 0:
            self._start_models(plan)
        try:
            self._telling.first()
        except OutputUnwritable:
            if (item := next(iter(plan), None)) is not None:
                self._look(item)  # who is denied both ends is told of the input, which comes first
            raise
        if plan.total == 0:
            return
        self._pass_through(plan)

    def _start_models(self, plan: Work) -> None:
        workers = min(self._spec.workers, plan.total or self._spec.workers)
        found = self._record.device = device.find(self._spec.device, self._spec.guest_environment)
        self._watch = silent_fallback.Watch(found, self._telling.log)
        for worker in range(workers):
            scratch = self._folder / f"tmp-{worker}"
            self._models.append(Model(self._spec, found, scratch, self._watch.line, worker))
        self._models[0].start()  # the module is imported while the first input comes

    def _pass_through(self, plan: Work) -> None:
        free = shutil.disk_usage(self._folder).free
        bounds = Bounds(predictors=len(self._models), size=min(Bounds.size, max(0, free - _MARGIN) // 2))
        if plan.total is not None and plan.total < bounds.fetchers:
            bounds = Bounds(fetchers=plan.total, storers=plan.total, predictors=bounds.predictors, size=bounds.size)
        pipeline = Pipeline(self, self._telling.item, bounds)
        gc.freeze()  # what is imported by now stays: else each full collection looks through all of boto3
        gc.set_threshold(10_000)  # items leave no cycles behind: looking for some after each 700 objects is in vain
        try:
            with guard.stops_told_to(pipeline.stop):
                pipeline.run(self._listed(plan))
        except BaseException as why:
            grace = 0.0
            if isinstance(why, Stopped):
                grace = self._spec.grace
                self._telling.warning(f"{why.message}: nothing new begins, and what runs has {grace:g} s to end")
            with guard.undisturbed():
                pipeline.wind_down(grace)
            raise
        finally:
            self._record.placeholders = plan.placeholders

    def _listed(self, plan: Work) -> Iterator[Item]:
        """The items, and their number as it comes to be known."""
        for item in plan:
            self._record.seen = item.index + 1
            yield item
        self._record.total = self._record.seen

    def log_tail(self) -> tuple[str, ...]:
        return next((tail for model in self._models if (tail := model.tail())), ())

    def end(self) -> None:
        """Ends the models with all that they started."""
        for model in self._models:
            model.end()
        self._record.usage = usage.together([model.usage() for model in self._models])

    # fetch

    def fetch(self, item: Item, room: Room) -> Piece | Outcome:
        seconds: dict[str, float] = {}
        found = item.found
        try:
            with _clocked(seconds, "download"):
                found = found or self._look(item)
                kept = self._provenance.kept(item, found)
            if kept is not None:
                result, voucher = kept
                return self._skipped(Outcome(item=item, state=SKIPPED, result=result, size=found.size, etag=found.etag,
                                             voucher=voucher))  # fmt: skip
            room.admit(item.index, self._needed(found))
            with _clocked(seconds, "download"):
                local = self._download(item, found, self._folders.take(item))
        except ImageUnfit:
            raise
        except Failure as failure:
            size, etag = (found.size, found.etag) if found else (None, None)
            return Outcome(item=item, state=ITEM_FAILED, size=size, etag=etag, seconds=seconds, failure=failure)
        return Piece(item=item, found=found, local=local, seconds=seconds)

    def _look(self, item: Item) -> Object:
        try:
            return storage.of(item.uri).stat(item.uri, item.version)
        except storage.StorageError as error:
            raise storage.on_input(error) from None

    def _skipped(self, outcome: Outcome) -> Outcome:
        """A result that stands belongs to this run's table of results, too."""
        if self._telling.wants_answers and outcome.result and outcome.result.endswith(".json"):
            folder = self._folder / str(outcome.item.index)
            try:
                folder.mkdir()
                store = storage.of(outcome.result)
                store.download(store.stat(outcome.result), folder / "result.json")
                self._telling.answer(outcome, folder / "result.json")
            except storage.StorageError as error:
                raise storage.on_output(error) from None
            except OSError as error:
                raise DiskTrouble(f"no local copy of {outcome.result} can be made: {error.strerror}") from None
            finally:
                shutil.rmtree(folder, ignore_errors=True)
        return outcome

    def _needed(self, found: Object) -> int:
        """Bytes on the local disk, with the answer. deepaas-cli makes a copy of its own."""
        by_cli = self._spec.runner == "cli" or (self._spec.runner == "auto" and self._record.total == 1)
        return (found.size or 0) * (2 if by_cli else 1) + _ANSWER

    def _download(self, item: Item, found: Object, folder: Path) -> Path:
        """Brings an input into a folder of its own, under its own name: modules read extensions, and delete."""
        needed = self._needed(found) + _MARGIN
        if needed > _MARGIN + _SMALL and needed > (free := shutil.disk_usage(self._folder).free):
            raise DiskTrouble(
                f"input {item.shown} has {found.size or 0:,} bytes and needs {needed:,} on the local disk, which has "
                f"{free:,} free"
            )
        target = folder / item.file_name
        try:
            storage.of(item.uri).download(found, target)
        except storage.StorageError as error:
            self._folders.give_back(folder)
            raise storage.on_input(error) from None
        return target

    # predict

    def predict(self, predictor: int, piece: Piece) -> Piece | Outcome:
        model = self._models[predictor]
        with self._heeding_fallbacks():
            self._make_ready(predictor, piece.item)
        try:
            with _clocked(piece.seconds, "predict"), self._heeding_fallbacks():
                piece.answer = self._answer(predictor, model, piece)
            piece.log_tail = model.tail()
        except (DeviceMissing, ImageUnfit):
            raise
        except Failure as failure:
            self._folders.give_back(piece.folder)
            return piece.outcome(ITEM_FAILED, failure=failure, log_tail=model.tail())
        return piece

    def no_more(self, predictor: int) -> None:
        self._models[predictor].dismiss()

    def cut_off(self) -> None:
        self._cut = True
        ends = [threading.Thread(target=model.end, args=(_TERM,), daemon=True) for model in self._models]
        for each in ends:
            each.start()
        for each in ends:
            each.join(_TERM + 2)

    def _make_ready(self, predictor: int, item: Item) -> None:
        """Sees to it that the model has been checked against the job. Raises the job's failures."""
        if predictor in self._fitted:
            return
        began = time.perf_counter()
        self._describe(predictor)
        model = self._models[predictor]
        arguments = self._fitted[predictor] = model.fit(self._spec.predict_args, self._spec.input_field)
        with self._describing:
            first = self._record.choice is None
            if first:
                self._record.choice = model.choose(arguments, self._record.total, [item.file_name])
                self._record.seconds["model"] = time.perf_counter() - began
        if first:
            self._telling.model_ready()

    def _answer(self, predictor: int, model: Model, piece: Piece) -> Answer:
        """The model's answer. Where its process died of the item, the item is tried once more, alone."""
        item = piece.item
        own = self._fitted[predictor] if item.arguments is None else model.fit(item.arguments, self._spec.input_field)
        choice = self._record.choice
        if choice is None or choice.runner != WORKER:  # a command line carries some names and arguments only
            choice = model.choose(own, self._record.total, [item.file_name])
        try:
            with self._seats.one():
                return model.predict(choice, own, piece.local, piece.folder)
        except Failure as failure:
            # In auto the worker has had its turn after deepaas-cli.
            tried_twice = choice.runner == CLI and self._spec.runner == "auto"
            if not failure.crashed or tried_twice or self._cut:
                raise
            self._telling.warning(f"{item.shown}: {failure.message}; it is tried once more, alone")
        piece.retried = True
        self._download(item, piece.found, self._folders.make_anew(piece.folder))
        with self._seats.all():
            return model.predict(choice, own, piece.local, piece.folder)

    @contextmanager
    def _heeding_fallbacks(self) -> Iterator[None]:
        """Work of the model's. That it took the CPU although CUDA is there ends a job that asked for CUDA, whatever
        else came of it, and is a warning in any other."""
        try:
            yield
        except Failure:
            self._heed_fallback()
            raise
        self._heed_fallback()

    def _heed_fallback(self) -> None:
        seen = self._watch.take()
        if seen is None:
            return
        if self._spec.device == "cuda":
            raise DeviceMissing(f"JOB_DEVICE is cuda, but {seen}", silent_fallback.HINT) from None
        self._telling.warning(seen)

    def _describe(self, predictor: int) -> Module:
        """What the module says of itself in one model's process. The first model is asked for it by fetchers, too."""
        model = self._models[predictor]
        if predictor:
            model.start()
            module = model.prepare()
        else:
            with self._describing:
                module = self._first = self._first or model.prepare()
        self._record.module = self._record.module or module
        return module

    def _model_identity(self) -> str:
        """The image, or outside of one the module and its version."""
        return self._spec.image.identity or (self._record.module or self._describe(0)).identity

    # store

    def store(self, piece: Piece) -> Outcome:
        assert piece.answer is not None  # noqa: S101 - there was a prediction
        try:
            answer = piece.answer.settled()
            with _clocked(piece.seconds, "upload"):
                result, etag = self._upload(piece, answer)
            voucher = self._provenance.voucher(piece.item, piece.found, result, etag)
            outcome = piece.outcome(DONE, result=result, runner=answer.runner, voucher=voucher)
            if self._telling.wants_answers and answer.suffix == ".json":
                self._telling.answer(outcome, answer.source)
        except Failure as failure:
            return piece.outcome(ITEM_FAILED, failure=failure, log_tail=piece.log_tail)
        finally:
            self._folders.give_back(piece.folder)
        return outcome

    def _upload(self, piece: Piece, answer: Answer) -> tuple[str, str | None]:
        """The result's URI and ETag."""
        uri = piece.item.result_uri(answer.suffix)
        record, seconds = self._record, piece.seconds["predict"]
        facts = self._provenance.facts(piece.item, piece.found, record.module, record.device, answer.runner, seconds)
        try:
            return uri, storage.of(uri).upload(answer.source, uri, media_type=answer.media_type, metadata=facts)
        except storage.StorageError as error:
            raise storage.on_output(error) from None


class _Seats:
    """Who predicts beside whom: usually everybody, but an item that killed its model is tried with nobody beside it."""

    def __init__(self, seats: int) -> None:
        self._count = seats
        self._free = threading.Semaphore(seats)
        self._taking_all = threading.Lock()

    @contextmanager
    def one(self) -> Iterator[None]:
        with self._free:
            yield

    @contextmanager
    def all(self) -> Iterator[None]:
        with self._taking_all:
            for _ in range(self._count):
                self._free.acquire()
            try:
                yield
            finally:
                self._free.release(self._count)


class _clocked:
    """Adds what its block takes to the seconds of a stage."""

    def __init__(self, seconds: MutableMapping[str, float], stage: str) -> None:
        self._seconds = seconds
        self._stage = stage

    def __enter__(self) -> None:
        self._began = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        self._seconds[self._stage] = self._seconds.get(self._stage, 0.0) + time.perf_counter() - self._began


class _Folders:
    """Folders of items. Each has a name of its own, for modules remember paths, but may be an emptied one under a new
    name: ext4 makes a folder in the time of a small download. What cannot be made is DiskTrouble."""

    def __init__(self, parent: Path) -> None:
        self._parent = parent
        self._emptied: SimpleQueue[Path] = SimpleQueue()

    def take(self, item: Item) -> Path:
        """An empty folder."""
        folder = self._parent / str(item.index)
        try:
            self._emptied.get_nowait().rename(folder)
        except Empty:
            self._make(folder)
        except OSError as error:
            raise DiskTrouble(f"no folder can be made for {item.shown}: {error.strerror}") from None
        return folder

    def make_anew(self, folder: Path) -> Path:
        """The same folder, empty again."""
        shutil.rmtree(folder, ignore_errors=True)
        self._make(folder)
        return folder

    def _make(self, folder: Path) -> None:
        try:
            folder.mkdir()
        except OSError as error:
            raise DiskTrouble(f"no folder can be made for an item: {error.strerror}") from None

    def give_back(self, folder: Path) -> None:
        """Removes what is in it. Folders that a module has made are left to rmtree: they may be swapped for links under
        our hands."""
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    os.unlink(entry)  # noqa: PTH108 - a Path for each costs as much as the unlinking
        except OSError:
            shutil.rmtree(folder, ignore_errors=True)
        else:
            self._emptied.put(folder)


@contextmanager
def _job_folder() -> Iterator[Path]:
    try:
        folder = Path(tempfile.mkdtemp(prefix="supervisor-"))
    except OSError as error:
        raise DiskTrouble(
            f"no temporary folder can be made: {error}",
            "give the container a writable /tmp (--tmpfs /tmp), or set TMPDIR",
        ) from None
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
