"""A gate in front of an S3 server: keeps what the server was asked, and may answer in its place, or edit answers."""

import http.client
import ssl
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any
from urllib.parse import parse_qs, urlsplit

_HOP_BY_HOP = frozenset({"connection", "transfer-encoding", "keep-alive", "content-length"})


@dataclass(frozen=True, kw_only=True)
class Request:
    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def query(self) -> dict[str, str]:
        """The last value of each parameter."""
        asked = parse_qs(urlsplit(self.path).query, keep_blank_values=True)
        return {name: values[-1] for name, values in asked.items()}

    @property
    def named(self) -> dict[str, str]:
        """The headers by their names in lower case."""
        return {name.lower(): value for name, value in self.headers.items()}


@dataclass(frozen=True, kw_only=True)
class Reply:
    """An answer. A header that is None is left out, Content-Length too: the connection then ends with the body."""

    status: int = 200
    headers: Mapping[str, str | None] = field(default_factory=dict)
    body: bytes = b""

    def but(self, **headers: str | None) -> "Reply":
        """The same with other headers: x_amz_meta_a is X-Amz-Meta-A."""
        changed = {name.replace("_", "-").title(): value for name, value in headers.items()}
        kept = {name: value for name, value in self.headers.items() if name.title() not in changed}
        return Reply(status=self.status, headers={**kept, **changed}, body=self.body)


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """An error as S3 tells it; a HEAD gets the status alone."""

    status: int
    code: str
    message: str = "so it is"
    more: str = ""  # elements of the body

    @property
    def body(self) -> bytes:
        return f"<Error><Code>{self.code}</Code><Message>{self.message}</Message>{self.more}</Error>".encode()

    @property
    def reply(self) -> Reply:
        return Reply(status=self.status, headers={"Content-Type": "application/xml"}, body=self.body)


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hung up, or did not like the certificate, is no news here."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


class Gate:
    """A context manager; `endpoint` is its address. refuse: asked of every request before it goes on; edit: of every
    answer before it goes back."""

    def __init__(
        self,
        behind: str,
        refuse: Callable[[Request], Refusal | Reply | None] = lambda _: None,
        edit: Callable[[Request, Reply], Reply] = lambda _, reply: reply,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.requests: list[Request] = []
        host = urlsplit(behind).netloc
        gate = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_any(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                request = Request(method=self.command, path=self.path, headers=dict(self.headers), body=body)
                gate.requests.append(request)
                refusal = refuse(request)
                if refusal:
                    self.reply(refusal.reply if isinstance(refusal, Refusal) else refusal)
                    return
                onward = http.client.HTTPConnection(host, timeout=30)
                onward.request(self.command, self.path, body, dict(self.headers))
                answer = onward.getresponse()
                told: dict[str, str | None] = {name.title(): value for name, value in answer.headers.items()}
                self.reply(edit(request, Reply(status=answer.status, headers=told, body=answer.read())))
                onward.close()

            do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = handle_any

            def reply(self, reply: Reply) -> None:
                self.send_response_only(reply.status)
                for name, value in reply.headers.items():
                    if name.lower() not in _HOP_BY_HOP and value is not None:
                        self.send_header(name, value)
                told = reply.headers.get("Content-Length", "0")
                if "Content-Length" in reply.headers and told is None:
                    self.send_header("Connection", "close")
                    self.close_connection = True
                elif reply.status != http.client.NO_CONTENT:
                    self.send_header("Content-Length", str(told) if self.command == "HEAD" else str(len(reply.body)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(reply.body)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = _Server(("127.0.0.1", 0), Handler)
        if tls:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self.endpoint = f"{'https' if tls else 'http'}://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> "Gate":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
