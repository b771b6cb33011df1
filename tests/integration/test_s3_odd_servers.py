"""S3 as others serve it: what they refuse, leave out or get wrong ends in a way on or in one line, never in a loop."""

import dataclasses
import itertools
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus
from xml.sax.saxutils import escape

import pytest

from supervisor.storage import Changed, Denied, Invalid, Missing, Object, Passing, StorageError, on_input, on_output
from supervisor.storage.s3 import S3, boto3_client
from supervisor.storage.s3 import listing as listing_module
from tests.conftest import CREDENTIALS, S3Server
from tests.integration.gate import Gate, Refusal, Reply, Request

TYPE = "application/json"
MIB = 1024 * 1024
BOTO3_ALONE = "a//b.wav"  # a key that obstore cannot carry
Edit = Callable[[Request, Reply], Reply]
Refuse = Callable[[Request], Refusal | Reply | None]


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
def odd(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., tuple[S3, Gate]]]:
    """A storage before a server that is odd in one way, and what it was asked."""
    gates: list[Gate] = []

    def odd(edit: Edit = lambda _, reply: reply, refuse: Refuse = lambda _: None) -> tuple[S3, Gate]:
        gate = Gate(s3.endpoint, refuse, edit).__enter__()
        gates.append(gate)
        monkeypatch.setenv("AWS_ENDPOINT_URL", gate.endpoint)
        return S3(), gate

    yield odd
    for gate in gates:
        gate.__exit__(None, None, None)


Odd = Callable[..., tuple[S3, Gate]]


def read(storage: S3, uri: str, folder: Path) -> bytes:
    target = folder / "copy"
    target.unlink(missing_ok=True)
    storage.download(storage.stat(uri), target)
    return target.read_bytes()


def methods(gate: Gate) -> list[str]:
    return [request.method for request in gate.requests]


# checksums that a server does not know: Backblaze B2, R2, GCS, Storj

_CHECKSUM = re.compile(r"x-amz-checksum-.*|x-amz-sdk-checksum-algorithm|x-amz-trailer")
_REFUSALS = {
    "as B2 does": Refusal(status=400, code="InvalidArgument", message="Unsupported header received for this API call."),
    "as R2 and GCS do": Refusal(status=501, code="NotImplemented", message="A header … is not implemented"),
    "in other words": Refusal(status=400, code="InvalidRequest", message="The algorithm type you specified is invalid"),
    "in words of its own": Refusal(status=400, code="UnsupportedHeader"),
    "by a sum of its own": Refusal(status=400, code="XAmzContentSHA256Mismatch"),
}


def refusing_checksums(refusal: Refusal) -> Refuse:
    return lambda request: refusal if any(map(_CHECKSUM.fullmatch, request.named)) else None


@pytest.mark.parametrize("refusal", _REFUSALS.values(), ids=_REFUSALS)
@pytest.mark.parametrize("size", [1, 2 * MIB, 33 * MIB])
def test_no_request_carries_a_checksum_where_none_is_wanted(
    size: int, refusal: Refusal, odd: Odd, s3: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_REQUEST_CHECKSUM_CALCULATION", "when_required")
    monkeypatch.setenv("AWS_RESPONSE_CHECKSUM_VALIDATION", "when_required")
    storage, gate = odd(refuse=refusing_checksums(refusal))
    source, uri = tmp_path / "source", f"s3://{s3.bucket}/a.json"
    source.write_bytes(os.urandom(size))
    storage.probe(f"s3://{s3.bucket}/out/")
    storage.upload(source, uri, media_type=TYPE, metadata={})
    assert read(storage, uri, tmp_path) == source.read_bytes()
    assert [found.uri for found in storage.list(f"s3://{s3.bucket}/")] == [uri]
    assert not [name for request in gate.requests for name in request.named if _CHECKSUM.fullmatch(name)]


def test_a_profile_says_the_same_of_checksums(
    odd: Odd, s3: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "config"
    config.write_text("[default]\nrequest_checksum_calculation = when_required\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    storage, gate = odd(refuse=refusing_checksums(_REFUSALS["as R2 and GCS do"]))
    storage.upload(b"{}", f"s3://{s3.bucket}/a.json", media_type=TYPE, metadata={})
    assert methods(gate) == ["PUT"]


@pytest.mark.parametrize("refusal", _REFUSALS.values(), ids=_REFUSALS)
@pytest.mark.parametrize("size", [1, 2 * MIB, 33 * MIB, None])
def test_a_checksum_that_is_refused_names_the_variable(
    size: int | None, refusal: Refusal, odd: Odd, s3: S3Server, tmp_path: Path
) -> None:
    storage, _ = odd(refuse=refusing_checksums(refusal))
    source = tmp_path / "source"
    source.write_bytes(bytes(size or 0))
    uri = f"s3://{s3.bucket}/a.json"

    def write() -> None:
        if size is None:
            storage.probe(uri)
        else:
            storage.upload(source, uri, media_type=TYPE, metadata={})

    with pytest.raises((Invalid, Passing), match=refusal.code) as told:
        write()
    assert "AWS_REQUEST_CHECKSUM_CALCULATION=when_required" in on_output(told.value).hint


def test_a_signature_that_a_checksum_broke_names_the_variable_too(odd: Odd, s3: S3Server) -> None:
    """As Google's answer."""
    storage, _ = odd(refuse=refusing_checksums(Refusal(status=403, code="SignatureDoesNotMatch")))
    with pytest.raises(Denied) as told:
        storage.upload(b"{}", f"s3://{s3.bucket}/a.json", media_type=TYPE, metadata={})
    assert "AWS_REQUEST_CHECKSUM_CALCULATION=when_required" in on_output(told.value).hint


def test_a_server_that_refuses_to_hear_of_answers_checksums_names_the_other_variable(
    odd: Odd, s3: S3Server, tmp_path: Path
) -> None:
    uri = s3.put(BOTO3_ALONE, b"content")
    storage, _ = odd(refuse=refusing_checksums(Refusal(status=400, code="InvalidArgument")))
    with pytest.raises(Invalid) as told:
        read(storage, uri, tmp_path)
    assert "AWS_RESPONSE_CHECKSUM_VALIDATION=when_required" in on_input(told.value).hint


# ETags, and what is held against them


def without_if_match(request: Request) -> Refusal | None:
    """SeaweedFS 3.97 refuses the right one."""
    return Refusal(status=412, code="PreconditionFailed") if "if-match" in request.named else None


def weak(_: Request, reply: Reply) -> Reply:
    tag = reply.headers.get("Etag")
    return reply.but(etag=f"W/{tag}") if tag else reply


def unquoted(_: Request, reply: Reply) -> Reply:
    tag = reply.headers.get("Etag")
    return reply.but(etag=tag.strip('"')) if tag else reply


def no_etag(_: Request, reply: Reply) -> Reply:
    return reply.but(etag=None)


def no_etag_of_a_get(request: Request, reply: Reply) -> Reply:
    return reply.but(etag=None) if request.method == "GET" else reply


def another_etag_in_a_get(request: Request, reply: Reply) -> Reply:
    return reply.but(etag='"0x8DC"') if request.method == "GET" and "Etag" in reply.headers else reply


def upper_case(_: Request, reply: Reply) -> Reply:
    tag = reply.headers.get("Etag")
    return reply.but(etag=tag.upper()) if tag else reply


_TAGS: dict[str, tuple[Edit, Refuse]] = {
    "refuses the right If-Match": (lambda _, reply: reply, without_if_match),
    "weak": (weak, lambda _: None),
    "weak, and If-Match refused": (weak, without_if_match),
    "unquoted": (unquoted, lambda _: None),
    "unquoted, and If-Match refused": (unquoted, without_if_match),
    "none at all": (no_etag, lambda _: None),
    "none in a GET": (no_etag_of_a_get, lambda _: None),
    "another in a GET": (another_etag_in_a_get, without_if_match),
    "in capitals": (upper_case, without_if_match),
}


@pytest.mark.parametrize("seen", ["looked at", "listed"])
@pytest.mark.parametrize("size", [0, 1000, 20 * MIB])
@pytest.mark.parametrize(("edit", "refuse"), _TAGS.values(), ids=_TAGS)
def test_an_etag_that_is_odd_is_read_and_compared(
    edit: Edit, refuse: Refuse, size: int, seen: str, odd: Odd, s3: S3Server, tmp_path: Path
) -> None:
    content = os.urandom(size)
    uri = s3.put("in/a.wav", content)
    storage, gate = odd(edit, refuse)
    for name in ("first", "second"):
        (found,) = storage.list(f"s3://{s3.bucket}/in/") if seen == "listed" else (storage.stat(uri),)
        storage.download(found, tmp_path / name)
        assert (tmp_path / name).read_bytes() == content
    assert len(gate.requests) < 40


@pytest.mark.parametrize("size", [1000, 20 * MIB])
@pytest.mark.parametrize(("edit", "refuse"), [odd for name, odd in _TAGS.items() if name != "none at all"],
                         ids=[name for name in _TAGS if name != "none at all"])  # fmt: skip
def test_an_object_that_was_replaced_is_noticed_however_odd_its_etag(
    edit: Edit, refuse: Refuse, size: int, odd: Odd, s3: S3Server, tmp_path: Path
) -> None:
    uri = s3.put("a.wav", b"x" * size)
    storage, _ = odd(edit, refuse)
    found = storage.stat(uri)
    s3.put("a.wav", b"y" * size)
    with pytest.raises(Changed, match="replaced while it was being read"):
        storage.download(found, tmp_path / "copy")
    assert not (tmp_path / "copy").exists()


def test_an_object_that_was_replaced_is_noticed_where_nothing_may_be_listed(
    odd: Odd, s3: S3Server, tmp_path: Path
) -> None:
    denied = Refusal(status=403, code="AccessDenied")
    storage, _ = odd(refuse=lambda request: denied if "list-type" in request.query else None)
    found = storage.stat(s3.put("a.wav", b"before"))
    s3.put("a.wav", b"after!")
    with pytest.raises(Changed):
        storage.download(found, tmp_path / "copy")


def test_an_if_match_that_is_refused_is_not_sent_again(odd: Odd, s3: S3Server, tmp_path: Path) -> None:
    uri = s3.put("a.wav", b"content")
    storage, gate = odd(refuse=without_if_match)
    read(storage, uri, tmp_path)
    gate.requests.clear()
    assert read(storage, uri, tmp_path) == b"content"
    assert methods(gate) == ["HEAD", "GET"]


def flipped(request: Request, reply: Reply) -> Reply:
    """The same bit of an object each time, and no checksum to tell."""
    if request.method != "GET" or not reply.body or "list-type" in request.query:
        return reply
    kept: dict[str, str | None] = {n: v for n, v in reply.headers.items() if not n.lower().startswith("x-amz-checksum")}
    return Reply(status=reply.status, headers=kept, body=bytes([reply.body[0] ^ 1]) + reply.body[1:])


def of_a_kms_key(_: Request, reply: Reply) -> Reply:
    """Under a key of the bucket's owner, where the ETag is no MD5."""
    if "Etag" not in reply.headers:
        return reply
    return reply.but(etag=f'"{0:032}"', x_amz_server_side_encryption="aws:kms")


@pytest.mark.parametrize("key", ["a.wav", BOTO3_ALONE], ids=["obstore and boto3", "boto3 alone"])
def test_bytes_that_are_wrong_each_time_are_not_taken(key: str, odd: Odd, s3: S3Server, tmp_path: Path) -> None:
    uri = s3.put(key, b"content")
    storage, gate = odd(flipped)
    for _ in range(2):
        with pytest.raises(Passing, match="not those of its ETag"):
            read(storage, uri, tmp_path)
        assert not (tmp_path / "copy").exists()
    assert len(gate.requests) < 12


@pytest.mark.parametrize("key", ["a.wav", BOTO3_ALONE], ids=["obstore and boto3", "boto3 alone"])
def test_an_etag_that_is_no_md5_is_one_of_a_kms_key(key: str, odd: Odd, s3: S3Server, tmp_path: Path) -> None:
    uri = s3.put(key, b"content")
    storage, _ = odd(of_a_kms_key)
    assert [read(storage, uri, tmp_path) for _ in range(2)] == [b"content"] * 2


def test_bytes_that_a_checksum_of_s3s_vouches_for_are_right_whatever_the_etag(
    odd: Odd, s3: S3Server, tmp_path: Path
) -> None:
    s3.client.put_object(Bucket=s3.bucket, Key="a.wav", Body=b"content", ChecksumAlgorithm="CRC32")
    storage, _ = odd(lambda request, reply: of_a_kms_key(request, reply).but(x_amz_server_side_encryption=None))
    assert read(storage, f"s3://{s3.bucket}/a.wav", tmp_path) == b"content"


def test_a_checksum_of_s3s_is_what_guards_bytes_where_neither_etag_nor_tls_does(
    odd: Odd, s3: S3Server, tmp_path: Path
) -> None:
    """An ETag of an upload in parts is no MD5."""
    s3.client.put_object(Bucket=s3.bucket, Key="a.wav", Body=b"content", ChecksumAlgorithm="CRC32")

    def spoilt(request: Request, reply: Reply) -> Reply:
        reply = reply.but(etag='"5d41402abc4b2a76b9719d911017c592-2"') if "Etag" in reply.headers else reply
        body = b"Content" if request.method == "GET" and reply.body == b"content" else reply.body
        return dataclasses.replace(reply, body=body)

    storage, _ = odd(spoilt)
    with pytest.raises(Passing, match="checksum"):
        read(storage, f"s3://{s3.bucket}/a.wav", tmp_path)


# what is left out


@pytest.mark.parametrize("content", [b"", b"content"])
def test_a_head_without_a_length_is_made_good_by_a_get(content: bytes, odd: Odd, s3: S3Server, tmp_path: Path) -> None:
    uri = s3.put("a.wav", content)
    storage, _ = odd(lambda request, reply: reply.but(content_length=None) if request.method == "HEAD" else reply)
    assert storage.stat(uri).size == len(content)
    assert read(storage, uri, tmp_path) == content


@pytest.mark.parametrize("key", ["a.wav", BOTO3_ALONE], ids=["obstore and boto3", "boto3 alone"])
@pytest.mark.parametrize("told", ["0", "3", "100"])
def test_a_head_that_tells_a_wrong_length_does_no_harm(
    told: str, key: str, odd: Odd, s3: S3Server, tmp_path: Path
) -> None:
    uri = s3.put(key, b"content")
    storage, _ = odd(lambda request, reply: reply.but(content_length=told) if request.method == "HEAD" else reply)
    assert read(storage, uri, tmp_path) == b"content"


@pytest.mark.parametrize("size", [100, 20 * MIB])
def test_a_body_that_is_too_long_at_first_leaves_nothing_behind(
    size: int, odd: Odd, s3: S3Server, tmp_path: Path
) -> None:
    content = os.urandom(size)
    uri = s3.put("a.wav", content)
    seen: set[str] = set()

    def too_long(request: Request, reply: Reply) -> Reply:
        asked = request.named.get("range", "")
        if request.method != "GET" or asked in seen:
            return reply
        seen.add(asked)
        return dataclasses.replace(reply, body=reply.body + b"x" * 1000)

    storage, _ = odd(too_long)
    assert read(storage, uri, tmp_path) == content


def test_answers_without_a_length_are_read_to_their_end(odd: Odd, s3: S3Server, tmp_path: Path) -> None:
    uri = s3.put("a.wav", b"content")
    storage, _ = odd(lambda _, reply: reply.but(content_length=None, content_range=None))
    assert read(storage, uri, tmp_path) == b"content"


@pytest.mark.parametrize("size", [1000, 20 * MIB])
def test_a_server_without_ranges_gives_the_whole(size: int, odd: Odd, s3: S3Server, tmp_path: Path) -> None:
    content = os.urandom(size)
    uri = s3.put("a.wav", content)

    def whole(request: Request) -> Reply | None:
        if request.method == "GET" and "range" in request.named:
            head = s3.client.head_object(Bucket=s3.bucket, Key="a.wav")
            return Reply(headers={"ETag": head["ETag"], "Last-Modified": "Wed, 21 Oct 2015 07:28:00 GMT"}, body=content)
        return None

    storage, gate = odd(refuse=whole)
    assert read(storage, uri, tmp_path) == content
    assert len(gate.requests) < 20


@pytest.mark.parametrize(
    "name", ["last_modified", "content_type", "date", "server", "x_amz_request_id", "accept_ranges"]
)
def test_a_header_that_is_left_out_is_not_missed(name: str, odd: Odd, s3: S3Server, tmp_path: Path) -> None:
    uri = s3.put("a.wav", b"content")
    storage, _ = odd(lambda _, reply: reply.but(**{name: None}))
    assert read(storage, uri, tmp_path) == b"content"
    storage.upload(b"{}", uri + ".json", media_type=TYPE, metadata={"input-etag": "0"})
    assert storage.stat(uri + ".json").metadata == {"input-etag": "0"}


def test_an_upload_whose_answer_has_no_etag_has_succeeded(odd: Odd, s3: S3Server) -> None:
    storage, _ = odd(no_etag)
    assert storage.upload(b"{}", f"s3://{s3.bucket}/a.json", media_type=TYPE, metadata={}) is None
    assert s3.get("a.json") == b"{}"


def test_metadata_is_known_by_its_name_in_any_case(odd: Odd, s3: S3Server, tmp_path: Path) -> None:
    """Servers written in Go capitalise the names of headers, and boto3 keeps their case."""
    s3.client.put_object(Bucket=s3.bucket, Key=BOTO3_ALONE, Body=b"", Metadata={"input-etag": "0"})
    storage, _ = odd(lambda _, reply: reply.but(x_amz_meta_input_etag="0") if "Etag" in reply.headers else reply)
    assert storage.stat(f"s3://{s3.bucket}/{BOTO3_ALONE}").metadata == {"input-etag": "0"}


# listings


KEYS = [f"in/{number:02}.wav" for number in range(9)]
ODD_KEYS = ["in/a b.wav", "in/a%20b.wav", "in/a+b.wav", "in/ü.wav", "in/100%.wav", "in/%41.wav"]


def listing(
    keys: list[str], request: Request, *, truncated: bool, token: str | None = None, encoded: str | None = "url"
) -> Reply:
    """A page as S3 writes it."""
    spelt = [quote(key) if encoded == "url" else escape(key) for key in keys]
    contents = "".join(
        f"<Contents><Key>{key}</Key><Size>1</Size><ETag>&quot;0&quot;</ETag></Contents>" for key in spelt
    )
    more = f"<IsTruncated>{str(truncated).lower()}</IsTruncated>"
    more += f"<NextContinuationToken>{token}</NextContinuationToken>" if token else ""
    more += f"<EncodingType>{encoded}</EncodingType>" if encoded else ""
    body = (
        f"<ListBucketResult><Name>recordings</Name><KeyCount>{len(keys)}</KeyCount>{more}{contents}</ListBucketResult>"
    )
    return Reply(headers={"Content-Type": "application/xml", "x-amz-request-id": "1"}, body=body.encode())


def pages(request: Request, keys: list[str], at: int, **more: Any) -> Reply:
    """Three keys from that position on."""
    page = keys[at : at + 3]
    return listing(page, request, truncated=at + 3 < len(keys), **more)


def without_tokens(request: Request) -> Reply:
    after = request.query.get("start-after", "")
    return pages(request, KEYS, sum(key <= after for key in KEYS))


def as_list_objects(request: Request) -> Reply:
    """ListObjects is all that it knows: of list-type, start-after and tokens it takes no notice."""
    after = request.query.get("marker", "")
    return pages(request, KEYS, sum(key <= after for key in KEYS))


def the_same_token_again(request: Request) -> Reply:
    after = request.query.get("start-after", "")
    return pages(request, KEYS, sum(key <= after for key in KEYS), token="again")


def a_token_that_leads_back(request: Request) -> Reply:
    """New tokens all the time, and the first page."""
    after = request.query.get("start-after", "")
    token = f"t{int(request.query.get('continuation-token', 't0')[1:]) + 1}"
    return pages(request, KEYS, sum(key <= after for key in KEYS), token=token)


def overlapping(request: Request) -> Reply:
    """The last key of a page is the first of the next."""
    at = int(request.query.get("continuation-token", "0"))
    return pages(request, KEYS, at, token=str(at + 2))


def without_is_truncated(request: Request) -> Reply:
    at = int(request.query.get("continuation-token", "0"))
    reply = pages(request, KEYS, at, token=str(at + 3) if at + 3 < len(KEYS) else None)
    return dataclasses.replace(reply, body=re.sub(rb"<IsTruncated>\w+</IsTruncated>", b"", reply.body))


def whatever_the_prefix(request: Request) -> Reply:
    return listing(["before", *KEYS, "zzz"], request, truncated=False)


def an_empty_page_between(request: Request) -> Reply:
    token = request.query.get("continuation-token")
    if token is None:
        return listing(KEYS[:5], request, truncated=True, token="1")
    return (
        listing([], request, truncated=True, token="2") if token == "1" else listing(KEYS[5:], request, truncated=False)
    )


_WAYS_ON = [
    without_tokens,
    as_list_objects,
    the_same_token_again,
    a_token_that_leads_back,
    overlapping,
    without_is_truncated,
    whatever_the_prefix,
    an_empty_page_between,
]


@pytest.mark.parametrize("answer", _WAYS_ON, ids=lambda answer: answer.__name__)
def test_a_listing_goes_on_where_its_server_does_not_say_how(answer: Refuse, odd: Odd, s3: S3Server) -> None:
    storage, gate = odd(refuse=answer)
    assert [found.uri for found in storage.list(f"s3://{s3.bucket}/in/")] == [f"s3://{s3.bucket}/{key}" for key in KEYS]
    assert len(gate.requests) < 20


@pytest.mark.parametrize("answer", _WAYS_ON, ids=lambda answer: answer.__name__)
def test_a_listing_begins_after_a_key_whatever_its_server_makes_of_it(answer: Refuse, odd: Odd, s3: S3Server) -> None:
    storage, _ = odd(refuse=answer)
    prefix = f"s3://{s3.bucket}/"
    found = storage.list(f"{prefix}in/", after=prefix + KEYS[4])
    assert [each.uri for each in found] == [prefix + key for key in KEYS[5:]]


def the_first_page_for_ever(request: Request) -> Reply:
    return listing(KEYS[:3], request, truncated=True)


def two_pages_in_turn(request: Request) -> Reply:
    odd_one = request.query.get("continuation-token", "0")
    keys = KEYS[:3] if int(odd_one) % 2 else KEYS[3:6]
    return listing(keys, request, truncated=True, token=str(int(odd_one) + 1))


def in_no_order_and_without_tokens(request: Request) -> Reply:
    return listing([KEYS[5], KEYS[2], KEYS[7]], request, truncated=True)


def nothing_and_more_of_it(request: Request) -> Reply:
    return listing([], request, truncated=True)


@pytest.mark.parametrize(
    "answer",
    [the_first_page_for_ever, two_pages_in_turn, in_no_order_and_without_tokens, nothing_and_more_of_it],
    ids=lambda answer: answer.__name__,
)
def test_a_listing_that_comes_to_no_end_is_told_in_one_line(answer: Refuse, odd: Odd, s3: S3Server) -> None:
    storage, gate = odd(refuse=answer)
    with pytest.raises(Invalid, match="comes to no end") as told:
        list(storage.list(f"s3://{s3.bucket}/in/"))
    assert on_input(told.value).code == 64
    assert "manifest" in on_input(told.value).hint
    assert len(gate.requests) < 30


@pytest.mark.parametrize(("status", "code"), [(501, "NotImplemented"), (400, "InvalidArgument")])
def test_a_server_that_refuses_the_second_version_of_listings_is_asked_for_the_first(
    status: int, code: str, odd: Odd, s3: S3Server
) -> None:
    refusal = Refusal(status=status, code=code)
    storage, gate = odd(refuse=lambda r: refusal if "list-type" in r.query else as_list_objects(r))
    assert [found.uri for found in storage.list(f"s3://{s3.bucket}/in/")] == [f"s3://{s3.bucket}/{key}" for key in KEYS]
    assert len(gate.requests) < 6


def test_a_token_that_is_refused_is_done_without(odd: Odd, s3: S3Server) -> None:
    refusal = Refusal(status=400, code="InvalidArgument", message="The continuation token provided is incorrect")

    def forgetful(request: Request) -> Refusal | Reply:
        if "continuation-token" in request.query:
            return refusal
        after = request.query.get("start-after", "")
        return pages(request, KEYS, sum(key <= after for key in KEYS), token="forgotten")

    storage, gate = odd(refuse=forgetful)
    assert [found.uri for found in storage.list(f"s3://{s3.bucket}/in/")] == [f"s3://{s3.bucket}/{key}" for key in KEYS]
    assert len(gate.requests) < 8


def test_empty_pages_without_end_are_told_in_one_line(odd: Odd, s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing_module, "_EMPTY", 20)
    numbers = itertools.count()
    storage, gate = odd(refuse=lambda request: listing([], request, truncated=True, token=str(next(numbers))))
    with pytest.raises(Invalid, match="20 pages in a row are empty"):
        list(storage.list(f"s3://{s3.bucket}/in/"))
    assert len(gate.requests) < 30


@pytest.mark.parametrize("declared", ["url", None])
@pytest.mark.parametrize("encode", [quote, quote_plus, escape], ids=["%20", "+", "raw"])
def test_keys_are_read_however_a_server_spells_them(
    encode: Callable[[str], str], declared: str | None, odd: Odd, s3: S3Server
) -> None:
    for key in ODD_KEYS:
        s3.put(key)

    def spelt(request: Request) -> Reply | None:
        if "list-type" not in request.query:
            return None
        reply = listing(["KEYS"], request, truncated=False, encoded=declared)
        one = reply.body.partition(b"<Contents>")[0]
        contents = "".join(f"<Contents><Key>{encode(key)}</Key><Size>4</Size></Contents>" for key in ODD_KEYS)
        return dataclasses.replace(reply, body=one + contents.encode() + b"</ListBucketResult>")

    storage, _ = odd(refuse=spelt)
    prefix = f"s3://{s3.bucket}/"
    assert [each.uri for each in storage.list(f"{prefix}in/")] == [prefix + key for key in ODD_KEYS]


def without_sizes(_: Request, reply: Reply) -> Reply:
    return dataclasses.replace(reply, body=re.sub(rb"<(Size|ETag|LastModified)>.*?</\1>", b"", reply.body))


def test_an_object_that_is_listed_without_size_and_etag_is_read_whole(odd: Odd, s3: S3Server, tmp_path: Path) -> None:
    s3.put("in/a.wav", b"content")
    storage, _ = odd(without_sizes)
    (found,) = storage.list(f"s3://{s3.bucket}/in/")
    storage.download(found, tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == b"content"


_NO_LISTINGS = {
    "a web page": (Reply(headers={"Content-Type": "text/html"}, body=b"<html><body>Log in"), Invalid),
    "an empty body": (Reply(), Passing),
    "half a body": (Reply(headers={"x-amz-request-id": "1"}, body=b"<ListBucketResult><Name>rec"), Passing),
    "an object without a key": (
        Reply(body=b"<ListBucketResult><Name>a</Name><Contents><Size>1</Size></Contents></ListBucketResult>"), Invalid,
    ),
    "a size that is none": (
        Reply(body=b"<ListBucketResult><Contents><Key>in/a</Key><Size>many</Size></Contents></ListBucketResult>"),
        Invalid,
    ),
    "another document": (Reply(body=b"<Something><Else/></Something>"), Passing),
    "JSON": (Reply(headers={"Content-Type": "application/json"}, body=b'{"error": "no"}'), Passing),
}  # fmt: skip


@pytest.mark.parametrize(("reply", "kind"), _NO_LISTINGS.values(), ids=_NO_LISTINGS)
def test_what_is_no_listing_is_told_in_one_line(reply: Reply, kind: type[StorageError], odd: Odd, s3: S3Server) -> None:
    storage, gate = odd(refuse=lambda _: reply)
    with pytest.raises(kind) as told:
        list(storage.list(f"s3://{s3.bucket}/in/"))
    assert type(told.value) is not StorageError
    assert len(str(told.value)) < 500
    assert len(str(told.value).splitlines()) == 1
    assert len(gate.requests) < 15


# answers that are none of S3's

_HTML = {"Content-Type": "text/html; charset=utf-8"}
_PAGES = {
    "a login page": Reply(headers=_HTML, body=b"<!DOCTYPE html><html><body>Log in</body></html>"),
    "a redirect to one": Reply(status=302, headers={**_HTML, "Location": "http://127.0.0.1:9/login"}, body=b"<html>"),
    "a web server's own": Reply(status=404, headers=_HTML, body=b"<html>nginx</html>"),
}


@pytest.mark.parametrize("page", _PAGES.values(), ids=_PAGES)
@pytest.mark.parametrize("method", ["stat", "download", "list", "upload", "probe", "create"])
def test_a_web_page_is_no_answer(method: str, page: Reply, odd: Odd, tmp_path: Path) -> None:
    storage, _ = odd(refuse=lambda _: page)
    uri = "s3://recordings/in/a.wav"
    calls: dict[str, Callable[[], object]] = {
        "stat": lambda: storage.stat(uri),
        "download": lambda: storage.download(Object(uri=uri, size=len(page.body), etag="0"), tmp_path / "copy"),
        "list": lambda: list(storage.list("s3://recordings/in/")),
        "upload": lambda: storage.upload(b"{}", uri, media_type=TYPE, metadata={}),
        "probe": lambda: storage.probe("s3://recordings/out/"),
        "create": lambda: storage.create(b"{}", uri, media_type=TYPE, metadata={}),
    }
    with pytest.raises(Invalid, match="web page") as told:
        calls[method]()
    assert "AWS_ENDPOINT_URL" in on_input(told.value).hint
    assert not (tmp_path / "copy").exists()


def test_an_object_that_is_a_web_page_is_one(odd: Odd, s3: S3Server, tmp_path: Path) -> None:
    s3.client.put_object(Bucket=s3.bucket, Key=BOTO3_ALONE, Body=b"<html></html>", ContentType="text/html")
    storage, _ = odd()
    assert read(storage, f"s3://{s3.bucket}/{BOTO3_ALONE}", tmp_path) == b"<html></html>"


@pytest.mark.parametrize(("status", "kind"), [(502, Passing), (503, Passing), (403, Denied), (401, Denied)])
def test_a_gateways_error_page_is_sorted_by_its_status(status: int, kind: type[StorageError], odd: Odd) -> None:
    storage, _ = odd(refuse=lambda _: Reply(status=status, headers=_HTML, body=b"<html>nginx</html>"))
    with pytest.raises(kind) as read_:
        storage.stat("s3://recordings/a.wav")
    with pytest.raises(kind) as written:
        storage.upload(b"{}", "s3://recordings/a.json", media_type=TYPE, metadata={})
    assert "<html>" not in f"{read_.value}{written.value}"


@pytest.mark.parametrize("status", [501, 505, 506, 507, 508, 510, 511, 405, 411, 414, 415, 417, 431])
def test_what_a_server_will_never_do_is_not_passing(status: int, odd: Odd) -> None:
    storage, gate = odd(refuse=lambda _: Reply(status=status))
    for ask in (
        lambda: storage.stat("s3://recordings/a.wav"),
        lambda: storage.upload(b"{}", "s3://recordings/a.json", media_type=TYPE, metadata={}),
        lambda: list(storage.list("s3://recordings/in/")),
    ):
        with pytest.raises(StorageError) as told:
            ask()
        assert not isinstance(told.value, Passing)
    assert len(gate.requests) <= 6  # a listing is also asked for in its older form


# redirects


@pytest.mark.parametrize("times", [1, 3])
def test_a_bucket_that_is_a_day_old_is_found_where_a_307_says(
    times: int, odd: Odd, s3: S3Server, tmp_path: Path
) -> None:
    uri = s3.put("a.wav", b"content")
    left = {"GET": times, "HEAD": times, "PUT": times}

    def young(request: Request) -> Reply | None:
        left[request.method] -= 1
        if left[request.method] < 0:
            return None
        refusal = Refusal(status=307, code="TemporaryRedirect").reply
        return dataclasses.replace(refusal, headers={"Location": s3.endpoint + request.path})

    storage, _ = odd(refuse=young)
    assert read(storage, uri, tmp_path) == b"content"
    storage.upload(b"{}", uri + ".json", media_type=TYPE, metadata={})
    assert s3.get("a.wav.json") == b"{}"
    assert len(list(storage.list(f"s3://{s3.bucket}/"))) == 2


@pytest.mark.parametrize("location", ["", None, "/recordings/a.wav", "http://127.0.0.1:9/a.wav", "ftp://a/b"])
def test_a_redirect_without_end_is_told(location: str | None, odd: Odd) -> None:
    refusal = Refusal(status=307, code="TemporaryRedirect").reply
    storage, gate = odd(refuse=lambda _: dataclasses.replace(refusal, headers={"Location": location}))
    with pytest.raises(Passing):
        storage.upload(b"{}", "s3://recordings/a.json", media_type=TYPE, metadata={})
    assert len(gate.requests) < 12


# versions


def test_a_version_that_is_missing_is_no_missing_object(odd: Odd, s3: S3Server, tmp_path: Path) -> None:
    uri = s3.put("a.wav")
    storage, _ = odd(
        refuse=lambda r: (
            Refusal(status=404, code="NoSuchVersion") if r.query.get("versionId", "null") != "null" else None
        )
    )
    for known in (False, True):  # whether the bucket is known to exist
        with pytest.raises(Missing, match="there is no version 1 of this object") as told:
            storage.stat(uri, "1")
        assert "versionId" in on_input(told.value).hint
        assert storage.stat(uri).size == 4, known
    with pytest.raises(Missing, match="there is no version 1"):
        storage.download(Object(uri=uri, size=4, etag="0", version="1"), tmp_path / "copy")


def test_a_version_that_cannot_be_is_a_missing_one(odd: Odd, s3: S3Server) -> None:
    uri = s3.put("a.wav")
    invalid = Refusal(status=400, code="InvalidArgument", message="Invalid version id specified",
                      more="<ArgumentName>versionId</ArgumentName>")  # fmt: skip
    storage, _ = odd(refuse=lambda request: invalid if "versionId" in request.query else None)
    with pytest.raises(Missing, match="there is no version 1"):
        storage.stat(uri, "1")


def test_no_version_is_asked_for_but_one_that_was_named(odd: Odd, s3: S3Server, tmp_path: Path) -> None:
    """It would take s3:GetObjectVersion."""
    s3.client.put_bucket_versioning(Bucket=s3.bucket, VersioningConfiguration={"Status": "Enabled"})
    uris = [s3.put("in/a.wav", b"1"), s3.put("in/a//b.wav", b"2"), s3.put("in/large.wav", bytes(20 * MIB))]
    storage, gate = odd()
    for uri in uris:
        read(storage, uri, tmp_path)
    for found in storage.list(f"s3://{s3.bucket}/in/"):
        (tmp_path / "copy").unlink()
        storage.download(found, tmp_path / "copy")
    assert not [request.path for request in gate.requests if "versionId" in request.query]


# regions


def in_another_region(request: Request) -> Refusal | None:
    """An opt-in region's bucket, asked as of eu-west-1."""
    if "/af-south-1/" in request.named["authorization"]:
        return None
    return Refusal(
        status=400,
        code="IllegalLocationConstraintException",
        message="The af-south-1 location constraint is incompatible for the region specific endpoint.",
        more="<Region>af-south-1</Region>",
    )


def malformed(request: Request) -> Refusal | None:
    refusal = in_another_region(request)
    return refusal and dataclasses.replace(refusal, code="AuthorizationHeaderMalformed")


def moved(request: Request) -> Reply | None:
    refusal = in_another_region(request)
    if refusal is None:
        return None
    reply = dataclasses.replace(refusal, status=301, code="PermanentRedirect").reply
    return reply.but(x_amz_bucket_region="af-south-1")


@pytest.mark.parametrize("elsewhere", [in_another_region, malformed, moved], ids=lambda refuse: refuse.__name__)
@pytest.mark.parametrize("content", [b"", b"content"])
def test_a_bucket_of_another_region_is_read_and_written(
    content: bytes, elsewhere: Refuse, odd: Odd, s3: S3Server, tmp_path: Path
) -> None:
    uri = s3.put("in/a.wav", content)
    storage, gate = odd(refuse=elsewhere)
    assert read(storage, uri, tmp_path) == content
    gate.requests.clear()
    assert read(storage, uri, tmp_path) == content
    assert methods(gate) == ["HEAD", "GET"]  # the region is known by now
    assert [found.uri for found in storage.list(f"s3://{s3.bucket}/in/")] == [uri]


@pytest.mark.parametrize("elsewhere", [in_another_region, malformed, moved], ids=lambda refuse: refuse.__name__)
def test_a_bucket_of_another_region_can_be_the_output(
    elsewhere: Refuse, odd: Odd, s3: S3Server, tmp_path: Path
) -> None:
    storage, gate = odd(refuse=elsewhere)
    uri, large = f"s3://{s3.bucket}/a.json", tmp_path / "large"
    large.write_bytes(bytes(33 * MIB))
    storage.probe(f"s3://{s3.bucket}/out/")
    storage.upload(b"{}", uri, media_type=TYPE, metadata={})
    gate.requests.clear()
    storage.upload(b"{}", uri, media_type=TYPE, metadata={})
    assert methods(gate) == ["PUT"]
    storage.upload(large, uri, media_type=TYPE, metadata={})
    assert s3.client.head_object(Bucket=s3.bucket, Key="a.json")["ContentLength"] == 33 * MIB


@pytest.mark.parametrize(
    "code", ["IllegalLocationConstraintException", "AuthorizationHeaderMalformed", "PermanentRedirect"]
)
def test_a_region_that_is_not_told_is_asked_of_the_user(code: str, odd: Odd) -> None:
    status = 301 if code == "PermanentRedirect" else 400
    storage, _ = odd(refuse=lambda _: Refusal(status=status, code=code))
    with pytest.raises(Invalid, match=code) as told:
        storage.upload(b"{}", "s3://recordings/a.json", media_type=TYPE, metadata={})
    assert "AWS_DEFAULT_REGION" in on_output(told.value).hint
