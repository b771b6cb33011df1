"""What is removed of a module's TMPDIR between items, and what stays, whatever lies there."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from supervisor.machine.tree_removal import remove_tree
from supervisor.model import temporary_folder
from supervisor.model.temporary_folder import TemporaryFolder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "tmp"
    made.mkdir()
    return made


def settled(folder: Path) -> TemporaryFolder:
    """One whose module has answered for the first time."""
    temporary = TemporaryFolder(str(folder), remove_tree)
    temporary.after_prediction({}, True)
    changed(folder)
    return temporary


def changed(folder: Path) -> None:
    """As if what comes now came later: clocks of file systems tick every 4 ms."""
    os.utime(folder, ns=(0, 0))


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_what_a_prediction_leaves_goes_and_what_was_there_stays(folder: Path) -> None:
    (folder / "cache").mkdir()
    temporary = settled(folder)
    changed(folder / "cache")
    (folder / "cache" / "new").write_bytes(b"x")
    (folder / "new" / "below").mkdir(parents=True)
    temporary.after_prediction({}, True)
    assert names(folder) == ["cache"]
    assert names(folder / "cache") == []


def test_a_tree_of_two_thousand_levels_goes_and_what_comes_after_it(folder: Path) -> None:
    temporary = settled(folder)
    at = os.open(folder, os.O_RDONLY)
    for _ in range(2000):
        os.mkdir("d", dir_fd=at)
        below = os.open("d", os.O_RDONLY, dir_fd=at)
        os.close(at)
        at = below
    os.close(at)
    temporary.after_prediction({}, True)
    assert names(folder) == []
    changed(folder)
    (folder / "later").write_bytes(b"x")
    temporary.after_prediction({}, True)
    assert names(folder) == []


def test_a_link_in_the_place_of_the_folder_leads_nowhere(folder: Path, tmp_path: Path) -> None:
    """What it leads to was never the module's temporary folder."""
    data = tmp_path / "data"
    data.mkdir()
    (data / "precious").write_bytes(b"x")
    temporary = settled(folder)
    folder.rmdir()
    folder.symlink_to(data)
    for _ in range(3):
        temporary.after_prediction({}, True)
    assert names(data) == ["precious"]


def test_a_link_in_the_place_of_a_folder_that_was_kept_leads_nowhere_either(folder: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / "precious").write_bytes(b"x")
    (folder / "cache").mkdir()
    temporary = settled(folder)
    (folder / "cache").rmdir()
    (folder / "cache").symlink_to(data)
    temporary.after_prediction({}, True)
    assert names(data) == ["precious"]


@pytest.fixture
def holder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Starts a process in a session of its own that holds a file open until the test is over."""
    monkeypatch.setenv(temporary_folder.MARK, "0123456789abcdef")
    processes: list[subprocess.Popen[bytes]] = []

    def hold(path: Path) -> None:
        process = subprocess.Popen(
            [sys.executable, "-c", "import sys; f = open(sys.argv[1], 'w'); print(flush=True); sys.stdin.read()", path],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True,
        )  # fmt: skip
        processes.append(process)
        assert process.stdout is not None
        process.stdout.readline()

    yield hold
    for process in processes:
        process.communicate()


def test_what_a_process_in_a_session_of_its_own_has_open_stays(folder: Path, holder: Any) -> None:
    """As those of Ray and Dask are."""
    temporary = settled(folder)
    (folder / "spool").mkdir()
    holder(folder / "spool" / "object")
    temporary.after_prediction({}, True)
    assert names(folder) == ["spool"]
    assert temporary.held == 1


def test_of_many_folders_those_nearest_are_looked_at(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model that unpacks a hundred thousand folders would cost each item 0.1 s."""
    monkeypatch.setattr(temporary_folder, "MOST_FOLDERS", 3)
    for number in range(2):
        (folder / str(number) / "below").mkdir(parents=True)
    temporary = settled(folder)
    for place in (folder, folder / "0", folder / "1", folder / "0" / "below"):
        changed(place)
        (place / "new").write_bytes(b"x")
    temporary.after_prediction({}, True)
    assert sorted(str(path.relative_to(folder)) for path in folder.rglob("new")) == ["0/below/new"]
