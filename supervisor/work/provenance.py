"""What a result is made of: recorded beside it, and by it whether a result that is there still stands."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import quote_from_bytes

from supervisor import __version__
from supervisor.job import JobSpec
from supervisor.machine.device import Device
from supervisor.model.description import Module
from supervisor.storage import Object
from supervisor.storage.uri import query_digest, scheme, shown
from supervisor.work.inputs import by_field
from supervisor.work.naming import WRITABLE, normal
from supervisor.work.plan import Item

# Bytes of an input's URI that are recorded: S3 takes 2 KB of metadata, and a key has up to 1,024 bytes, 3,072 encoded.
_LONGEST_INPUT = 512


class Provenance:
    """What this job's results are made of. Asked from many threads."""

    def __init__(self, spec: JobSpec, model: Callable[[], str]) -> None:
        """model: the identity of the model, which may have to be waited for."""
        self._spec = spec
        self._model = model
        self._arguments = self._hash(spec.predict_args, (None,))
        prefix = spec.input or ""
        self._prefix = _recorded(prefix) if prefix.endswith("/") and scheme(prefix) in WRITABLE else None

    def facts(
        self, item: Item, found: Object, module: Module | None, device: Device | None, runner: str, seconds: float
    ) -> dict[str, str]:
        """The metadata of one result: what it was made of, by what, on what. seconds: of the prediction."""
        known = {
            "input": _recorded(item.uri),
            "input-etag": found.etag,
            "input-version": found.version,
            "model": self._model(),
            "base": self._spec.image.base,
            "module": module.identity if module else None,
            "deepaas": module.deepaas if module else None,
            "supervisor": __version__,
            "arguments-sha256": self._arguments_hash(item),
            "job": self._spec.identity.id,
            "seconds": f"{seconds:.3f}",
            "device": device.kind if device else None,
            "runner": runner,
        }
        return {name: value for name, value in known.items() if value}

    def is_of_this(self, item: Item, found: Object, recorded: Mapping[str, str]) -> bool:
        """Whether a result that records this is made of this input, by this model, with these arguments."""
        return (
            found.etag is not None
            and recorded.get("input-etag") == found.etag
            # A listing tells no versions; the ETag alone says whether the bytes are the same.
            and found.version in (None, recorded.get("input-version", found.version))
            and _own_name(item) in ("", recorded.get("input"))
            and recorded.get("arguments-sha256") == self._arguments_hash(item)
            and recorded.get("model") == self._model()
        )

    def is_by_this_job(self, recorded: Mapping[str, str]) -> bool:
        """Whether an attempt of this very job has made the result that records this."""
        return recorded.get("job") == self._spec.identity.id

    def is_no_input(self, recorded: Mapping[str, str]) -> bool:
        """Whether an object that records this is a job's writing, and nothing to predict on.

        Below a prefix such are results of what lies below the same prefix, and what jobs tell of themselves; in an
        event the results of this very model, which would beget results for ever. What is named one by one is taken.
        """
        if not is_written(recorded):
            return False
        if self._prefix is not None:
            return "document" in recorded or _is_below(recorded.get("input", ""), self._prefix)
        return self._spec.event is not None and recorded.get("model") == self._model()

    def voucher(self, item: Item, found: Object, uri: str, etag: str | None) -> str | None:
        """What a list of items says of a result, to be believed for as long as the result keeps its ETag: 64 bits, of
        which a million are alike once in 40 million jobs."""
        if not (etag and found.etag):
            return None
        made_of = f"{found.etag} {_own_name(item)} {self._arguments_hash(item)} {self._model()}"
        text = f"{uri} {etag} {made_of}".encode(errors="surrogatepass")
        return hashlib.blake2b(text, digest_size=8).hexdigest()

    def _arguments_hash(self, item: Item) -> str:
        """What the answer depends on beside the input and the model."""
        if item.arguments is None and not any(item.fields):
            return self._arguments
        return self._hash(self._spec.predict_args if item.arguments is None else item.arguments, item.fields)

    def _hash(self, arguments: Mapping[str, Any], fields: Sequence[str | None]) -> str:
        """fields: of the item's files, which count in the order in which their ETags do."""
        taken = [field or self._spec.input_field or "" for field in sorted(fields, key=by_field)]
        made_of = [arguments, taken if len(taken) > 1 else taken[0] or None]
        return hashlib.sha256(json.dumps(made_of, sort_keys=True).encode()).hexdigest()


def is_written(recorded: Mapping[str, str]) -> bool:
    """Whether what is recorded of an object was recorded by a job."""
    return "supervisor" in recorded


def of_document(uri: str, job: str) -> dict[str, str]:
    """The metadata of what a job tells of itself, its status and lists: no later job takes it for an input, wherever it
    lies. Not of a local one, which would get a note beside it."""
    return {"supervisor": __version__, "job": job, "document": "status"} if scheme(uri) == "s3" else {}


def _own_name(item: Item) -> str:
    """What makes an input this one beside its ETag. S3's ETags are of the content; what stands for one elsewhere, of
    size and date, is another file's, too. Of several inputs the ETag tells all."""
    return "" if scheme(item.uri) == "s3" or item.others else _recorded(item.uri)


def _recorded(uri: str) -> str:
    """A URI as metadata holds it: ASCII, without secrets, and cut off where it is too long; of a query a digest."""
    query = f"?{digest}" if (digest := query_digest(uri)) else ""
    path = quote_from_bytes(normal(shown(uri)).encode(errors="surrogateescape"), "/:")
    return path[: _LONGEST_INPUT - len(query)] + query


def _is_below(recorded: str, prefix: str) -> bool:
    """Both as `_recorded` has them: of a long one only the beginning is known."""
    return recorded.startswith(prefix) or (len(recorded) == _LONGEST_INPUT and prefix.startswith(recorded))
