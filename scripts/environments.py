"""Makes virtual environments that each hold one release of DEEPaaS, once, and prints where they are.

    python scripts/environments.py 2.6.0 1.3.0
    python scripts/environments.py 1.3.0 --python python3.6
    python scripts/environments.py 2.6.0 --with ./images/voice-activity

The demo and the tests run the real command line of old and new releases, on the Python that runs this or,
to stand in for that of another image, on the one named. Environments are kept and shared: processes that
ask for the same one at the same time build it once. Paths go to stdout, a line each in the order asked for;
progress to stderr.
"""

from __future__ import annotations

import argparse
import fcntl
import functools
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

DEFAULT_ROOT = Path(__file__).resolve().parent.parent / ".cache" / "environments"
FIND_PYTHON = Path(__file__).with_name("find_python")
OLDEST_PYTHON = "3.6"  # that the worker runs on
BUILDS_AT_A_TIME = 2
READY = "ready.json"
NOT_SOURCE = ("build", "dist", "__pycache__", "*.egg-info")


class EnvironmentFailed(Exception):
    """An environment cannot be made; the message is one line for the person who asked."""


class NoPython(EnvironmentFailed):
    """The Python named is not here, or makes no environments."""


@dataclass(frozen=True, kw_only=True)
class Interpreter:
    path: Path
    version: tuple[int, int, int]

    def __str__(self) -> str:
        return f"Python {'.'.join(map(str, self.version))}"


RUNNING = Interpreter(path=Path(sys.executable), version=sys.version_info[:3])


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """All that decides what an environment holds: the same recipe gives the same folder."""

    release: str
    interpreter: Interpreter
    extra: tuple[str, ...]

    @property
    def constraints(self) -> tuple[str, ...]:
        if self.interpreter.version < (3, 7):
            return ()  # nothing newer than these releases can take is still published for 3.6
        newest = ["setuptools<81"]  # 81 dropped pkg_resources, which modules of their age ask for versions
        if _numbers(self.release) < (2, 4):
            newest.append("marshmallow<4")  # they ask for any marshmallow and read Field.missing, gone in 4
        return tuple(newest)

    @property
    def pip(self) -> str | None:
        """A pip of its own where the bundled one cannot install today's wheels (18.1 on Python 3.6)."""
        return "pip<22" if self.interpreter.version < (3, 7) else None

    @property
    def folder(self) -> str:
        python = ".".join(map(str, self.interpreter.version))
        contents = json.dumps([self.pip, self.constraints, self.extra, [_digest(each) for each in self.extra]])
        return f"deepaas-{self.release}-py{python}-{hashlib.sha256(contents.encode()).hexdigest()[:10]}"


def ensure(
    release: str,
    python: str | None = None,
    extra: tuple[str, ...] = (),
    root: Path = DEFAULT_ROOT,
) -> Path:
    """The environment with that DEEPaaS release, made now unless it is there already.

    `python` is a command or a path, by default the Python that runs this; `extra` are further requirements or
    folders, as pip takes them. Raises EnvironmentFailed.
    """
    interpreter = find_interpreter(python) if python else RUNNING
    recipe = Recipe(release=release, interpreter=interpreter, extra=tuple(map(_anchored, extra)))
    root = root.resolve()
    root.mkdir(parents=True, exist_ok=True)
    environment = root / recipe.folder
    with _locked(root / f"{recipe.folder}.lock"):
        # An environment outlives the Python that it was made with, which its bin/python links to.
        if not ((environment / READY).exists() and (environment / "bin" / "python").exists()):
            _build(recipe, environment)
    return environment


@functools.cache
def find_interpreter(python: str) -> Interpreter:
    """The Python of that name, a command or a path, that really runs and can make environments.

    Raises NoPython.
    """
    found = subprocess.run([FIND_PYTHON, OLDEST_PYTHON, python], capture_output=True, text=True, check=False)
    if found.returncode:
        raise NoPython(found.stderr.strip().removeprefix("error: "))
    version, path = found.stdout.rstrip("\n").split(" ", maxsplit=1)
    major, minor, micro, *_ = _numbers(version)
    return Interpreter(path=Path(path), version=(major, minor, micro))


def _build(recipe: Recipe, environment: Path) -> None:
    """Builds in place, since a virtual environment cannot be moved; READY is written last."""
    started = time.monotonic()
    log = environment.parent / f"{environment.name}.log"
    log.unlink(missing_ok=True)
    shutil.rmtree(environment, ignore_errors=True)
    _say(f"DEEPaaS {recipe.release} on {recipe.interpreter}: building in {environment}")

    python = str(environment / "bin" / "python")
    pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input"]
    _step(recipe, log, [str(recipe.interpreter.path), "-m", "venv", str(environment)])
    if recipe.pip:
        _step(recipe, log, [*pip, "--upgrade", recipe.pip])
    _step(
        recipe,
        log,
        [
            *pip,
            f"deepaas=={recipe.release}",
            *recipe.constraints,
            *_copied(recipe.extra, environment / "src"),
        ],
    )

    seconds = round(time.monotonic() - started, 1)
    made = {"release": recipe.release, "python": str(recipe.interpreter), "seconds": seconds}
    made |= {"constraints": list(recipe.constraints), "extra": list(recipe.extra)}
    (environment / READY).write_text(json.dumps(made, indent=2) + "\n")
    _say(f"DEEPaaS {recipe.release} on {recipe.interpreter}: ready after {seconds} s")


def _step(recipe: Recipe, log: Path, command: list[str]) -> None:
    with log.open("ab") as out:
        done = subprocess.run(command, stdout=out, stderr=subprocess.STDOUT, check=False, env=_clean_env())
    if done.returncode:
        lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
        told = [line for line in lines if line.startswith("ERROR")] or lines or ["nothing in its log"]
        raise EnvironmentFailed(
            f"DEEPaaS {recipe.release} on {recipe.interpreter} could not be installed: {told[-1]} (whole log: {log})"
        )


def _copied(extra: tuple[str, ...], target: Path) -> list[str]:
    """The same requirements with each folder's copy instead: setuptools builds in the sources' own folder."""
    return [
        str(shutil.copytree(each, target / Path(each).name, ignore=shutil.ignore_patterns(*NOT_SOURCE)))
        if _is_folder(each)
        else each
        for each in extra
    ]


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _anchored(requirement: str) -> str:
    """A folder's absolute path, so that one cache serves callers in any working directory."""
    path = Path(requirement)
    return str(path.resolve()) if os.sep in requirement and path.exists() else requirement


def _is_folder(requirement: str) -> bool:
    return os.sep in requirement and Path(requirement).is_dir()


def _digest(requirement: str) -> str:
    """Of a local folder's files, so that a changed module is installed anew; nothing of a mere name."""
    if not _is_folder(requirement):
        return ""
    folder = Path(requirement)
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        parts = path.relative_to(folder).parts
        if path.is_file() and not any(fnmatch(part, each) for part in parts for each in NOT_SOURCE):
            digest.update("/".join(parts).encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def _clean_env() -> dict[str, str]:
    """Ours less what would point the new environment's Python at somebody else's modules."""
    return {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(each) for each in re.findall(r"\d+", text))


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("releases", nargs="+", metavar="RELEASE", help="DEEPaaS releases, as 2.6.0")
    parser.add_argument("--python", help="command or path (default: the Python that runs this)")
    parser.add_argument(
        "--with", dest="extra", action="append", default=[], metavar="REQUIREMENT",
        help="a further package or folder to install; may be given several times",
    )  # fmt: skip
    parser.add_argument("--root", type=Path, default=DEFAULT_ROOT, help="where they are kept (default: %(default)s)")
    given = parser.parse_args(arguments)

    with ThreadPoolExecutor(BUILDS_AT_A_TIME) as pool:
        builds = [
            pool.submit(ensure, release, given.python, tuple(given.extra), given.root) for release in given.releases
        ]
    status = 0
    for build in builds:
        try:
            print(build.result())
        except EnvironmentFailed as failure:
            _say(f"error: {failure}")
            status = 1
    return status


if __name__ == "__main__":
    sys.exit(main())
