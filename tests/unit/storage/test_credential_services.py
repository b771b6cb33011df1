"""No input is a service that hands out the supervisor's credentials, by whatever address."""

import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from supervisor.storage import Invalid, Object, credential_services
from supervisor.storage.credential_services import is_credential_service
from supervisor.storage.http import Http

ROLE = "latest/meta-data/iam/security-credentials/role"


@pytest.fixture
def redirecting() -> Iterator[str]:
    """A server that sends everybody on to EC2's metadata."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(302)
            self.send_header("Location", f"http://169.254.169.254/{ROLE}")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/x.json"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.mark.parametrize(
    "host",
    ["169.254.169.254", "169.254.169.254:80", "169.254.170.2", "169.254.170.23", "2852039166", "0xa9fea9fe",
     "169.254.43518", "0251.0376.0251.0376", "[::ffff:169.254.169.254]", "[fd00:ec2::254]", "[fd00:ec2::23]",
     "user:pass@169.254.169.254"],
)  # fmt: skip
def test_no_spelling_of_their_addresses_is_an_input(host: str, tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="hands out credentials, and is no input") as raised:
        Http().stat(f"http://{host}/{ROLE}")
    assert "pass" not in str(raised.value)
    with pytest.raises(Invalid, match="hands out credentials"):
        Http().download(Object(uri=f"HTTP://{host}/{ROLE}", size=1), tmp_path / "x")


def test_a_name_of_theirs_is_no_input(monkeypatch: pytest.MonkeyPatch) -> None:
    credential_services._resolved.cache_clear()
    answer = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("169.254.169.254", 0))
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [answer])
    with pytest.raises(Invalid, match="hands out credentials"):
        Http().stat(f"http://instance-data.example/{ROLE}")
    credential_services._resolved.cache_clear()


def test_a_redirect_leads_to_none_either(redirecting: str) -> None:
    with pytest.raises(Invalid, match=f"169.254.169.254/{ROLE}: hands out credentials"):
        Http().stat(redirecting)


@pytest.mark.parametrize("name", ["AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_EC2_METADATA_SERVICE_ENDPOINT"])
def test_one_that_the_environment_names_is_no_input(name: str) -> None:
    environ = {name: "http://127.0.0.1:51679/v2/credentials"}
    assert is_credential_service("http://localhost:51679/anything", environ)
    assert not is_credential_service("http://127.0.0.1:8080/v2/credentials", environ)


@pytest.mark.parametrize("url", ["http://169.254.10.1/x", "http://10.0.0.1/x", "https://[::1]/x", "http://[", "x"])
def test_any_other_server_may_be_one(url: str) -> None:
    assert not is_credential_service(url, {})


def test_a_host_that_nobody_knows_here_is_for_a_proxy_to_find(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object, **__: object) -> object:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    assert not is_credential_service("http://nowhere.invalid/x", {})
