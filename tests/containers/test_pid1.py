"""The supervisor as PID 1: signals, orphans, what is left at the end, and the exit code that Docker hands on."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from tests.containers.jobs import Jobs
from tests.containers.tracked import Process, TrackedContainer

pytestmark = pytest.mark.containers
Derived = Callable[..., str]

_PATIENCE = 60  # seconds for an event, on a busy machine


# stopping


def test_a_job_told_to_stop_in_its_first_moment_stops(jobs: Jobs, derived: Derived) -> None:
    running = jobs.start(derived("python311"), module="slow")
    running.container.kill("SIGTERM")  # while Python still starts

    assert running.wait().code == 143


@pytest.mark.parametrize(
    ("module", "grace", "patience"), [("slow", "3", 10), ("ignores_term", "3", 10), ("ignores_term", "25", 30)]
)
def test_docker_stop_ends_the_job_in_time_with_143(
    module: str, grace: str, patience: int, jobs: Jobs, derived: Derived
) -> None:
    variables = {"JOB_GRACE": grace, "JOB_PREDICT_ARGS": '{"seconds": 600}'}
    running = jobs.start(derived("python311"), module=module, environment=variables)
    running.wait_for("model")

    began = time.monotonic()
    running.container.stop(timeout=patience)
    seconds = time.monotonic() - began

    finished = running.wait()
    assert finished.code == 143  # 137 had Docker lost its patience
    assert seconds < patience
    assert "stopped by SIGTERM (exit 143, stopped)" in finished.stderr
    status = jobs.status
    assert (status["state"], status["exit_code"], status["error"]["category"]) == ("INTERRUPTED", 143, "stopped")


# processes


@dataclass(kw_only=True)
class Receiver:
    """A webhook on loopback. `told` is called with each status document while its sender waits for the answer."""

    url: str
    told: Callable[[dict[str, Any]], None] = field(default=lambda status: None)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            made.told(body["data"])
            self.send_response(HTTPStatus.NO_CONTENT)
            self.end_headers()

        def do_HEAD(self) -> None:
            self.send_error(HTTPStatus.FORBIDDEN)

        do_GET = do_HEAD

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        made = Receiver(url=f"http://127.0.0.1:{server.server_port}/")
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield made
        server.shutdown()


@pytest.mark.parametrize("runner", ["cli", "worker"])
@pytest.mark.parametrize("module", ["leaves_children", "forks_daemon"])
def test_when_the_end_is_told_nothing_of_the_models_is_left(
    module: str, runner: str, jobs: Jobs, derived: Derived, receiver: Receiver
) -> None:
    seen: list[list[Process]] = []
    started = threading.Event()

    def look(status: dict[str, Any]) -> None:
        if status["state"] != "RUNNING":
            started.wait(_PATIENCE)
            seen.append(running.processes())

    receiver.told = look
    environment = {"JOB_STATUS_URL": receiver.url, "JOB_RUNNER": runner}
    running = jobs.start(derived("python311"), module=module, environment=environment, network_mode="host")
    started.set()

    assert running.wait().code == 0
    assert [[process.name for process in processes] for processes in seen] == [["python3.11"]]


def test_an_orphan_that_ends_is_reaped_while_the_model_works(jobs: Jobs, derived: Derived) -> None:
    running = jobs.start(derived("python311"), module="slow")
    running.wait_for("model")

    # A process of the container's whose parent is gone falls to PID 1, whoever started it.
    running.shell("sleep 0.01 & true")

    assert eventually(lambda: "sleep" not in names(running), seconds=5), running.processes()


def test_processes_that_the_model_started_live_while_it_works(jobs: Jobs, derived: Derived) -> None:
    running = jobs.start(derived("python311"), module="ignores_term", environment=arguments(pids="/job/out/pids"))
    assert eventually((jobs.folder / "out/pids").exists)

    expected = [int(pid) for pid in (jobs.folder / "out/pids").read_text().split()]
    others = {process.pid: process.name for process in running.processes() if process.pid not in {1, *expected}}
    assert len(others) <= 1, others  # the worker's watcher, which ends them should the supervisor be killed outright
    assert {1, *expected} <= {process.pid for process in running.processes()}


def names(running: TrackedContainer) -> list[str]:
    return [process.name for process in running.processes()]


def arguments(**given: Any) -> dict[str, str]:
    return {"JOB_PREDICT_ARGS": json.dumps(given)}


def eventually(holds: Callable[[], bool], seconds: float = _PATIENCE) -> bool:
    """For what nobody announces."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if holds():
            return True
        time.sleep(0.1)
    return False


# exit codes


@dataclass(frozen=True, kw_only=True)
class Ending:
    code: int
    module: str = "plain"
    environment: dict[str, str] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    image: tuple[str, str] = ("python311", "cpu")


SMALL = {"mem_limit": "192m", "memswap_limit": "192m"}
NOWHERE = {
    "AWS_ENDPOINT_URL": "http://127.0.0.1:1",
    "AWS_ACCESS_KEY_ID": "x",
    "AWS_SECRET_ACCESS_KEY": "x",
    "JOB_INPUT": "s3://bucket/x.wav",
}
ENDINGS = [
    Ending(code=0),
    Ending(code=64, environment={"JOB_PREDICT_TIMEOUT": "soon"}),
    Ending(code=65, module="os_exit7"),
    Ending(code=66, environment={"JOB_INPUT": "/job/in/none.wav"}),
    Ending(code=69, image=("python311", "gpu")),
    Ending(code=73, environment={"JOB_OUTPUT": "/proc/results"}),
    Ending(code=74, options={"read_only": True}),
    Ending(code=75, environment=NOWHERE),
    Ending(code=77, environment={"JOB_INPUT": "RECEIVER/x.wav"}, options={"network_mode": "host"}),
    Ending(code=78, image=("scratch", "cpu")),
    Ending(code=124, module="slow", environment={"JOB_PREDICT_TIMEOUT": "0.5"}),
    Ending(code=137, module="eats_memory", options=SMALL),
]


@pytest.mark.parametrize("ending", ENDINGS, ids=lambda ending: str(ending.code))
def test_docker_hands_on_the_exit_code(ending: Ending, jobs: Jobs, derived: Derived, receiver: Receiver) -> None:
    environment = {name: value.replace("RECEIVER/", receiver.url) for name, value in ending.environment.items()}
    finished = jobs.run(derived(*ending.image), module=ending.module, environment=environment, **ending.options)

    assert finished.code == ending.code, finished.stderr
    # The supervisor's own word for it: Docker says 137 too where the supervisor itself was killed.
    assert finished.code == 0 or f"(exit {ending.code}, " in finished.stderr
