"""Runs the groups, prints each row as it comes, writes the report; ends with 1 where a figure that must be 0 is not."""

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from benchmarks.reliability import keys, model, s3, signals
from benchmarks.reliability.row import Row
from benchmarks.reliability.scene import Scene, scene
from tests.conftest import NEWEST

REPORT = Path(__file__).resolve().parents[2] / "docs" / "reliability.md"
GROUPS: dict[str, Callable[[Scene], Iterator[Row]]] = {
    "s3": s3.s3_faults,
    "replaced": s3.replaced_objects,
    "models": model.misbehaving_models,
    "crashes": model.crashing_items,
    "hang": model.hanging_model,
    "secrets": model.curious_model,
    "stops": signals.stops,
    "kills": signals.kills,
    "keys": keys.hostile_keys,
}
_INTRODUCTION = """\
# Reliability

What came of everything that was made to go wrong: written by `make reliability`, which runs the real supervisor some
hundred times with DEEPaaS {release}, against a real S3 server (SeaweedFS) behind a proxy that spoils {shares} of the
requests (the pauses between tries are cut short, their number is not), on modules that misbehave, and under signals.
The faults follow from fixed seeds.

- **cases**: how often the fault struck: requests spoiled, predictions, signals, keys.
- **runs**: of the supervisor, with those after the trouble, which have to finish the work.
- **exit codes**: how those ended. None may end with another code than [the contract](contract.md) has for it.
- **wrong successes**: told as done, and not there or not right to the last bit of the input.
- **lost, half-written**: results that were there before, or never came although all was well again; results that are
  not whole; inputs changed; files where none belong.
- **processes**: what still ran of a job once it had ended (10 s later after SIGKILL, which leaves no time for it).
- **secrets**: credentials in what the model saw and answered, in logs, in the status, in files left behind.
- **stop**: the slowest, from SIGTERM to the end, with JOB_GRACE at its default of 25 s.

| fault | cases | runs | exit codes | wrong successes | lost, half-written | processes | secrets | stop |
|---|--:|--:|---|--:|--:|--:|--:|--:|
"""
_REST = """
Not in this table, as it takes a container or minutes: models killed for memory, full disks, zombies under PID 1 and the
default container's root (`tests/containers`), every DEEPaaS release (`tests/integration/test_releases.py`), and fuzzed
events, arguments and keys (`tests/unit/test_hostile_input.py`).
"""


def report(rows: Sequence[Row]) -> str:
    """docs/reliability.md."""
    shares = ", ".join(f"{share:.0%}" for share in s3.SHARES[:-1]) + f" and {s3.SHARES[-1]:.0%}"
    total = Row(fault="**all**")
    for row in rows:
        total.add(row)
    introduction = _INTRODUCTION.format(release=NEWEST, shares=shares)
    return introduction + "\n".join(_line(row) for row in [*rows, total]) + "\n" + _REST


def _line(row: Row) -> str:
    codes = ", ".join(f"{count} x {code}" for code, count in sorted(row.codes.items()))
    if row.other_endings:
        codes += f" (**{row.other_endings} not as promised**)"
    counts = " | ".join(str(n) if not n else f"**{n}**" for n in (row.wrong, row.spoilt, row.processes, row.secrets))
    stop = "" if row.stop is None else f"{row.stop:.1f} s"
    return f"| {row.fault} | {row.cases:,} | {row.runs:,} | {codes} | {counts} | {stop} |"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.reliability", description=__doc__)
    parser.add_argument(
        "group", nargs="*", choices=[[], *GROUPS], help=f"only these, and write nothing: {', '.join(GROUPS)}"
    )
    chosen = parser.parse_args().group
    rows = []
    with scene() as place:
        for group in chosen or GROUPS:
            for row in GROUPS[group](place):
                print(_line(row), flush=True)
                rows.append(row)
    if not chosen:
        REPORT.write_text(report(rows))
    failing = [row.fault for row in rows if not row.holds]
    for fault in failing:
        print(f"not 0 where it has to be, or not in time: {fault}", file=sys.stderr)
    return 1 if failing else 0


if __name__ == "__main__":
    sys.exit(main())
