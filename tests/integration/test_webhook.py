"""A webhook is told how the job stands, signed; whatever it does, the job ends as it would."""

import base64
import io
import json
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from standardwebhooks import Webhook as Verifier

from supervisor.status import publisher
from supervisor.status.publisher import Publisher
from supervisor.status.reporters import JsonLines
from supervisor.status.webhook import Webhook
from tests.conftest import Ended, Supervisor, image
from tests.unit.status.jobs import done, record

SECRET = "whsec_" + base64.b64encode(b"a key of the receiver's own").decode()


@dataclass
class Receiver:
    """What a server on loopback was told; `answers` are the statuses it gives, the last one again and again.

    It answers once it `may_answer`, which it may from the start.
    """

    url: str = ""
    may_answer: threading.Event = field(default_factory=threading.Event)
    answers: list[int] = field(default_factory=lambda: [204])
    retry_after: str | None = None
    told: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    heard: threading.Condition = field(default_factory=threading.Condition)

    def wait_for(self, number: int) -> tuple[dict[str, str], bytes]:
        """The number-th event, from 1: its headers and its body."""
        with self.heard:
            assert self.heard.wait_for(lambda: len(self.told) >= number, 30)
        return self.told[number - 1]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    made.may_answer.set()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            with made.heard:
                made.told.append((dict(self.headers), self.rfile.read(int(self.headers["Content-Length"]))))
                made.heard.notify_all()
            assert made.may_answer.wait(30)
            self.send_response(made.answers.pop(0) if len(made.answers) > 1 else made.answers[0])
            self.send_header("Location", "http://127.0.0.1:9/elsewhere")
            if made.retry_after:
                self.send_header("Retry-After", made.retry_after)
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


def told_last(url: str, patience: float) -> list[str]:
    """The warnings that come of telling a receiver the end of a job."""
    warnings: list[str] = []
    until = time.monotonic() + patience
    last = Webhook(url, None, "job").tell_last({"state": "SUCCEEDED", "updated": "now"}, lambda: until)
    last.wait(warnings.append)
    return warnings


@pytest.mark.parametrize("status", [500, 503, 429])
def test_the_end_is_told_again_until_it_is_taken(receiver: Receiver, status: int) -> None:
    receiver.answers = [status, status, 204]
    assert not told_last(receiver.url, 30)
    assert len({json.loads(body)["id"] for _, body in receiver.told}) == 1
    assert len(receiver.told) == 3


def test_a_receiver_may_say_when_to_come_again(receiver: Receiver) -> None:
    receiver.answers, receiver.retry_after = [503, 204], "1"
    began = time.monotonic()
    assert not told_last(receiver.url, 30)
    assert time.monotonic() - began >= 1


@pytest.mark.parametrize("wanted", ["86400", "9" * 400, "-1", "soon", "Wed, 21 Oct 2099 07:28:00 GMT"])
def test_a_receiver_cannot_put_the_end_off(receiver: Receiver, wanted: str) -> None:
    receiver.answers, receiver.retry_after = [503, 204], wanted
    assert not told_last(receiver.url, 30)
    assert len(receiver.told) == 2


def test_a_redirect_is_not_followed(receiver: Receiver) -> None:
    receiver.answers = [307]
    assert "it answers 307" in told_last(receiver.url, 30)[0]


def _refuses(_: socket.socket) -> None:
    """Never called: nobody listens."""


def _is_silent(_: socket.socket) -> None:
    """Takes the call and says nothing."""


def _drips(connection: socket.socket) -> None:
    """Says its head, a byte at a time, for ever."""
    connection.sendall(b"HTTP/1.1 200 OK\r\nX: ")
    while True:
        connection.sendall(b"x")
        time.sleep(0.05)


def _hangs_up(connection: socket.socket) -> None:
    connection.recv(10)


def _says_nonsense(connection: socket.socket) -> None:
    connection.recv(65536)
    connection.sendall(b"220 smtp.example.org ESMTP\r\n")


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("behaviour", [_refuses, _is_silent, _drips, _hangs_up, _says_nonsense])
def test_a_receiver_that_takes_nothing_is_given_up_in_time(
    behaviour: Callable[[socket.socket], None], scheme: str
) -> None:
    with _server(behaviour) as address:
        began = time.monotonic()
        warnings = told_last(f"{scheme}://{address}/", 1.5)
        assert time.monotonic() - began < 6
    assert "was not told the end of the job" in warnings[0]


def _never_ends(connection: socket.socket) -> None:
    connection.recv(65536)
    connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        connection.sendall(b"1000\r\n" + b"x" * 4096 + b"\r\n")


def _lies_about_its_length(connection: socket.socket) -> None:
    connection.recv(65536)
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 999999999999\r\n\r\nshort")


@pytest.mark.parametrize("behaviour", [_never_ends, _lies_about_its_length])
def test_the_body_of_an_answer_is_not_waited_for(behaviour: Callable[[socket.socket], None]) -> None:
    with _server(behaviour) as address:
        assert not told_last(f"http://{address}/", 30)


@pytest.mark.parametrize("behaviour", [_never_ends, _lies_about_its_length])
def test_whatever_a_receiver_answers_the_job_ends_as_it_would(
    run: Callable[..., Ended], behaviour: Callable[[socket.socket], None]
) -> None:
    with _server(behaviour) as address:
        ended = run(JOB_STATUS_URL=f"http://{address}/")
    assert (ended.code, ended.status["state"]) == (0, "SUCCEEDED")


def test_a_job_that_was_stopped_waits_no_longer_than_it_has(tmp_path: Path, recording: Path) -> None:
    asked = threading.Event()

    def is_silent(_: socket.socket) -> None:
        asked.set()

    with (
        _server(is_silent) as address,
        image(tmp_path, "slow").start("run", JOB_INPUT=str(recording), JOB_OUTPUT=str(tmp_path / "out"), JOB_GRACE="1",
                                      JOB_STATUS_URL=f"http://{address}/") as process,
    ):  # fmt: skip
        assert asked.wait(60)
        process.send_signal(signal.SIGTERM)
        stdout, stderr = process.communicate(timeout=20)
    ended = Ended(code=process.returncode, stdout=stdout, stderr=stderr)
    assert (ended.code, ended.status["state"]) == (143, "INTERRUPTED")


def test_progress_is_told_while_the_job_runs(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publisher, "_DOCUMENT", 0.01)
    monkeypatch.setattr(publisher, "_EVENT", 0.0)
    made = record(2, output=None, status_url=receiver.url, status_secret=base64.b64decode(SECRET[6:]))
    tells = Publisher(made, JsonLines(io.StringIO()))
    tells.first()
    receiver.wait_for(1)
    tells.item(done(0))
    headers, body = receiver.wait_for(2)
    Verifier(SECRET).verify(body, headers)
    assert json.loads(body)["type"] == "deepaas-batch.job.running"
    assert json.loads(body)["data"]["counts"]["done"] == 1
    made.close(None)
    tells.last()
    assert json.loads(receiver.told[-1][1])["type"] == "deepaas-batch.job.succeeded"


def test_progress_that_had_to_wait_for_an_earlier_event_is_told_after_it(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publisher, "_DOCUMENT", 0.01)
    monkeypatch.setattr(publisher, "_EVENT", 0.0)
    receiver.may_answer.clear()
    made = record(2, output=None, status_url=receiver.url)
    tells = Publisher(made, JsonLines(io.StringIO()))
    tells.first()
    receiver.wait_for(1)
    tells.item(done(0))
    time.sleep(0.5)  # fifty turns of the thread that tells: the change is written long before the receiver answers
    assert len(receiver.told) == 1
    receiver.may_answer.set()
    assert json.loads(receiver.wait_for(2)[1])["data"]["counts"]["done"] == 1
    made.close(None)
    tells.last()


def test_a_receiver_that_hangs_holds_no_item_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publisher, "_DOCUMENT", 0.01)
    monkeypatch.setattr(publisher, "_EVENT", 0.0)
    monkeypatch.setattr(publisher, "_WEBHOOK_PATIENCE", 0.5)
    with _server(_is_silent) as address:
        made = record(1_000, output=None, status_url=f"http://{address}/")
        tells = Publisher(made, JsonLines(io.StringIO()))
        tells.first()
        for index in range(1_000):
            tells.item(done(index))
        assert sum(thread.name == "webhook" for thread in threading.enumerate()) <= 1
        made.close(None)
        tells.last()
    assert made.state == "SUCCEEDED"


@contextmanager
def _server(behaviour: Callable[[socket.socket], None]) -> Iterator[str]:
    """host:port on loopback, of a server that does this with each connection."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        host, port = listening.getsockname()
        held: list[socket.socket] = []

        def handle(connection: socket.socket) -> None:
            with suppress(OSError):
                behaviour(connection)
            if behaviour is _hangs_up or behaviour is _says_nonsense:
                connection.close()

        def accept() -> None:
            with suppress(OSError):
                while True:
                    held.append(listening.accept()[0])
                    threading.Thread(target=handle, args=(held[-1],), daemon=True).start()

        if behaviour is not _refuses:
            listening.listen()
            threading.Thread(target=accept, daemon=True).start()
        yield f"{host}:{port}"
        for connection in held:
            connection.close()
