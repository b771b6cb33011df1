"""A webhook is told how the job stands, signed; whatever it does, the job ends as it would."""

import base64
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from standardwebhooks import Webhook as Verifier

from supervisor.status.webhook import Webhook
from tests.conftest import Ended, Supervisor

SECRET = "whsec_" + base64.b64encode(b"a key of the receiver's own").decode()


@dataclass
class Receiver:
    """What a server on loopback was told; `answers` are the statuses it gives, the last one again and again."""

    url: str = ""
    answers: list[int] = field(default_factory=lambda: [204])
    told: list[tuple[dict[str, str], bytes]] = field(default_factory=list)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            made.told.append((dict(self.headers), self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(made.answers.pop(0) if len(made.answers) > 1 else made.answers[0])
            self.send_header("Location", "http://127.0.0.1:9/elsewhere")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        made.url = f"http://127.0.0.1:{server.server_port}/hook?token=of-the-receiver"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield made
        server.shutdown()


@pytest.fixture
def run(plain: Supervisor, recording: Path, tmp_path: Path) -> Callable[..., Ended]:
    def run_with(**variables: str) -> Ended:
        return plain("run", JOB_INPUT=str(recording), JOB_OUTPUT=str(tmp_path / "out"), **variables)

    return run_with


def test_the_end_is_told_as_a_signed_cloud_event(run: Callable[..., Ended], receiver: Receiver) -> None:
    ended = run(JOB_STATUS_URL=receiver.url, JOB_STATUS_SECRET=SECRET, AWS_BATCH_JOB_ID="job-1")
    assert ended.code == 0
    headers, body = receiver.told[-1]
    Verifier(SECRET).verify(body, headers)
    event = json.loads(body)
    assert headers["Content-Type"].startswith("application/cloudevents+json")
    assert (event["specversion"], event["type"], event["subject"]) == ("1.0", "deepaas-batch.job.succeeded", "job-1")
    assert event["data"] == ended.status
    assert [json.loads(told)["data"]["state"] for _, told in receiver.told] == ["RUNNING", "SUCCEEDED"]


def test_a_refusal_changes_nothing_but_a_warning(run: Callable[..., Ended], receiver: Receiver) -> None:
    receiver.answers = [400]
    ended = run(JOB_STATUS_URL=receiver.url)
    assert ended.code == 0
    (warning,) = [event["message"] for event in ended.events if event["event"] == "warning"]
    assert "was not told the end of the job: it answers 400" in warning


def test_neither_the_secret_nor_the_receivers_token_is_ever_shown(
    run: Callable[..., Ended], receiver: Receiver, tmp_path: Path
) -> None:
    receiver.answers = [400]
    ended = run(JOB_STATUS_URL=receiver.url, JOB_STATUS_SECRET=SECRET)
    written = "".join(path.read_text() for path in (tmp_path / "out").rglob("*.json"))
    for said in (ended.stdout, ended.stderr, written):
        assert SECRET.removeprefix("whsec_") not in said
        assert "of-the-receiver" not in said


@pytest.mark.parametrize("status", [500, 503, 429])
def test_the_end_is_told_again_until_it_is_taken(receiver: Receiver, status: int) -> None:
    receiver.answers = [status, status, 204]
    warnings: list[str] = []
    Webhook(receiver.url, None, "job").tell_last({"state": "SUCCEEDED", "updated": "now"}, 30, warnings.append)
    assert not warnings
    assert len({json.loads(body)["id"] for _, body in receiver.told}) == 1
    assert len(receiver.told) == 3


def test_a_redirect_is_not_followed(receiver: Receiver) -> None:
    receiver.answers = [307]
    warnings: list[str] = []
    Webhook(receiver.url, None, "job").tell_last({"state": "FAILED", "updated": "now"}, 30, warnings.append)
    assert "it answers 307" in warnings[0]


def test_a_dead_receiver_is_given_up_in_time() -> None:
    with socket.socket() as unheard:
        unheard.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unheard.getsockname()[1]}/"
        warnings: list[str] = []
        began = time.monotonic()
        Webhook(url, None, "job").tell_last({"state": "FAILED", "updated": "now"}, 2, warnings.append)
    assert time.monotonic() - began < 10
    assert "was not told the end of the job" in warnings[0]


def test_a_receiver_that_takes_the_call_and_never_answers_is_given_up_in_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        warnings: list[str] = []
        began = time.monotonic()
        Webhook(url, None, "job").tell_last({"state": "FAILED", "updated": "now"}, 2, warnings.append)
    assert time.monotonic() - began < 10
    assert warnings
