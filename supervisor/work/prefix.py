"""Which of the objects below a prefix are inputs."""

import fnmatch
import re
import tempfile
from collections.abc import Callable, Sequence
from enum import Enum, auto
from urllib.parse import unquote

from supervisor.failures import BadUsage
from supervisor.job import JobSpec
from supervisor.storage import Object
from supervisor.storage.uri import scheme, shown
from supervisor.work.naming import STATUS_FOLDER, normal, real, shown_place, status_pattern, usual_suffixes

# Beside a local result lies its provenance, and for a moment a half-written file.
_NOTES = (".provenance", ".partial")


def path_below(uri: str, prefix: str) -> str:
    """The path of a listed object below the prefix, decoded where the scheme encodes it."""
    path = uri[len(prefix) :]
    return unquote(path, errors="surrogateescape") if scheme(prefix) == "file" else path


def is_placeholder(below: str, found: Object) -> bool:
    """What consoles ("folder/") and Hadoop ("folder_$folder$") write for a folder: nothing to predict on."""
    return (below.endswith("/") and not found.size) or not below or below.endswith("_$folder$")


class Globs:
    """JOB_INCLUDE and JOB_EXCLUDE, asked of paths below the prefix."""

    def __init__(self, include: Sequence[str], exclude: Sequence[str]) -> None:
        self._include = _matcher(include or ["*"])
        self._exclude = _matcher(exclude)

    def take(self, below: str) -> bool:
        return self._include(below) and not self._exclude(below)


def _matcher(globs: Sequence[str]) -> Callable[[str], bool]:
    """Whether one of the globs, as fnmatch reads them, fits the path or, where the glob has no slash, the base name."""
    # As in other tools, a leading **/ stands for no folder, too.
    spelt = [*globs, *(glob.removeprefix("**/") for glob in globs)]
    paths = re.compile("|".join(map(fnmatch.translate, spelt)) or r"(?!)")
    names = re.compile("|".join(fnmatch.translate(glob) for glob in spelt if "/" not in glob) or r"(?!)")
    return lambda below: bool(paths.match(below) or names.match(below[below.rfind("/") + 1 :]))


class Origin(Enum):
    """Where an object below the prefix comes from, as far as its name tells."""

    USER = auto()
    JOB = auto()
    DOUBTFUL = auto()  # it may be a result: its provenance says so


class Written:
    """What jobs have written below the prefix, told from the inputs by its place; asked in the listing's order.

    Left out are JOB_OUTPUT, JOB_RESULTS_TABLE and a folder JOB_STATUS where they lie below the prefix, every folder
    _status, this job's status documents, notes beside local results, and what a job is just working on. Where results
    lie beside their inputs, x.wav.json is the result of x.wav, and so is x.wav.zip where `accept` asks for a zip; with
    any other extension it may be. Where a listing is in no order, what precedes its input is an input by its name: what
    is recorded beside a result says otherwise, once it is looked at.
    """

    def __init__(self, spec: JobSpec) -> None:
        self._top = real(spec.input or "")
        output = real(spec.output or "")
        table = real(spec.results_table) if spec.results_table else None
        status = real(spec.status) if spec.status and spec.status.endswith("/") else None
        for name, place in (("JOB_RESULTS_TABLE", table), ("JOB_STATUS", status)):
            if place == self._top:
                raise BadUsage(f"{name} is JOB_INPUT's own prefix", f"give {name} a folder of its own")
        self._folders = tuple(
            place[len(self._top) :]
            for place in (output, table, status, _working_folders())
            if place and place.startswith(self._top) and place != self._top
        )
        self._beside = is_beside_inputs(spec)
        self._apart = self._beside or (output.startswith(self._top) and output != self._top)
        self._usual = re.compile(rf"({'|'.join(map(re.escape, usual_suffixes(spec.predict_args)))})+")
        self._status = _below(status_pattern(spec), self._top)
        self._local = scheme(self._top) != "s3"
        self._earlier: list[str] = []

    def origin(self, below: str) -> Origin:
        if (
            below.startswith((STATUS_FOLDER, *self._folders))
            or "/" + STATUS_FOLDER in below
            or (self._status is not None and self._status.fullmatch(below) is not None)
            or (self._local and _is_note(below))
        ):
            return Origin.JOB
        return self._beside_inputs(below) if self._beside else Origin.USER

    def refuse_among_inputs(self, uri: str, place: str) -> None:
        """Raises BadUsage for a result that the next job would take for an input, and this one perhaps, too."""
        if not self._apart and place.startswith(self._top):
            raise BadUsage(
                f"the result of {shown(uri)} would lie among the inputs, at {shown_place(place)}",
                "name a JOB_OUTPUT outside of JOB_INPUT, or a folder of its own below it",
            )

    def _beside_inputs(self, below: str) -> Origin:
        # In a listing's order all that lies between x and x.json begins with x: a stack of such is memory enough.
        while self._earlier and not below.startswith(self._earlier[-1]):
            self._earlier.pop()
        origin = Origin.USER
        for earlier in self._earlier:
            rest = below[len(earlier) :]
            if self._usual.fullmatch(rest):
                return Origin.JOB
            if rest.startswith(".") and "/" not in rest and "." not in rest[1:]:
                origin = Origin.DOUBTFUL
        self._earlier.append(below)
        return origin


def is_beside_inputs(spec: JobSpec) -> bool:
    """Whether the results of what lies below the prefix lie beside their inputs."""
    top, root = normal(spec.input or ""), normal(spec.input_root or spec.input or "")
    output = real(spec.output or "") + (top[len(root) :] if top.startswith(root) else "")
    return output == real(spec.input or "")


def _working_folders() -> str | None:
    """How the local folders begin in which jobs work: copies of inputs lie there."""
    try:
        return real(tempfile.gettempdir() + "/") + "supervisor-"
    except OSError:  # there is no place for any
        return None


def _below(told: tuple[str, re.Pattern[str]] | None, top: str) -> re.Pattern[str] | None:
    """A pattern of places as one of paths below the prefix; None where it means none of them."""
    if told is None or not told[0].startswith(top):
        return None
    return re.compile(told[1].pattern.removeprefix(re.escape(top)), told[1].flags)


def _is_note(below: str) -> bool:
    name = below[below.rfind("/") + 1 :]
    return name.startswith(".") and name.endswith(_NOTES)
