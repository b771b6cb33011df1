"""Which Python environments are made with: any from 3.11 on that works, the newest first, or a line that says why none.

The Pythons here are the one that runs the tests, under another name and told that it is another release.
"""

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from scripts import environments
from tests.conftest import REPOSITORY

FIND = REPOSITORY / "scripts" / "find_python"
SYSTEM = "/usr/bin:/bin"  # sed, sort and so on, and the system's own Pythons
BASE = Path(sys.base_prefix) / "bin" / f"python3.{sys.version_info.minor}"

# A Python is asked as `python -E -s -c PROGRAM ARGUMENTS`.
STAND_IN = """\
#!/bin/sh
shift 3
exec "{python}" -I -c '
import os, platform, sys, sysconfig
program, sys.argv = sys.argv[1], ["-c", *sys.argv[2:]]
sys.version_info = ({release}, "{level}", 0)
platform.python_version = lambda: "{version}"
sys._base_executable = "{path}"
{changes}
exec(program)
' "$@"
"""


def stand_in(path: Path, version: str, level: str = "final", changes: str = "", executable: str = "") -> Path:
    """A Python that says of itself that it is that version. changes: further statements that it begins with."""
    path.parent.mkdir(parents=True, exist_ok=True)
    release = ", ".join(version.split(".")[:2]) + ", 0"
    path.write_text(
        STAND_IN.format(
            python=sys.executable, release=release, level=level, version=version, path=executable or path,
            changes=changes,
        )
    )  # fmt: skip
    path.chmod(0o755)
    return path


def program(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


class Machine:
    """A machine with no Python but those that a test puts on it."""

    def __init__(self, folder: Path) -> None:
        self.bin = folder / "bin"
        self.pyenv = folder / "pyenv"
        tools = folder / "tools"
        for folder_ in (self.bin, self.pyenv, tools):
            folder_.mkdir()
        for tool in ("sh", "sed", "sort", "head", "tail"):
            (tools / tool).symlink_to(next(p for each in SYSTEM.split(":") if (p := Path(each, tool)).exists()))
        self.path = [self.bin, tools]

    def find(self, name: str = "", oldest: str = "3.11") -> str:
        """What the script prints; its error where it fails, which is one line."""
        ran = subprocess.run(
            [FIND, oldest, name],
            env={"PATH": ":".join(map(str, self.path)), "PYENV_ROOT": str(self.pyenv), "HOME": str(self.bin.parent)},
            capture_output=True,
            text=True,
            check=False,
        )
        lines = (ran.stdout or ran.stderr).splitlines()
        assert len(lines) == 1, ran
        assert (ran.returncode, bool(ran.stdout), bool(ran.stderr)) in ((0, True, False), (1, False, True))
        return lines[0]


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


@pytest.mark.parametrize(
    "names",
    [("python3.11", "python3.13", "python3.12"), ("python3.13", "python3.11"), ("python3.9", "python3.13")],
)
def test_the_newest_release_is_taken(machine: Machine, names: Sequence[str]) -> None:
    for name in names:
        stand_in(machine.bin / name, f"{name.removeprefix('python')}.1")
    assert machine.find() == f"3.13.1 {machine.bin}/python3.13"


@pytest.mark.parametrize("name", ["python3", "python"])
def test_a_python_without_its_version_in_the_name_is_one_too(machine: Machine, name: str) -> None:
    stand_in(machine.bin / "python3.11", "3.11.4")
    path = stand_in(machine.bin / name, "3.12.3")
    assert machine.find() == f"3.12.3 {path}"


def test_the_first_on_path_of_the_same_release_is_taken(machine: Machine) -> None:
    path = stand_in(machine.bin / "python3.12", "3.12.3")
    stand_in(machine.pyenv / "versions" / "3.12.9" / "bin" / "python3.12", "3.12.9")
    assert machine.find() == f"3.12.3 {path}"


def test_versions_of_pyenv_count_whichever_is_selected(machine: Machine) -> None:
    stand_in(machine.bin / "python3.11", "3.11.4")
    path = stand_in(machine.pyenv / "versions" / "3.13.0" / "bin" / "python3.13", "3.13.0")
    assert machine.find() == f"3.13.0 {path}"
    assert machine.find("python3.13") == f"3.13.0 {path}"


def test_a_shim_that_runs_nothing_is_passed_over(machine: Machine) -> None:
    program(machine.bin / "python3.13", "echo 'pyenv: python3.13: command not found' >&2; echo >&2; exit 127")
    path = stand_in(machine.bin / "python3.12", "3.12.1")
    assert machine.find() == f"3.12.1 {path}"
    assert machine.find("python3.13") == (
        f"error: no usable python3.13: {machine.bin}/python3.13 does not run: pyenv: python3.13: command not found"
    )


@pytest.mark.parametrize("module", ["venv", "ensurepip", "ssl", "zlib", "ctypes"])
def test_a_python_that_cannot_make_environments_is_passed_over(machine: Machine, module: str) -> None:
    lacking = stand_in(machine.bin / "python3.13", "3.13.5", changes=f'sys.modules["{module}"] = None')
    assert f"error: no usable Python from 3.11 on: {lacking} is Python 3.13.5 without {module}" in machine.find()
    assert machine.find("python3.13") == f"error: no usable python3.13: {lacking} is Python 3.13.5 without {module}"
    path = stand_in(machine.bin / "python3.11", "3.11.2")
    assert machine.find() == f"3.11.2 {path}"


@pytest.mark.parametrize(
    ("executable", "package"),
    [(os.path.realpath("/usr/bin/python3"), "python3-venv"), ("/usr/bin/python3.99", "python3.13-venv")],
)
def test_debians_python_without_ensurepip_is_told_the_package(machine: Machine, executable: str, package: str) -> None:
    debian = 'sys.modules["ensurepip"] = None; os.path.exists = lambda path: path == "/etc/debian_version"'
    path = stand_in(machine.bin / "python3", "3.13.5", changes=debian, executable=executable)
    assert machine.find().startswith(
        f"error: no usable Python from 3.11 on: {path} is Python 3.13.5 without ensurepip: apt install {package}"
    )


ODD = [
    ("3.14.0rc2", "candidate", "", "is Python 3.14.0rc2, which is no release yet"),
    ("3.13.2", "final", 'sysconfig.get_config_var = {"Py_GIL_DISABLED": 1}.get', "is a free-threaded Python 3.13.2"),
    ("3.11.9", "final", 'platform.python_implementation = lambda: "PyPy"', "is PyPy, for which few wheels are made"),
]


@pytest.mark.parametrize(
    ("version", "level", "changes", "why"), ODD, ids=["release candidate", "free-threaded", "PyPy"]
)
def test_what_few_wheels_are_made_for_is_taken_only_by_its_name(
    machine: Machine, version: str, level: str, changes: str, why: str
) -> None:
    odd = stand_in(machine.bin / "python3", version, level, changes)
    assert f"error: no usable Python from 3.11 on: {odd} {why}" in machine.find()
    plain = stand_in(machine.bin / "python3.11", "3.11.2")
    assert machine.find() == f"3.11.2 {plain}"
    assert machine.find("python3") == f"{version} {odd}"


def test_releases_newer_than_any_that_was_tried_come_last_and_the_nearest_of_them_first(machine: Machine) -> None:
    stand_in(machine.bin / "python3.98", "3.98.0")
    near = stand_in(machine.bin / "python3.97", "3.97.0")
    assert machine.find() == f"3.97.0 {near}"
    tried = stand_in(machine.bin / "python3.11", "3.11.2")
    assert machine.find() == f"3.11.2 {tried}"


@pytest.mark.parametrize("name", ["python3.12", "python3", "another-python"])
def test_the_first_of_the_name_asked_for_is_taken_however_new_others_are(machine: Machine, name: str) -> None:
    stand_in(machine.bin / "python3.13", "3.13.0")
    later = machine.bin.with_name("later")
    machine.path.insert(1, later)
    path = stand_in(machine.bin / name, "3.12.1")
    stand_in(later / name, "3.13.1")
    assert machine.find(name) == f"3.12.1 {path}"
    assert machine.find(str(later / name)) == f"3.13.1 {later / name}"


def test_a_folder_may_have_a_space_in_its_name(machine: Machine) -> None:
    folder = machine.bin / "of two words"
    path = stand_in(folder / "python3.12", "3.12.1")
    machine.path.insert(0, folder)
    assert machine.find() == machine.find(str(path)) == f"3.12.1 {path}"


def test_what_a_python_says_when_it_starts_is_no_answer(machine: Machine) -> None:
    path = stand_in(machine.bin / "python3", "3.12.1", changes='print("fit 99 9.9.9 /nowhere"); print("hello")')
    assert machine.find() == f"3.12.1 {path}"


Maker = Callable[[Path], object]


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda path: stand_in(path, "3.10.13"), "is Python 3.10.13; 3.11 or newer is needed"),
        (lambda path: program(path, "exit 0"), "is no Python"),
        (lambda path: program(path, "echo out of luck; exit 1"), "does not run: out of luck"),
        (lambda path: path.write_text("no program"), "is no program"),
        (lambda path: path.mkdir(), "is no program"),
        (lambda path: None, "is no program"),
    ],
    ids=["too old", "another program", "a failing program", "no program", "a folder", "nothing"],
)
def test_a_path_that_is_no_python_to_use_is_told(machine: Machine, make: Maker, says: str) -> None:
    path = machine.bin / "mine"
    make(path)
    stand_in(machine.bin / "python3.12", "3.12.1")
    assert machine.find(str(path)) == f"error: no usable {path}: {path} {says}"


def test_a_machine_without_python_is_told(machine: Machine) -> None:
    assert machine.find() == (
        "error: no usable Python from 3.11 on: there is none on PATH or among pyenv's versions"
        " (or name another: PYTHON=/path/to/python)"
    )
    assert machine.find("python3.99") == (
        "error: no usable python3.99: there is none on PATH or among pyenv's versions"
    )


def test_the_newest_of_those_that_are_too_old_is_told(machine: Machine) -> None:
    stand_in(machine.bin / "python", "2.7.18")
    stand_in(machine.bin / "python3", "3.9.21")
    assert "python3 is Python 3.9.21; 3.11 or newer is needed" in machine.find()


def test_the_python_behind_an_environment_is_found(machine: Machine) -> None:
    assert sys.prefix != sys.base_prefix, "the tests run in an environment"
    version, _, path = machine.find(sys.executable).partition(" ")
    assert version == ".".join(map(str, sys.version_info[:3]))
    assert path == os.path.realpath(BASE)


def test_a_name_without_a_python_is_told_to_whoever_asks_for_an_environment() -> None:
    with pytest.raises(environments.NoPython, match=r"^no usable python3\.99: there is none on PATH or among"):
        environments.ensure("2.6.0", "python3.99")


def test_an_environment_whose_python_is_gone_is_made_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Path] = []
    monkeypatch.setattr(environments, "_build", lambda recipe, environment: made.append(environment))
    environment = environments.ensure("2.6.0", root=tmp_path)
    (environment / "bin").mkdir(parents=True)
    (environment / environments.READY).touch()
    (environment / "bin" / "python").symlink_to(tmp_path / "gone")
    environments.ensure("2.6.0", root=tmp_path)
    assert made == [environment] * 2
    (tmp_path / "gone").touch()
    environments.ensure("2.6.0", root=tmp_path)
    assert made == [environment] * 2
