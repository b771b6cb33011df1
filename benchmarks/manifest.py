"""One child's share of a manifest, from S3: planned and gone through as a job does it, in a process of its own."""

import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterable

from benchmarks import process
from benchmarks.figures import Figure
from benchmarks.jobs import BUCKET, Bench, bench
from benchmarks.process import Ran

MANY, FEW, CHILDREN = 1_000_000, 10_000, 1_000


def measure(runs: int = 3) -> list[Figure]:
    """runs: how often each is done."""
    with bench() as here:
        few, many = (_planned(here, lines, runs) for lines in (FEW, MANY))
    seconds = [json.loads(ran.stdout)["seconds"] for ran in many]
    memory, yardstick = (statistics.median(ran.peak for ran in each) / 1e6 for each in (many, few))
    return [
        Figure(
            name=f"a slice of 1/{CHILDREN:,} of a manifest of {MANY:,} lines: read, checked, gone through",
            value=statistics.median(seconds),
            unit="s",
            target="at most 5",
            beside=f"{runs} runs, {min(seconds):.2f} to {max(seconds):.2f} s",
        ),
        Figure(
            name="the same: peak memory, beside that for 10,000 lines",
            value=memory - yardstick,
            unit="MB more",
            target="at most 10",
            beside=f"{memory:.1f} MB against {yardstick:.1f} MB: 8 bytes a line, and a download in ranges",
        ),
    ]


def _planned(here: Bench, lines: int, runs: int) -> list[Ran]:
    name = f"{lines}.txt"
    _upload(here, name, (f"s3://{BUCKET}/recordings/{number // 1000:04}/{number:07}.wav\n" for number in range(lines)))
    environment = {
        **here.server.variables,
        "PATH": os.defpath,
        "JOB_MANIFEST": f"s3://{BUCKET}/{name}",
        "JOB_INPUT_ROOT": here.uri("recordings"),
        "JOB_OUTPUT": here.uri("results"),
        "JOB_ARRAY_INDEX": str(CHILDREN // 2),
        "JOB_ARRAY_SIZE": str(CHILDREN),
    }
    ran = [process.run([sys.executable, "-m", "benchmarks.manifest"], environment) for _ in range(runs)]
    found = {json.loads(each.stdout)["items"] for each in ran}
    if found != {lines // CHILDREN}:
        raise RuntimeError(f"a slice of {lines} lines in {CHILDREN} has {found} items")
    return ran


def _upload(here: Bench, name: str, lines: Iterable[str]) -> None:
    with tempfile.NamedTemporaryFile("w", dir=here.folder) as file:
        file.writelines(lines)
        file.flush()
        here.server.client().upload_file(file.name, BUCKET, name)


def _plan() -> None:
    """In the child: what a job does before its first item is fetched, and then item by item."""
    from supervisor import job
    from supervisor.work.plan import plan_work

    spec = job.read(job.environment(), {})
    began = time.perf_counter()
    items = sum(1 for _ in plan_work(spec))
    print(json.dumps({"items": items, "seconds": time.perf_counter() - began}))


if __name__ == "__main__":
    _plan()
