"""S3 through moto's server and through a real one, and what its errors come to."""

import base64
import hashlib
import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from supervisor.storage import Changed, Denied, Invalid, Missing, Passing, StorageError, on_input, on_output
from supervisor.storage.s3 import S3
from tests.conftest import CREDENTIALS, S3Server
from tests.integration.gate import Gate, Refusal, Request

MIB = 1024 * 1024


@pytest.fixture(autouse=True)
def job_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No credentials and settings but the tests' own."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "2")


@pytest.fixture(params=["s3", "seaweedfs"])
def server(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> S3Server:
    server: S3Server = request.getfixturevalue(request.param)
    monkeypatch.setenv("AWS_ENDPOINT_URL", server.endpoint)
    return server


@pytest.fixture
def gate(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    """moto, with what it is asked written down."""
    with Gate(s3.endpoint) as gate:
        monkeypatch.setenv("AWS_ENDPOINT_URL", gate.endpoint)
        yield gate


def made(path: Path, size: int) -> bytes:
    content = os.urandom(min(size, MIB)) * (size // MIB + 1)
    path.write_bytes(content[:size])
    return content[:size]


def storage() -> S3:
    """The storage for the environment as it is now; made once for each, at 0.2 s."""
    return _storage(tuple(sorted(item for item in os.environ.items() if item[0].startswith("AWS_"))))


@cache
def _storage(_: tuple[tuple[str, str], ...]) -> S3:
    return S3()


def upload(path: Path, uri: str, **metadata: str) -> None:
    storage().upload(path, uri, media_type="application/json", metadata=metadata)


# round trips


@pytest.mark.parametrize("size", [0, 1, 40 * MIB])
def test_bytes_come_back_as_they_went(size: int, server: S3Server, tmp_path: Path) -> None:
    content = made(tmp_path / "source", size)
    uri = f"s3://{server.bucket}/deep/result.json"
    upload(tmp_path / "source", uri)
    found = storage().stat(uri)
    assert found.size == size
    storage().download(found, tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == content


@pytest.mark.parametrize("key", ["a.json", "odd\n.json"])
@pytest.mark.parametrize("size", [0, 1, 2 * MIB])
def test_bytes_that_are_in_memory_come_back_as_they_went(
    size: int, key: str, seaweedfs: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", seaweedfs.endpoint)
    content = os.urandom(size)
    uri = f"s3://{seaweedfs.bucket}/{key}"
    storage().upload(content, uri, media_type="application/json", metadata={"input-etag": "abc"})
    found = storage().stat(uri)
    assert (found.size, found.media_type, found.metadata) == (size, "application/json", {"input-etag": "abc"})
    storage().download(found, tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == content


def test_type_and_metadata_come_back(server: S3Server, tmp_path: Path) -> None:
    made(tmp_path / "source", 1)
    uri = f"s3://{server.bucket}/a.json"
    upload(tmp_path / "source", uri, **{"input-etag": "abc", "module": "größe\n==1"})
    found = storage().stat(uri)
    assert found.media_type == "application/json"
    assert found.metadata == {"input-etag": "abc", "module": "gr%C3%B6%C3%9Fe%0A%3D%3D1"}


@pytest.mark.parametrize(
    "key", ["a b+c%2B%.wav", "ü/日本/🎙.wav", "a?b#c&d'\"<>.wav", "x/" * 510 + "end", "new\nline\t.wav"]
)
def test_any_key_is_taken_as_it_is(
    key: str, seaweedfs: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", seaweedfs.endpoint)
    made(tmp_path / "source", 10)
    upload(tmp_path / "source", f"s3://{seaweedfs.bucket}/{key}")
    assert seaweedfs.keys() == [key]
    found = storage().stat(f"s3://{seaweedfs.bucket}/{key}")
    storage().download(found, tmp_path / "copy")
    assert (tmp_path / "copy").stat().st_size == 10


@pytest.mark.parametrize("key", ["a//b.wav", "/a.wav", "../a.wav", "a/../b.wav", "./a"])
def test_a_key_no_file_could_have_is_taken_as_it_is(key: str, s3: S3Server, tmp_path: Path, gate: Gate) -> None:
    uri = s3.put(key, b"0123456789")
    found = storage().stat(uri)
    storage().download(found, tmp_path / "copy")
    assert (tmp_path / "copy").stat().st_size == 10


@pytest.mark.parametrize(
    ("uri", "told"),
    [
        ("s3://recordings/" + "é" * 513, "1,024 bytes"),
        ("s3://recordings/\udcff.wav", "not UTF-8"),
        ("s3://recordings", "names a bucket, not an object"),
        ("s3://x/a", "names no bucket"),
    ],
)
def test_a_key_that_s3_cannot_have_is_invalid(uri: str, told: str, tmp_path: Path) -> None:
    made(tmp_path / "source", 1)
    with pytest.raises(Invalid, match=told):
        storage().stat(uri)
    with pytest.raises(Invalid, match=told):
        upload(tmp_path / "source", uri)


# just as stat saw them


@pytest.mark.parametrize("size", [10, 0, 40 * MIB])
def test_an_object_replaced_since_it_was_looked_at_is_noticed(size: int, server: S3Server, tmp_path: Path) -> None:
    uri = server.put("a.wav", b"x" * size)
    found = storage().stat(uri)
    server.put("a.wav", b"y" * max(size, 1))
    with pytest.raises(Changed, match="replaced while it was being read"):
        storage().download(found, tmp_path / "copy")
    assert list(tmp_path.iterdir()) == []  # s3transfer writes under another name first


def test_an_object_removed_since_it_was_looked_at_is_missing(server: S3Server, tmp_path: Path) -> None:
    found = storage().stat(server.put("a.wav"))
    server.client.delete_object(Bucket=server.bucket, Key="a.wav")
    with pytest.raises(Missing):
        storage().download(found, tmp_path / "copy")
    assert list(tmp_path.iterdir()) == []


def test_the_version_asked_for_is_read_whatever_came_after(server: S3Server, tmp_path: Path) -> None:
    server.client.put_bucket_versioning(Bucket=server.bucket, VersioningConfiguration={"Status": "Enabled"})
    uri = server.put("a.wav", b"first")
    (version,) = (each["VersionId"] for each in server.client.list_object_versions(Bucket=server.bucket)["Versions"])
    server.put("a.wav", b"second")
    found = storage().stat(uri, version)
    storage().download(found, tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == b"first"
    assert found.version == version


# what goes out


def test_a_small_upload_carries_its_checksum_and_no_acl(gate: Gate, s3: S3Server, tmp_path: Path) -> None:
    content = made(tmp_path / "source", 1000)
    upload(tmp_path / "source", f"s3://{s3.bucket}/a.json")
    (put,) = (r for r in gate.requests if r.method == "PUT")
    headers = {name.lower(): value for name, value in put.headers.items()}
    assert headers["x-amz-checksum-sha256"] == base64.b64encode(hashlib.sha256(content).digest()).decode()
    assert _public(gate) == []


def test_every_part_of_a_large_upload_carries_its_checksum_and_no_acl(gate: Gate, s3: S3Server, tmp_path: Path) -> None:
    made(tmp_path / "source", 40 * MIB)
    upload(tmp_path / "source", f"s3://{s3.bucket}/a.json")
    parts = [r for r in gate.requests if r.method == "PUT" and "partNumber=" in r.path]
    assert len(parts) == 2
    assert all(_checksum_sent(part) for part in parts)
    assert _public(gate) == []


def _checksum_sent(request: Request) -> str | None:
    headers = {name.lower(): value for name, value in request.headers.items()}
    if "x-amz-trailer" in headers:
        trailer = request.body.rpartition(b"\r\n0\r\n")[2]
        return trailer.strip().partition(b":")[2].decode() or None
    return headers.get("x-amz-checksum-crc32")


def _public(gate: Gate) -> list[str]:
    """Headers that would open an object to others."""
    names = [name.lower() for request in gate.requests for name in request.headers]
    return [name for name in names if name.startswith(("x-amz-acl", "x-amz-grant"))]


def test_an_upload_that_is_given_up_leaves_nothing(
    s3: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made(tmp_path / "source", 40 * MIB)
    uri = f"s3://{s3.bucket}/a.json"
    second_part = lambda r: Refusal(status=403, code="AccessDenied") if "partNumber=2" in r.path else None  # noqa: E731
    with Gate(s3.endpoint, second_part) as gate:
        monkeypatch.setenv("AWS_ENDPOINT_URL", gate.endpoint)
        with pytest.raises(Denied):
            upload(tmp_path / "source", uri)
    assert s3.keys() == []
    assert s3.client.list_multipart_uploads(Bucket=s3.bucket).get("Uploads", []) == []


def test_probing_leaves_nothing(server: S3Server) -> None:
    storage().probe(f"s3://{server.bucket}/out/")
    assert server.keys() == []
    assert server.client.list_multipart_uploads(Bucket=server.bucket).get("Uploads", []) == []


# errors, by kind and in words


def test_a_missing_key_and_a_missing_bucket_are_told_apart(server: S3Server, tmp_path: Path) -> None:
    with pytest.raises(Missing, match="no such object"):
        storage().stat(f"s3://{server.bucket}/nothing.wav")
    with pytest.raises(Missing, match="there is no bucket not-there"):
        storage().stat("s3://not-there/a.wav")
    made(tmp_path / "source", 1)
    with pytest.raises(Missing, match="there is no bucket not-there"):
        upload(tmp_path / "source", "s3://not-there/a.json")
    with pytest.raises(Missing, match="there is no bucket not-there"):
        storage().probe("s3://not-there/out/")


@pytest.mark.parametrize("name", ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"])
def test_wrong_credentials_are_denied_with_the_servers_reason(
    name: str, seaweedfs: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = seaweedfs.put("a.wav")
    monkeypatch.setenv("AWS_ENDPOINT_URL", seaweedfs.endpoint)
    monkeypatch.setenv(name, "wrong")
    made(tmp_path / "source", 1)
    with pytest.raises(Denied, match=r"S3 says (InvalidAccessKeyId|SignatureDoesNotMatch)"):
        storage().stat(uri)
    with pytest.raises(Denied, match=r"S3 says (InvalidAccessKeyId|SignatureDoesNotMatch)"):
        upload(tmp_path / "source", uri + ".json")


@pytest.mark.parametrize(
    ("refusal", "kind", "codes"),
    [
        (Refusal(status=403, code="AccessDenied"), Denied, (77, 73)),
        (Refusal(status=403, code="InvalidAccessKeyId"), Denied, (77, 73)),
        (Refusal(status=400, code="ExpiredToken"), Denied, (77, 73)),
        (Refusal(status=403, code="InvalidObjectState"), Denied, (77, 73)),
        (Refusal(status=404, code="NoSuchKey"), Missing, (66, 73)),
        (Refusal(status=404, code="NoSuchBucket"), Missing, (66, 73)),
        (Refusal(status=404, code="NoSuchVersion"), Missing, (66, 73)),
        (Refusal(status=400, code="InvalidArgument"), Invalid, (64, 64)),
        (Refusal(status=500, code="InternalError"), Passing, (75, 75)),
        (Refusal(status=503, code="SlowDown"), Passing, (75, 75)),
        (Refusal(status=503, code="ServiceUnavailable"), Passing, (75, 75)),
        (Refusal(status=400, code="RequestTimeout"), Passing, (75, 75)),
        (Refusal(status=409, code="OperationAborted"), Passing, (75, 75)),
        (Refusal(status=412, code="PreconditionFailed"), Invalid, (64, 64)),
    ],
    ids=lambda value: value.code if isinstance(value, Refusal) else None,
)
def test_s3s_errors_are_sorted_by_kind(
    refusal: Refusal, kind: type[StorageError], codes: tuple[int, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made(tmp_path / "source", 1)
    with Gate("127.0.0.1:1", lambda _: refusal) as gate:
        monkeypatch.setenv("AWS_ENDPOINT_URL", gate.endpoint)
        with pytest.raises(kind) as read:
            storage().stat("s3://recordings/a.wav")
        with pytest.raises(kind) as written:
            upload(tmp_path / "source", "s3://recordings/a.json")
    assert (on_input(read.value).code, on_output(written.value).code) == codes
    for told in (read, written):
        assert "s3://recordings/a." in str(told.value)


def test_a_denial_passes_the_servers_words_on(monkeypatch: pytest.MonkeyPatch) -> None:
    words = "User: arn:aws:sts::1:assumed-role/job is not authorized to perform: s3:GetObject"
    with Gate("127.0.0.1:1", lambda _: Refusal(status=403, code="AccessDenied", message=words)) as gate:
        monkeypatch.setenv("AWS_ENDPOINT_URL", gate.endpoint)
        with pytest.raises(Denied, match=words):
            storage().stat("s3://recordings/a.wav")


def test_passing_trouble_is_tried_again(s3: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    uri = s3.put("a.wav", b"content")
    seen: set[tuple[str, str]] = set()

    def first_time(request: Request) -> Refusal | None:
        again = (request.method, request.path) in seen
        seen.add((request.method, request.path))
        return None if again else Refusal(status=503, code="SlowDown")

    with Gate(s3.endpoint, first_time) as gate:
        monkeypatch.setenv("AWS_ENDPOINT_URL", gate.endpoint)
        storage().download(storage().stat(uri), tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == b"content"


def test_nobody_there_is_passing_trouble(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    made(tmp_path / "source", 1)
    with pytest.raises(Passing, match="Could not connect"):
        storage().stat("s3://recordings/a.wav")
    with pytest.raises(Passing, match="Could not connect"):
        upload(tmp_path / "source", "s3://recordings/a.json")


def test_no_credentials_are_denied(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(Denied, match="Unable to locate credentials"):
        storage().stat("s3://recordings/a.wav")


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("AWS_ENDPOINT_URL", "localhost:9000", "Invalid endpoint"),
        ("AWS_ENDPOINT_URL", "nonsense", "Invalid endpoint"),
        ("AWS_DEFAULT_REGION", "eu west 1", "region"),
        ("AWS_MAX_ATTEMPTS", "many", "many"),
        ("AWS_PROFILE", "nobody", "profile"),
    ],
)
def test_settings_that_cannot_be_are_told(name: str, value: str, told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises((Invalid, Denied), match=told):
        storage().stat("s3://recordings/a.wav")
