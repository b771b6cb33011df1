"""docs/decisions/0006: each of botocore's options for S3, and that obstore does as boto3 does, or is not asked."""

import hashlib
import os
import re
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from botocore.config import Config
from botocore.configprovider import (
    BOTOCORE_DEFAUT_SESSION_VARIABLES,
    DEFAULT_PROXIES_CONFIG_VARS,
    DEFAULT_S3_CONFIG_VARS,
)
from botocore.session import get_session

from supervisor.storage import Invalid, Object, Passing, Settings
from supervisor.storage.s3 import S3, obstore_client
from supervisor.storage.s3 import place as place_module
from supervisor.storage.s3.place import Place, Session
from tests.faults.tls import Authority, authority
from tests.integration.gate import Gate, Reply, Request

DECISION = Path(__file__).parents[4] / "docs" / "decisions" / "0006-what-obstore-may-do.md"
BODY = b"content"
TAG = hashlib.md5(BODY, usedforsecurity=False).hexdigest()
TYPE = "application/json"


@pytest.fixture(autouse=True)
def job_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing set but the tests' own."""
    prefixes = ("AWS_", "BOTO", "SSL_", "REQUESTS_")
    for name in [n for n in os.environ if n.startswith(prefixes) or n.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name, value in {
        "AWS_ACCESS_KEY_ID": "AKIDFORTESTS",
        "AWS_SECRET_ACCESS_KEY": "secret-key-for-tests",
        "AWS_DEFAULT_REGION": "eu-west-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }.items():
        monkeypatch.setenv(name, value)


def answer(request: Request) -> Reply:
    """Of a server with one object, which takes anything that is put."""
    headers: dict[str, str | None] = {
        "ETag": f'"{TAG}"',
        "Last-Modified": "Wed, 21 Oct 2015 07:28:00 GMT",
        "x-amz-request-id": "1",
    }
    if request.method == "HEAD":
        return Reply(headers={**headers, "Content-Length": str(len(BODY))})
    return Reply(headers=headers, body=BODY if request.method == "GET" else b"")


@pytest.fixture
def gates() -> Iterator[Callable[[], Gate]]:
    with ExitStack() as stack:
        yield lambda: stack.enter_context(Gate("127.0.0.1:1", answer))


@pytest.fixture
def gate(gates: Callable[[], Gate], monkeypatch: pytest.MonkeyPatch) -> Gate:
    gate = gates()
    monkeypatch.setenv("AWS_ENDPOINT_URL", gate.endpoint)
    return gate


def configured(monkeypatch: pytest.MonkeyPatch, folder: Path, text: str) -> None:
    """A config file whose default profile that is."""
    (folder / "config").write_text(f"[default]\n{text}\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(folder / "config"))


def use(storage: S3, folder: Path) -> None:
    """A HEAD, a GET and a PUT."""
    uri = "s3://recordings/a.wav"
    storage.download(storage.stat(uri), folder / "copy")
    assert (folder / "copy").read_bytes() == BODY
    (folder / "copy").unlink()
    storage.upload(BODY, uri, media_type=TYPE, metadata={})


def clients(gate: Gate) -> list[str]:
    """Who asked for what: ["obstore HEAD", …]."""
    return [f"{'obstore' if 'obstore' in r.named['user-agent'] else 'boto3'} {r.method}" for r in gate.requests]


BY_OBSTORE = ["obstore HEAD", "obstore GET", "obstore PUT"]
BY_BOTO3 = ["boto3 HEAD", "boto3 GET", "boto3 PUT"]


def place(bucket: str = "recordings") -> Place | None:
    session = Session(Settings())
    return session.place(bucket, session.first, session.credentials.get_frozen_credentials())


# the table


def table() -> dict[str, str]:
    """Of each option what obstore does, in a word or two."""
    _, _, text = DECISION.read_text().partition("<!-- options: read by a test -->")
    rows = [row.strip("|").split("|") for row in text.splitlines() if row.startswith("| `")]
    told = {
        name: "; ".join(re.findall(r"\*\*(.*?)\*\*", row[2])) for row in rows for name in re.findall(r"`(.*?)`", row[0])
    }
    assert len(told) > 50
    return told


def test_the_table_has_every_option_of_the_installed_botocore() -> None:
    known = {*Config.OPTION_DEFAULTS, *BOTOCORE_DEFAUT_SESSION_VARIABLES, *DEFAULT_S3_CONFIG_VARS,
             *DEFAULT_PROXIES_CONFIG_VARS, "endpoint_url"}  # fmt: skip
    variables = {name for name in table() if name.isupper()}
    assert sorted(known - table().keys()) == []  # say in the decision what obstore does with these, and test it
    assert sorted(table().keys() - known - variables) == []  # botocore has no such option any more


def test_each_row_of_the_table_is_tested() -> None:
    tested = {name for case in [*ALONE, *PLACES] for name in case.split()} | {
        name for function in globals().values() for name in getattr(function, "options", ())
    }
    untested = {name for name, told in table().items() if told != "nothing"} - tested
    assert sorted(untested) == []


def of(*options: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Which rows a test is of."""

    def mark(test: Callable[..., None]) -> Callable[..., None]:
        test.options = options  # type: ignore[attr-defined]
        return test

    return mark


# where boto3 goes alone: by option, what sets it in the environment or in a profile

ALONE: dict[str, list[dict[str, str] | str]] = {
    "signature_version": ["s3 =\n  signature_version = s3", "s3 =\n  signature_version = v4"],
    "max_attempts retries": [{"AWS_MAX_ATTEMPTS": "1"}, "max_attempts = 1"],
    "retry_mode": [{"AWS_RETRY_MODE": "adaptive"}, "retry_mode = adaptive"],
    "tcp_keepalive": [{"BOTOCORE_TCP_KEEPALIVE": "true"}, "tcp_keepalive = true"],
    "csm_enabled csm_host csm_port csm_client_id": [{"AWS_CSM_ENABLED": "true"}, "csm_enabled = true"],
    "BOTO_EXPERIMENTAL__ADD_PROXY_HOST_HEADER": [{"BOTO_EXPERIMENTAL__ADD_PROXY_HOST_HEADER": "true"}],
    "BOTOCORE_EXPERIMENTAL__PLUGINS": [{"BOTOCORE_EXPERIMENTAL__PLUGINS": "odd=tests.unit.storage.s3.odd_plugin"}],
    "AWS_CHECKSUM_ALGORITHM AWS_SERVER_SIDE_ENCRYPTION": [
        {"AWS_CHECKSUM_ALGORITHM": "SHA256"},
        {"AWS_SERVER_SIDE_ENCRYPTION": "aws:kms"},
    ],
}


@pytest.mark.parametrize("setting", [setting for settings in ALONE.values() for setting in settings], ids=str)
def test_what_obstore_cannot_do_boto3_does_alone(
    setting: dict[str, str] | str, gate: Gate, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    if isinstance(setting, str):
        configured(monkeypatch, tmp_path, setting)
    else:
        for name, value in setting.items():
            monkeypatch.setenv(name, value)
    use(S3(), tmp_path)
    assert clients(gate) == BY_BOTO3
    assert not [r for r in gate.requests if "x-amz-server-side-encryption" in r.named]


@of("retries", "retry_mode", "signature_version")
@pytest.mark.parametrize(
    "text", ["", "retry_mode = standard", "retry_mode = legacy", "max_attempts = 9", "s3 =\n  signature_version = s3v4"]
)
def test_what_obstore_can_do_it_does(text: str, gate: Gate, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    configured(monkeypatch, tmp_path, text)
    use(S3(), tmp_path)
    assert clients(gate) == BY_OBSTORE


# where a bucket is: by option, settings and the address, region and style that come of them

AWS = "https://recordings.s3.eu-west-1.amazonaws.com"
DUALSTACK = "https://recordings.s3.dualstack.eu-west-1.amazonaws.com"
PLACES: dict[str, list[tuple[dict[str, str] | str, str, str]]] = {
    "region region_name": [
        ({"AWS_DEFAULT_REGION": "af-south-1"}, "https://recordings.s3.af-south-1.amazonaws.com", "af-south-1"),
        ({"AWS_DEFAULT_REGION": "cn-north-1"}, "https://recordings.s3.cn-north-1.amazonaws.com.cn", "cn-north-1"),
        ({"AWS_REGION": "af-south-1"}, AWS, "eu-west-1"),
    ],
    "endpoint_url": [
        ({"AWS_ENDPOINT_URL": "http://127.0.0.1:1"}, "http://127.0.0.1:1", "eu-west-1"),
        ({"AWS_ENDPOINT_URL": "http://127.0.0.1:1/base"}, "http://127.0.0.1:1/base", "eu-west-1"),
        ({"AWS_ENDPOINT_URL": "http://a:1", "AWS_ENDPOINT_URL_S3": "http://b:1"}, "http://b:1", "eu-west-1"),
        ("endpoint_url = http://127.0.0.1:1", "http://127.0.0.1:1", "eu-west-1"),
        ("services = here\n[services here]\ns3 =\n  endpoint_url = http://a:1", "http://a:1", "eu-west-1"),
        ({"AWS_ENDPOINT": "http://127.0.0.1:1"}, AWS, "eu-west-1"),
    ],
    "ignore_configured_endpoint_urls": [
        ({"AWS_ENDPOINT_URL": "http://a:1", "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true"}, AWS, "eu-west-1"),
    ],
    "addressing_style s3": [
        ("s3 =\n  addressing_style = path", "https://s3.eu-west-1.amazonaws.com", "eu-west-1"),
        ("endpoint_url = http://a:1\ns3 =\n  addressing_style = virtual", "http://recordings.a:1", "eu-west-1"),
    ],
    "use_accelerate_endpoint": [
        ("s3 =\n  use_accelerate_endpoint = true", "https://recordings.s3-accelerate.amazonaws.com", "eu-west-1"),
    ],
    "use_dualstack_endpoint": [
        ({"AWS_USE_DUALSTACK_ENDPOINT": "true"}, DUALSTACK, "eu-west-1"),
        ("s3 =\n  use_dualstack_endpoint = true", DUALSTACK, "eu-west-1"),
    ],
    "use_fips_endpoint": [
        ({"AWS_USE_FIPS_ENDPOINT": "true"}, "https://recordings.s3-fips.eu-west-1.amazonaws.com", "eu-west-1"),
    ],
    "us_east_1_regional_endpoint": [
        ({"AWS_DEFAULT_REGION": "us-east-1"}, "https://recordings.s3.amazonaws.com", "us-east-1"),
        (
            {"AWS_DEFAULT_REGION": "us-east-1", "AWS_S3_US_EAST_1_REGIONAL_ENDPOINT": "regional"},
            "https://recordings.s3.us-east-1.amazonaws.com",
            "us-east-1",
        ),
    ],
    "defaults_mode": [
        (
            {"AWS_DEFAULT_REGION": "us-east-1", "AWS_DEFAULTS_MODE": "standard"},
            "https://recordings.s3.us-east-1.amazonaws.com",
            "us-east-1",
        ),
    ],
    "auth_scheme_preference": [({"AWS_AUTH_SCHEME_PREFERENCE": "sigv4a,sigv4"}, AWS, "eu-west-1")],
    "sigv4a_signing_region_set": [({"AWS_SIGV4A_SIGNING_REGION_SET": "*"}, AWS, "eu-west-1")],
}  # fmt: skip


@pytest.mark.parametrize(
    ("setting", "endpoint", "region"),
    [case for cases in PLACES.values() for case in cases],
    ids=str,
)
def test_obstore_asks_where_boto3_would(
    setting: dict[str, str] | str, endpoint: str, region: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    if isinstance(setting, str):
        configured(monkeypatch, tmp_path, setting)
    else:
        for name, value in setting.items():
            monkeypatch.setenv(name, value)
    found = place()
    assert found is not None
    assert (found.endpoint, found.region) == (endpoint, region)
    assert found.virtual_host == ("recordings." in endpoint)


@of("s3_disable_express_session_auth")
@pytest.mark.parametrize("disabled", ["true", "false"])
def test_a_directory_bucket_is_boto3s_alone(disabled: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_S3_DISABLE_EXPRESS_SESSION_AUTH", disabled)
    assert place("recordings--euw1-az1--x-s3") is None


@of("endpoint_url")
def test_an_endpoint_with_a_user_part_is_boto3s_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://user:secret@127.0.0.1:1")
    assert place() is None


@pytest.mark.parametrize("arn", ["arn:aws:s3:eu-west-1:1:accesspoint/a", "arn:aws:s3::1:accesspoint/a.mrap"])
def test_an_arn_names_no_bucket_and_an_access_points_alias_does(arn: str) -> None:
    with pytest.raises(Invalid, match="names no bucket"):
        S3().stat(f"s3://{arn}/a.wav")
    found = place("a-8w3fz4cmsh7q3hx1yq8o4eg1s1ba4euw1a-s3alias")
    assert found is not None
    assert found.virtual_host


# what goes over the wire


@of("request_checksum_calculation", "response_checksum_validation")
@pytest.mark.parametrize("by", ["variable", "profile"])
@pytest.mark.parametrize("when", ["when_supported", "when_required", "WHEN_REQUIRED"])
def test_checksums_are_sent_when_boto3_would(
    when: str, by: str, gate: Gate, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    if by == "variable":
        monkeypatch.setenv("AWS_REQUEST_CHECKSUM_CALCULATION", when)
    else:
        configured(monkeypatch, tmp_path, f"request_checksum_calculation = {when}")
    use(S3(), tmp_path)
    assert clients(gate) == BY_OBSTORE
    sent = [name for request in gate.requests for name in request.named if name.startswith("x-amz-checksum")]
    assert sent == (["x-amz-checksum-sha256"] if when == "when_supported" else [])


@of("response_checksum_validation")
@pytest.mark.parametrize(("when", "who"), [("when_supported", "boto3 GET"), ("when_required", "obstore GET")])
def test_a_body_that_nothing_else_guards_is_read_by_whoever_may_check_its_sum(
    when: str, who: str, gate: Gate, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("AWS_RESPONSE_CHECKSUM_VALIDATION", when)
    in_parts = "5d41402abc4b2a76b9719d911017c592-2"
    with Gate("127.0.0.1:1", lambda request: answer(request).but(etag=f'"{in_parts}"')) as gate:
        monkeypatch.setenv("AWS_ENDPOINT_URL", gate.endpoint)
        found = Object(uri="s3://recordings/a.wav", size=len(BODY), etag=in_parts)
        S3().download(found, tmp_path / "copy")
    assert clients(gate) == [who]
    assert ("x-amz-checksum-mode" in gate.requests[0].named) == (when == "when_supported")


@of("payload_signing_enabled")
@pytest.mark.parametrize("enabled", ["true", "false"])
def test_payloads_are_signed_at_least_where_boto3_signs_them(
    enabled: str, gate: Gate, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    configured(monkeypatch, tmp_path, f"s3 =\n  payload_signing_enabled = {enabled}")
    use(S3(), tmp_path)
    assert gate.requests[-1].named["x-amz-content-sha256"] == hashlib.sha256(BODY).hexdigest()


@of("user_agent_appid")
@pytest.mark.parametrize("key", ["a.wav", "a//b.wav"], ids=["obstore", "boto3"])
def test_an_applications_name_is_in_the_user_agent(key: str, gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SDK_UA_APP_ID", "plankton")
    S3().stat(f"s3://recordings/{key}")
    assert "app/plankton" in gate.requests[0].named["user-agent"]
    assert "deepaas-batch" in gate.requests[0].named["user-agent"]


@of("profile", "config_file", "credentials_file", "metadata_service_timeout", "metadata_service_num_attempts",
    "ec2_metadata_service_endpoint", "ec2_metadata_service_endpoint_mode", "ec2_metadata_v1_disabled", "imds_use_ipv6",
    "sts_regional_endpoints")  # fmt: skip
@pytest.mark.parametrize("file", ["AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"])
def test_both_clients_sign_with_what_boto3_finds(
    file: str, gate: Gate, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Wherever it finds it: what else sets credentials is boto3's alone, and tests of credentials go through it."""
    section = "[profile other]" if file == "AWS_CONFIG_FILE" else "[other]"
    (tmp_path / "file").write_text(f"{section}\naws_access_key_id = FROMAFILE\naws_secret_access_key = b\n")
    monkeypatch.setenv(file, str(tmp_path / "file"))
    monkeypatch.setenv("AWS_PROFILE", "other")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    storage = S3()
    for key in ("a.wav", "a//b.wav"):
        storage.stat(f"s3://recordings/{key}")
    assert clients(gate) == ["obstore HEAD", "boto3 HEAD"]
    assert all("Credential=FROMAFILE/" in request.named["authorization"] for request in gate.requests)


@of(
    *("AWS_REQUEST_PAYER", "AWS_SKIP_SIGNATURE", "AWS_UNSIGNED_PAYLOAD", "AWS_S3_EXPRESS", "AWS_CONDITIONAL_PUT"),
    *("AWS_VIRTUAL_HOSTED_STYLE_REQUEST", "AWS_PROXY_URL"),
)
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("AWS_REQUEST_PAYER", "requester"),
        ("AWS_SKIP_SIGNATURE", "true"),
        ("AWS_UNSIGNED_PAYLOAD", "true"),
        ("AWS_S3_EXPRESS", "true"),
        ("AWS_VIRTUAL_HOSTED_STYLE_REQUEST", "true"),
        ("AWS_CONDITIONAL_PUT", "disabled"),
        ("AWS_PROXY_URL", "http://127.0.0.1:9"),
    ],
)
def test_a_variable_that_obstore_alone_reads_changes_nothing(
    name: str, value: str, gate: Gate, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    use(S3(), tmp_path)
    usual = [_told(request) for request in gate.requests]
    gate.requests.clear()
    monkeypatch.setenv(name, value)
    use(S3(), tmp_path)
    assert [_told(request) for request in gate.requests] == usual


def test_a_variable_that_obstore_alone_reads_and_cannot_make_sense_of_leaves_boto3_alone(
    gate: Gate, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("AWS_COPY_IF_NOT_EXISTS", "nonsense")
    use(S3(), tmp_path)
    assert clients(gate) == BY_BOTO3


def _told(request: Request) -> tuple[str, str, list[str], str]:
    signed = request.named["authorization"].partition("Credential=")[2].partition(", Signature")[0]
    return request.method, request.path, sorted(request.named), signed


# proxies


@of("proxies")
@pytest.mark.parametrize("key", ["a.wav", "a//b.wav"], ids=["obstore", "boto3"])
@pytest.mark.parametrize(
    ("variables", "goes_by_proxy"),
    [
        ({"HTTP_PROXY": "{proxy}"}, True),
        ({"http_proxy": "{proxy}"}, True),
        ({"http_proxy": "{bare}"}, True),
        ({"HTTPS_PROXY": "{proxy}"}, False),
        ({"ALL_PROXY": "{proxy}"}, False),
        ({"HTTP_PROXY": "{proxy}", "NO_PROXY": "127.0.0.1"}, False),
        ({"HTTP_PROXY": "{proxy}", "no_proxy": "*"}, False),
        ({"HTTP_PROXY": "{proxy}", "NO_PROXY": "localhost, 127.0.0.1"}, False),
        ({"HTTP_PROXY": "{proxy}", "NO_PROXY": ".0.0.1"}, False),
        ({"HTTP_PROXY": "{proxy}", "NO_PROXY": "127.0.0.0/8"}, True),
        ({"HTTP_PROXY": "{proxy}", "NO_PROXY": "example.org"}, True),
    ],
    ids=str,
)
def test_both_clients_take_the_proxy_that_boto3_takes(
    variables: dict[str, str],
    goes_by_proxy: bool,
    key: str,
    gate: Gate,
    gates: Callable[[], Gate],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    proxy = gates()
    for name, value in variables.items():
        monkeypatch.setenv(name, value.format(proxy=proxy.endpoint, bare=proxy.endpoint.removeprefix("http://")))
    assert S3().stat(f"s3://recordings/{key}").size == len(BODY)
    by, past = (proxy, gate) if goes_by_proxy else (gate, proxy)
    assert past.requests == []
    assert clients(by) == ["obstore HEAD" if key == "a.wav" else "boto3 HEAD"]
    assert by.requests[0].path == f"{gate.endpoint if goes_by_proxy else ''}/recordings/{key}"


@of("proxies")
@pytest.mark.parametrize("key", ["a.wav", "a//b.wav"], ids=["obstore", "boto3"])
def test_a_proxy_is_told_its_password(
    key: str, gate: Gate, gates: Callable[[], Gate], monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy = gates()
    monkeypatch.setenv("HTTP_PROXY", proxy.endpoint.replace("//", "//us%40er:pa%3Ass@"))
    S3().stat(f"s3://recordings/{key}")
    assert proxy.requests[0].named["proxy-authorization"] == "Basic dXNAZXI6cGE6c3M="
    assert gate.requests == []


@of("proxies")
def test_a_proxy_by_tls_is_boto3s_alone(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "https://127.0.0.1:1")
    assert place() is None


# TLS


@pytest.fixture
def trusted(tmp_path: Path) -> Authority:
    return authority(tmp_path / "tls")


@pytest.fixture
def by_tls(trusted: Authority, monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    with Gate("127.0.0.1:1", answer, tls=trusted.server) as gate:
        monkeypatch.setenv("AWS_ENDPOINT_URL", gate.endpoint.replace("127.0.0.1", "localhost"))
        yield gate


@of("ca_bundle")
@pytest.mark.parametrize("by", ["AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "profile"])
def test_a_named_bundle_is_boto3s_alone(
    by: str, by_tls: Gate, trusted: Authority, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    if by == "profile":
        configured(monkeypatch, tmp_path, f"ca_bundle = {trusted.bundle}")
    else:
        monkeypatch.setenv(by, str(trusted.bundle))
    use(S3(), tmp_path)
    assert clients(by_tls) == BY_BOTO3


@of("ca_bundle")
@pytest.mark.parametrize("by", ["AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE"])
def test_a_bundle_that_cannot_be_read_is_told_at_once(by: str, by_tls: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(by, "/no/such/bundle.pem")
    with pytest.raises(Invalid, match=r"/no/such/bundle\.pem: No such file"):
        S3()


@of("ca_bundle")
def test_a_named_bundle_that_is_the_machines_own_is_obstores_too(
    by_tls: Gate, trusted: Authority, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(trusted.bundle))
    monkeypatch.setenv("AWS_CA_BUNDLE", str(trusted.bundle))
    use(S3(), tmp_path)
    assert clients(by_tls) == BY_OBSTORE


@of("ca_bundle")
@pytest.mark.parametrize("more", [{}, {"AWS_ALLOW_INVALID_CERTIFICATES": "true"}], ids=str)
def test_a_certificate_that_boto3_does_not_trust_is_refused(
    more: dict[str, str], by_tls: Gate, trusted: Authority, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Also where the machine trusts it, and another bundle is named."""
    monkeypatch.setenv("SSL_CERT_FILE", str(trusted.bundle))
    monkeypatch.setenv("AWS_CA_BUNDLE", str(authority(tmp_path / "another").bundle))
    for name, value in more.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(Invalid, match="certificate is not trusted"):
        S3().stat("s3://recordings/a.wav")
    assert by_tls.requests == []


@of("ca_bundle", "AWS_ALLOW_INVALID_CERTIFICATES")
def test_a_certificate_that_nobody_trusts_is_refused(by_tls: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ALLOW_INVALID_CERTIFICATES", "true")
    with pytest.raises(Invalid, match="certificate is not trusted"):
        S3().stat("s3://recordings/a.wav")


# timeouts


@of("connect_timeout", "read_timeout")
@pytest.mark.parametrize("key", ["a.wav", "a//b.wav"], ids=["obstore", "boto3"])
def test_both_clients_wait_as_long_for_a_silent_server(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (obstore_client, place_module):
        monkeypatch.setattr(module, "READ_SECONDS", 0.2)
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "2")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{silent.getsockname()[1]}")
        with pytest.raises(Passing, match="Read timeout"):
            S3().stat(f"s3://recordings/{key}")


def test_no_operation_of_ours_has_what_the_table_says_they_have_not() -> None:
    """Request compression, host prefixes, endpoint discovery."""
    model = get_session().get_service_model("s3")
    for name in ("HeadObject", "GetObject", "PutObject", "ListObjects", "ListObjectsV2", "CreateMultipartUpload",
                 "UploadPart", "CompleteMultipartUpload", "AbortMultipartUpload"):  # fmt: skip
        operation = model.operation_model(name)
        assert operation.request_compression is None
        assert operation.endpoint is None
        assert operation.endpoint_discovery is None
