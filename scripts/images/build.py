"""The command `deepaas-batch images`: plan, build side by side, and tell of each image what became of it."""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path

from scripts import terminal
from scripts.checkout import shown
from scripts.images import catalogue, derived, progress, runtime
from scripts.images.builder import Builder, Outcome
from scripts.images.engine import connect
from scripts.images.plan import Order, plan
from scripts.images.runtime import Runtime
from supervisor.failures import BadUsage, job_exit_code

HEADINGS = ("image", "state", "digest", "base", "MB", "added MB", "seconds", "check")
_STOPPING_SECONDS = 10
NUMBERS = ("MB", "added MB", "seconds")


def side_by_side(
    make: Callable[[Order], Outcome], orders: Sequence[Order], jobs: int, stop: Callable[[], None]
) -> list[Outcome]:
    """Every order's outcome, in their order. On an interrupt those that were not begun are left, and `stop` ends the
    others; one that hears nothing from the engine meanwhile ends with the process."""
    pool = ThreadPoolExecutor(jobs)
    futures = [pool.submit(make, order) for order in orders]
    try:
        return [future.result() for future in futures]
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        stop()
        wait(futures, timeout=_STOPPING_SECONDS)
        raise


def row(outcome: Outcome) -> tuple[str, ...]:
    """One image under HEADINGS."""
    built, seconds = outcome.built, f"{outcome.seconds:.1f}"
    if built is None:
        return (outcome.name, outcome.state, "-", "-", "-", "-", seconds, "-")
    return (
        outcome.name,
        outcome.state,
        (built.digest or built.id).removeprefix("sha256:")[:12] + ("" if built.digest else " (local)"),
        built.base_digest.removeprefix("sha256:")[:12],
        f"{built.size / 1e6:.0f}",
        f"{built.added / 1e6:.0f}",
        seconds,
        "no GPU here" if "device" in built.check.failed else "ok",
    )


# The command.

DESCRIPTION = """\
Builds derived images: a catalogue image, unmodified, plus the supervisor and its private runtime, called
REGISTRY/<module>:[TAG-]<variant>. Then runs `supervisor check` in each; a GPU that this machine lacks does not count
against a gpu image. What was built is written down in build/build.json, from which job definitions are made."""
EPILOG = """\
The base is pulled where its registry has it, else the local image is used and a line says so; a local image that never
was in a registry is used as it is. Building again with nothing changed takes seconds. One image that fails leaves the
others alone; the exit code is then the one that all failures share, else 65, and 75 where trying again may help.

examples:
  deepaas-batch images audio-classification
  deepaas-batch images all --variant cpu --jobs 4
  deepaas-batch images yolov8 --registry registry.example.org/batch --tag 2026-01 --push"""


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "model",
        nargs="+",
        help="modules by own name or image repository (see `deepaas-batch catalogue`), or all",
    )
    parser.add_argument("--variant", default="all", metavar="cpu|gpu|all", help="default: every variant there is")
    derived.add_name_flags(parser)
    parser.add_argument("--base", metavar="IMAGE", help="another base image than the catalogue's, for one module")
    parser.add_argument("--push", action="store_true", help="push each image once its check has passed")
    parser.add_argument(
        "--check",
        choices=("load",),
        help="load: have the check load the model, too, with the memory, and perhaps the network, that this takes",
    )
    parser.add_argument("--no-pull", dest="pull", action="store_false", help="ask no registry: local base images alone")
    parser.add_argument(
        "--jobs", type=_positive, default=2, metavar="N", help="builds side by side (default: %(default)s)"
    )
    parser.add_argument(
        "--runtime", type=Path, metavar="FILE", help="an archive that `deepaas-batch runtime` built; default: build it"
    )
    parser.add_argument("--record", type=Path, default=derived.RECORD, metavar="FILE", help="default: build/build.json")


def _positive(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text)):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 up")
    return int(text)


def main(options: argparse.Namespace) -> int:
    """The exit code of all images together. Raises Failure where none can be begun."""
    planned = plan(
        catalogue.load(),
        catalogue.words(options.model),
        options.variant,
        registry=options.registry,
        tag=options.tag,
        base=options.base,
    )
    if options.push and options.registry == derived.REGISTRY:
        raise BadUsage("--push wants to know where to", "give --registry host/path")
    refused = [each for each in planned if isinstance(each, BadUsage)]
    for each in refused:
        terminal.tell("images", each)
    orders = [each for each in planned if isinstance(each, Order)]
    outcomes = _build(orders, options) if orders else []
    if outcomes:
        terminal.print_table(HEADINGS, map(row, outcomes), NUMBERS)
    failures = [outcome.failure for outcome in outcomes if outcome.failure]
    for failure in failures:
        terminal.tell("images", failure)
    succeeded = len(outcomes) - len(failures)
    if succeeded:
        print(f"written down in {shown(options.record)}")
    return job_exit_code(succeeded, Counter(each.code for each in (*refused, *failures)), max_failures=0)


def _build(orders: Sequence[Order], options: argparse.Namespace) -> list[Outcome]:
    client = connect()
    archive = options.runtime or runtime.ready()
    with (
        tempfile.TemporaryDirectory(prefix="deepaas-batch-") as folder,
        progress.for_stream(sys.stderr, len(orders)) as shows,
    ):
        builder = Builder(
            engine=client,
            runtime=Runtime.pack(archive, Path(folder, "context.tar")),
            progress=shows,
            record=options.record,
            push=options.push,
            pull=options.pull,
            load=options.check == "load",
        )

        def stop() -> None:
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            print("\nstopping; what was built is kept (Ctrl-C once more: at once)", file=sys.stderr)
            builder.stop()

        return side_by_side(builder.make, orders, options.jobs, stop)
