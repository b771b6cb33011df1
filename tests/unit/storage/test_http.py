"""Web addresses, against a server on loopback that answers as it is told."""

import gzip
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import tenacity

from supervisor.storage import Changed, Denied, Invalid, Larger, Missing, Passing, StorageError, http
from supervisor.storage.http import Http

Answer = Callable[[BaseHTTPRequestHandler], None]
SECRET = "X-Amz-Signature=hunter2"


class Server:
    """Gives the answers of a list, one a request, and the last one for ever; keeps what it was asked."""

    def __init__(self) -> None:
        self.answers: list[Answer] = []
        self.asked: list[tuple[str, str, dict[str, str]]] = []
        ours = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                ours.asked.append((self.command, self.path, dict(self.headers)))
                answer = ours.answers.pop(0) if len(ours.answers) > 1 else ours.answers[0]
                answer(self)

            do_HEAD = do_GET

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/a.wav?{SECRET}"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,))
        self.thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "_RETRYING", http._RETRYING.copy(wait=tenacity.wait_none()))


def status(code: int, body: bytes = b"", **headers: str) -> Answer:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(code)
        for name, value in {"Content_Length": str(len(body)), **headers}.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        handler.wfile.write(body)

    return answer


def ok(body: bytes = b"content", etag: str = '"1"', **headers: str) -> Answer:
    return status(200, body, ETag=etag, **headers)


def broken(handler: BaseHTTPRequestHandler) -> None:
    """Promises more than comes."""
    status(200, b"half", ETag='"1"', Content_Length="1000")(handler)
    handler.close_connection = True


def chunked(*pieces: bytes, whole: bool = True) -> Answer:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("ETag", '"1"')
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        for piece in pieces:
            handler.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
        handler.wfile.write(b"0\r\n\r\n" if whole else b"")
        handler.close_connection = True

    return answer


def reset(handler: BaseHTTPRequestHandler) -> None:
    handler.connection.shutdown(socket.SHUT_RDWR)
    handler.close_connection = True


def fetched(server: Server, target: Path) -> bytes:
    storage = Http()
    storage.download(storage.stat(server.url), target)
    return target.read_bytes()


def test_bytes_and_facts_arrive(server: Server, tmp_path: Path) -> None:
    server.answers = [ok(b"x" * 3_000_000, Content_Type="audio/wav")]
    found = Http().stat(server.url)
    assert (found.size, found.etag, found.media_type) == (3_000_000, '"1"', "audio/wav")
    Http().download(found, tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == b"x" * 3_000_000


@pytest.mark.parametrize(
    ("code", "kind"), [(202, Passing), *((code, Missing) for code in (204, 205, 206, 207, 226, 300, 304, 305, 399))]
)
def test_an_answer_that_is_no_error_and_not_the_whole_file_is_no_input(
    code: int, kind: type[StorageError], server: Server, tmp_path: Path
) -> None:
    server.answers = [status(code)]
    with pytest.raises(kind, match=f"the server says {code}"):
        fetched(server, tmp_path / "a")


def test_an_empty_file_is_an_input(server: Server, tmp_path: Path) -> None:
    server.answers = [ok(b"")]
    assert fetched(server, tmp_path / "a") == b""


@pytest.mark.parametrize(("most", "fits"), [(10, True), (9, False)])
def test_a_file_of_unknown_size_is_fetched_up_to_what_there_is_room_for(
    most: int, fits: bool, server: Server, tmp_path: Path
) -> None:
    server.answers = [chunked(b"12345", b"67890")]
    found = replace(Http().stat(server.url), most=most)
    assert found.size is None
    if fits:
        Http().download(found, tmp_path / "a")
        assert (tmp_path / "a").read_bytes() == b"1234567890"
        return
    with pytest.raises(Larger, match="more than 9 bytes"):
        Http().download(found, tmp_path / "a")
    assert (tmp_path / "a").stat().st_size <= most


def test_only_get_is_asked_and_the_etag_is_pinned(server: Server, tmp_path: Path) -> None:
    server.answers = [ok()]
    fetched(server, tmp_path / "a")
    assert [method for method, _, _ in server.asked] == ["GET", "GET"]
    assert server.asked[1][2]["If-Match"] == '"1"'


def test_a_redirect_is_followed(server: Server, tmp_path: Path) -> None:
    server.answers = [status(302, Location="/b"), ok(), status(307, Location="/b"), ok()]
    assert fetched(server, tmp_path / "a") == b"content"
    assert [path.partition("?")[0] for _, path, _ in server.asked] == ["/a.wav", "/b"] * 2


@pytest.mark.parametrize("code", [404, 410, 400, 405])
def test_what_is_not_there_is_missing(code: int, server: Server) -> None:
    server.answers = [status(code)]
    _refused(server, Missing, f"the server says {code}")
    assert len(server.asked) == 1


@pytest.mark.parametrize("code", [401, 403])
def test_what_is_not_allowed_is_denied(code: int, server: Server) -> None:
    server.answers = [status(code)]
    _refused(server, Denied, f"the server says {code}")
    assert len(server.asked) == 1


@pytest.mark.parametrize("trouble", [status(500), status(503), status(429), reset], ids=["500", "503", "429", "reset"])
def test_passing_trouble_is_tried_again(trouble: Answer, server: Server, tmp_path: Path) -> None:
    server.answers = [trouble, ok(), trouble, trouble, ok()]
    assert fetched(server, tmp_path / "a") == b"content"


@pytest.mark.parametrize("trouble", [status(500), reset], ids=["500", "reset"])
def test_lasting_trouble_is_given_up(trouble: Answer, server: Server) -> None:
    server.answers = [trouble]
    _refused(server, Passing, "500|cannot connect")
    assert len(server.asked) == 5


@pytest.mark.parametrize("half", [broken, chunked(b"half", whole=False)], ids=["length", "chunked"])
def test_a_body_that_breaks_off_is_fetched_again(half: Answer, server: Server, tmp_path: Path) -> None:
    server.answers = [ok(), half, ok()]
    assert fetched(server, tmp_path / "a") == b"content"


@pytest.mark.parametrize("half", [broken, chunked(b"half", whole=False)], ids=["length", "chunked"])
def test_a_body_that_always_breaks_off_is_passing_trouble(half: Answer, server: Server, tmp_path: Path) -> None:
    server.answers = [half]
    with pytest.raises(Passing, match="broke before the end"):
        fetched(server, tmp_path / "a")


def test_a_body_of_unknown_length_arrives(server: Server, tmp_path: Path) -> None:
    server.answers = [chunked(b"con", b"tent")]
    assert Http().stat(server.url).size is None
    assert fetched(server, tmp_path / "a") == b"content"


def test_a_stored_encoding_is_left_as_it_is(server: Server, tmp_path: Path) -> None:
    packed = gzip.compress(b"content" * 100)
    server.answers = [ok(packed, Content_Encoding="gzip")]
    assert fetched(server, tmp_path / "a") == packed


@pytest.mark.parametrize("length", ["²", "-1", "many", "9" * 5000])
def test_a_length_that_is_no_number_is_no_length(length: str, server: Server) -> None:
    server.answers = [status(200, b"", Content_Length=length)]
    assert Http().stat(server.url).size is None


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (ok(etag='"1"'), ok(etag='"2"')),
        (ok(etag='"1"'), status(412)),
        (ok(etag='W/"1"'), ok(etag='W/"2"')),
        (status(200, Last_Modified="Mon, 06 Jan 2025 00:00:00 GMT"), status(200, Last_Modified="Tue, 07 Jan 2025")),
    ],
)
def test_a_file_replaced_in_between_is_noticed(before: Answer, after: Answer, server: Server, tmp_path: Path) -> None:
    server.answers = [before, after]
    with pytest.raises(Changed, match="was replaced while it was being read"):
        fetched(server, tmp_path / "a")
    assert not (tmp_path / "a").exists()


def test_nobody_there_is_passing_trouble() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://user:hunter2@127.0.0.1:{free.getsockname()[1]}/a.wav?{SECRET}"
        with pytest.raises(Passing, match="cannot connect") as refused:
            Http().stat(url)
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize(
    "location", [f"ftp://127.0.0.1/a?{SECRET}", f"http://[/a?{SECRET}", "http://127.0.0.1:99999999/"]
)
def test_a_redirect_to_nowhere_is_refused(location: str, server: Server) -> None:
    server.answers = [status(302, Location=location)]
    _refused(server, Invalid, "not a usable web address")


def test_redirects_without_end_are_refused(server: Server) -> None:
    server.answers = [status(302, Location="/a.wav")]
    _refused(server, Missing, "redirects without end")


def test_a_certificate_that_is_not_trusted_is_denied(server: Server) -> None:
    server.url = server.url.replace("http://", "https://")
    server.answers = [ok()]
    _refused(server, Denied, "certificate is not trusted")


@pytest.mark.parametrize("url", [f"http://[/a?{SECRET}", f"https://?{SECRET}", f"http://exa mple/a?{SECRET}"])
def test_an_address_that_cannot_be_is_invalid(url: str) -> None:
    with pytest.raises(StorageError) as refused:
        Http().stat(url)
    assert "hunter2" not in str(refused.value)


def test_results_are_not_written_to_web_addresses(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="cannot be written"):
        Http().upload(tmp_path, f"https://h/a?{SECRET}", media_type="", metadata={})
    with pytest.raises(Invalid, match="cannot be written"):
        Http().probe("https://h/a")


def _refused(server: Server, kind: type[StorageError], told: str) -> None:
    with pytest.raises(kind, match=told) as refused:
        Http().stat(server.url)
    assert "hunter2" not in str(refused.value)


def test_a_web_address_cannot_be_listed() -> None:
    with pytest.raises(Invalid, match=r"https://example\.org/in/: a web address cannot be listed"):
        Http().list("https://user:secret@example.org/in/")
