"""What is recorded beside a result, and by it whether a result that is there still stands."""

import hashlib
import json
import re
import tempfile
import threading
from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from supervisor import __version__, storage
from supervisor.failures import OutputUnwritable
from supervisor.job import JobSpec
from supervisor.machine.device import Device
from supervisor.model.description import Module
from supervisor.model.runner import suffix_for
from supervisor.storage import Object
from supervisor.storage.uri import scheme
from supervisor.work.plan import Item

# Below so many items, asking for each result is cheaper than listing all that there are.
_FEW = 64
# How many lists of items are read at most.
_LISTS = 100
_VOUCHED = re.compile(rb'"voucher": ?"([0-9a-f]{16})"')


class Provenance:
    """What results are made of, and which may stand as they are, by JOB_OVERWRITE. Asked from many threads.

    A result's metadata says what it was made of, for a request each. Where there are many, one listing says which
    results there are, and the lists of items that earlier runs left vouch for those that are still what they wrote.
    """

    def __init__(self, spec: JobSpec, model: Callable[[], str]) -> None:
        """model: the identity of the model, which may have to be waited for."""
        self._spec = spec
        self._model = model
        self._arguments = self._hash(spec.predict_args, (None,))
        self._listed: _Listing | None = None
        self._listing = threading.Lock()

    def facts(
        self, item: Item, found: Object, module: Module | None, device: Device | None, runner: str, seconds: float
    ) -> dict[str, str]:
        """The metadata of one result: what it was made of, by what, on what. seconds: of the prediction."""
        known = {
            "input-etag": found.etag,
            "input-version": found.version,
            "model": self._model(),
            "base": self._spec.image.base,
            "module": module.identity if module else None,
            "deepaas": module.deepaas if module else None,
            "supervisor": __version__,
            "arguments-sha256": self._arguments_hash(item),
            "seconds": f"{seconds:.3f}",
            "device": device.kind if device else None,
            "runner": runner,
        }
        return {name: value for name, value in known.items() if value}

    def kept(self, item: Item, found: Object) -> tuple[str, str | None] | None:
        """The URI of the result that stands, and its voucher; None where there is work to do. Raises the Failure that
        fits."""
        if self._spec.overwrite == "always":
            return None
        arguments = self._spec.predict_args if item.arguments is None else item.arguments
        accept = arguments.get("accept")
        uri = item.result_uri(suffix_for(accept) if isinstance(accept, str) else ".json")
        known = self._known_results(item, uri)
        if known and uri not in known:
            return None
        if known and self._spec.overwrite == "changed" and found.etag:
            voucher = known.voucher(uri, self._made_of(item, found.etag))
            if voucher:
                return uri, voucher
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
            return uri, None
        if self._same(item, found, result.metadata):
            return uri, self.voucher(item, found, uri, result.etag)
        return None

    def voucher(self, item: Item, found: Object, uri: str, etag: str | None) -> str | None:
        """What a list of items says of a result, to be believed for as long as the result keeps its ETag."""
        return _voucher(uri, _short(etag), self._made_of(item, found.etag)) if etag and found.etag else None

    def _made_of(self, item: Item, etag: str) -> str:
        return f"{etag} {self._arguments_hash(item)} {self._model()}"

    def _arguments_hash(self, item: Item) -> str:
        """What the answer depends on beside the input and the model."""
        if item.arguments is None and not any(item.fields):
            return self._arguments
        return self._hash(self._spec.predict_args if item.arguments is None else item.arguments, item.fields)

    def _hash(self, arguments: Mapping[str, Any], fields: Sequence[str | None]) -> str:
        """Fields: of the item's files, in whatever order."""
        taken = sorted(field or self._spec.input_field or "" for field in fields)
        made_of = [arguments, taken if len(taken) > 1 else taken[0] or None]
        return hashlib.sha256(json.dumps(made_of, sort_keys=True).encode()).hexdigest()

    def _same(self, item: Item, found: Object, recorded: Mapping[str, str]) -> bool:
        return (
            found.etag is not None
            and recorded.get("input-etag") == found.etag
            # A listing tells no versions; the ETag alone says whether the bytes are the same.
            and found.version in (None, recorded.get("input-version", found.version))
            and recorded.get("arguments-sha256") == self._arguments_hash(item)
            and recorded.get("model") == self._model()
        )

    def _known_results(self, item: Item, uri: str) -> "_Listing | None":
        """What a listing has shown. None for a result that it would not show, and for the first items, which are asked
        for one by one."""
        output = self._spec.output or ""
        if item.index < _FEW or scheme(output) != "s3" or not uri.startswith(output):
            return None
        with self._listing:
            if self._listed is None:
                self._listed = _Listing(output, self._spec.identity.array_index)
        return self._listed if self._listed.complete else None


class _Listing:
    """The results below a prefix and what vouches for them, in 24 bytes each."""

    def __init__(self, output: str, array_index: int | None) -> None:
        seen: list[tuple[int, int]] = []
        lists: list[Object] = []
        self.complete = False
        try:
            for each in storage.of(output).list(output):
                seen.append((_short(each.uri), _short(each.etag)))
                if each.uri.startswith(f"{output}_status/") and each.uri.endswith(_end_of_lists(array_index)):
                    lists.append(each)
            self.complete = True
        except storage.StorageError:  # denied, or no such bucket: what stat says of each result is what counts
            return
        seen.sort()
        self._uris = array("Q", (uri for uri, _ in seen))
        self._etags = array("Q", (etag for _, etag in seen))
        self._vouchers = array("Q", sorted(_vouchers(lists[-_LISTS:])))

    def __contains__(self, uri: str) -> bool:
        return _place(self._uris, _short(uri)) is not None

    def voucher(self, uri: str, made_of: str) -> str | None:
        """The voucher for this result as it is now, made of just that; None where no list has it."""
        at = _place(self._uris, _short(uri))
        if at is None:
            return None
        voucher = _voucher(uri, self._etags[at], made_of)
        return voucher if _place(self._vouchers, int(voucher, 16)) is not None else None


def _end_of_lists(array_index: int | None) -> str:
    """A child of an array reads what earlier runs of this child have left."""
    return ".items.jsonl" if array_index is None else f"-{array_index}.items.jsonl"


def _vouchers(lists: list[Object]) -> Iterator[int]:
    """What lists of items vouch for. One that cannot be read vouches for nothing."""
    for each in lists:
        with tempfile.TemporaryDirectory(prefix="supervisor-") as folder, suppress(storage.StorageError, OSError):
            path = Path(folder, "items.jsonl")
            storage.of(each.uri).download(each, path)
            with path.open("rb") as lines:
                for line in lines:
                    if found := _VOUCHED.search(line):
                        yield int(found[1], 16)


def _place(numbers: "array[int]", wanted: int) -> int | None:
    at = bisect_left(numbers, wanted)
    return at if at < len(numbers) and numbers[at] == wanted else None


def _short(text: str | None) -> int:
    """64 bits that stand for a text: of a million, two are alike once in 40 million jobs."""
    return int.from_bytes(hashlib.blake2b((text or "").encode(errors="surrogatepass"), digest_size=8).digest(), "big")


def _voucher(uri: str, etag: int, made_of: str) -> str:
    return f"{_short(f'{uri} {etag} {made_of}'):016x}"
