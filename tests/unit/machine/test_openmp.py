"""What OpenMP finds in the environment of one of several copies, where nobody has decided."""

import os

import pytest

from supervisor.machine import openmp


@pytest.fixture(autouse=True)
def four_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(4))


@pytest.mark.parametrize(("copies", "threads"), [(1, "4"), (2, "2"), (3, "1"), (4, "1"), (5, "1"), (64, "1")])
def test_a_copy_has_its_share_of_the_cores_and_threads_that_sleep(copies: int, threads: str) -> None:
    assert openmp.environment(copies, {}) == {"OMP_THREAD_LIMIT": threads, "OMP_WAIT_POLICY": "passive"}


@pytest.mark.parametrize("name", ["OMP_THREAD_LIMIT", "OMP_NUM_THREADS", "MKL_NUM_THREADS"])
def test_who_has_said_how_many_threads_has_decided(name: str) -> None:
    assert openmp.environment(2, {name: "3"}) == {"OMP_WAIT_POLICY": "passive"}


@pytest.mark.parametrize("name", ["OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME", "KMP_LIBRARY"])
def test_who_has_said_how_they_wait_has_decided(name: str) -> None:
    assert openmp.environment(2, {name: "x"}) == {"OMP_THREAD_LIMIT": "2"}
