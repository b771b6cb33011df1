"""Where DEEPaaS is found, and which Python runs it."""

import sys
from pathlib import Path

import pytest

from supervisor.failures import ImageUnfit
from supervisor.model import find


@pytest.fixture(autouse=True)
def nowhere_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the places that a test names."""
    monkeypatch.setattr(find, "_OFF_PATH", ())


def program(folder: Path, name: str, head: str) -> Path:
    """A console script that begins so."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text(head + "\nimport sys\n")
    path.chmod(0o755)
    return path


def python_in(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "python3.6").symlink_to(sys.executable)
    return folder / "python3.6"


def test_the_first_line_of_the_program_on_path_names_the_python(tmp_path: Path) -> None:
    python = python_in(tmp_path / "venv")
    program(tmp_path / "bin", "deepaas-cli", f"#!{python}")
    program(tmp_path / "bin", "deepaas-predict", f"#!{python}")
    found = find.find({"PATH": f"/nonexistent:{tmp_path / 'bin'}"})
    assert found == find.Installation(
        python=python, programs_folder=tmp_path / "bin", programs=("deepaas-cli", "deepaas-predict"), on_path=True
    )


def test_the_earlier_entry_of_path_wins(tmp_path: Path) -> None:
    for name in ("first", "second"):
        program(tmp_path / name, "deepaas-run", f"#!{python_in(tmp_path / name)}")
    found = find.find({"PATH": f"{tmp_path / 'first'}:{tmp_path / 'second'}"})
    assert found.programs_folder == tmp_path / "first"


def test_env_in_the_first_line_is_looked_up_on_path(tmp_path: Path) -> None:
    python = python_in(tmp_path / "bin")
    program(tmp_path / "bin", "deepaas-cli", "#!/usr/bin/env -S python3.6")
    assert find.find({"PATH": str(tmp_path / "bin")}).python == python


@pytest.mark.parametrize("quote", ["", '"', "'"])
def test_a_path_too_long_for_a_first_line_is_found_in_the_second(tmp_path: Path, quote: str) -> None:
    python = python_in(tmp_path / "venv")
    program(tmp_path / "bin", "deepaas-cli", f"#!/bin/sh\n'''exec' {quote}{python}{quote} \"$0\" \"$@\"\n' '''")
    assert find.find({"PATH": str(tmp_path / "bin")}).python == python


def test_a_home_off_path_is_searched(tmp_path: Path) -> None:
    program(tmp_path / ".local" / "bin", "deepaas-cli", f"#!{python_in(tmp_path)}")
    found = find.find({"PATH": "/nonexistent", "HOME": str(tmp_path)})
    assert (found.programs_folder, found.on_path) == (tmp_path / ".local" / "bin", False)


def test_a_python_that_is_gone_is_told_apart_from_no_deepaas(tmp_path: Path) -> None:
    path = program(tmp_path, "deepaas-cli", "#!/nonexistent/bin/python3")
    with pytest.raises(ImageUnfit, match=f"the Python named in {path} cannot be run"):
        find.find({"PATH": str(tmp_path)})


def test_a_broken_program_does_not_hide_a_sound_one(tmp_path: Path) -> None:
    program(tmp_path / "first", "deepaas-cli", "#!/nonexistent/bin/python3")
    program(tmp_path / "second", "deepaas-cli", f"#!{python_in(tmp_path)}")
    found = find.find({"PATH": f"{tmp_path / 'first'}:{tmp_path / 'second'}"})
    assert found.programs_folder == tmp_path / "second"


@pytest.mark.parametrize("head", ["", "#!", "#!/bin/sh", "\x7fELF", "#! /usr/bin/env", '#!"'])
def test_what_no_python_runs_is_passed_over(tmp_path: Path, head: str) -> None:
    program(tmp_path, "deepaas-cli", head)
    with pytest.raises(ImageUnfit):
        find.find({"PATH": str(tmp_path)})


@pytest.mark.parametrize("environment", [{}, {"PATH": ""}, {"PATH": "relative:.:bin"}])
def test_no_deepaas_is_told_with_where_it_was_looked_for(environment: dict[str, str]) -> None:
    with pytest.raises(ImageUnfit, match="no DEEPaaS in this image"):
        find.find(environment)


def test_a_home_at_the_root_is_searched_like_any_other() -> None:
    with pytest.raises(ImageUnfit, match="no DEEPaaS in this image"):
        find.find({"PATH": "/nowhere", "HOME": "/"})
