"""A model that takes more memory than its container has: the kernel's own word, with the limit and the peak."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from tests.containers.jobs import Jobs

pytestmark = pytest.mark.containers
Derived = Callable[..., str]
LIMIT = "192m"  # the supervisor, the model's Python and DEEPaaS take about 120


@pytest.mark.parametrize("image", ["python36", "python311"])
def test_a_model_killed_for_memory_is_told_with_the_limit_and_the_peak(
    image: str, jobs: Jobs, derived: Derived
) -> None:
    finished = jobs.run(
        derived(image),
        module="eats_memory",
        environment={"JOB_RUNNER": "worker", "JOB_PREDICT_ARGS": json.dumps({"megabytes": 1000})},
        mem_limit=LIMIT,
        memswap_limit=LIMIT,
    )

    assert finished.code == 137, finished.stderr
    assert "killed by SIGKILL while asked to predict: out of memory: the limit is 192 MiB" in finished.stderr
    assert jobs.status["exit_code"] == 137
    assert jobs.results == []


def test_a_kill_by_somebody_is_not_taken_for_a_lack_of_memory(jobs: Jobs, derived: Derived) -> None:
    container = jobs.start(
        derived("python311"),
        module="slow",
        environment={"JOB_RUNNER": "worker", "JOB_PREDICT_ARGS": json.dumps({"seconds": 600})},
        mem_limit="2g",
    )
    container.wait_for("model")
    for _ in range(2):  # the item is tried once more
        container.shell(
            # The bases have no pgrep. The worker leads its session, which its watcher does not; the brackets keep the
            # shell itself out.
            "worker() { for each in /proc/[0-9]*; do read -r pid _ _ _ _ session _ <$each/stat || continue;"
            " if [ $pid = $session ] && tr '\\0' ' ' <$each/cmdline | grep -q 'worker[.]py';"
            " then echo $pid; return; fi; "
            "done 2>/dev/null; return 1; }; "
            "until pid=$(worker); do sleep 0.1; done; sleep 3; kill -9 $pid; "
            "while [ -d /proc/$pid ]; do sleep 0.1; done"
        )
    finished = container.wait()

    assert finished.code == 65, finished.stderr
    assert "killed by SIGKILL by somebody, not by the kernel for memory; the limit is 2,048 MiB" in finished.stderr
