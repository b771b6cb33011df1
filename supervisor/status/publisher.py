"""When the status is told, and to whom: at the start, now and then while the job runs, and at every ending.

The document in storage is the source of truth; the webhook is a courtesy. Whatever a sink does, items do not wait for
it, and the outcome stands.
"""

import math
import shutil
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

from supervisor import storage
from supervisor.failures import DiskTrouble
from supervisor.machine import signals
from supervisor.model.description import Module
from supervisor.model.runner import Choice
from supervisor.status.document import LEFT_OUT, RUNNING, Outcome, Record
from supervisor.status.item_files import ItemList, LinesFile, ResultsTable
from supervisor.status.redaction import redacted
from supervisor.status.reporters import DocumentFile, Reporter
from supervisor.work.provenance import of_document

if TYPE_CHECKING:
    from supervisor.status.webhook import Webhook

# Seconds between two rewritings of the document, and between two events to the webhook.
_DOCUMENT, _EVENT = 5.0, 30.0
# Seconds after the end of the work for the lists and the document.
_PATIENCE = 120.0
# And for the webhook's last event: where it has ever answered, and where it never has.
_WEBHOOK_PATIENCE, _WEBHOOK_DEAD = 60.0, 5.0
# For each of them at least, however little time a stopped job has left.
_LEAST = 0.5
# The lists' share of the time; the document matters more.
_LISTS_SHARE = 0.5
# Warnings that are told one by one.
_TOLD_WARNINGS = 1_000


class Publisher:
    """Tells one job's record, to its reporter and to wherever the job says."""

    def __init__(self, record: Record, reporter: Reporter) -> None:
        spec = record.spec
        self._record = record
        self._reporter = reporter
        self._document = DocumentFile(spec.status_uri, spec.identity.id) if spec.status_uri else None
        self._webhook = _webhook(spec.status_url, spec.status_secret, spec.identity.name)
        self._keeper = _Keeper(record, self._document, self._webhook, self.warning)
        self._folder: Path | None = None
        self._items: ItemList | None = None
        self._results: ResultsTable | None = None
        self._lists: list[LinesFile] = []
        self._warned = 0
        self._left_out = False

    @property
    def keeps_results(self) -> bool:
        """Whether the job keeps a table of its results."""
        return self._record.spec.results_table is not None

    def first(self) -> None:
        """The job begins. Where its status may not be written, results may not either: raises before anything is
        spent."""
        try:
            self._open_lists()
            self._keeper.write(self._record.document())
        except storage.Passing as error:
            self.warning(f"the status document could not be written yet: {error}")
        except storage.StorageError as error:
            raise storage.on_output(error) from None
        except OSError as error:
            raise DiskTrouble(f"no temporary file can be written: {error}") from None
        if self._webhook:
            self._webhook.tell(self._record.document())
        self._reporter.started(self._record)

    def model_ready(self, module: Module, choice: Choice, seconds: float) -> None:
        """The module has answered for itself, after so many seconds, and how items are run is chosen."""
        self._record.prepared(module, choice, seconds)
        self._reporter.model_ready(self._record)
        self._keeper.changed = True

    def runner_changed(self, choice: Choice) -> None:
        """Items are run in another way than was chosen."""
        self._record.runs_by(choice)
        self._keeper.changed = True

    def item(self, outcome: Outcome) -> None:
        """One item has ended. Called in the order of the work, from one thread at a time."""
        self._record.add(outcome)
        if outcome.state == LEFT_OUT:
            if not self._left_out:
                self.warning(f"{outcome.item.shown} is no input: an earlier job has written it; such are left out")
            self._left_out = True
            return
        if self._items:
            self._items.add(outcome)
        self._reporter.item(self._record, outcome)
        self._keeper.changed = True

    def result(self, outcome: Outcome, source: Path | bytes) -> None:
        """A result in JSON, for the table of results. From any thread; source: its bytes, or the local copy, still
        there."""
        if self._results:
            self._results.add(outcome, source)

    def give_up_results(self, why: str) -> None:
        """The job goes on without its table of results. From any thread."""
        if self._results:
            self._results.give_up(why)

    def log(self, line: str) -> None:
        """A line that the model printed. From any thread."""
        self._reporter.log(redacted(line))

    def warning(self, message: str) -> None:
        """Something that the job goes on after. From any thread."""
        message = redacted(message)
        self._record.warn(message)
        self._warned += 1
        if self._warned <= _TOLD_WARNINGS:
            self._reporter.warning(message)
        self._keeper.changed = True

    def last(self, until: Callable[[], float] = lambda: math.inf) -> None:
        """The job has ended, and its outcome stands: what cannot be told is only remarked on.

        until: a moment of time.monotonic by which all must be told, where a scheduler kills soon; a stop that comes as
        late as this brings it closer.
        """
        began = time.monotonic()

        def by(patience: float) -> float:
            return min(began + patience, until())

        self._upload_lists(lambda: began + (by(_PATIENCE) - began) * _LISTS_SHARE)
        document = self._record.document()
        least = time.monotonic() + _LEAST
        told = None
        if self._webhook:
            patience = _WEBHOOK_PATIENCE if self._webhook.has_answered else _WEBHOOK_DEAD
            told = self._webhook.tell_last(document, lambda: max(least, by(patience)))
        self._keeper.end(document, lambda: max(least, by(_PATIENCE)), self._remark)
        if told:
            told.wait(self._remark)
        self._reporter.finished(self._record)
        if self._folder:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _remark(self, message: str) -> None:
        """What comes to light too late for the document."""
        self._reporter.warning(redacted(message))

    def _open_lists(self) -> None:
        record, spec = self._record, self._record.spec
        if spec.items_uri and record.several:
            self._items = ItemList(self._list(spec.items_uri))
        if spec.results_table:
            self._results = ResultsTable(self._list(f"{spec.results_table}{spec.identity.name}.results.jsonl"))
        record.keeps(self._items.uri if self._items else None, self._results.uri if self._results else None)

    def _list(self, uri: str) -> LinesFile:
        self._folder = self._folder or Path(tempfile.mkdtemp(prefix="supervisor-lists-"))
        metadata = of_document(uri, self._record.spec.identity.id)
        lines = LinesFile(self._folder / f"{len(self._lists)}.jsonl", uri, metadata)
        self._lists.append(lines)
        return lines

    def _upload_lists(self, until: Callable[[], float]) -> None:
        """Before the document: who reads that the job has ended finds them."""
        began = time.monotonic()
        uploads = [(lines, _in_background("list", lines.upload)) for lines in self._lists]
        for lines, ended in uploads:
            try:
                problem: BaseException | str | None = signals.get_until(ended, until)
            except Empty:
                problem = f"{lines.uri} could not be written within {time.monotonic() - began:.1f} s"
            if problem := problem or lines.problem:
                self.warning(f"a list of the job's items is missing: {problem}")
                self._record.keeps_not(lines.uri)


class _Keeper:
    """Keeps the document in storage, and the webhook, up to date from a thread of its own.

    One thread writes all versions of the document, one after the other: a slow storage has never two to write, and
    none can come to lie over the last one.
    """

    def __init__(
        self, record: Record, document: DocumentFile | None, webhook: "Webhook | None", warn: Callable[[str], None]
    ) -> None:
        self.changed = False
        self._record = record
        self._document = document
        self._webhook = webhook
        self._warn = warn
        self._told_webhook = time.monotonic()
        self._untold = False
        self._failing = False
        # Of queues alone: the main thread waits here, and a signal handler that raises in an Event leaves it locked.
        self._orders: SimpleQueue[_Order] = SimpleQueue()
        self._thread = threading.Thread(target=self._keep, name="status", daemon=True)

    def write(self, document: dict[str, Any]) -> None:
        """Writes the first version. Raises StorageError or OSError."""
        if not (self._document or self._webhook):
            return
        self._thread.start()
        order = _Order(document)
        self._orders.put(order)
        if problem := order.ended.get():
            raise problem

    def end(self, document: dict[str, Any], until: Callable[[], float], remark: Callable[[str], None]) -> None:
        """Writes the last version; waits for it no longer than until then, as it stands."""
        began = time.monotonic()
        if not self._thread.ident:
            if not self._document:
                return
            self._thread.start()
        order = _Order(document, last=True)
        self._orders.put(order)
        try:
            problem: object = signals.get_until(order.ended, until)
        except Empty:
            problem = f"storage has not answered within {time.monotonic() - began:.1f} s"
        if problem:
            remark(f"the status document could not be written: {problem}")

    def _keep(self) -> None:
        while True:
            try:
                order = self._orders.get(timeout=_DOCUMENT)
            except Empty:
                self._refresh()
                continue
            order.ended.put(self._written(order.document))
            if order.last:
                return

    def _refresh(self) -> None:
        """Brings both up to date with what has changed; the last version waits for the lists."""
        changed = self.changed
        if changed:  # before the document is made: what changes from here on is in the next one
            self.changed = False
            self._untold = self._webhook is not None
        if not (changed or self._untold):
            return
        document = self._record.document()
        if document["state"] != RUNNING:
            return
        if changed:
            self._rewrite(document)
        # An event that an earlier one stood in the way of is due again, also where nothing more changes.
        due = self._untold and time.monotonic() - self._told_webhook >= _EVENT
        if self._webhook and due and self._webhook.tell(document):
            self._told_webhook, self._untold = time.monotonic(), False

    def _rewrite(self, document: dict[str, Any]) -> None:
        problem = self._written(document)
        if problem and not self._failing:  # once, for as long as it lasts
            self._warn(f"the status document could not be written yet: {problem}")
        self._failing = problem is not None
        self.changed = self.changed or self._failing

    def _written(self, document: dict[str, Any]) -> Exception | None:
        try:
            if self._document:
                self._document.write(document)
        except Exception as problem:  # a bug of a storage library does not end the telling
            return problem
        return None


class _Order:
    """A version of the document that somebody waits for."""

    def __init__(self, document: dict[str, Any], *, last: bool = False) -> None:
        self.document = document
        self.last = last
        self.ended: SimpleQueue[Exception | None] = SimpleQueue()


def _in_background(name: str, work: Callable[[], None]) -> "SimpleQueue[BaseException | None]":
    """Starts it; the queue gets what it raised, or None."""
    ended: SimpleQueue[BaseException | None] = SimpleQueue()

    def do() -> None:
        try:
            work()
        except BaseException as problem:
            ended.put(problem)
        else:
            ended.put(None)

    threading.Thread(target=do, name=name, daemon=True).start()
    return ended


def _webhook(url: str | None, key: bytes | None, job: str) -> "Webhook | None":
    if not url:
        return None
    from supervisor.status.webhook import Webhook  # with it comes requests: 0.1 s of start-up

    return Webhook(url, key, job)
