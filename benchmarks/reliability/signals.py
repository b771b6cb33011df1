"""SIGTERM wherever a job may stand, and SIGKILL at random moments."""

import json
import random
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmarks.reliability.row import Row
from benchmarks.reliability.scene import Scene, examine, finish
from tests.conftest import Ended, image
from tests.faults.jobs import Batch
from tests.faults.proxy import Fault, FaultProxy, Kind, Request, Trouble
from tests.faults.traces import count_and_end_survivors, count_orphans_of_a_kill
from tests.integration.cases import CONTENT

_STOPS, _KILLS = 4, 12
_PATIENCE = 120.0  # seconds for any one run


def stops(scene: Scene) -> Iterator[Row]:
    """SIGTERM wherever a job may stand. The jobs wait side by side: some take all their grace."""
    ways: dict[str, Callable[[Row], None]] = {
        "the model, its child and grandchild ignore it": lambda row: _stop_in_prediction(scene, row, "worker"),
        "the same by deepaas-cli": lambda row: _stop_in_prediction(scene, row, "cli"),
        "S3 stalls in mid-body": lambda row: _stop_in_a_stall(scene, row),
        "at random moments of a job of many": lambda row: _stop_in_many(scene, row),
    }
    rows = [Row(fault=f"SIGTERM: {when}") for when in ways]
    with ThreadPoolExecutor(len(ways)) as pool:
        for each in [pool.submit(way, row) for row, way in zip(rows, ways.values(), strict=True)]:
            each.result()
    yield from rows


def _stop_in_prediction(scene: Scene, row: Row, runner: str) -> None:
    home = scene.home()
    source, pids = home / "recording.wav", home / "pids"
    source.write_bytes(CONTENT)
    variables = {
        "JOB_INPUT": str(source),
        "JOB_OUTPUT": str(home / "out"),
        "JOB_RUNNER": runner,
        "JOB_PREDICT_ARGS": json.dumps({"pids": str(pids)}),
    }
    with image(home, "ignores_term").start("run", **variables) as process:
        deadline = time.monotonic() + _PATIENCE
        while not pids.exists() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
        ended = _terminated(row, process)
    row.ended(ended, {143})
    row.spoilt += sum(path.is_file() for path in (home / "out").glob("*"))
    row.processes += count_and_end_survivors(home)


def _stop_in_a_stall(scene: Scene, row: Row) -> None:
    home, batch, stalled = scene.home(), scene.batch(4), threading.Event()
    trouble = Trouble(fault=Fault.STALL, share=1, kinds=frozenset({Kind.GET}))
    supervisor = image(home, "plain")

    def look(request: Request) -> None:
        if request.kind is Kind.GET:
            stalled.set()

    with (
        FaultProxy(scene.bucket.endpoint, trouble, before=look) as proxy,
        supervisor.start("run", **batch.job(proxy.endpoint), JOB_OVERWRITE="always") as process,
    ):
        stalled.wait(_PATIENCE)
        ended = _terminated(row, process)
    row.ended(ended, {143})
    examine(scene, row, ended, home, batch)
    finish(scene, row, supervisor, home, batch)


def _stop_in_many(scene: Scene, row: Row) -> None:
    for ended, home, batch in _struck_down(scene, row, signal.SIGTERM, times=_STOPS):
        row.ended(ended, {143, 0})
        examine(scene, row, ended, home, batch)
        finish(scene, row, image(home, "plain"), home, batch)


def kills(scene: Scene) -> Iterator[Row]:
    row = Row(fault="SIGKILL: at random moments of a job of many")
    for ended, home, batch in _struck_down(scene, row, signal.SIGKILL, times=_KILLS):
        row.ended(ended, {-signal.SIGKILL, 0})
        row.processes += count_orphans_of_a_kill(home)
        examine(scene, row, ended, home, batch)
        finish(scene, row, image(home, "plain"), home, batch)
    yield row


def _struck_down(scene: Scene, row: Row, number: signal.Signals, times: int) -> Iterator[tuple[Ended, Path, Batch]]:
    """Runs a batch so many times, and each time sends the supervisor a signal at another of its requests to S3."""
    lots = random.Random(5)  # noqa: S311 - the same moments in every run
    for _ in range(times):
        home, batch = scene.home(), scene.batch(30)
        moment = _Moment(lots.randrange(3, 3 * batch.count))
        with (
            FaultProxy(scene.bucket.endpoint, before=moment.count) as proxy,
            image(home, "plain").start("run", **batch.job(proxy.endpoint)) as process,
        ):
            while not moment.reached.wait(0.02) and process.poll() is None:
                pass
            ended = _terminated(row, process, number)
        yield ended, home, batch


class _Moment:
    """Reached with the so-and-so-many-th request."""

    def __init__(self, request: int) -> None:
        self._left = request
        self._lock = threading.Lock()
        self.reached = threading.Event()

    def count(self, _: Request) -> None:
        with self._lock:
            self._left -= 1
            if self._left == 0:
                self.reached.set()


def _terminated(row: Row, process: "subprocess.Popen[str]", number: signal.Signals = signal.SIGTERM) -> Ended:
    """Sends the signal, waits for the end, and keeps how long that took."""
    row.cases += 1
    process.send_signal(number)
    began = time.monotonic()
    try:
        stdout, stderr = process.communicate(timeout=_PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    if number == signal.SIGTERM:
        row.stopped_after(time.monotonic() - began)
    # A line that SIGKILL cut off is none.
    return Ended(code=process.returncode, stdout=stdout[: stdout.rfind("\n") + 1], stderr=stderr)
