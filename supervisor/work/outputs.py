"""Whether results can be written where they are to go, found before anything is predicted."""

import threading

from supervisor import storage
from supervisor.failures import Failure
from supervisor.job import JobSpec
from supervisor.storage.uri import scheme, split_s3


class Outputs:
    """The places of one job's results, each probed once. Asked from many threads."""

    def __init__(self, spec: JobSpec) -> None:
        self._spec = spec
        self._probed: dict[str, Failure | None] = {}
        self._probing = threading.Lock()

    def require_writable(self) -> None:
        """Raises OutputUnwritable where JOB_OUTPUT or JOB_RESULTS_TABLE cannot be written. What the status document is
        written to is known by that."""
        status = self._spec.status_uri or ""
        for place in (self._spec.output, self._spec.results_table):
            if place and not status.startswith(place):
                _probe(place)

    def require_writable_for(self, result: str) -> None:
        """The same for a result that a manifest puts elsewhere: one question for each bucket, or local folder."""
        if self._spec.output and result.startswith(self._spec.output):
            return
        folder = result[: result.rfind("/") + 1]
        place = f"s3://{split_s3(result)[0]}/" if scheme(result) == "s3" else folder
        with self._probing:
            if place not in self._probed:
                self._probed[place] = _failure_of(folder)
            failure = self._probed[place]
        if failure:
            raise type(failure)(failure.message, failure.hint)


def _failure_of(place: str) -> Failure | None:
    try:
        _probe(place)
    except Failure as failure:
        if failure.retry:  # gone the next time, perhaps
            raise
        return failure
    return None


def _probe(place: str) -> None:
    try:
        storage.of(place).probe(place)
    except storage.StorageError as error:
        raise storage.on_output(error) from None
