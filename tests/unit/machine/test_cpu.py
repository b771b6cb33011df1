"""How many cores there are, told from trees of files as cgroup v2 and v1 lay them out."""

import os
from pathlib import Path

import pytest

from supervisor.machine import cpu


@pytest.fixture(autouse=True)
def sixteen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(16))


def v2(folder: Path, path: str = "/", **groups: str) -> int:
    """The cores where the groups' cpu.max are these: a__b="max 100000" is that of /a/b."""
    top = folder / "cgroup"
    top.mkdir()
    (folder / "own").write_text(f"0::{path}\n")
    for group, content in groups.items():
        place = top / group.replace("__", "/").strip("_")
        place.mkdir(parents=True, exist_ok=True)
        (place / "cpu.max").write_text(content + "\n")
    return cpu.cores(top, folder / "own")


@pytest.mark.parametrize(
    ("content", "cores"),
    [
        ("max 100000", 16),
        ("400000 100000", 4),
        ("25000 100000", 1),
        ("150000 100000", 2),
        ("6400000 100000", 16),
        ("", 16),
        ("0 0", 16),
    ],
)
def test_the_time_that_a_container_has_is_so_many_cores(tmp_path: Path, content: str, cores: int) -> None:
    assert v2(tmp_path, _=content) == cores


def test_the_smallest_share_above_counts(tmp_path: Path) -> None:
    assert v2(tmp_path, "/slurm/job", slurm__job="max 100000", slurm="300000 100000") == 3


def test_in_version_1_two_files_say_it(tmp_path: Path) -> None:
    group = tmp_path / "cgroup" / "cpu" / "docker" / "abc"
    group.mkdir(parents=True)
    (group / "cpu.cfs_quota_us").write_text("200000\n")
    (group / "cpu.cfs_period_us").write_text("100000\n")
    (tmp_path / "own").write_text("4:cpu,cpuacct:/docker/abc\n0::/\n")
    assert cpu.cores(tmp_path / "cgroup", tmp_path / "own") == 2
    (group / "cpu.cfs_quota_us").write_text("-1\n")
    assert cpu.cores(tmp_path / "cgroup", tmp_path / "own") == 16


def test_without_control_groups_it_is_where_we_may_run(tmp_path: Path) -> None:
    assert cpu.cores(tmp_path / "none", tmp_path / "no file") == 16
