"""Which of the objects below a prefix are inputs."""

import fnmatch
import re
from collections.abc import Callable, Sequence
from urllib.parse import unquote

from supervisor.failures import BadUsage
from supervisor.job import JobSpec
from supervisor.storage import Object
from supervisor.storage.uri import scheme, shown
from supervisor.work.naming import STATUS_FOLDER, normal

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


class Written:
    """What jobs have written below the prefix, told from the inputs by its place; asked in the listing's order.

    Left out are JOB_OUTPUT and JOB_RESULTS_TABLE where they lie below the prefix, every folder _status, this job's
    status documents, and notes beside local results. Where results lie beside their inputs, x.wav.json is the result of
    x.wav; with an `accept` argument, whose answers have other extensions, so is all that begins with "x.wav.".
    """

    def __init__(self, spec: JobSpec) -> None:
        self._top = normal(spec.input or "")
        output = normal(spec.output or "")
        table = normal(spec.results_table) if spec.results_table else None
        if table == self._top:
            raise BadUsage("JOB_RESULTS_TABLE is JOB_INPUT's own prefix", "give the table a folder of its own")
        self._folders = tuple(
            place[len(self._top) :]
            for place in (output, table)
            if place and place.startswith(self._top) and place != self._top
        )
        self._beside = output == normal(spec.input_root or spec.input or "")
        self._apart = self._beside or (output.startswith(self._top) and output != self._top)
        self._extension = "." if "accept" in spec.predict_args else ".json"
        self._status = _status_pattern(spec, self._top)
        self._local = scheme(self._top) != "s3"
        self._earlier: list[str] = []

    def holds(self, below: str) -> bool:
        return (
            below.startswith((STATUS_FOLDER, *self._folders))
            or "/" + STATUS_FOLDER in below
            or (self._status is not None and self._status.fullmatch(below) is not None)
            or (self._local and _is_note(below))
            or (self._beside and self._is_result(below))
        )

    def refuse_among_inputs(self, uri: str, place: str) -> None:
        """Raises BadUsage for a result that the next job would take for an input, and this one perhaps, too."""
        if not self._apart and place.startswith(self._top):
            raise BadUsage(
                f"the result of {shown(uri)} would lie among the inputs, at {shown(place)}",
                "name a JOB_OUTPUT outside of JOB_INPUT, or a folder of its own below it",
            )

    def _is_result(self, below: str) -> bool:
        # In a listing's order all that lies between x and x.json begins with x: a stack of such is memory enough.
        while self._earlier and not below.startswith(self._earlier[-1]):
            self._earlier.pop()
        for earlier in self._earlier:
            rest = below[len(earlier) :]
            if rest == ".json" or (rest.startswith(self._extension) and "/" not in rest):
                return True
        self._earlier.append(below)
        return False


def _status_pattern(spec: JobSpec, top: str) -> re.Pattern[str] | None:
    """JOB_STATUS where it lies below the prefix, with the other children's and what is written beside it."""
    if not spec.status:
        return None
    place = normal(spec.status + spec.identity.id if spec.status.endswith("/") else spec.status)
    if not place.startswith(top):
        return None
    folder, slash, name = place[len(top) :].rpartition("/")
    stem = name if spec.status.endswith("/") else name.rpartition(".")[0] or name
    return re.compile(rf"{re.escape(folder + slash + stem)}(-[0-9]+)?(\.[^/]*)?", re.DOTALL)


def _is_note(below: str) -> bool:
    name = below[below.rfind("/") + 1 :]
    return name.startswith(".") and name.endswith(_NOTES)
