"""Which items need nothing, for their results stand: by JOB_OVERWRITE, and by what is recorded of the results."""

from collections.abc import Iterable, Iterator, Mapping

from supervisor import storage
from supervisor.failures import ItemFailed, OutputUnwritable
from supervisor.job import JobSpec
from supervisor.storage import Object
from supervisor.work.plan import Item
from supervisor.work.provenance import Provenance, is_written
from supervisor.work.results import Results
from supervisor.work.vouchers import Vouchers

# Items whose results are asked what they record, before any list is read.
_FEW = 16


class Resume:
    """One job's rule for what is there already. Asked from many threads.

    A result's metadata says what it is made of, for a request each. Where a listing has shown the result, and the list
    of an earlier run vouches for it, there is none.
    """

    def __init__(self, spec: JobSpec, provenance: Provenance) -> None:
        self._overwrite = spec.overwrite
        self._provenance = provenance
        self._results = Results(spec)
        self._vouchers = Vouchers(spec)
        # JOB_OVERWRITE=always keeps what an earlier attempt of this job has made, if there was one.
        self._starts_anew = spec.overwrite == "always" and spec.identity.attempt == 1

    def beside(self, items: Iterable[Item]) -> Iterator[Item]:
        """The items, each with what a listing shows of its results where that saves questions."""
        return iter(items) if self._starts_anew else self._results.beside(items)

    def kept(self, item: Item, found: Object) -> tuple[str, str | None] | None:
        """The URI of the result that stands, and its voucher; None where there is work to do. Raises the Failure that
        fits."""
        if self._starts_anew:
            return None
        try:
            for result in self._results.of(item):
                if self._stands(item, found, result):
                    return result.uri, self._voucher(item, found, result)
        except storage.Denied as error:
            if self._overwrite == "never":
                raise OutputUnwritable(
                    f"JOB_OVERWRITE is never, but whether a result is there cannot be seen: {error}"
                ) from None
        except storage.StorageError as error:
            raise storage.on_output(error) from None
        return None

    def require_free(self, item: Item, uri: str) -> None:
        """Raises ItemFailed for a result that would take the place of what no job has written: where results lie among
        inputs, that of x may be x.wav, and x.wav an input."""
        if not item.among_inputs or item.exactly or uri.endswith(self._results.usual(item)):
            return
        if item.results is not None and all(each.uri != uri for each in item.results):  # a listing has shown nothing
            return
        try:
            there = storage.of(uri).stat(uri)
        except storage.StorageError:  # nothing, or it says so when it is written
            return
        if not is_written(there.metadata):
            raise ItemFailed(
                f"its result would take the place of {uri}, which no job has written",
                "name a JOB_OUTPUT apart from the inputs",
            )

    def _stands(self, item: Item, found: Object, result: Object) -> bool:
        if self._overwrite == "never":
            usual = item.exactly or result.uri.endswith(self._results.usual(item))
            return bool(usual) or is_written(_recorded(result))
        # Lists are not read for a few items; a result that was not just listed has told its metadata.
        asks_lists = item.index >= _FEW and not result.metadata
        if asks_lists and (voucher := self._voucher(item, found, result)) and self._vouchers.know(voucher):
            return True
        recorded = _recorded(result)
        if self._overwrite == "always" and not self._provenance.is_by_this_job(recorded):
            return False
        return self._provenance.is_of_this(item, found, recorded)

    def _voucher(self, item: Item, found: Object, result: Object) -> str | None:
        if self._overwrite == "never":  # whatever is there stands, whoever made it of what
            return None
        return self._provenance.voucher(item, found, result.uri, result.etag)


def _recorded(result: Object) -> Mapping[str, str]:
    """A listing tells no metadata."""
    if result.metadata:
        return result.metadata
    try:
        return storage.of(result.uri).stat(result.uri).metadata
    except storage.Missing:
        return {}
