"""The journey of each item: looked at, downloaded, predicted on, uploaded; one after the other.

A failure of one item does not stop the others. A failure of the job (its arguments, its image, its device) does.
"""

import hashlib
import json
import shutil
import tempfile
import time
import traceback
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from pathlib import Path

from supervisor import __version__, device, storage, work
from supervisor.failures import Bug, DeviceMissing, DiskTrouble, Failure, OutputUnwritable, Stopped
from supervisor.job import JobSpec
from supervisor.model import silent_fallback
from supervisor.model.runner import Answer, Choice, Model, suffix_for
from supervisor.status.document import DONE, ITEM_FAILED, SKIPPED, Outcome, Record
from supervisor.status.sinks import Reporter
from supervisor.status.telling import Telling
from supervisor.storage import Object
from supervisor.work import Item

# Left free on the disk beside an input: logs, the answer, and what modules write.
_MARGIN = 64 * 1024 * 1024


def run(spec: JobSpec, reporter: Reporter) -> Record:
    """Runs one job to its end and tells its status everywhere. Never raises for what a job can run into."""
    record = Record(spec)
    telling = Telling(record, reporter)
    failure: Failure | None = None
    log_tail: tuple[str, ...] = ()
    try:
        with _job_folder() as folder:
            job = Job(spec, reporter, record, folder)
            try:
                job.run(telling)
            except Failure:
                log_tail = job.log_tail()
                raise
            finally:
                job.end()
    except Failure as known:
        failure = known
    except Exception as unknown:  # every ending gets a status; a bug of ours is told as such
        traceback.print_exc()
        failure = Bug(f"{type(unknown).__name__}: {unknown}")
    record.close(failure, log_tail)
    telling.last()
    return record


def refuse(spec: JobSpec, failure: Failure, reporter: Reporter) -> Record:
    """Tells the status of a job that cannot begin: spec holds what could be read of it."""
    record = Record(spec)
    record.close(failure)
    Telling(record, reporter).last()
    return record


class Job:
    """One job in the middle of its work."""

    def __init__(self, spec: JobSpec, reporter: Reporter, record: Record, folder: Path) -> None:
        self._spec = spec
        self._reporter = reporter
        self._record = record
        self._folder = folder
        self._model: Model | None = None
        self._choice: Choice | None = None

    def run(self, telling: Telling) -> None:
        plan = work.plan(self._spec)
        self._record.total, self._record.placeholders = len(plan.items), len(plan.placeholders)
        if plan.items:
            self._record.device = device.find(self._spec.device, self._spec.guest_environment)
            self._watch = silent_fallback.Watch(self._record.device, self._reporter.log)
            self._model = Model(self._spec, self._record.device, self._folder / "tmp", self._watch.line)
            self._model.start()  # the module is imported while the first input comes
        try:
            telling.first()
        except OutputUnwritable:
            if plan.items:
                self._look(plan.items[0])  # who is denied both ends is told of the input, which comes first
            raise
        self._names = [item.file_name for item in plan.items]
        for item in plan.items:
            outcome = self._item(item)
            self._record.add(outcome)
            self._reporter.item(self._record, outcome)

    def log_tail(self) -> tuple[str, ...]:
        return self._model.tail() if self._model else ()

    def end(self) -> None:
        if self._model:
            self._model.end()

    def _item(self, item: Item) -> Outcome:
        """One item, whole. What goes wrong with it alone becomes its outcome; the job's failures are raised."""
        seconds: dict[str, float] = {}
        folder = self._folder / str(item.index)
        found: Object | None = None
        try:
            with _clocked(seconds, "download"):
                found = self._look(item)
                if (kept := self._up_to_date(item, found)) is not None:
                    return Outcome(item=item, state=SKIPPED, result=kept, size=found.size, etag=found.etag)
                local = self._fetch(item, found, folder)
        except Stopped:
            raise
        except Failure as failure:
            shutil.rmtree(folder, ignore_errors=True)
            return Outcome(item=item, state=ITEM_FAILED, seconds=seconds, failure=failure)
        with self._heeding_fallbacks():
            model, choice = self._prepared()
        try:
            with _clocked(seconds, "predict"), self._heeding_fallbacks():
                answer = model.predict(choice, self._arguments, local, folder)
            if item.index == self._record.total - 1:
                model.dismiss()
            with _clocked(seconds, "upload"):
                result = self._store(item, found, answer, seconds)
        except (Stopped, DeviceMissing):
            raise
        except Failure as failure:
            return Outcome(
                item=item,
                state=ITEM_FAILED,
                size=found.size,
                etag=found.etag,
                seconds=seconds,
                failure=failure,
                log_tail=model.tail(),
            )
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        return Outcome(
            item=item,
            state=DONE,
            result=result,
            size=found.size,
            etag=found.etag,
            runner=answer.runner,
            seconds=seconds,
        )

    def _look(self, item: Item) -> Object:
        try:
            return storage.of(item.uri).stat(item.uri, item.version)
        except storage.StorageError as error:
            raise storage.on_input(error) from None

    def _up_to_date(self, item: Item, found: Object) -> str | None:
        """The result that may stand as it is by JOB_OVERWRITE; None where there is work to do."""
        if self._spec.overwrite == "always":
            return None
        accept = self._spec.predict_args.get("accept")
        uri = item.result_uri(suffix_for(accept) if isinstance(accept, str) else ".json")
        try:
            result = storage.of(uri).stat(uri)
        except storage.Missing:
            return None
        except storage.Denied as error:
            if self._spec.overwrite == "never":
                raise OutputUnwritable(
                    f"JOB_OVERWRITE is never, but whether a result is there cannot be seen: {error}"
                ) from None
            return None
        except storage.StorageError as error:
            raise storage.on_output(error) from None
        if self._spec.overwrite == "never":
            return uri
        recorded = result.metadata
        same = (
            found.etag is not None
            and recorded.get("input-etag") == found.etag
            and recorded.get("input-version", "") == (found.version or "")
            and recorded.get("arguments-sha256") == _arguments_hash(self._spec)
        )
        return uri if same and recorded.get("model") == self._model_identity() else None

    def _fetch(self, item: Item, found: Object, folder: Path) -> Path:
        """Downloads an input into a folder of its own, under its own name: modules read extensions, and delete."""
        size = found.size or 0
        # deepaas-cli makes a copy of its own.
        needed = size * (1 if self._spec.runner == "worker" else 2) + _MARGIN
        free = shutil.disk_usage(self._folder).free
        if needed > free:
            raise DiskTrouble(
                f"input {item.shown} has {size:,} bytes and needs {needed:,} on the local disk, which has {free:,} free"
            )
        target = folder / "in" / item.file_name
        try:
            target.parent.mkdir(parents=True)
            storage.of(item.uri).download(found, target)
        except storage.StorageError as error:
            raise storage.on_input(error) from None
        except OSError as error:
            raise DiskTrouble(f"the local copy of {item.shown} cannot be written: {error.strerror}") from None
        return target

    def _prepared(self) -> tuple[Model, Choice]:
        """The model, once it has been checked against the job. Raises the job's failures."""
        assert self._model is not None  # noqa: S101 - there are items
        if self._choice is None:
            with _clocked(self._record.seconds, "model"):
                self._module_identity()
                self._arguments = self._model.fit(self._spec.predict_args, self._spec.input_field)
                self._choice = self._record.choice = self._model.choose(self._arguments, self._names)
            self._reporter.model_ready(self._record)
        return self._model, self._choice

    @contextmanager
    def _heeding_fallbacks(self) -> Iterator[None]:
        """Work of the model's. That it took the CPU although CUDA is there ends a job that asked for CUDA, whatever
        else came of it, and is a warning in any other."""
        try:
            yield
        except Stopped:
            raise
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
        self._record.warnings.append(seen)
        self._reporter.warning(seen)

    def _model_identity(self) -> str:
        """The image, or outside of one the module and its version."""
        return self._spec.image.identity or self._module_identity()

    def _module_identity(self) -> str:
        assert self._model is not None  # noqa: S101 - there are items
        if self._record.module is None:
            self._record.module = self._model.prepare()
        return self._record.module.identity

    def _store(self, item: Item, found: Object, answer: Answer, seconds: dict[str, float]) -> str:
        uri = item.result_uri(answer.suffix)
        try:
            storage.of(uri).upload(
                answer.path,
                uri,
                media_type=answer.media_type,
                metadata=self._provenance(found, answer, seconds),
            )
        except storage.StorageError as error:
            raise storage.on_output(error) from None
        return uri

    def _provenance(self, found: Object, answer: Answer, seconds: dict[str, float]) -> dict[str, str]:
        module, found_on = self._record.module, self._record.device
        facts = {
            "input-etag": found.etag,
            "input-version": found.version,
            "model": self._model_identity(),
            "base": self._spec.image.base,
            "module": module.identity if module else None,
            "deepaas": module.deepaas if module else None,
            "supervisor": __version__,
            "arguments-sha256": _arguments_hash(self._spec),
            "seconds": f"{seconds['predict']:.3f}",
            "device": found_on.kind if found_on else None,
            "runner": answer.runner,
        }
        return {name: value for name, value in facts.items() if value}


def _arguments_hash(spec: JobSpec) -> str:
    """What the answer depends on beside the input and the image."""
    text = json.dumps([spec.predict_args, spec.input_field], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


@contextmanager
def _clocked(seconds: MutableMapping[str, float], stage: str) -> Iterator[None]:
    began = time.perf_counter()
    try:
        yield
    finally:
        seconds[stage] = seconds.get(stage, 0.0) + time.perf_counter() - began


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
