"""URIs as people write them: parts, and a form that is safe to show."""

import hashlib
import re
from pathlib import Path
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

# General-purpose buckets are 3-63 of these; old us-east-1 ones up to 255 with "_" and capitals.
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,253}[A-Za-z0-9]", re.ASCII)


# In the query of a web address: its signature, and beside one what says who may read, and until when. A parameter that
# is not known here counts as naming the file.
_SIGNATURE = re.compile(r"(X-(Amz|Goog)-)?Signature|sig", re.IGNORECASE)
_SIGNING = re.compile(
    r"X-(Amz|Goog)-.*|AWSAccessKeyId|GoogleAccessId|Signature|Expires|Policy|Key-Pair-Id|Hash-Algorithm"
    r"|s(ig|e|t|p|v|r|pr|ip|ks|ke|kt|kv|koid|ktid)",
    re.IGNORECASE,
)


def scheme(uri: str) -> str:
    """The scheme, lower case; "" for a plain path."""
    head, separator, _ = uri.partition("://")
    return head.lower() if separator else ""


def spelled(uri: str) -> str:
    """The URI with its scheme in lower case, as it is compared: S3:// and s3:// are one scheme."""
    head, separator, rest = uri.partition("://")
    return f"{head.lower()}://{rest}" if separator else uri


def split_s3(uri: str) -> tuple[str, str]:
    """(bucket, key) of s3://bucket/key. The key is taken as it is: S3 URIs are not percent-encoded.

    Raises ValueError where there is no bucket.
    """
    bucket, _, key = uri[len("s3://") :].partition("/")
    if not _BUCKET.fullmatch(bucket):
        raise ValueError(f"{uri!r} names no bucket: use s3://bucket/key")
    return bucket, key


def local_path(uri: str) -> Path:
    """The path that a plain path or a file: URI names, absolute. A leading ~ is the home folder, as a shell says.

    Raises ValueError for a file: URI on another host, and for the home of nobody.
    """
    if scheme(uri) != "file":
        path = Path(uri)
        # Asked of the text: Path drops a leading "./", and the key "~root/x" below "./" would leave the folder.
        if uri.startswith("~"):
            try:
                path = path.expanduser()
            except RuntimeError as error:
                raise ValueError(f"{uri!r}: {error}") from None
        return path.absolute()
    parts = urlsplit(uri, allow_fragments=False)
    if parts.netloc not in ("", "localhost"):
        raise ValueError(f"{uri!r} is on another host: use file:///path")
    return Path(_file_name(uri[len("file://") + len(parts.netloc) :])).absolute()


def base_name(uri: str) -> str:
    """The last part of a URI's path, decoded where the scheme encodes it; "" where it ends in a slash."""
    match scheme(uri):
        case "s3":
            return split_s3(uri)[1].rpartition("/")[2]
        case "http" | "https":
            return unquote(_web(uri).path.rpartition("/")[2])
        case "file":
            return _file_name(uri.rpartition("/")[2])
        case _:
            return uri.rpartition("/")[2]


def comparable(uri: str) -> str:
    """The URI without what does not name a place: a web address loses its query and its encoding, a file: URI
    becomes its path.

    Raises ValueError for a file: URI on another host and for an unusable web address.
    """
    match scheme(uri):
        case "s3":
            return spelled(uri)
        case "http" | "https":
            parts = _web(uri)
            return f"{parts.scheme}://{parts.netloc}{unquote(parts.path)}"
        case _:
            return str(local_path(uri))


def shown(uri: str) -> str:
    """The URI without what may be secret: the user part and the query of a web address (a presigned URL's
    signature is in its query)."""
    if scheme(uri) in ("s3", "file", ""):
        return uri
    try:
        parts = urlsplit(uri)
    except ValueError:
        return f"{scheme(uri)}://…"
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}" + ("?…" if parts.query else "")


def query_digest(uri: str) -> str:
    """16 digits for what the query of a web address names (`?id=1`); "" where it names nothing. What signs it, as in
    addresses of S3, CloudFront, Google or Azure, is left out, for that is new each time."""
    if scheme(uri) not in ("http", "https"):
        return ""
    naming = parse_qsl(_web(uri).query, keep_blank_values=True)
    if any(_SIGNATURE.fullmatch(name) for name, _ in naming):
        naming = [(name, value) for name, value in naming if not _SIGNING.fullmatch(name)]
    text = repr(naming).encode(errors="surrogatepass")
    return hashlib.sha256(text).hexdigest()[:16] if naming else ""


def _file_name(encoded: str) -> str:
    """Names of files are bytes: those that are no UTF-8 become what os.fsencode turns back."""
    return unquote(encoded, errors="surrogateescape")


def _web(uri: str) -> SplitResult:
    try:
        return urlsplit(uri)
    except ValueError:  # whose text would quote the user part
        raise ValueError(f"{shown(uri)} is not a usable web address") from None
