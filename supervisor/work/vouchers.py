"""What the lists of earlier runs vouch for: results that need no question."""

import re
import shutil
import tempfile
import threading
from array import array
from bisect import bisect_left
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path

from supervisor import storage
from supervisor.job import JobSpec
from supervisor.storage import Object

# A list of a million items has 350 MB, of which 8 MB stay. A run's list repeats the vouchers of all that it has left
# alone, so that the newest whole one usually knows all: a further one is read after each _PATIENCE results of which
# none knows, as long as these have no more than _BYTES in all.
_PATIENCE = 8
_BYTES = 256 * 1024 * 1024
_LISTS = 100
_MOST = 4_000_000
# Keys of a folder of status documents that are looked through for lists: ten requests.
_LOOKED_THROUGH = 10_000
_VOUCHER = re.compile(rb'"voucher": ?"([0-9a-f]{16})"')


class Vouchers:
    """The vouchers in the lists of items that lie beside this job's status document, newest first. From any thread."""

    def __init__(self, spec: JobSpec) -> None:
        self._spec = spec
        self._waiting: Iterator[Object] | None = None
        self._read = 0  # lists
        self._bytes = 0  # of lists but the first
        self._missed = 0  # since the last list was read
        # In buckets, so that one of them at a time is sorted, which takes five times as much.
        self._buckets = [array("Q") for _ in range(256)]
        self._lock = threading.Lock()

    def know(self, voucher: str) -> bool:
        """Whether a list has it. Reads them as they are needed."""
        with self._lock:
            while not self._holds(int(voucher, 16)):
                self._missed += 1
                if (self._read and self._missed < _PATIENCE) or not self._read_next():
                    return False
            return True

    def _holds(self, voucher: int) -> bool:
        bucket = self._buckets[voucher & 255]
        at = bisect_left(bucket, voucher)
        return at < len(bucket) and bucket[at] == voucher

    def _read_next(self) -> bool:
        """Reads one more list, where there is one that is worth it."""
        if self._waiting is None:
            self._waiting = iter(self._lists())
        self._missed = 0
        each = next(self._waiting, None)
        if each is None:
            return False
        if self._read:
            self._bytes += each.size or 0
        if self._bytes > _BYTES or sum(map(len, self._buckets)) > _MOST:
            self._waiting = iter(())
            return False
        self._read += 1
        for voucher in _vouchers(each):
            self._buckets[voucher & 255].append(voucher)
        self._buckets = [array("Q", sorted(set(bucket))) for bucket in self._buckets]
        return True

    def _lists(self) -> list[Object]:
        """Those that may know of this job's results, newest first."""
        own, index = self._spec.items_uri, self._spec.identity.array_index
        if own is None:
            return []
        try:
            always, status = self._spec.overwrite == "always", self._spec.status
            if status and not status.endswith("/"):  # each run's list has this name, also another job's
                return [] if always else [storage.of(own).stat(own)]
            if always:
                return [storage.of(own).stat(own)]  # of an earlier attempt
            folder = own[: own.rfind("/") + 1]
            # A child of an array has had the same share before, where the array had as many children.
            end = ".items.jsonl" if index is None else f"-{index}.items.jsonl"
            seen = islice(storage.of(folder).list(folder), _LOOKED_THROUGH)
            found = [each for each in seen if each.uri.endswith(end)]
        except storage.StorageError:  # what a HEAD says of each result is what counts
            return []
        return sorted(found, key=lambda each: each.modified or 0.0, reverse=True)[:_LISTS]


def _vouchers(each: Object) -> Iterator[int]:
    """What a list vouches for. One that cannot be read vouches for nothing."""
    with tempfile.TemporaryDirectory(prefix="supervisor-") as folder, suppress(storage.StorageError, OSError):
        if (each.size or 0) > shutil.disk_usage(folder).free // 2:
            return
        path = Path(folder, "items.jsonl")
        storage.of(each.uri).download(each, path)
        with path.open("rb") as lines:
            for line in lines:
                if found := _VOUCHER.search(line):
                    yield int(found[1], 16)
