"""The virtual environment behind make's targets: made once, and anew only where it has to be."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY

VERSION = ".".join(map(str, sys.version_info[:3]))
BASE = os.path.realpath(Path(sys.base_prefix) / "bin" / f"python3.{sys.version_info.minor}")
# A distribution that is built without a network.
FILES = {
    "setup.cfg": "[options]\npython_requires = >=3.11\n",
    "pyproject.toml": '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n',
    "backend.py": """
from zipfile import ZipFile

def build_editable(folder, *_):
    with ZipFile(folder + "/house-1-py3-none-any.whl", "w") as wheel:
        about = "Metadata-Version: 2.1\\nName: house\\nVersion: 1\\nProvides-Extra: dev\\n"
        wheel.writestr("house-1.dist-info/METADATA", about)
        wheel.writestr("house-1.dist-info/WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        wheel.writestr("house-1.dist-info/RECORD", "")
    return "house-1-py3-none-any.whl"
""",
}


@dataclass(frozen=True, kw_only=True)
class Checkout:
    """A checkout on a machine whose only Python is the one behind the tests'."""

    folder: Path

    @property
    def venv(self) -> Path:
        return self.folder / ".venv"

    @property
    def ready(self) -> Path:
        return self.venv / "ready"

    @property
    def mark(self) -> Path:
        """A file that does not outlive the environment."""
        return self.venv / "mark"

    def make(self, name: str = "") -> str:
        """What make_venv says; fails where that fails."""
        ran = self.try_to_make(name)
        assert ran.returncode == 0, ran.stderr
        assert (
            self.venv / "lib" / f"python3.{sys.version_info.minor}" / "site-packages" / "house-1.dist-info"
        ).is_dir()
        assert self.ready.read_text() == f"{VERSION} {BASE}\n"
        return ran.stderr

    def try_to_make(self, name: str = "") -> "subprocess.CompletedProcess[str]":
        bin_folder = self.folder / "bin"
        bin_folder.mkdir(exist_ok=True)
        (bin_folder / "python3").unlink(missing_ok=True)
        (bin_folder / "python3").symlink_to(BASE)
        for tool in ("sh", "sed", "sort", "head", "tail", "cat"):
            (bin_folder / tool).unlink(missing_ok=True)
            (bin_folder / tool).symlink_to(shutil.which(tool) or tool)
        environment = {"PATH": str(bin_folder), "HOME": str(self.folder), "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
        return subprocess.run(
            [REPOSITORY / "scripts" / "make_venv", ".venv", name],
            cwd=self.folder, env=environment, capture_output=True, text=True, check=False,
        )  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    checkout = Checkout(folder=tmp_path_factory.mktemp("checkout"))
    for name, text in FILES.items():
        (checkout.folder / name).write_text(text)
    assert checkout.make() == f".venv: made with Python {VERSION}, {BASE}\n"
    return checkout


@pytest.fixture
def checkout(made: Checkout, tmp_path: Path) -> Checkout:
    """With an environment that was made before, and a mark in it."""
    copied = Checkout(folder=shutil.copytree(made.folder, tmp_path / "checkout", symlinks=True))
    copied.mark.touch()
    return copied


@pytest.mark.parametrize("name", ["", "python3", BASE])
def test_an_environment_that_fits_stays_as_it_is(checkout: Checkout, name: str) -> None:
    before = checkout.ready.stat().st_mtime_ns
    assert checkout.make(name) == ""
    assert checkout.ready.stat().st_mtime_ns == before
    assert checkout.mark.exists()


def test_another_python_makes_it_anew(checkout: Checkout) -> None:
    checkout.ready.write_text("3.11.0 /usr/bin/python3.11\n")
    assert checkout.make("python3") == f".venv: made with Python {VERSION}, {BASE}\n"
    assert not checkout.mark.exists()


def test_it_stays_with_its_python_where_no_other_is_asked_for(checkout: Checkout) -> None:
    checkout.ready.write_text("3.11.0 /usr/bin/python3.11\n")
    assert checkout.try_to_make().stderr == ""
    assert checkout.ready.read_text() == "3.11.0 /usr/bin/python3.11\n"
    assert checkout.mark.exists()


def gone(checkout: Checkout) -> None:
    python = checkout.venv / "bin" / "python"
    python.unlink()
    python.symlink_to("/nonexistent/python3")


def upgraded(checkout: Checkout) -> None:
    """/usr/bin/python3 is another release after the distribution's upgrade, which looks in another folder."""
    (checkout.venv / "lib" / f"python3.{sys.version_info.minor}").rename(checkout.venv / "lib" / "python3.2")


def interrupted(checkout: Checkout) -> None:
    checkout.ready.unlink()


@pytest.mark.parametrize("what_happened", [gone, upgraded, interrupted])
def test_an_environment_that_does_not_work_is_made_anew(
    checkout: Checkout, what_happened: Callable[[Checkout], None]
) -> None:
    what_happened(checkout)
    assert checkout.make() == f".venv: made with Python {VERSION}, {BASE}\n"
    assert not checkout.mark.exists()


def test_a_change_of_setup_cfg_installs_what_is_new_and_no_more(checkout: Checkout) -> None:
    shutil.rmtree(next(checkout.venv.glob("lib/*/site-packages/house-1.dist-info")))
    later = checkout.ready.stat().st_mtime + 1
    os.utime(checkout.folder / "setup.cfg", (later, later))
    assert checkout.make() == ""
    assert checkout.mark.exists()


@pytest.mark.parametrize("name", ["python3.99", "/nonexistent/python"])
def test_a_bad_name_is_one_line_and_leaves_everything(checkout: Checkout, name: str) -> None:
    ran = checkout.try_to_make(name)
    assert ran.returncode == 1
    assert ran.stderr.startswith(f"error: no usable {name}: ")
    assert len(ran.stderr.splitlines()) == 1
    assert checkout.mark.exists()


def test_the_oldest_python_is_the_one_that_setup_cfg_names(checkout: Checkout) -> None:
    (checkout.folder / "setup.cfg").write_text("[options]\npython_requires = >=3.99\n")
    assert f"is Python {VERSION}; 3.99 or newer is needed" in checkout.try_to_make("python3").stderr
