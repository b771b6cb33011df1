"""Where DEEPaaS is in this image, and which Python runs it.

DEEPaaS' own programs are the witness: the first line of deepaas-cli or deepaas-run names the interpreter that its
installer chose, be it the system's, a virtual environment's or conda's.
"""

import glob
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from shutil import which

from supervisor.failures import ImageUnfit

PROGRAMS = ("deepaas-cli", "deepaas-run", "deepaas-predict")
# Searched after PATH, and in the user's own folder first: environments that an image activates only in a login shell.
_IN_HOME = (".local/bin", "*/bin", "*/envs/*/bin")
_OFF_PATH = (
    "/usr/local/bin",
    "/usr/bin",
    "/opt/conda/bin",
    "/opt/conda/envs/*/bin",
    "/opt/*/bin",
    "/opt/*/envs/*/bin",
    "/opt/*/*/bin",
    "/srv/*/bin",
    "/srv/*/*/bin",
    "/srv/*/envs/*/bin",
    "/home/*/.local/bin",
    "/home/*/*/bin",
    "/home/*/*/envs/*/bin",
    "/app/*/bin",
    "/venv/bin",
    "/*/bin",
)
# Installers write this where the interpreter's path is too long for a first line.
_LONG_SHEBANG = re.compile(rb"""^'''exec' (?P<quote>["']?)(?P<path>/.+?)(?P=quote) "\$0" "\$@"$""", re.MULTILINE)


@dataclass(frozen=True, kw_only=True)
class Installation:
    """One DEEPaaS: its interpreter, the folder of its programs, and which of them are there."""

    python: Path
    programs_folder: Path
    programs: tuple[str, ...]
    on_path: bool


def find(environment: Mapping[str, str]) -> Installation:
    """The DEEPaaS that the image's own PATH leads to, else the first in the usual places off it.

    environment: the model's. Raises ImageUnfit where there is none that a Python stands behind.
    """
    broken: list[str] = []
    for folder, on_path in _folders(environment):
        for name in PROGRAMS:
            program = folder / name
            if not _is_file(program):
                continue
            python = _interpreter(program, environment)
            if python is not None:
                there = tuple(p for p in PROGRAMS if _is_file(folder / p))
                return Installation(python=python, programs_folder=folder, programs=there, on_path=on_path)
            broken.append(str(program))
    if broken:
        raise ImageUnfit(
            f"DEEPaaS is installed, but the Python named in {broken[0]} cannot be run",
            "repair the image: reinstall deepaas with the Python that is there",
        )
    raise ImageUnfit(
        "no DEEPaaS in this image: none of deepaas-cli, deepaas-run, deepaas-predict is on PATH "
        f"({environment.get('PATH') or 'empty'}) or in the usual prefixes",
        "build on a DEEP Open Catalog image, or `pip install deepaas` and the module in yours",
    )


def _folders(environment: Mapping[str, str]) -> Iterator[tuple[Path, bool]]:
    for entry in environment.get("PATH", "").split(":"):
        if entry.startswith("/"):
            yield Path(entry), True
    home = environment.get("HOME", "").rstrip("/")
    own = [f"{home}/{pattern}" for pattern in _IN_HOME] if home.startswith("/") and not glob.has_magic(home) else []
    for pattern in (*own, *_OFF_PATH):
        try:
            yield from ((folder, False) for folder in sorted(Path("/").glob(pattern[1:])))
        except OSError:
            continue


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a folder that may not be entered
        return False


def _interpreter(program: Path, environment: Mapping[str, str]) -> Path | None:
    """The Python behind a console script, None where there is none that can be run."""
    try:
        with program.open("rb") as file:
            head = file.read(4096)
    except OSError:
        return None
    if not head.startswith(b"#!"):
        return None
    words = head.splitlines()[0][2:].decode(errors="replace").split()  # as the kernel does: it knows no quotes
    if long := _LONG_SHEBANG.search(head):
        words = [long["path"].decode(errors="replace")]
    if words and words[0].endswith("/env"):
        words = [w for w in words[1:] if not w.startswith("-")][:1]
    if not words:
        return None
    found = which(words[0], path=environment.get("PATH", ""))
    return Path(found) if found and "python" in Path(found).name else None
