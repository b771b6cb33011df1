"""The command `deepaas-batch report`: the status of all children of a batch run as one HTML page."""

from __future__ import annotations

import argparse
import time
import webbrowser
from pathlib import Path

from scripts import whole_file
from scripts.report import parquet
from scripts.report.page import many, render, size, visible
from scripts.report.places import Source, source
from scripts.report.reading import Faults
from scripts.report.run import Merged, merge
from supervisor.failures import SUCCESS, InputMissing

DESCRIPTION = """\
Merges the status of all children of a batch run into one HTML page that needs nothing else: no network, no server.

STATUS holds, for each child, <job>[-<index>].json (the status document), and beside it, where the job wrote them,
<job>[-<index>].items.jsonl (how each item ended) and <job>[-<index>].results.jsonl (the module's answers). Lines are
read as a stream and every table is bounded: a thousand items and a million take the same memory. With --parquet the
answers of all children become one Parquet file, a row an item."""
EPILOG = """\
It exits 66 where there is no such folder or nothing in it, 73 where the page cannot be written, 75 where S3 does not
answer, 77 where access is denied.

examples:
  deepaas-batch report results/_status
  deepaas-batch report s3://bucket/results/_status/ --out night.html --parquet night.parquet"""


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("status", metavar="STATUS", help="folder or s3://bucket/prefix/ with the status documents")
    parser.add_argument(
        "--out", "--output", type=Path, default=Path("report.html"), metavar="FILE", help="default: report.html"
    )
    parser.add_argument("--parquet", type=Path, metavar="FILE", help="all answers too, as one Parquet file")
    parser.add_argument("--results", metavar="PLACE", help="folder or prefix of the results tables (default: STATUS)")
    parser.add_argument("--job", metavar="ID", help="this job alone, where STATUS holds several")
    parser.add_argument("--open", choices=("yes", "no"), default="no", help="show it in the browser (default: no)")


def main(options: argparse.Namespace) -> int:
    """Raises Failure."""
    place = source(options.status)
    results = source(options.results) if options.results else None
    merged = merge(place, options.status, options.job, results)
    rows = _parquet(merged, results or place, options.parquet) if options.parquet else None
    page = render(merged, options.status, time.time())
    whole_file.write_text(options.out, page)
    print(_summary(merged, options.out, len(page.encode())))
    if rows is not None:
        print(f"{visible(options.parquet)}: {many(rows, 'row')} from {many(len(merged.tables), 'table')}")
    if options.open == "yes":
        webbrowser.open(options.out.absolute().as_uri())
    return SUCCESS


def _parquet(merged: Merged, place: Source, path: Path) -> int:
    if not merged.tables:
        raise InputMissing(
            "there is no results table for a Parquet file",
            "jobs write one with JOB_RESULTS_TABLE; name its place with --results, if it is not beside the status",
        )
    # Reading them for the page has told of lines that cannot be used.
    return parquet.write(place, merged.tables, path, Faults())


def _summary(merged: Merged, output: Path, octets: int) -> str:
    run, unread = merged.run, merged.faults.kinds.total()
    counts = ", ".join(f"{run.total(state):,} {state}" for state in ("done", "skipped", "failed", "left"))
    said = f"; {many(unread, 'file or line', 'files or lines')} could not be used, as the page says" if unread else ""
    children = many(len(run.children), "child", "children")
    return f"{visible(output)}: {children}, {many(run.total('total'), 'item')} ({counts}), {size(octets)}{said}"
