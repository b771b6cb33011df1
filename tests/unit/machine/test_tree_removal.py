"""Removing a folder with all that a module may have left in it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from supervisor.machine.tree_removal import remove_tree
from tests.conftest import REPOSITORY


def deep(folder: Path, levels: int) -> None:
    """So many folders in each other, of which the deepest have longer paths than the kernel takes."""
    folder.mkdir()
    held = os.open(folder, os.O_RDONLY)
    for _ in range(levels):
        os.mkdir("d", dir_fd=held)
        os.close(os.open("file", os.O_WRONLY | os.O_CREAT, dir_fd=held))
        below = os.open("d", os.O_RDONLY, dir_fd=held)
        os.close(held)
        held = below
    os.close(held)


def test_a_tree_goes(tmp_path: Path) -> None:
    (tmp_path / "t" / "a" / "b").mkdir(parents=True)
    for name in ("x", "a/x", "a/b/x", "a/b/\udcff"):
        (tmp_path / "t" / name).write_bytes(b"x")
    os.mkfifo(tmp_path / "t" / "a" / "fifo")
    assert remove_tree(str(tmp_path / "t"))
    assert list(tmp_path.iterdir()) == []


def test_a_tree_of_three_thousand_levels_goes(tmp_path: Path) -> None:
    """Where shutil.rmtree before Python 3.13 raises RecursionError."""
    deep(tmp_path / "t", 3000)
    assert remove_tree(str(tmp_path / "t"))
    assert list(tmp_path.iterdir()) == []


def test_no_link_is_followed(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    (kept / "below").mkdir(parents=True)
    (kept / "file").write_bytes(b"x")
    (kept / "below").chmod(0o500)
    (tmp_path / "t" / "a").mkdir(parents=True)
    (tmp_path / "t" / "link").symlink_to(kept)
    (tmp_path / "t" / "a" / "link").symlink_to(kept / "below")
    assert remove_tree(str(tmp_path / "t"))
    assert sorted(path.name for path in kept.iterdir()) == ["below", "file"]
    assert (kept / "below").stat().st_mode & 0o777 == 0o500


def test_a_link_itself_stays_and_what_it_leads_to(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "file").write_bytes(b"x")
    (tmp_path / "t").symlink_to(tmp_path / "kept")
    assert not remove_tree(str(tmp_path / "t"))
    assert (tmp_path / "kept" / "file").exists()


def test_what_is_not_there_is_gone(tmp_path: Path) -> None:
    assert remove_tree(str(tmp_path / "t"))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_folders_without_rights_go_as_any_user(tmp_path: Path) -> None:
    """Root goes everywhere: it takes another user to be kept out."""
    for folder in (tmp_path, *tmp_path.parents):
        if folder != Path("/") and folder.stat().st_uid == 0:
            folder.chmod(folder.stat().st_mode | 0o011)
    code = tmp_path / "tree_removal.py"  # this repository may lie where nobody else may go
    code.write_bytes((REPOSITORY / "supervisor" / "machine" / "tree_removal.py").read_bytes())
    tried = tmp_path / "tried"
    tried.mkdir()
    tried.chmod(0o777)
    made = subprocess.run(
        [sys.executable if Path(sys.executable).is_relative_to("/usr") else "/usr/bin/python3", "-c", """
import os, runpy, sys
code, tree = sys.argv[1:]
os.makedirs(tree + "/closed/below")
for path in ("/closed/x", "/closed/below/x"):
    open(tree + path, "w").close()
os.chmod(tree + "/closed/below", 0)
os.chmod(tree + "/closed", 0o500)
os.chmod(tree, 0)
print(runpy.run_path(code)["remove_tree"](tree))
""", str(code), str(tried / "t")],
        user=65534, group=65534, extra_groups=[], capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert made.stdout == "True\n", made.stderr
    assert list(tried.iterdir()) == []
