"""What must never be told: credentials and signatures, taken out of text that is not our own.

Error messages quote the addresses that they failed at, and a module prints what it likes. Such text passes through
`redacted` where it enters the status or the log. URIs that the job names itself are shown by storage.uri.shown.
"""

import re
from collections.abc import Mapping
from functools import cache
from urllib.parse import quote

from supervisor import job

_INSTEAD = "…"
_VALUE = r"[^&\s'\"<>,\\]+"
# (what is in the text, in lower case, where the pattern can match, the pattern, what comes in its place): a line of a
# flood that has none of the words is done with in 1 µs.
_PATTERNS = (
    # The user part of an address, and its query: each store signs under names of its own.
    ("://", re.compile(r"([A-Za-z][A-Za-z0-9+.-]{0,30}://)[^/\s?#'\"<>]*@"), r"\1"),
    ("://", re.compile(r"(https?://[^\s?'\"<>]{1,2048}\?)(?!…)[^\s'\"<>]+", re.IGNORECASE), rf"\1{_INSTEAD}"),
    # A query without its address, as urllib3 quotes it: "with url: /hook?token=..."; also escaped for HTML or JSON.
    *(
        (
            name,
            re.compile(rf"((?:[?&;]|\\u0026)[a-z_-]{{0,30}}{name}[a-z_-]{{0,30}}=){_VALUE}", re.IGNORECASE),
            rf"\1{_INSTEAD}",
        )
        for name in ("sig", "token", "auth", "key", "password", "secret", "credential")
    ),
    # Names that are AWS's and Google's alone: in a query, encoded or not, in a header, in JSON.
    *(
        (
            prefix,
            re.compile(
                rf"({prefix}(?:signature|credential|security-token)['\"]?(?:\s*[=:]\s*|%3D)['\"]?){_VALUE}",
                re.IGNORECASE,
            ),
            rf"\1{_INSTEAD}",
        )
        for prefix in ("x-amz-", "x-goog-")
    ),
    *(
        (f"{name.lower()}=", re.compile(rf"\b({name}=)[A-Za-z0-9/+=_%-]{{16,}}"), rf"\1{_INSTEAD}")
        for name in ("Signature", "Credential")  # of an Authorization header
    ),
    *(
        (word, re.compile(rf"({name}['\"]?\s*[=:]\s*['\"]?)[A-Za-z0-9/+=_%-]{{16,}}", re.IGNORECASE), rf"\1{_INSTEAD}")
        for word, name in (("secret", "secret_?access_?key"), ("token", "(?:session|security)_?token"))
    ),
    ("whsec_", re.compile(r"whsec_[A-Za-z0-9+/=_-]+"), f"whsec_{_INSTEAD}"),
    ("akia", re.compile(r"\b(AKIA)[A-Z0-9]{12,124}"), rf"\1{_INSTEAD}"),
    ("asia", re.compile(r"\b(ASIA)[A-Z0-9]{12,124}"), rf"\1{_INSTEAD}"),
)
_SECRETS = (
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_SECURITY_TOKEN",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN",
    "JOB_STATUS_SECRET",
)
_SHORTEST_SECRET = 8  # characters; what is shorter would also be taken out of innocent words


def redacted(text: str) -> str:
    """The text without what may be secret: signatures and tokens in queries, the user part of addresses, key ids,
    webhook secrets, and the secrets in this process's own environment, wherever they stand."""
    known = _known()
    if known:
        text = known.sub(_INSTEAD, text)
    lower = text.lower()
    for telltale, pattern, instead in _PATTERNS:
        if telltale in lower:
            text = pattern.sub(instead, text)
    return text


@cache
def _known() -> re.Pattern[str] | None:
    return _any_of(job.environment())


def _any_of(environ: Mapping[str, str]) -> re.Pattern[str] | None:
    """Finds the secrets of an environment, as they are and as a URL writes them."""
    values = {environ.get(name, "").strip().removeprefix("whsec_") for name in _SECRETS}
    spellings = {spelling for value in values for spelling in (value, quote(value, safe="", errors="surrogateescape"))}
    secrets = sorted((s for s in spellings if len(s) >= _SHORTEST_SECRET), key=len, reverse=True)
    return re.compile("|".join(map(re.escape, secrets))) if secrets else None
