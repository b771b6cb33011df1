"""A proxy in front of a real S3 server that answers some requests as S3 does on a bad day.

Written here because nothing on PyPI fits: toxiproxy (a Go program) and faulty break TCP streams and know no HTTP, so no
SlowDown and no fault for PUT alone; mitmproxy brings some thirty packages for this one file.
"""

import http.client
import io
import random
import socket
import struct
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum, auto
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any
from urllib.parse import parse_qs, urlsplit

_PIECE = 64 * 1024
_HOP_BY_HOP = frozenset({"connection", "keep-alive", "transfer-encoding", "expect"})


class Kind(Enum):
    """What a request asks of S3. REST: the beginnings and ends of multipart uploads."""

    HEAD = auto()
    GET = auto()
    LIST = auto()
    PUT = auto()
    REST = auto()


class Fault(Enum):
    """One way to misbehave. What halves an answer's body halves its head where there is no body."""

    INTERNAL_ERROR = "500 InternalError"
    SLOW_DOWN = "503 SlowDown"
    RESET = "connection reset before the request was heard"
    ANSWER_LOST = "connection reset after the request was carried out"
    RESET_IN_BODY = "connection reset in mid-body, of the answer or of what is uploaded"
    TRUNCATED = "body cut short, connection closed as if all were well"
    STALL = "answer stalls in mid-body for ever"
    FLIPPED = "one bit of the body wrong, its length right"
    CLOCK_SKEW = "403 RequestTimeTooSkewed"
    EXPIRED = "400 ExpiredToken"
    DENIED = "403 AccessDenied"


_REFUSALS = {
    Fault.INTERNAL_ERROR: (500, "InternalError"),
    Fault.SLOW_DOWN: (503, "SlowDown"),
    Fault.CLOCK_SKEW: (403, "RequestTimeTooSkewed"),
    Fault.EXPIRED: (400, "ExpiredToken"),
    Fault.DENIED: (403, "AccessDenied"),
}
_HALVING = (Fault.RESET_IN_BODY, Fault.TRUNCATED, Fault.STALL)
# What a policy or an expired credential refuses, it refuses every time.
LASTING = (Fault.EXPIRED, Fault.DENIED)


@dataclass(frozen=True, kw_only=True)
class Request:
    """One request; attempt: 0 for the first of its method and path."""

    kind: Kind
    method: str
    path: str
    attempt: int

    @property
    def key(self) -> str:
        """The object's key, percent-encoded as it came; nothing for a listing."""
        return _key(self.path)


@dataclass(frozen=True, kw_only=True)
class Trouble:
    """A fault that strikes a share of the requests of some kinds; one that lasts, all requests for a share of the keys.

    Which ones hangs on the seed, the request and its attempt alone: however threads take turns, a run is the same.
    """

    fault: Fault
    share: float
    seed: int = 0
    kinds: frozenset[Kind] = frozenset(Kind)

    def strikes(self, request: Request) -> bool:
        if request.kind not in self.kinds:
            return False
        one = request.key if self.fault in LASTING else f"{request.method} {request.path} {request.attempt}"
        return random.Random(f"{self.seed} {one}").random() < self.share


class FaultProxy:
    """A context manager; `endpoint` is its address.

    before: called with every request before anything comes of it, in the thread of its connection.
    """

    def __init__(
        self, behind: str, trouble: Trouble | None = None, before: Callable[[Request], None] = lambda _: None
    ) -> None:
        self._host = urlsplit(behind).netloc
        self._trouble = trouble
        self._before = before
        self._lock = threading.Lock()
        self._counts: Counter[tuple[Kind, str, str]] = Counter()
        self._struck = 0
        proxy = self

        class Handler(_Handler):
            host = self._host

            def meet(self) -> Fault | None:
                return proxy._meet(self.command, self.path)

        self._server = _Server(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), name="fault-proxy")
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> "FaultProxy":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def struck(self) -> int:
        """How many requests a fault struck."""
        with self._lock:
            return self._struck

    def tries(self, kind: Kind) -> dict[str, int]:
        """How often each key was asked for by that kind of request."""
        with self._lock:
            tries: Counter[str] = Counter()
            for (each, _, path), count in self._counts.items():
                if each is kind:
                    tries[_key(path)] += count
            return dict(tries)

    def _meet(self, method: str, path: str) -> Fault | None:
        kind = _kind(method, path)
        with self._lock:
            request = Request(kind=kind, method=method, path=path, attempt=self._counts[kind, method, path])
            self._counts[kind, method, path] += 1
            struck = self._trouble is not None and self._trouble.strikes(request)
            self._struck += struck
        self._before(request)
        return self._trouble.fault if self._trouble and struck else None


def _kind(method: str, path: str) -> Kind:
    if method == "HEAD":
        return Kind.HEAD
    if method == "PUT":
        return Kind.PUT
    if method == "GET":
        parts = urlsplit(path)
        return Kind.LIST if {"list-type", "prefix"} & parse_qs(parts.query, keep_blank_values=True).keys() else Kind.GET
    return Kind.REST


def _key(path: str) -> str:
    return urlsplit(path).path.lstrip("/").partition("/")[2]


class _Server(ThreadingHTTPServer):
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hung up is no news here; anything else is a bug of this file's."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    """One client's connection: each request goes on to the server, and bodies both ways piece by piece."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    host: str

    def meet(self) -> Fault | None:
        raise NotImplementedError

    def handle_any(self) -> None:
        fault = self.meet()
        if fault in _REFUSALS or fault is Fault.RESET:
            for _ in self.upload():
                pass
            self.hang_up() if fault is Fault.RESET else self.refuse(*_REFUSALS[fault])
            return
        onward = http.client.HTTPConnection(self.host, timeout=60)
        try:
            self.ask(onward, fault)
            if fault is Fault.RESET_IN_BODY and self.command == "PUT":
                self.hang_up()  # `ask` sent the server the half of it
                return
            with onward.getresponse() as answer:
                self.hand_back(answer, fault)
        finally:
            onward.close()

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = handle_any

    def ask(self, onward: http.client.HTTPConnection, fault: Fault | None) -> None:
        onward.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
        for name, value in self.headers.items():
            if name.lower() not in _HOP_BY_HOP:
                onward.putheader(name, value)
        chunked = "Transfer-Encoding" in self.headers
        if chunked:
            onward.putheader("Transfer-Encoding", "chunked")
        onward.endheaders()
        spoils = fault if fault in (Fault.RESET_IN_BODY, Fault.FLIPPED) and self.command == "PUT" else None
        for piece in self.upload(spoils):
            onward.send(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)
        if chunked and spoils is not Fault.RESET_IN_BODY:
            onward.send(b"0\r\n\r\n")

    def upload(self, fault: Fault | None = None) -> Iterator[bytes]:
        """The request's body, or what the fault makes of it."""
        if "Transfer-Encoding" in self.headers:
            while size := int(self.rfile.readline().partition(b";")[0], 16):
                yield from _spoilt(self.rfile.read, size, fault)
                if fault is Fault.RESET_IN_BODY:
                    return
                fault = None
                self.rfile.readline()
            while self.rfile.readline().strip():
                pass
        else:
            yield from _spoilt(self.rfile.read, int(self.headers.get("Content-Length") or 0), fault)

    def hand_back(self, answer: http.client.HTTPResponse, fault: Fault | None) -> None:
        if fault is Fault.ANSWER_LOST:
            self.hang_up()
            return
        read: Callable[[int], bytes] = answer.read
        length = answer.getheader("Content-Length")
        if length is None:  # a listing
            whole = answer.read()
            length, read = str(len(whole)), io.BytesIO(whole).read
        body = 0 if self.command == "HEAD" else int(length)
        head = self.head(answer, length)
        if body == 0 and fault in _HALVING:
            head = head[: len(head) // 2]
        self.wfile.write(head)
        for piece in _spoilt(read, body, None if self.command == "PUT" and fault is Fault.FLIPPED else fault):
            self.wfile.write(piece)
        if fault is Fault.RESET_IN_BODY:
            self.hang_up()
        elif fault is Fault.TRUNCATED:
            self.close_connection = True
        elif fault is Fault.STALL:
            self.connection.recv(1)  # until the client gives up
            self.close_connection = True

    def head(self, answer: http.client.HTTPResponse, length: str) -> bytes:
        lines = [f"HTTP/1.1 {answer.status} {answer.reason}"]
        lines += [
            f"{name}: {value}"
            for name, value in answer.getheaders()
            if name.lower() not in _HOP_BY_HOP and name.lower() != "content-length"
        ]
        if answer.status != 204:
            lines.append(f"Content-Length: {length}")
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")

    def refuse(self, status: int, code: str) -> None:
        body = f"<Error><Code>{code}</Code><Message>as the test wants it</Message></Error>".encode()
        self.send_response_only(status)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def hang_up(self) -> None:
        """Closes with RST: at once, and what is on its way is lost."""
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.rfile.close()  # it holds the socket open
        self.connection.close()

    def log_message(self, format: str, *args: object) -> None:
        pass


def _spoilt(read: Callable[[int], bytes], size: int, fault: Fault | None) -> Iterator[bytes]:
    """A body of so many bytes in pieces: the first half of it, or with one bit wrong in the middle, or as it is."""
    middle, at = size // 2, 0
    end = middle if fault in _HALVING else size
    while at < end and (piece := read(min(_PIECE, end - at))):
        if fault is Fault.FLIPPED and at <= middle < at + len(piece):
            spoilt = bytearray(piece)
            spoilt[middle - at] ^= 1
            piece = bytes(spoilt)
        yield piece
        at += len(piece)
