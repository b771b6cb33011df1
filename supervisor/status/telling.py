"""When the status is told, and to whom: at the start, and at every ending, to each sink."""

from typing import TYPE_CHECKING

from supervisor import storage
from supervisor.failures import DiskTrouble, Stopped
from supervisor.status.document import Record
from supervisor.status.sinks import DocumentFile, Reporter

if TYPE_CHECKING:
    from supervisor.status.webhook import Webhook

# After SIGTERM a scheduler kills in 30 s, and the model had its share of them.
_PATIENCE_WHEN_STOPPED = 3.0


class Telling:
    """Tells one job's record. The document in storage is the source of truth; the webhook is a courtesy."""

    def __init__(self, record: Record, reporter: Reporter) -> None:
        spec = record.spec
        self._record = record
        self._reporter = reporter
        self._document = DocumentFile(spec.status_uri) if spec.status_uri else None
        self._webhook = _webhook(spec.status_url, spec.status_secret, spec.identity.name)

    def first(self) -> None:
        """The job begins. Where its status may not be written, results may not either: raises before anything is
        spent."""
        if self._document:
            try:
                self._document.write(self._record)
            except storage.Passing as error:
                self._reporter.warning(f"the status document could not be written yet: {error}")
            except storage.StorageError as error:
                raise storage.on_output(error) from None
            except OSError as error:
                raise DiskTrouble(f"no temporary file can be written: {error}") from None
        if self._webhook:
            self._webhook.tell(self._record.document())
        self._reporter.started(self._record)

    def last(self) -> None:
        """The job has ended, and its outcome stands: what cannot be told is only remarked on."""
        if self._document:
            try:
                self._document.write(self._record)
            except (storage.StorageError, OSError) as error:
                self._reporter.warning(f"the status document could not be written: {error}")
        if self._webhook:
            from supervisor.status.webhook import LAST_PATIENCE

            stopped = isinstance(self._record.failure, Stopped)
            patience = _PATIENCE_WHEN_STOPPED if stopped else LAST_PATIENCE
            self._webhook.tell_last(self._record.document(), patience, self._reporter.warning)
        self._reporter.finished(self._record)


def _webhook(url: str | None, key: bytes | None, job: str) -> "Webhook | None":
    if not url:
        return None
    from supervisor.status.webhook import Webhook  # with it comes requests: 0.1 s of start-up

    return Webhook(url, key, job)
