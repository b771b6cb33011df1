"""OpenMP beside others: how many threads a model's teams may have, and how they wait (docs/decisions/0009)."""

from collections.abc import Mapping

from supervisor.machine import cpu

_DECIDED_COUNT = ("OMP_THREAD_LIMIT", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
_DECIDED_WAIT = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME", "KMP_LIBRARY")


def environment(copies: int, given: Mapping[str, str]) -> dict[str, str]:
    """For one of so many copies of a model on this machine. given: the environment that it has anyway, which decides.

    A team has no more threads than the copy has cores, also where the library asks for a number of its own, as ggml
    does for four, or counts the cores of a machine of which the container has two. Threads that wait for each other
    sleep: on cores that others use too, spinning (libgomp's default) makes them wait for who would let them go on.
    """
    limit = {"OMP_THREAD_LIMIT": str(cpu.share(copies))} if not _any_of(_DECIDED_COUNT, given) else {}
    wait = {"OMP_WAIT_POLICY": "passive"} if not _any_of(_DECIDED_WAIT, given) else {}
    return limit | wait


def _any_of(names: tuple[str, ...], given: Mapping[str, str]) -> bool:
    return any(name in given for name in names)
