"""Killed for memory or by somebody, told from trees of files as cgroup v2 and v1 lay them out."""

from pathlib import Path

import pytest

from supervisor.machine import memory
from supervisor.machine.memory import MemoryKills

MIB = 1024 * 1024


def write(folder: Path, **files: object) -> None:
    """memory_max=1 writes the file memory.max."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name.replace("memory_", "memory.", 1)).write_text(f"{content}\n")


def events(kills: int) -> str:
    return f"low 0\nhigh 0\nmax 61\noom {kills}\noom_kill {kills}\noom_group_kill 0"


def control(kills: int) -> str:
    return f"oom_kill_disable 0\nunder_oom 0\noom_kill {kills}"


def v2(folder: Path, path: str = "/") -> MemoryKills:
    (folder / "own").write_text(f"0::{path}\n")
    return MemoryKills(folder / "cgroup", folder / "own")


def v1(folder: Path, path: str = "/docker/abc") -> MemoryKills:
    (folder / "own").write_text(f"12:cpu,cpuacct:/x\n5:memory:{path}\n0::/system.slice\n")
    return MemoryKills(folder / "cgroup", folder / "own")


def test_a_kill_in_v2_is_told_with_the_limit_and_the_peak(tmp_path: Path) -> None:
    write(tmp_path / "cgroup", memory_max=64 * MIB, memory_peak=63 * MIB, memory_events=events(2))
    watch = v2(tmp_path)
    write(tmp_path / "cgroup", memory_events=events(3))
    killed = watch.explain()
    assert killed is not None
    assert killed.told == "out of memory: the limit is 64 MiB, the peak was 63 MiB"
    assert "more memory than 64 MiB" in (killed.hint or "")


def test_a_kill_in_v1_is_told_with_the_limit_and_the_peak(tmp_path: Path) -> None:
    group = tmp_path / "cgroup/memory"  # a container sees its own group as the top
    write(group, memory_limit_in_bytes=512 * MIB, memory_max_usage_in_bytes=512 * MIB, memory_oom_control=control(0))
    watch = v1(tmp_path)
    write(group, memory_oom_control=control(1))
    killed = watch.explain()
    assert killed is not None
    assert killed.told == "out of memory: the limit is 512 MiB, the peak was 512 MiB"


def test_a_kill_explains_one_end_and_no_second(tmp_path: Path) -> None:
    write(tmp_path / "cgroup", memory_max=64 * MIB, memory_events=events(0))
    watch = v2(tmp_path)
    write(tmp_path / "cgroup", memory_events=events(1))
    assert watch.explain() is not None
    assert watch.explain() is None


@pytest.mark.parametrize("kills", [0, 5])
def test_without_a_new_kill_somebody_else_did_it(kills: int, tmp_path: Path) -> None:
    write(tmp_path / "cgroup", memory_max=4096 * MIB, memory_peak=210 * MIB, memory_events=events(kills))
    watch = v2(tmp_path)
    assert watch.explain() is None
    assert watch.not_for_memory() == (
        "by somebody, not by the kernel for memory; the limit is 4,096 MiB, the peak was 210 MiB"
    )


def test_the_lowest_limit_above_counts(tmp_path: Path) -> None:
    top = tmp_path / "cgroup"
    write(top / "slurm/job/step", memory_max="max", memory_peak=3 * MIB, memory_events=events(0))
    write(top / "slurm/job", memory_max=100 * MIB, memory_peak=100 * MIB)
    write(top / "slurm", memory_max=900 * MIB, memory_peak=800 * MIB)
    watch = v2(tmp_path, "/slurm/job/step")
    write(top / "slurm/job/step", memory_events=events(1))
    killed = watch.explain()
    assert killed is not None
    assert killed.told == "out of memory: the limit is 100 MiB, the peak was 100 MiB"


@pytest.mark.parametrize("limit", ["max", str((1 << 63) - 4096)])
def test_without_a_limit_it_was_the_machines_memory(limit: str, tmp_path: Path) -> None:
    write(tmp_path / "cgroup", memory_max=limit, memory_events=events(0))
    watch = v2(tmp_path)
    write(tmp_path / "cgroup", memory_events=events(1))
    killed = watch.explain()
    assert killed is not None
    assert killed.told == "the machine ran out of memory; the job itself has no limit"


@pytest.mark.parametrize("content", [None, "low 0\noom 1"])
def test_where_kills_are_not_counted_memory_is_the_likely_cause(content: str | None, tmp_path: Path) -> None:
    write(tmp_path / "cgroup", memory_max=64 * MIB)
    if content:
        write(tmp_path / "cgroup", memory_events=content)
    killed = v2(tmp_path).explain()
    assert killed is not None
    assert killed.told == "out of memory, most likely; the limit is 64 MiB"


def test_a_path_that_leads_out_of_the_container_is_not_followed(tmp_path: Path) -> None:
    write(tmp_path, memory_max=1 * MIB, memory_events=events(0))
    write(tmp_path / "cgroup", memory_max=64 * MIB, memory_events=events(0))
    assert "the limit is 64 MiB" in v2(tmp_path, "/..").not_for_memory()


def test_without_cgroups_nothing_fails(tmp_path: Path) -> None:
    watch = MemoryKills(tmp_path / "none", tmp_path / "nor that")
    killed = watch.explain()
    assert killed is not None
    assert killed.told == "out of memory, most likely"
    assert watch.not_for_memory() == "by somebody, not by the kernel for memory"


# what there is left


def room(folder: Path, free_kib: int = 16 * 1024 * 1024) -> int | None:
    (folder / "meminfo").write_text(f"MemTotal: 999 kB\nMemAvailable:   {free_kib} kB\n")
    return memory.available(folder / "cgroup", folder / "own", folder / "meminfo")


def test_what_is_left_in_v2_is_the_limit_without_what_cannot_be_taken_back(tmp_path: Path) -> None:
    top = tmp_path / "cgroup"
    (tmp_path / "own").write_text("0::/\n")
    write(top, memory_max=1000 * MIB, memory_current=700 * MIB, memory_stat=f"anon 5\ninactive_file {300 * MIB}")
    assert room(tmp_path) == 600 * MIB


def test_what_is_left_in_v1_is_told_the_same_way(tmp_path: Path) -> None:
    group = tmp_path / "cgroup" / "memory" / "docker" / "abc"
    (tmp_path / "own").parent.mkdir(exist_ok=True)
    (tmp_path / "own").write_text("5:memory:/docker/abc\n")
    write(
        group,
        memory_limit_in_bytes=1000 * MIB,
        memory_usage_in_bytes=700 * MIB,
        memory_stat=f"inactive_file 1\ntotal_inactive_file {200 * MIB}",
    )
    assert room(tmp_path) == 500 * MIB


def test_the_machine_may_have_less_left_than_the_limit(tmp_path: Path) -> None:
    (tmp_path / "own").write_text("0::/\n")
    write(tmp_path / "cgroup", memory_max=1000 * MIB, memory_current=0)
    assert room(tmp_path, free_kib=2048) == 2 * MIB


def test_without_a_limit_it_is_what_the_machine_has(tmp_path: Path) -> None:
    (tmp_path / "own").write_text("0::/\n")
    write(tmp_path / "cgroup", memory_max="max", memory_current=5)
    assert room(tmp_path, free_kib=1024) == MIB


def test_where_nothing_tells_it_is_not_known(tmp_path: Path) -> None:
    assert memory.available(tmp_path, tmp_path / "none", tmp_path / "none") is None
