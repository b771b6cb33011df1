"""One job's life: its work is planned, its models are started, its items go through the pipeline, its status is told.

A failure of one item does not stop the others. A failure of the job (its arguments, its image, its device) does.
"""

import gc
import math
import os
import signal
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

from supervisor.failures import Bug, Failure, OutputUnwritable, SpotReclaimed, Stopped
from supervisor.job import JobSpec
from supervisor.machine import console, device, disk, signals, spot
from supervisor.model.copies import Copies
from supervisor.model.environment import guest_environment
from supervisor.pipeline import Bounds, Pipeline
from supervisor.same_cause import SameCause
from supervisor.stages import Stages, look_at
from supervisor.status.document import Outcome, Record
from supervisor.status.publisher import Publisher
from supervisor.status.redaction import redacted
from supervisor.status.reporters import Reporter
from supervisor.work.outputs import Outputs
from supervisor.work.plan import Item, Work, plan_work

# Seconds after JOB_GRACE to cut off what still runs, store what it left, and tell the status: a scheduler kills 30 s
# after SIGTERM.
_ENDING = 5.0
# Seconds that a job whose own failure ends it gives to what is on its way to storage; nobody kills it meanwhile.
_LAST_UPLOADS = 60.0
# Seconds before a reclaimed machine's end that are left alone: its clock and ours need not agree.
_SPOT_MARGIN = 5.0


def run(spec: JobSpec, reporter: Reporter) -> Record:
    """Runs one job to its end and tells its status everywhere. Never raises for what a job can run into.

    A stop ends its work; one that comes later only what tells of it, sooner. signals.note_stops is to be called before.
    """
    record = Record(spec)
    publisher = Publisher(record, reporter)
    failure: Failure | None = None
    log_tail: tuple[str, ...] = ()
    notice = spot.watch(
        lambda end: publisher.warning(f"Spot notice: this machine goes {end}; no new item begins when time is short"),
        lambda: os.kill(os.getpid(), signal.SIGTERM),
        needed=spec.grace + _ENDING + _SPOT_MARGIN,
    )
    try:
        with disk.job_folder() as folder:
            job = Job(spec, publisher, record, folder)
            try:
                with signals.stops_raised():
                    job.run()
            except Failure:
                log_tail = job.log_tail()
                raise
            finally:
                job.end()
    except Stopped as stopped:
        failure = SpotReclaimed(f"{stopped.message}, for a Spot notice") if notice.seen() else stopped
    except Failure as known:
        failure = known
    except Exception as unknown:  # every ending gets a status; a bug of ours is told as such
        console.say(redacted(traceback.format_exc()))
        failure = Bug(f"{type(unknown).__name__}: {unknown}")
    notice.stop()
    record.close(failure, log_tail)
    publisher.last(_told_by(spec))
    return record


def refuse(spec: JobSpec, failure: Failure, reporter: Reporter) -> Record:
    """Tells the status of a job that cannot begin: spec holds what could be read of it."""
    record = Record(spec)
    record.close(failure)
    Publisher(record, reporter).last(_told_by(spec))
    return record


def _told_by(spec: JobSpec) -> Callable[[], float]:
    """When all must be told: soon after a stop, which may come as late as this."""
    return signals.closer(math.inf, spec.grace + _ENDING)


class Job:
    """One job in the middle of its work."""

    def __init__(self, spec: JobSpec, publisher: Publisher, record: Record, folder: Path) -> None:
        self._spec = spec
        self._publisher = publisher
        self._record = record
        self._folder = folder
        self._outputs = Outputs(spec)
        self._copies: Copies | None = None

    def run(self) -> None:
        work = plan_work(self._spec)
        self._record.planned(work.total, work.placeholders)
        if work.total != 0:
            self._copies = self._new_copies(work)
            self._copies.start()  # the module is imported while the first input comes
        try:
            self._outputs.require_writable()
            self._publisher.first()
        except OutputUnwritable:
            if (item := next(iter(work), None)) is not None:
                look_at(item)  # who is denied both ends is told of the input, which comes first
            raise
        for warning in work.warnings:
            self._publisher.warning(warning)
        if self._copies:
            self._pass_through(work, self._copies)

    def log_tail(self) -> tuple[str, ...]:
        return self._copies.log_tail() if self._copies else ()

    def end(self) -> None:
        """Ends the models with all that they started."""
        if self._copies:
            self._copies.end()
            self._record.used(self._copies.usage())

    def _new_copies(self, work: Work) -> Copies:
        found = device.find(self._spec.device, guest_environment(self._spec.environment, self._spec.guest_env))
        self._record.runs_on(found)
        return Copies(self._spec, found, self._folder, work.total, self._publisher)

    def _pass_through(self, work: Work, copies: Copies) -> None:
        stages = Stages(self._spec, self._record, self._publisher, copies, self._outputs, self._folder)
        same_cause = SameCause(self._spec.give_up_after, lambda: stages.any_done)

        def tell(outcome: Outcome) -> None:
            self._publisher.item(outcome)
            if (failure := same_cause.after(outcome)) is not None and self._record.unended:
                pipeline.stop(failure)

        pipeline = Pipeline(stages, tell, self._bounds(work, copies))
        copies.on_more = lambda: pipeline.add_predictor(copies.begin, copies.goes_on)
        gc.freeze()  # what is imported by now stays: else each full collection looks through all of boto3
        gc.set_threshold(10_000)  # items leave no cycles behind: looking for some after each 700 objects is in vain
        with signals.noting_stops():
            try:
                with signals.stops_delivered_to(pipeline.stop):
                    pipeline.run(stages.beside_results(self._counted(work)))
            except BaseException as why:
                grace, predictions_until = self._spec.grace, time.monotonic()
                uploads_until = predictions_until + _LAST_UPLOADS
                if isinstance(why, Stopped):
                    predictions_until, uploads_until = why.at + grace, math.inf
                    self._publisher.warning(f"{why.message}: nothing new begins, and what runs has {grace:g} s to end")
                pipeline.wind_down(
                    signals.closer(predictions_until, grace), signals.closer(uploads_until, grace + _ENDING / 2)
                )
                raise

    def _bounds(self, work: Work, copies: Copies) -> Bounds:
        size = disk.inputs_bound(self._folder)
        if work.total is not None and work.total < Bounds.fetchers:
            return Bounds(fetchers=work.total, storers=work.total, predictors=len(copies), size=size)
        return Bounds(predictors=len(copies), size=size)

    def _counted(self, work: Work) -> Iterator[Item]:
        """The items, and their number as it comes to be known."""
        for item in work:
            self._record.listed(item.index + 1, work.placeholders)
            yield item
        self._record.listed_all(work.placeholders)
