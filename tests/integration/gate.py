"""A gate in front of an S3 server: keeps what the server was asked, and may answer in its place."""

import http.client
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from urllib.parse import urlsplit

_HOP_BY_HOP = frozenset({"connection", "transfer-encoding", "keep-alive", "content-length"})


@dataclass(frozen=True, kw_only=True)
class Request:
    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """An error as S3 tells it; a HEAD gets the status alone."""

    status: int
    code: str
    message: str = "so it is"

    @property
    def body(self) -> bytes:
        return f"<Error><Code>{self.code}</Code><Message>{self.message}</Message></Error>".encode()


class Gate:
    """A context manager; `endpoint` is its address. refuse: asked of every request before it goes on."""

    def __init__(self, behind: str, refuse: Callable[[Request], Refusal | None] = lambda _: None) -> None:
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
                    self.reply(refusal.status, {"Content-Type": "application/xml"}, refusal.body)
                    return
                onward = http.client.HTTPConnection(host, timeout=30)
                onward.request(self.command, self.path, body, dict(self.headers))
                answer = onward.getresponse()
                self.reply(answer.status, dict(answer.headers), answer.read())
                onward.close()

            do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = handle_any

            def reply(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
                self.send_response_only(status)
                for name, value in headers.items():
                    if name.lower() not in _HOP_BY_HOP:
                        self.send_header(name, value)
                length = headers.get("Content-Length", "0") if self.command == "HEAD" else str(len(body))
                self.send_header("Content-Length", length)
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> "Gate":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
