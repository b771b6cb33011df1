"""A stand-in for S3 that holds a million objects without having them, page by page, and counts what it is asked.

Sets of objects are made up as they are asked for; what is put is kept. Listings come as S3's do: a thousand keys in
the order of their bytes, from a token or StartAfter on. Nothing is checked: no signature, no checksum.
"""

import hashlib
import threading
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from heapq import merge
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import islice, starmap, takewhile
from types import TracebackType
from urllib.parse import parse_qs, quote, unquote, urlsplit
from xml.sax.saxutils import escape

PAGE = 1_000
_LONG_AGO = "2026-01-01T00:00:00.000Z"


@dataclass(frozen=True, kw_only=True)
class Stored:
    """An object. read: its bytes from one place to before another; metadata: made when it is asked for; modified: as a
    listing tells it."""

    size: int
    etag: str
    read: Callable[[int, int], bytes]
    metadata: Callable[[], Mapping[str, str]] = dict
    modified: str = _LONG_AGO


def of_bytes(body: bytes, metadata: Callable[[], Mapping[str, str]] = dict, modified: str = _LONG_AGO) -> Stored:
    return Stored(
        size=len(body),
        etag=hashlib.md5(body, usedforsecurity=False).hexdigest(),
        read=lambda start, end: body[start:end],
        metadata=metadata,
        modified=modified,
    )


@dataclass(frozen=True, kw_only=True)
class MadeUp:
    """So many objects, in the order of their keys. key: of the n-th; stored: what it is."""

    count: int
    key: Callable[[int], str]
    stored: Callable[[int], Stored]

    def after(self, key: str) -> Iterator[tuple[str, Stored]]:
        return ((self.key(n), self.stored(n)) for n in range(self._place(key), self.count))

    def get(self, key: str) -> Stored | None:
        at = self._place(key) - 1
        return self.stored(at) if at >= 0 and self.key(at) == key else None

    def _place(self, key: str) -> int:
        return bisect_right(range(self.count), key.encode(), key=lambda n: self.key(n).encode())


class ListingServer:
    """A context manager; `endpoint` is its address, for path-style requests. Any bucket is the one that there is."""

    def __init__(self, made_up: Sequence[MadeUp] = ()) -> None:
        self.asked: Counter[str] = Counter()  # requests by kind: LIST, HEAD, GET, PUT, POST, DELETE
        self.paths: list[str] = []
        self._made_up = made_up
        self._put: dict[str, Stored] = {}
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> "ListingServer":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def put(self, key: str, stored: Stored) -> None:
        with self._lock:
            self._put[key] = stored

    def get(self, key: str) -> Stored | None:
        with self._lock:
            known = self._put.get(key)
        return known or next((found for each in self._made_up if (found := each.get(key))), None)

    def page(self, prefix: str, after: str) -> list[tuple[str, Stored]]:
        """One page, and one object more, where there is one."""
        before = prefix[:-1] + chr(ord(prefix[-1]) - 1) + "\U0010ffff" if prefix else ""
        begin = max(after, before)
        with self._lock:
            put = sorted((each for each in self._put.items() if each[0] > begin), key=_in_bytes)
        found = merge(put, *(each.after(begin) for each in self._made_up), key=_in_bytes)
        return list(islice(takewhile(lambda each: each[0].startswith(prefix), found), PAGE + 1))

    def count(self, kind: str, path: str) -> None:
        with self._lock:
            self.asked[kind] += 1
            self.paths.append(f"{kind} {path}")


def _in_bytes(each: tuple[str, Stored]) -> bytes:
    return each[0].encode()


def _contents(key: str, found: Stored) -> str:
    return (
        f"<Contents><Key>{quote(key)}</Key><LastModified>{found.modified}</LastModified>"
        f"<ETag>&quot;{found.etag}&quot;</ETag><Size>{found.size}</Size></Contents>"
    )


def _handler(server: ListingServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            url = urlsplit(self.path)
            query = {name: values[0] for name, values in parse_qs(url.query, keep_blank_values=True).items()}
            if "list-type" in query:
                server.count("LIST", self.path)
                self._list(query)
            else:
                self._object(self.command, _key(url.path))

        def do_HEAD(self) -> None:
            self._object(self.command, _key(urlsplit(self.path).path))

        def do_PUT(self) -> None:
            server.count("PUT", self.path)
            body = self._body()
            names = [name for name in self.headers if name.lower().startswith("x-amz-meta-")]
            metadata = {name.lower().removeprefix("x-amz-meta-"): self.headers[name] for name in names}
            url = urlsplit(self.path)
            stored = of_bytes(body, lambda: metadata, "2026-06-01T00:00:00.000Z")
            if "partNumber" not in url.query:  # parts are taken, and come to nothing
                server.put(_key(url.path), stored)
            self._reply(200, {"ETag": f'"{stored.etag}"'}, b"")

        def do_POST(self) -> None:
            """Multipart uploads begin and end."""
            server.count("POST", self.path)
            self._body()
            name = "InitiateMultipartUploadResult" if "uploads" in self.path else "CompleteMultipartUploadResult"
            self._reply(200, {}, f"<{name}><UploadId>1</UploadId><ETag>1</ETag></{name}>".encode())

        def do_DELETE(self) -> None:
            server.count("DELETE", self.path)
            self._reply(204, {}, b"")

        def _list(self, query: Mapping[str, str]) -> None:
            after = query.get("continuation-token") or query.get("start-after", "")
            found = server.page(query.get("prefix", ""), after)
            more, found = len(found) > PAGE, found[:PAGE]
            token = f"<NextContinuationToken>{escape(found[-1][0])}</NextContinuationToken>" if more else ""
            self._reply(
                200,
                {"Content-Type": "application/xml"},
                (
                    f'<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><EncodingType>url</EncodingType>'
                    f"<KeyCount>{len(found)}</KeyCount><IsTruncated>{str(more).lower()}</IsTruncated>{token}"
                    f"{''.join(starmap(_contents, found))}</ListBucketResult>"
                ).encode(),
            )

        def _object(self, kind: str, key: str) -> None:
            server.count(kind, self.path)
            found = server.get(key)
            if found is None:
                self._reply(404, {"Content-Type": "application/xml"}, b"<Error><Code>NoSuchKey</Code></Error>")
                return
            start, end, status = 0, found.size, 200
            wanted = self.headers.get("Range", "")
            if wanted.startswith("bytes="):
                first, _, last = wanted.removeprefix("bytes=").partition("-")
                start, end, status = int(first), min(int(last) + 1 if last else found.size, found.size), 206
            headers = {
                "ETag": f'"{found.etag}"',
                "Last-Modified": "Thu, 01 Jan 2026 00:00:00 GMT",
                "Content-Length": str(end - start),
                **({"Content-Range": f"bytes {start}-{end - 1}/{found.size}"} if status == 206 else {}),
                **{f"x-amz-meta-{name}": value for name, value in found.metadata().items()},
            }
            self._reply(status, headers, found.read(start, end) if kind == "GET" else b"")

        def _body(self) -> bytes:
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))

        def _reply(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
            self.send_response_only(status)
            for name, value in {"Content-Length": str(len(body)), "x-amz-request-id": "1", **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    return Handler


def _key(path: str) -> str:
    return unquote(path).partition("/")[2].partition("/")[2]
