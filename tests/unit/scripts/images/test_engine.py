"""What the Docker engine says, or does not, as failures with what to do about each."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import requests
from docker.errors import DockerException
from urllib3.exceptions import ProtocolError

from scripts import cli
from scripts.images import engine
from supervisor.failures import DiskTrouble, InputDenied, InputMissing, PassingTrouble


@contextmanager
def engine_on(architecture: str) -> Iterator[str]:
    """An engine that says what it runs on, and nothing else: its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps({"ApiVersion": "1.41", "Arch": architecture}).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"tcp://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize("words", [["images", "yolov8"], ["run", "yolov8", __file__]])
def test_an_engine_for_other_processors_is_said_before_anything_is_built(
    words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with engine_on("arm64") as address:
        monkeypatch.setenv("DOCKER_HOST", address)
        assert cli.main(words) == 64

    [line] = capsys.readouterr().err.splitlines()
    assert "is one for arm64" in line
    assert "DOCKER_HOST" in line


@pytest.mark.parametrize(
    "error",
    [
        ProtocolError("Connection broken: InvalidChunkLength"),
        requests.exceptions.ChunkedEncodingError("Connection broken"),
        requests.exceptions.ConnectionError(
            "('Connection aborted.', FileNotFoundError(2, 'No such file or directory'))"
        ),
    ],
)
def test_a_connection_that_breaks_means_that_the_engine_went_away(error: Exception) -> None:
    failure = engine.failure("yolov8", error)

    assert isinstance(failure, PassingTrouble)
    assert "the Docker engine went away" in failure.message


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ("write /var/lib/docker/tmp/x: no space left on device", DiskTrouble),
        ("denied: requested access to the resource is denied", InputDenied),
        ("manifest for x:cpu not found: manifest unknown", InputMissing),
        ("dial tcp: lookup registry.example.org: no such host", PassingTrouble),
    ],
)
def test_what_the_engine_says_is_a_failure_of_its_kind(said: str, kind: type[Exception]) -> None:
    assert isinstance(engine.failure("yolov8", DockerException(said)), kind)


def test_a_full_disk_here_is_one_too() -> None:
    assert isinstance(engine.failure("yolov8", OSError(28, "No space left on device")), DiskTrouble)
