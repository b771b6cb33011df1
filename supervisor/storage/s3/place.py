"""Where a bucket is, as whom it is asked, and what of that obstore can do: all as boto3 makes it of the environment.

docs/decisions/0006-what-obstore-may-do.md has the table of botocore's options; a test goes through it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from threading import Lock
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

import boto3
from botocore.config import Config
from botocore.credentials import ReadOnlyCredentials
from botocore.httpsession import ProxyConfiguration, get_cert_path
from botocore.session import get_session
from botocore.utils import get_environ_proxies, parse_timestamp

from supervisor import job
from supervisor.storage import Invalid, Settings
from supervisor.storage.s3.credentials import Credentials
from supervisor.storage.s3.errors import Asked, Verb, sorted_errors
from supervisor.storage.uri import split_s3

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

CONNECT_SECONDS = 10
READ_SECONDS = 60  # without a byte
_ATTEMPTS = 6  # where the environment says nothing
_CONNECTIONS = 32  # that boto3 keeps: as many as there are threads
# An operation that nothing here uses.
_NEVER_SENT = "GetBucketAcl"
# Variables that obstore does not know, and two that it alone reads and that no setting takes back.
_ONLY_BOTO3 = (
    "BOTOCORE_EXPERIMENTAL__PLUGINS",
    "BOTO_EXPERIMENTAL__ADD_PROXY_HOST_HEADER",
    "AWS_CHECKSUM_ALGORITHM",
    "AWS_SERVER_SIDE_ENCRYPTION",
)
_AWSS = (".amazonaws.com", ".amazonaws.com.cn", ".amazonaws.eu", ".api.aws")
_LONGEST_KEY = 1024
_PROXIES = ("http_proxy", "https_proxy", "all_proxy")
# Where Debian, Red Hat, SUSE and Alpine keep the authorities that a machine trusts.
_MACHINES_STORES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
)


class Target(NamedTuple):
    """An object's place."""

    uri: str
    bucket: str
    key: str


def target(uri: str) -> Target:
    """Raises Invalid where S3 could have no such object."""
    bucket, key = split(uri)
    if not key:
        raise Invalid(f"{uri}: names a bucket, not an object")
    try:
        length = len(key.encode())
    except UnicodeEncodeError:
        raise Invalid(f"{uri}: the key is not UTF-8, as S3's keys are") from None
    if length > _LONGEST_KEY:
        raise Invalid(f"{uri}: the key is longer than the 1,024 bytes that S3 takes")
    return Target(uri, bucket, key)


def split(uri: str) -> tuple[str, str]:
    """(bucket, key or prefix); raises Invalid where there is no bucket."""
    try:
        return split_s3(uri)
    except ValueError as error:
        raise Invalid(str(error)) from None


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where obstore is to ask for a bucket, and as whom, as boto3 would.

    endpoint: with the bucket in its host name where virtual_host says so; authorities: PEM, None where there is no TLS;
    proxy: its URL.
    """

    bucket: str
    endpoint: str
    virtual_host: bool
    region: str
    credentials: ReadOnlyCredentials
    authorities: bytes | None
    proxy: str | None


class Session:
    """boto3's session for the environment as it is now, and all that follows from it."""

    def __init__(self, settings: Settings) -> None:
        with sorted_errors(Asked(verb=Verb.READ, uri="S3")):
            core = get_session()
            core.get_component("response_parser_factory").set_parser_defaults(timestamp_parser=_timestamp)
            self.credentials = Credentials(core)
            self._core: Any = core
            self._boto3 = boto3.Session(botocore_session=core)
            self._making = Lock()
            self._environment = job.environment()
            self.request_payer = settings.request_payer
            named = core.get_config_variable("max_attempts")
            self.attempts = _ATTEMPTS if named is None else int(named)
            self.first = self.client(self.attempts)
            self._config: Any = self.first.meta.config
            # The setting that obstore cannot do as boto3 does, whatever the bucket: boto3 serves all of them, then.
            self.boto3_alone = next((name for name, is_set in self._only_boto3().items() if is_set()), None)
            bundle = core.get_config_variable("ca_bundle") or self._environment.get("REQUESTS_CA_BUNDLE")
            self._authorities = Path(str(bundle or get_cert_path(True)))
            if bundle and urlsplit(self.first.meta.endpoint_url).scheme == "https":
                _require_readable(self._authorities)
            self._trusts_less = bool(bundle) and not self._is_the_machines(self._authorities)

    def client(self, attempts: int) -> "S3Client":
        """A client of boto3's that tries each request so often. A second one takes 4 ms."""
        config = Config(
            user_agent_extra="deepaas-batch",
            connect_timeout=CONNECT_SECONDS,
            read_timeout=READ_SECONDS,
            max_pool_connections=_CONNECTIONS,
            retries={"total_max_attempts": attempts},
        )
        with self._making:  # boto3 makes clients in one thread at a time
            client: S3Client = self._boto3.client("s3", config=config)
        if self.request_payer:
            client.meta.events.register("before-parameter-build.s3", self._pay)
        client.meta.events.register(f"before-call.s3.{_NEVER_SENT}", _address)  # type: ignore[arg-type]
        return client

    @property
    def sends_checksums(self) -> bool:
        """request_checksum_calculation: whether what is sent carries its checksum in a header of S3's."""
        return bool(self._config.request_checksum_calculation == "when_supported")

    @property
    def checks_answers(self) -> bool:
        """response_checksum_validation: whether what comes is held against the checksum that S3 has of it."""
        return bool(self._config.response_checksum_validation == "when_supported")

    @property
    def user_agent_appid(self) -> str | None:
        appid: str | None = self._config.user_agent_appid
        return appid

    @property
    def names_proxies(self) -> bool:
        """Whether the environment names a proxy, for whichever host."""
        return any(self._environment.get(name) for name in self._environment if name.lower() in _PROXIES)

    def place(self, bucket: str, client: "S3Client", credentials: ReadOnlyCredentials) -> Place | None:
        """Where that client would turn to, once it knows the bucket's region; None where boto3 has to go alone."""
        found: Any = client.get_bucket_acl(Bucket=bucket)
        url, context = urlsplit(found["url"]), found["context"]
        signing = context.get("signing", {})
        tls = url.scheme == "https"
        # boto3 asks once, of its endpoint: NO_PROXY is held against that, not against a bucket's host.
        proxies = ProxyConfiguration(proxies=get_environ_proxies(client.meta.endpoint_url))
        proxy = proxies.proxy_url_for(found["url"])
        if (
            signing.get("signing_name", "s3") != "s3"  # S3 Express, Outposts, Object Lambda
            or context.get("auth_type", "v4") not in ("v4", "s3v4")
            or "@" in url.netloc
            or (tls and self._trusts_less)
            or (proxy and not proxy.startswith("http://"))
        ):
            return None
        return Place(
            bucket=bucket,
            endpoint=f"{url.scheme}://{url.netloc}{url.path.removesuffix(bucket).rstrip('/')}",
            virtual_host=not url.path.endswith(f"/{bucket}"),
            region=signing.get("region") or client.meta.region_name,
            credentials=credentials,
            authorities=self._authorities.read_bytes() if tls else None,
            proxy=proxy,
        )

    def _only_boto3(self) -> Mapping[str, Callable[[], Any]]:
        config, variable = self._config, self._core.get_config_variable
        return {
            # obstore's try and boto3's are two.
            "max_attempts": lambda: self.attempts < 2,
            "retry_mode": lambda: config.retries["mode"] == "adaptive",
            "signature_version": lambda: config.signature_version != "s3v4",
            "tcp_keepalive": lambda: variable("tcp_keepalive"),
            "csm_enabled": lambda: variable("csm_enabled"),
            **{name: partial(self._environment.get, name) for name in _ONLY_BOTO3},
        }

    def _is_the_machines(self, store: Path) -> bool:
        """boto3 trusts a bundle that is named and no other; obstore trusts the machine's own besides."""
        own = self._environment.get("SSL_CERT_FILE")
        return store.resolve() in [Path(each).resolve() for each in ([own] if own else _MACHINES_STORES)]

    def _pay(self, params: dict[str, Any], model: Any, **_: Any) -> None:
        if "RequestPayer" in model.input_shape.members:
            params.setdefault("RequestPayer", self.request_payer)


def _require_readable(bundle: Path) -> None:
    """botocore would take it for a connection that broke, and try again."""
    try:
        bundle.read_bytes()
    except OSError as error:
        raise Invalid(f"AWS_CA_BUNDLE: {bundle}: {error.strerror}", "name a file of certificates (PEM)") from error


def is_awss(client: "S3Client") -> bool:
    """Whether the endpoint is AWS's own, whose S3 does what its documentation says."""
    return (urlsplit(client.meta.endpoint_url).hostname or "").endswith(_AWSS)


def _address(params: Any, **_: Any) -> tuple[Any, Any]:
    """Answers in S3's place with the request that was about to be sent: the one way to ask boto3 for an address, with
    all that it knows (AWS_ENDPOINT_URL, profiles, dual stack, dots in buckets, a bucket's region once redirected)."""
    return SimpleNamespace(status_code=200), {"url": params["url"], "context": params["context"]}


def _timestamp(value: Any) -> datetime:
    """botocore's own takes 80 us, which a listing of a million objects pays a million times."""
    try:
        return datetime.fromisoformat(value)
    except (TypeError, ValueError):
        parsed: datetime = parse_timestamp(value)
        return parsed
