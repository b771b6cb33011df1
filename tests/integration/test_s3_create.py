"""An object that is made only where there is none, of one that makes it at a time."""

import os
import secrets
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from supervisor.storage import Exists, Missing, Passing, StorageError, on_output
from supervisor.storage.s3 import S3, boto3_client
from supervisor.storage.s3.place import is_awss
from tests.conftest import CREDENTIALS, S3Server
from tests.integration.gate import Gate, Refusal, Reply, Request

MIB = 1024 * 1024
TYPE = "application/json"
Made = Callable[..., tuple[S3, Gate]]


@pytest.fixture(autouse=True)
def job_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "3")
    monkeypatch.setattr(boto3_client, "_PAUSE", 0.01)


@pytest.fixture(params=["s3", "seaweedfs"])
def server(request: pytest.FixtureRequest) -> S3Server:
    server: S3Server = request.getfixturevalue(request.param)
    return server


@pytest.fixture
def before(monkeypatch: pytest.MonkeyPatch) -> Iterator[Made]:
    """A storage before a gate, and the gate."""
    gates: list[Gate] = []

    def before(
        server: S3Server, refuse: object = lambda _: None, edit: object = lambda _, reply: reply
    ) -> tuple[S3, Gate]:
        gate = Gate(server.endpoint, refuse, edit).__enter__()  # type: ignore[arg-type]
        gates.append(gate)
        monkeypatch.setenv("AWS_ENDPOINT_URL", gate.endpoint)
        return S3(), gate

    yield before
    for gate in gates:
        gate.__exit__(None, None, None)


def create(storage: S3, uri: str, content: bytes | Path = b"mine", **metadata: str) -> str | None:
    return storage.create(content, uri, media_type=TYPE, metadata=metadata)


def sized(tmp_path: Path, size: int) -> Path:
    path = tmp_path / f"source-{secrets.token_hex(4)}"
    path.write_bytes(os.urandom(size))
    return path


def ignoring(request: Request, server: S3Server) -> Reply | None:
    """A server that takes no notice of If-None-Match."""
    if "if-none-match" not in request.named:
        return None
    return Reply(headers={"ETag": server.client.put_object(Bucket=server.bucket, Key="a", Body=request.body)["ETag"]})


@pytest.mark.parametrize("size", [0, 10, 2 * MIB, 33 * MIB])
def test_it_appears_where_there_is_none_and_is_left_alone_where_there_is(
    size: int, server: S3Server, before: Made, tmp_path: Path
) -> None:
    storage, _ = before(server)
    uri, source = f"s3://{server.bucket}/out/a.json", sized(tmp_path, size)
    create(storage, uri, source, input_etag="0")
    assert server.get("out/a.json") == source.read_bytes()
    for other in (b"another", b"", sized(tmp_path, 33 * MIB), source):
        with pytest.raises(Exists) as told:
            create(storage, uri, other, input_etag="0")
        assert on_output(told.value).code == 73
    assert server.get("out/a.json") == source.read_bytes()
    assert server.client.list_multipart_uploads(Bucket=server.bucket).get("Uploads", []) == []


def test_type_and_metadata_are_kept(server: S3Server, before: Made) -> None:
    storage, _ = before(server)
    uri = f"s3://{server.bucket}/a.json"
    tag = storage.create(b"{}", uri, media_type=TYPE, metadata={"input-etag": "ü"})
    found = storage.stat(uri)
    assert (found.media_type, found.metadata, found.etag) == (TYPE, {"input-etag": "%C3%BC"}, tag)


def test_of_many_at_once_one_makes_it(s3: S3Server, before: Made) -> None:
    storage, _ = before(s3)
    create(storage, f"s3://{s3.bucket}/first")  # which shows that the server knows If-None-Match
    uri = f"s3://{s3.bucket}/a.json"

    def attempt(number: int) -> bool:
        try:
            create(storage, uri, str(number).encode())
        except Exists:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        won = [number for number, is_mine in enumerate(pool.map(attempt, range(24))) if is_mine]
    assert len(won) == 1
    assert s3.get("a.json") == str(won[0]).encode()


def test_a_server_that_knows_the_header_is_asked_by_one_request(s3: S3Server, before: Made) -> None:
    storage, gate = before(s3)
    create(storage, f"s3://{s3.bucket}/first")
    assert [request.method for request in gate.requests].count("PUT") == 2  # the second shows that it is refused
    gate.requests.clear()
    create(storage, f"s3://{s3.bucket}/second")
    assert [(r.method, r.named.get("if-none-match")) for r in gate.requests] == [("PUT", "*")]


def test_the_completion_of_an_upload_in_parts_carries_the_header(s3: S3Server, before: Made, tmp_path: Path) -> None:
    storage, gate = before(s3)
    create(storage, f"s3://{s3.bucket}/a", sized(tmp_path, 33 * MIB))
    (completion,) = (r for r in gate.requests if r.method == "POST" and "uploadId" in r.query)
    assert completion.named["if-none-match"] == "*"


@pytest.mark.parametrize(
    "refusal",
    [
        Refusal(status=501, code="NotImplemented"),
        Refusal(status=400, code="NotImplemented"),
        Refusal(status=400, code="InvalidArgument"),
        Refusal(status=400, code="InvalidRequest"),
    ],
    ids=lambda refusal: f"{refusal.status} {refusal.code}",
)
@pytest.mark.parametrize("size", [10, 33 * MIB])
def test_a_server_that_refuses_the_header_is_looked_at_before(
    size: int, refusal: Refusal, s3: S3Server, before: Made, tmp_path: Path
) -> None:
    storage, gate = before(s3, lambda request: refusal if "if-none-match" in request.named else None)
    source = sized(tmp_path, size)
    for name in ("a", "b"):
        create(storage, f"s3://{s3.bucket}/{name}", source)
        assert s3.get(name) == source.read_bytes()
        with pytest.raises(Exists):
            create(storage, f"s3://{s3.bucket}/{name}", source)
    refused = [request for request in gate.requests if "if-none-match" in request.named]
    assert len(refused) == 1  # and not again


def test_a_server_that_refuses_the_header_as_if_there_were_an_object_is_looked_at(s3: S3Server, before: Made) -> None:
    refusal = Refusal(status=412, code="PreconditionFailed")
    storage, _ = before(s3, lambda request: refusal if "if-none-match" in request.named else None)
    for name in ("a", "b"):
        create(storage, f"s3://{s3.bucket}/{name}")
        assert s3.get(name) == b"mine"
        with pytest.raises(Exists):
            create(storage, f"s3://{s3.bucket}/{name}")


def test_a_server_that_passes_the_header_over_is_found_out(s3: S3Server, before: Made) -> None:
    storage, gate = before(s3, lambda request: ignoring(request, s3))
    uri = s3.put("a", b"theirs")
    with pytest.raises(Exists):
        create(storage, uri)
    assert s3.get("a") == b"theirs"
    s3.client.delete_object(Bucket=s3.bucket, Key="a")
    create(storage, uri)
    gate.requests.clear()
    with pytest.raises(Exists):
        create(storage, uri, b"again")
    assert s3.get("a") == b"mine"
    assert [request.method for request in gate.requests] == ["HEAD"]


@pytest.mark.parametrize("size", [10, 33 * MIB])
def test_an_answer_that_is_lost_is_no_other_object(size: int, s3: S3Server, before: Made, tmp_path: Path) -> None:
    """The object was made, and its maker is told that there is one when it tries again."""
    lost = threading.Semaphore(0)

    def lose(request: Request, reply: Reply) -> Reply:
        is_last = request.method == "PUT" and "partNumber" not in request.query
        if "if-none-match" in request.named and (is_last or request.method == "POST") and lost.acquire(blocking=False):
            return Reply(status=500)
        return reply

    storage, _ = before(s3, edit=lose)
    create(storage, f"s3://{s3.bucket}/first")
    uri, source = f"s3://{s3.bucket}/a.json", sized(tmp_path, size)
    lost.release()
    create(storage, uri, source, input_etag="0")
    assert s3.get("a.json") == source.read_bytes()
    with pytest.raises(Exists):
        create(storage, uri, source, input_etag="0")


def test_an_answer_that_is_lost_to_another_one_is_told(s3: S3Server, before: Made) -> None:
    lost = threading.Semaphore(0)

    def beaten(request: Request) -> Refusal | None:
        if "if-none-match" in request.named and lost.acquire(blocking=False):
            s3.put("a.json", b"theirs")
            return Refusal(status=500, code="InternalError")
        return None

    storage, _ = before(s3, beaten)
    create(storage, f"s3://{s3.bucket}/first")
    lost.release()
    with pytest.raises(Exists):
        create(storage, f"s3://{s3.bucket}/a.json", b"mine")
    assert s3.get("a.json") == b"theirs"


@pytest.mark.parametrize("size", [10, 33 * MIB])
def test_a_conflict_with_another_writer_is_tried_again(size: int, s3: S3Server, before: Made, tmp_path: Path) -> None:
    conflict = Refusal(status=409, code="ConditionalRequestConflict")
    left = iter([conflict] * 2)
    storage, _ = before(s3, lambda request: next(left, None) if "if-none-match" in request.named else None)
    source = sized(tmp_path, size)
    create(storage, f"s3://{s3.bucket}/a", source)
    assert s3.get("a") == source.read_bytes()


@pytest.mark.parametrize("size", [10, 33 * MIB])
def test_a_conflict_without_end_is_passing(size: int, s3: S3Server, before: Made, tmp_path: Path) -> None:
    conflict = Refusal(status=409, code="ConditionalRequestConflict")
    storage, gate = before(s3, lambda request: conflict if "if-none-match" in request.named else None)
    with pytest.raises(Passing):
        create(storage, f"s3://{s3.bucket}/a", sized(tmp_path, size))
    assert s3.keys() == []
    assert len(gate.requests) < 40


@pytest.mark.parametrize(
    ("refusal", "kind"),
    [
        (Refusal(status=404, code="NoSuchBucket"), Missing),
        (Refusal(status=503, code="SlowDown"), Passing),
        (Refusal(status=501, code="NotImplemented"), StorageError),
    ],
    ids=lambda value: value.code if isinstance(value, Refusal) else "",
)
def test_what_every_upload_is_refused_for_is_told_of_this_one(
    refusal: Refusal, kind: type[StorageError], s3: S3Server, before: Made
) -> None:
    storage, _ = before(s3, lambda request: None if request.method in ("HEAD", "GET") else refusal)
    with pytest.raises(kind) as told:
        create(storage, f"s3://{s3.bucket}/a")
    assert not isinstance(told.value, Exists)


def test_awss_own_servers_are_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    """As is tested without one: their documentation says that they know the header."""
    assert is_awss(S3()._session.first)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    assert not is_awss(S3()._session.first)
