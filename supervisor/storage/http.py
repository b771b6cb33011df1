"""Inputs from web addresses, presigned ones among them. Read only."""

import re
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path

import requests
import tenacity
import urllib3

from supervisor.storage import Changed, Denied, Invalid, Larger, Missing, Object, Passing, StorageError, disk_error
from supervisor.storage.credential_services import NoCredentialServices
from supervisor.storage.uri import shown

_LENGTH = re.compile(r"[0-9]{1,18}")
# Seconds to connect, and without a byte before a stalled transfer is given up.
_TIMEOUT = (10, 60)
# The file, whole. Whatever else is no error is no file either: it is being made (202), there is nothing (204, 205) or a
# part (206), or it is elsewhere, nobody says where (300, 304).
_WHOLE = (200, 203)
_NOT_YET = 202
_RETRYING = tenacity.Retrying(
    retry=tenacity.retry_if_exception(lambda e: isinstance(e, Passing) and not isinstance(e, Changed)),
    stop=tenacity.stop_after_attempt(5) | tenacity.stop_after_delay(120),
    wait=tenacity.wait_random_exponential(multiplier=0.5, max=15),
    reraise=True,
)


class Http:
    """http(s) addresses."""

    def __init__(self) -> None:
        self._session = requests.Session()
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, NoCredentialServices())

    def stat(self, uri: str, version: str | None = None) -> Object:
        """Asks by GET and reads no body: a URL presigned for GET answers 403 to a HEAD."""

        def ask() -> Object:
            with closing(self._get(uri, {})) as answer:
                size = answer.headers.get("Content-Length", "")
                return Object(
                    uri=uri,
                    size=int(size) if _LENGTH.fullmatch(size) else None,
                    etag=answer.headers.get("ETag") or answer.headers.get("Last-Modified"),
                    media_type=answer.headers.get("Content-Type"),
                )

        return _RETRYING(ask)

    def list(self, uri: str, *, after: str | None = None) -> Iterator[Object]:
        raise Invalid(f"{shown(uri)}: a web address cannot be listed; name its files in a manifest")

    def download(self, source: Object, target: Path) -> Object:
        _RETRYING(self._download_once, source, target)
        return source

    def upload(self, source: Path | bytes, uri: str, *, media_type: str, metadata: Mapping[str, str]) -> str | None:
        raise Invalid(f"{shown(uri)}: results cannot be written to a web address; use s3:// or a folder")

    def create(self, source: Path | bytes, uri: str, *, media_type: str, metadata: Mapping[str, str]) -> str | None:
        return self.upload(source, uri, media_type=media_type, metadata=metadata)

    def probe(self, uri: str) -> None:
        raise Invalid(f"{shown(uri)}: results cannot be written to a web address; use s3:// or a folder")

    def _download_once(self, source: Object, target: Path) -> None:
        with closing(self._get(source.uri, _pin(source))) as answer:
            seen = answer.headers.get("ETag") or answer.headers.get("Last-Modified")
            if seen != source.etag:
                raise Changed(f"{shown(source.uri)}: was replaced while it was being read")
            try:
                with target.open("wb") as writer:
                    # The bytes as they are stored, also where the server names a Content-Encoding for them.
                    for piece in answer.raw.stream(1024 * 1024, decode_content=False):
                        if source.most is not None and writer.tell() + len(piece) > source.most:
                            raise Larger(f"{shown(source.uri)}: has more than {source.most:,} bytes")
                        writer.write(piece)
            except urllib3.exceptions.HTTPError:
                raise Passing(f"{shown(source.uri)}: the connection broke before the end") from None
            except OSError as error:
                raise disk_error(error, target) from error
        if source.size is not None and target.stat().st_size != source.size:
            raise Passing(f"{shown(source.uri)}: {target.stat().st_size} of {source.size} bytes arrived")

    def _get(self, uri: str, headers: Mapping[str, str]) -> requests.Response:
        try:
            # "identity": Content-Length and the bytes then mean the same.
            answer = self._session.get(
                uri, headers={"Accept-Encoding": "identity", **headers}, stream=True, timeout=_TIMEOUT
            )
        except (requests.RequestException, ValueError) as error:
            raise _sorted(error, uri) from None
        if answer.status_code in _WHOLE:
            return answer
        answer.close()
        raise _from_answer(answer.status_code, answer.reason, uri)


def _pin(source: Object) -> dict[str, str]:
    """If-Match takes strong ETags alone; a weak one or a date is compared after the fact."""
    return {"If-Match": source.etag} if source.etag and source.etag.startswith('"') else {}


def _from_answer(status: int, reason: str, uri: str) -> StorageError:
    message = f"{shown(uri)}: the server says {status} {reason}"
    if status == 412:
        return Changed(f"{shown(uri)}: was replaced while it was being read")
    if status in (_NOT_YET, 408, 425, 429) or status >= 500:
        return Passing(message)
    if status in (401, 402, 403, 407, 451):
        return Denied(message)
    return Missing(message)


def _sorted(error: Exception, uri: str) -> StorageError:
    """Never quotes the error's own text whole: it holds the URL with its query."""
    where = shown(uri)
    match error:
        case requests.exceptions.SSLError():
            return Denied(f"{where}: the server's certificate is not trusted")
        case requests.Timeout():
            return Passing(f"{where}: the server does not answer")
        case requests.ConnectionError():
            return Passing(f"{where}: cannot connect")
        case requests.TooManyRedirects():
            return Missing(f"{where}: redirects without end")
        case _:
            return Invalid(f"{where}: not a usable web address")
