"""What the fast S3 client keeps of boto3's promises: keys, pins, sizes, sums, and few requests."""

import os
import resource
import string
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from urllib.parse import unquote

import pytest
from botocore.exceptions import ClientError
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from mypy_boto3_s3.type_defs import ObjectIdentifierTypeDef

from supervisor.storage import Changed, Denied, Full, Invalid, Missing, Object, Passing, Settings
from supervisor.storage.s3 import S3, boto3_client, obstore_client, place
from supervisor.storage.s3.place import Session
from tests.conftest import CREDENTIALS, S3Server
from tests.faults.proxy import Fault, FaultProxy, Kind, Request, Trouble
from tests.integration.gate import Gate, Refusal
from tests.integration.gate import Request as Asked

MIB = 1024 * 1024
TYPE = "application/json"


@pytest.fixture(autouse=True)
def job_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No credentials and settings but the tests' own, and no pauses."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "3")
    monkeypatch.setattr(boto3_client, "_PAUSE", 0.01)


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], S3]:
    """The storage for an endpoint."""

    def at(endpoint: str) -> S3:
        monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
        return S3()

    return at


@pytest.fixture
def storage(seaweedfs: S3Server, at: Callable[[str], S3]) -> S3:
    return at(seaweedfs.endpoint)


@pytest.fixture
def gate(seaweedfs: S3Server) -> Iterator[Gate]:
    """SeaweedFS, with what it is asked written down."""
    with Gate(seaweedfs.endpoint) as gate:
        yield gate


def made(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


@contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def asked(gate: Gate) -> list[str]:
    return [request.method for request in gate.requests]


# keys

# What paths, URLs, XML and headers each take amiss, and some that look like others.
_HOSTILE = st.one_of(
    st.sampled_from(["%2F", "%41", "%", "+", " ", "..", ".", "~", "?", "#", "&", "é", "e\u0301", "\u202e", "\ufeff"]),
    st.sampled_from([*"\x01\t\n\r\x1f\x7f\x85\xa0\u2028/", *string.punctuation]),
    st.characters(exclude_categories=["Cs"]),
)
_KEYS = st.lists(_HOSTILE, min_size=1, max_size=20).map("".join).filter(lambda key: len(key.encode()) <= 200)


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.filter_too_much],
)
@given(key=_KEYS)
def test_any_key_is_written_and_read_as_it_is(
    key: str, storage: S3, seaweedfs: S3Server, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("key")
    _assume_held(seaweedfs, key)
    content = key.encode()
    uri = f"s3://{seaweedfs.bucket}/{key}"
    try:
        storage.upload(made(folder / "source", content), uri, media_type=TYPE, metadata={})
        assert seaweedfs.keys() == [key]
        storage.download(storage.stat(uri), folder / "copy")
        assert (folder / "copy").read_bytes() == content
    finally:
        seaweedfs.client.delete_object(Bucket=seaweedfs.bucket, Key=key)


def _assume_held(server: S3Server, key: str) -> None:
    """SeaweedFS keeps objects as files in folders, and so some keys under other names, or not at all."""
    try:
        server.put(key, b"whole")
        held = server.keys() == [key] and server.get(key) == b"whole"
    except ClientError:
        held = False
    left = server.keys()
    for each in left:
        server.client.delete_object(Bucket=server.bucket, Key=each)
    assume(held)


@pytest.mark.parametrize(
    "key", ["a\\b", "a//b", "/a", "a/", "./a", "a/../b", "..", "a\nb", "a\x7f", "%2e%2e/a", "a%", "...", "a/.b/..c"]
)
def test_a_key_travels_byte_for_byte(key: str, at: Callable[[str], S3], tmp_path: Path) -> None:
    uri = f"s3://recordings/{key}"
    with Gate("127.0.0.1:1", lambda _: Refusal(status=404, code="NoSuchKey")) as gate:
        storage = at(gate.endpoint)
        with pytest.raises(Missing):
            storage.upload(made(tmp_path / "source", b"1"), uri, media_type=TYPE, metadata={})
        with pytest.raises(Missing):
            storage.download(Object(uri=uri, size=1, etag="0"), tmp_path / "copy")
    paths = {unquote(request.path.partition("?")[0]) for request in gate.requests}
    assert paths == {f"/recordings/{key}"}


# few requests


def test_a_small_object_is_looked_at_and_read_by_one_request_each(
    gate: Gate, seaweedfs: S3Server, at: Callable[[str], S3], tmp_path: Path
) -> None:
    uri = seaweedfs.put("a.wav", b"content")
    storage = at(gate.endpoint)
    storage.download(storage.stat(uri), tmp_path / "copy")
    assert asked(gate) == ["HEAD", "GET"]


def test_a_small_result_is_written_by_one_request(
    gate: Gate, seaweedfs: S3Server, at: Callable[[str], S3], tmp_path: Path
) -> None:
    source = made(tmp_path / "source", b"{}")
    at(gate.endpoint).upload(source, f"s3://{seaweedfs.bucket}/a.json", media_type=TYPE, metadata={})
    assert asked(gate) == ["PUT"]


def test_whether_there_is_the_bucket_is_asked_once(gate: Gate, seaweedfs: S3Server, at: Callable[[str], S3]) -> None:
    storage = at(gate.endpoint)
    for name in ("a", "b", "c"):
        with pytest.raises(Missing, match="no such object"):
            storage.stat(f"s3://{seaweedfs.bucket}/{name}")
    assert asked(gate) == ["HEAD", "GET", "HEAD", "HEAD"]


def test_what_is_denied_is_asked_once_by_each_client(at: Callable[[str], S3], tmp_path: Path) -> None:
    source = made(tmp_path / "source", b"{}")
    with (
        Gate("127.0.0.1:1", lambda _: Refusal(status=400, code="ExpiredToken")) as gate,
        pytest.raises(Denied, match="ExpiredToken"),
    ):
        at(gate.endpoint).upload(source, "s3://recordings/a.json", media_type=TYPE, metadata={})
    assert asked(gate) == ["PUT", "PUT"]


def test_a_bucket_in_another_region_is_found(seaweedfs: S3Server, at: Callable[[str], S3], tmp_path: Path) -> None:
    """As far as a custom endpoint allows: what obstore is refused for its region's sake is left to boto3."""

    def malformed(request: Asked) -> Refusal | None:
        obstore = "obstore" in request.headers.get("user-agent", "")
        return Refusal(status=400, code="AuthorizationHeaderMalformed") if obstore else None

    uri = seaweedfs.put("a.wav", b"content")
    with Gate(seaweedfs.endpoint, malformed) as gate:
        storage = at(gate.endpoint)
        storage.download(storage.stat(uri), tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == b"content"


# just as stat saw it


def test_every_range_of_a_large_object_is_pinned_to_what_stat_saw(
    gate: Gate, seaweedfs: S3Server, at: Callable[[str], S3], tmp_path: Path
) -> None:
    content = os.urandom(20 * MIB + 1)
    uri = seaweedfs.put("large.wav", content)
    storage = at(gate.endpoint)
    found = storage.stat(uri)
    storage.download(found, tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == content
    ranges = [request for request in gate.requests if request.method == "GET"]
    assert len(ranges) == 3
    assert {request.headers["if-match"] for request in ranges} == {f'"{found.etag}"'}


def test_an_object_replaced_while_its_ranges_are_read_is_noticed(
    seaweedfs: S3Server, at: Callable[[str], S3], tmp_path: Path
) -> None:
    uri = seaweedfs.put("large.wav", b"x" * (40 * MIB))
    replaced = threading.Lock()

    def replace(request: Request) -> None:
        if request.kind is Kind.GET and replaced.acquire(blocking=False):
            seaweedfs.put("large.wav", b"y" * (40 * MIB))

    with FaultProxy(seaweedfs.endpoint, before=replace) as proxy:
        storage = at(proxy.endpoint)
        found = storage.stat(uri)
        with pytest.raises(Changed):
            storage.download(found, tmp_path / "copy")
    assert not (tmp_path / "copy").exists()


def test_a_new_file_is_written_and_none_overwritten(storage: S3, seaweedfs: S3Server, tmp_path: Path) -> None:
    found = storage.stat(seaweedfs.put("a.wav"))
    target = made(tmp_path / "copy", b"mine")
    with pytest.raises(Missing, match="File exists"):
        storage.download(found, target)
    assert target.read_bytes() == b"mine"


def test_a_full_disk_is_told_as_such(storage: S3, seaweedfs: S3Server, tmp_path: Path) -> None:
    with pytest.raises(Full, match="File too large"), file_size_limit(4 * MIB):
        storage.download(storage.stat(seaweedfs.put("large.wav", bytes(12 * MIB))), tmp_path / "copy")
    assert not (tmp_path / "copy").exists()


# trouble on the way


@pytest.mark.parametrize("size", [1000, 20 * MIB])
@pytest.mark.parametrize("fault", [Fault.TRUNCATED, Fault.RESET_IN_BODY, Fault.STALL], ids=lambda fault: fault.name)
def test_a_body_that_breaks_off_every_time_leaves_no_file(
    fault: Fault,
    size: int,
    seaweedfs: S3Server,
    at: Callable[[str], S3],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for client in (obstore_client, place):
        monkeypatch.setattr(client, "READ_SECONDS", 0.5)
    uri = seaweedfs.put("a.wav", os.urandom(size))
    with FaultProxy(seaweedfs.endpoint, Trouble(fault=fault, share=1, kinds=frozenset({Kind.GET}))) as proxy:
        storage = at(proxy.endpoint)
        found = storage.stat(uri)
        with pytest.raises(Passing) as told:
            storage.download(found, tmp_path / "copy")
    assert len(str(told.value).splitlines()) == 1
    assert not (tmp_path / "copy").exists()


def test_a_body_that_breaks_off_now_and_then_arrives_whole(
    seaweedfs: S3Server, at: Callable[[str], S3], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "20")
    content = os.urandom(40 * MIB)
    uri = seaweedfs.put("large.wav", content)
    half = Trouble(fault=Fault.TRUNCATED, share=0.5, kinds=frozenset({Kind.GET}))
    with FaultProxy(seaweedfs.endpoint, half) as proxy:
        storage = at(proxy.endpoint)
        storage.download(storage.stat(uri), tmp_path / "copy")
        assert proxy.struck
    assert (tmp_path / "copy").read_bytes() == content


def test_a_body_with_a_bit_wrong_every_time_leaves_no_file(
    seaweedfs: S3Server, at: Callable[[str], S3], tmp_path: Path
) -> None:
    uri = seaweedfs.put("a.wav", os.urandom(1000))
    with FaultProxy(seaweedfs.endpoint, Trouble(fault=Fault.FLIPPED, share=1, kinds=frozenset({Kind.GET}))) as proxy:
        storage = at(proxy.endpoint)
        found = storage.stat(uri)
        with pytest.raises(Passing):
            storage.download(found, tmp_path / "copy")
    assert not (tmp_path / "copy").exists()


@pytest.mark.parametrize("method", ["stat", "download", "upload"])
def test_a_failing_server_is_asked_as_often_as_was_said(method: str, at: Callable[[str], S3], tmp_path: Path) -> None:
    source = made(tmp_path / "source", b"{}")
    with Gate("127.0.0.1:1", lambda _: Refusal(status=503, code="SlowDown")) as gate:
        storage = at(gate.endpoint)
        calls: dict[str, Callable[[], object]] = {
            "stat": lambda: storage.stat("s3://recordings/a"),
            "download": lambda: storage.download(Object(uri="s3://recordings/a", size=1, etag="0"), tmp_path / "copy"),
            "upload": lambda: storage.upload(source, "s3://recordings/a", media_type=TYPE, metadata={}),
        }
        with pytest.raises(Passing, match=r"S3 says (SlowDown|503)"):
            calls[method]()
    # A HEAD's refusal has no reason in it: it is a GET that is tried again.
    assert asked(gate) == {"stat": ["HEAD", *["GET"] * 3], "download": ["GET"] * 3, "upload": ["PUT"] * 3}[method]


# the environment


def test_obstores_own_variables_change_nothing(
    gate: Gate, seaweedfs: S3Server, at: Callable[[str], S3], monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = seaweedfs.put("a.wav")
    for name, value in {
        "AWS_SKIP_SIGNATURE": "true",
        "AWS_S3_EXPRESS": "true",
        "AWS_ENDPOINT": "http://127.0.0.1:1",
        "AWS_REGION": "nowhere-1",
        "AWS_VIRTUAL_HOSTED_STYLE_REQUEST": "true",
    }.items():
        monkeypatch.setenv(name, value)
    assert at(gate.endpoint).stat(uri).size == 4


def test_new_credentials_are_used_as_soon_as_boto3_has_them(
    storage: S3, seaweedfs: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = seaweedfs.put("a.wav")
    found = storage.stat(uri)
    credentials = storage._session.credentials
    good = credentials.get_frozen_credentials()
    wrong = good._replace(secret_key="expired")
    monkeypatch.setattr(credentials, "get_frozen_credentials", lambda: wrong)
    with pytest.raises(Denied):
        storage.download(found, tmp_path / "copy")
    monkeypatch.setattr(credentials, "get_frozen_credentials", lambda: good)
    assert storage.stat(uri).size == 4


@pytest.mark.parametrize(
    ("bucket", "endpoint", "virtual_host"),
    [
        ("recordings", "https://recordings.s3.eu-west-1.amazonaws.com", True),
        ("my.recordings", "https://s3.eu-west-1.amazonaws.com", False),
    ],
)
def test_a_bucket_of_awss_is_asked_where_boto3_would(
    bucket: str, endpoint: str, virtual_host: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    session = Session(Settings())
    found = session.place(bucket, session.first, session.credentials.get_frozen_credentials())
    assert found is not None
    assert (found.endpoint, found.virtual_host, found.region) == (endpoint, virtual_host, "eu-west-1")


# metadata, listing, threads


def test_metadata_of_other_peoples_objects_is_read(storage: S3, seaweedfs: S3Server) -> None:
    seaweedfs.client.put_object(
        Bucket=seaweedfs.bucket,
        Key="a.wav",
        Body=b"x",
        ContentType="audio/wav",
        ContentEncoding="gzip",
        CacheControl="no-store",
        Metadata={"Input-ETag": "abc", "content-type": "mine"},
    )
    found = storage.stat(f"s3://{seaweedfs.bucket}/a.wav")
    assert found.media_type == "audio/wav"
    assert found.metadata == {"input-etag": "abc", "content-type": "mine"}


def test_bytes_come_as_they_are_stored_whatever_their_encoding(
    storage: S3, seaweedfs: S3Server, tmp_path: Path
) -> None:
    seaweedfs.client.put_object(Bucket=seaweedfs.bucket, Key="a", Body=b"no gzip", ContentEncoding="gzip")
    storage.download(storage.stat(f"s3://{seaweedfs.bucket}/a"), tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == b"no gzip"


@pytest.fixture
def many(storage: S3, seaweedfs: S3Server, tmp_path: Path) -> Iterator[list[str]]:
    """The URIs of 2,500 objects below in/, in key order."""
    source = made(tmp_path / "source", b"")
    keys = sorted(f"in/{number:04}+ ü.wav" for number in range(2_500))
    uris = [f"s3://{seaweedfs.bucket}/{key}" for key in keys]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda uri: storage.upload(source, uri, media_type=TYPE, metadata={}), uris))
    yield uris
    for start in range(0, len(keys), 1_000):
        old = [ObjectIdentifierTypeDef(Key=key) for key in keys[start : start + 1_000]]
        seaweedfs.client.delete_objects(Bucket=seaweedfs.bucket, Delete={"Objects": old})


def test_a_listing_streams_page_by_page_in_key_order(
    many: list[str], gate: Gate, seaweedfs: S3Server, at: Callable[[str], S3]
) -> None:
    listing = at(gate.endpoint).list(f"s3://{seaweedfs.bucket}/in/")
    first = list(islice(listing, 1_000))
    assert len(gate.requests) == 1
    assert [each.uri for each in [*first, *listing]] == many
    assert len(gate.requests) == 3


def test_a_listing_that_is_refused_in_the_midst_is_told_by_kind(
    many: list[str], seaweedfs: S3Server, at: Callable[[str], S3]
) -> None:
    second = lambda r: Refusal(status=403, code="AccessDenied") if "continuation" in r.path else None  # noqa: E731
    with Gate(seaweedfs.endpoint, second) as gate:
        listing = at(gate.endpoint).list(f"s3://{seaweedfs.bucket}/in/")
        assert [each.uri for each in islice(listing, 1_000)] == many[:1_000]
        with pytest.raises(Denied):
            next(listing)


def test_a_listed_object_can_be_read(storage: S3, seaweedfs: S3Server, tmp_path: Path) -> None:
    seaweedfs.put("in/a.wav", b"content")
    seaweedfs.put("other.wav")
    (found,) = storage.list(f"s3://{seaweedfs.bucket}/in/")
    assert (found.size, found.etag) == (7, storage.stat(found.uri).etag)
    storage.download(found, tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == b"content"


def test_a_listing_of_nothing_is_empty_and_one_of_no_bucket_missing(storage: S3, seaweedfs: S3Server) -> None:
    assert list(storage.list(f"s3://{seaweedfs.bucket}/nothing/")) == []
    with pytest.raises(Missing, match="there is no bucket not-there"):
        next(storage.list("s3://not-there/in/"))
    with pytest.raises(Invalid, match="names no bucket"):
        next(storage.list("s3:///in/"))


def test_sixteen_threads_read_and_write_at_once(storage: S3, seaweedfs: S3Server, tmp_path: Path) -> None:
    def round_trip(number: int) -> bool:
        content = os.urandom(100 if number % 8 else 9 * MIB)
        uri = f"s3://{seaweedfs.bucket}/{number:03}"
        storage.upload(made(tmp_path / f"source-{number}", content), uri, media_type=TYPE, metadata={})
        storage.download(storage.stat(uri), tmp_path / f"copy-{number}")
        return (tmp_path / f"copy-{number}").read_bytes() == content

    with ThreadPoolExecutor(16) as pool:
        assert list(pool.map(round_trip, range(48))) == [True] * 48
