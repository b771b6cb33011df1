"""S3's bytes through obstore (Rust), several times what boto3 does on a core: plain HEADs, GETs and PUTs.

It tries once and judges nothing: whatever is no plain success is NotPlain, and boto3_client.py is asked. The one answer
that it takes for a refusal is a HEAD's NotFoundError, in a bucket that is known to exist.
"""

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal

import obstore
from botocore.credentials import ReadOnlyCredentials
from obstore.exceptions import AlreadyExistsError
from obstore.store import S3Store

from supervisor.storage import Missing, Object, StorageError
from supervisor.storage.s3.bucket import Bucket, etag, is_md5
from supervisor.storage.s3.errors import Unsigned
from supervisor.storage.s3.place import CONNECT_SECONDS, READ_SECONDS, Place, Session, Target

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from obstore import GetOptions
    from obstore.store import ClientConfig, S3Credential

# A body is handed on in pieces of so many bytes.
_PIECE = 256 * 1024
# What obstore's Path refuses or rewrites. tests/integration/test_s3_clients.py looks for more.
_ODD_SEGMENTS = frozenset({"", ".", ".."})
_ODD = re.compile(r"[\x00-\x1f\x7f]")
# reqwest takes proxies from the environment, where it reads NO_PROXY otherwise than boto3 and ALL_PROXY besides; a
# proxy of its own that is for no host makes it take none (at 4 % of the speed).
_NO_PROXY: "ClientConfig" = {"proxy_url": "http://127.0.0.1:9", "proxy_excludes": "0.0.0.0/0,::/0,*"}


class NotServed(Exception):
    """obstore is not the one to ask, and was not asked."""


class NotPlain(Exception):
    """obstore was asked, and it was no plain success: boto3 has to judge. Raised from obstore's own error."""

    @property
    def was_refused(self) -> bool:
        """Whether what was to be written is certainly not there for it: there was something else."""
        return isinstance(self.__cause__, AlreadyExistsError)


class ObstoreClient:
    """One client a bucket, for as long as the credentials last. Every method may be called from many threads."""

    def __init__(self, session: Session, client: "S3Client") -> None:
        """client: boto3's, which knows where buckets are."""
        self._session = session
        self._client = client
        self._stores: dict[str, _Store] = {}

    def head(self, at: Target, version: str | None, bucket: Bucket) -> Object:
        store = self._store(at).store
        try:
            answer = obstore.get(store, at.key, options={"head": True, **_version(version)})
        except FileNotFoundError as error:
            if bucket.exists and version is None:  # else it may be the bucket or the version that is missing
                raise Missing(f"{at.uri}: no such object") from None
            raise NotPlain from error
        except Exception as error:
            raise NotPlain from error
        meta, facts = answer.meta, dict(answer.attributes)
        tag = etag(meta["e_tag"])
        if tag is None:  # S3 has one for every object: this may be anybody's answer
            raise NotPlain
        return Object(
            uri=at.uri,
            size=meta["size"],
            etag=tag,
            version=version,
            media_type=facts.pop("Content-Type", None),
            metadata=_metadata(facts),
        )

    def read(
        self, source: Object, at: Target, bucket: Bucket, part: range | None, write: Callable[[bytes, int], None]
    ) -> Object:
        """Writes a part of the object, or all of it, just as stat saw it, and returns it as it was read. One that is
        read whole is held against the MD5 that its ETag mostly is. TLS guards a body on its way; plain http and what S3
        itself hands out wrong are guarded by this. 50 us for 32 KiB."""
        known = self._store(at)
        checked = part is None and is_md5(source, bucket)
        is_guarded = checked or part is not None or known.by_tls or not self._session.checks_answers
        if source.etag is None or source.size is None or not is_guarded:
            raise NotServed
        start, stop = (part.start, part.stop) if part else (0, source.size)
        digest = hashlib.md5(usedforsecurity=False)
        place = start
        try:
            answer = _answer(known.store, source, at, _options(source, bucket, part))
            facts = dict(answer.attributes)  # which are gone with the body
            for piece in _pieces(answer):
                if place + len(piece) > stop:  # of another thread's range, or of nobody's
                    raise NotPlain
                write(piece, place)
                place += len(piece)
                if checked:
                    digest.update(piece)
        except (StorageError, NotPlain):
            raise
        except Exception as error:
            raise NotPlain from error
        if place != stop or (checked and digest.hexdigest() != source.etag):
            raise NotPlain
        return replace(source, media_type=facts.get("Content-Type"), metadata=_metadata(facts))

    def put(
        self,
        at: Target,
        body: bytes,
        media_type: str,
        metadata: Mapping[str, str],
        mode: Literal["overwrite", "create"],
    ) -> str | None:
        """The new object's ETag. metadata: ASCII alone."""
        store = self._store(at).store
        facts = {"Content-Type": media_type, **metadata}
        try:
            put = obstore.put(store, at.key, body, attributes=facts, mode=mode, use_multipart=False)
        except Exception as error:
            raise NotPlain from error
        return etag(put["e_tag"])

    def look_again(self, bucket: str, client: "S3Client") -> None:
        """That client of boto3's has been where obstore was not let: it may know the bucket's own region now."""
        self._client = client
        known = self._stores.get(bucket)
        if known and self._place(bucket, known.credentials) != known.place:
            self._stores.pop(bucket, None)

    def _store(self, at: Target) -> "_Store":
        """The bucket's client. NotServed where there is none, or the key is one that obstore cannot carry."""
        if self._session.boto3_alone or _is_odd(at.key):
            raise NotServed
        try:
            credentials = self._session.credentials.get_frozen_credentials()
        except Unsigned as unsigned:
            raise unsigned.about(at.uri) from unsigned
        known = self._stores.get(at.bucket)
        if known is None or known.credentials is not credentials:
            # Two threads may both make one: a second connection, no harm.
            known = self._stores[at.bucket] = self._made(at.bucket, credentials)
        if known.place is None:
            raise NotServed
        return known

    def _made(self, bucket: str, credentials: ReadOnlyCredentials) -> "_Store":
        place = self._place(bucket, credentials)
        store = None
        if place is not None:
            with suppress(Exception):  # of variables that obstore reads, and cannot make sense of
                store = self._store_at(place)
        return _Store(credentials=credentials, place=place if store else None, store=store)

    def _place(self, bucket: str, credentials: ReadOnlyCredentials) -> Place | None:
        try:
            return self._session.place(bucket, self._client, credentials)
        except Exception:  # boto3 says what is wrong when it is asked for the object
            return None

    def _store_at(self, place: Place) -> S3Store:
        session = self._session
        application = f" app/{session.user_agent_appid}" if session.user_agent_appid else ""
        options: ClientConfig = {
            "user_agent": f"deepaas-batch obstore{application}",
            "allow_http": place.endpoint.startswith("http://"),
            "connect_timeout": timedelta(seconds=CONNECT_SECONDS),
            "read_timeout": timedelta(seconds=READ_SECONDS),
            "timeout": timedelta(hours=1),  # of a whole range; a stall ends earlier
        }
        if place.authorities:
            options["root_certificate"] = place.authorities
        if place.proxy:
            options["proxy_url"] = place.proxy
        elif session.names_proxies:
            options.update(_NO_PROXY)
        return S3Store(
            place.bucket,
            config={
                # obstore reads variables that mean nothing to boto3: what they could change is said here.
                "endpoint": place.endpoint,
                "aws_endpoint_url_s3": place.endpoint,
                "region": place.region,
                "virtual_hosted_style_request": place.virtual_host,
                "skip_signature": False,
                "unsigned_payload": False,
                "s3_express": False,
                "conditional_put": "etag",
                "request_payer": session.request_payer is not None,
                **({"checksum_algorithm": "SHA256"} if session.sends_checksums else {}),
            },
            client_options=options,
            retry_config={"max_retries": 0},
            credential_provider=lambda: _signing(place.credentials),
        )


@dataclass(frozen=True, kw_only=True)
class _Store:
    """One bucket's client. place: None where boto3 has to go alone, and store, too."""

    credentials: ReadOnlyCredentials
    place: Place | None
    store: Any

    @property
    def by_tls(self) -> bool:
        return self.place is not None and self.place.authorities is not None


def _signing(keys: ReadOnlyCredentials) -> "S3Credential":
    """They never expire for obstore: with new ones the bucket gets a new client."""
    return {
        "access_key_id": keys.access_key or "",
        "secret_access_key": keys.secret_key or "",
        "token": keys.token,
        "expires_at": None,
    }


def _version(version: str | None) -> "GetOptions":
    return {"version": version} if version else {}


def _options(source: Object, bucket: Bucket, part: range | None) -> "GetOptions":
    options: GetOptions = {**_version(source.version)}
    if part is not None:
        options["range"] = (part.start, part.stop)
    if bucket.heeds_if_match:
        options["if_match"] = f'"{source.etag}"'
    return options


def _answer(store: Any, source: Object, at: Target, options: "GetOptions") -> Any:
    answer = obstore.get(store, at.key, options=options)
    if etag(answer.meta["e_tag"]) != source.etag:
        raise NotPlain
    return answer


def _pieces(answer: Any) -> Iterator[bytes]:
    if answer.meta["size"] <= _PIECE:  # one call; each gives way to other threads
        yield answer.bytes().to_bytes()
    else:
        yield from answer.stream(min_chunk_size=_PIECE)


def _metadata(facts: Mapping[Any, str]) -> dict[str, str]:
    """The other headers that S3 keeps are capitalised; metadata's names are not."""
    return {name: value for name, value in facts.items() if name == name.lower()}


def _is_odd(key: str) -> bool:
    return bool(_ODD.search(key)) or not _ODD_SEGMENTS.isdisjoint(key.split("/"))
