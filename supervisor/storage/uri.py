"""URIs as people write them: parts, and a form that is safe to show."""

import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

# General-purpose buckets are 3-63 of these; old us-east-1 ones up to 255 with "_" and capitals.
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,253}[A-Za-z0-9]", re.ASCII)


def scheme(uri: str) -> str:
    """The scheme, lower case; "" for a plain path."""
    head, separator, _ = uri.partition("://")
    return head.lower() if separator else ""


def split_s3(uri: str) -> tuple[str, str]:
    """(bucket, key) of s3://bucket/key. The key is taken as it is: S3 URIs are not percent-encoded.

    Raises ValueError where there is no bucket.
    """
    bucket, _, key = uri[len("s3://") :].partition("/")
    if not _BUCKET.fullmatch(bucket):
        raise ValueError(f"{uri!r} names no bucket: use s3://bucket/key")
    return bucket, key


def local_path(uri: str) -> Path:
    """The path that a plain path or a file: URI names, absolute.

    Raises ValueError for a file: URI on another host.
    """
    if scheme(uri) != "file":
        return Path(uri).expanduser().absolute()
    parts = urlsplit(uri, allow_fragments=False)
    if parts.netloc not in ("", "localhost"):
        raise ValueError(f"{uri!r} is on another host: use file:///path")
    path = uri[len("file://") + len(parts.netloc) :]
    return Path(unquote(path)).absolute()


def base_name(uri: str) -> str:
    """The last part of a URI's path, decoded where the scheme encodes it; "" where it ends in a slash."""
    match scheme(uri):
        case "s3":
            return split_s3(uri)[1].rpartition("/")[2]
        case "http" | "https":
            return unquote(urlsplit(uri).path.rpartition("/")[2])
        case "file":
            return unquote(uri.rpartition("/")[2])
        case _:
            return uri.rpartition("/")[2]


def shown(uri: str) -> str:
    """The URI without what may be secret: the user part and the query of a web address (a presigned URL's
    signature is in its query)."""
    if scheme(uri) not in ("http", "https"):
        return uri
    try:
        parts = urlsplit(uri)
        host = parts.hostname or ""
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return f"{scheme(uri)}://…"
    return f"{parts.scheme}://{host}{port}{parts.path}" + ("?…" if parts.query else "")
