"""The guest's environment: the image's own, without what the model must not see."""

import hashlib
import re
from collections.abc import Collection, Iterable, Mapping

from supervisor.job import VARIABLES
from supervisor.machine.secret_names import is_aws_credential, is_secret, without_user_part

_OURS = "SUPERVISOR_"
# The launcher sets aside what would hurt our own Python or loader; the guest gets it back under its own name.
_SET_ASIDE = "SUPERVISOR_CHILD_"
# Set by the build: `NAME=digest`, one after the other, of each variable that the image itself sets.
_OF_IMAGE = "SUPERVISOR_IMAGE_ENV"
_NAME = re.compile(r"[^\s=]+")


def guest_environment(environ: Mapping[str, str], granted: Collection[str] = ()) -> dict[str, str]:
    """The environment for the model: no credential or other secret, none of our own variables, no address's user part.

    What the image itself sets is public, and stays, as does what is granted (JOB_GUEST_ENV); but for AWS's credentials,
    which the model never gets. Ours go as a whole, for their values may carry secrets: a presigned URL, a webhook with
    a token.
    """
    public = environ.get(_OF_IMAGE, "").split()
    given: dict[str, str] = {}
    for name, value in _given_back(environ).items():
        if _is_ours(name) or is_aws_credential(name):
            continue
        if name in granted or (public and digest(name, value) in public):
            given[name] = value
        elif not is_secret(name, value):
            given[name] = without_user_part(name, value)
    return given


def withheld(environ: Mapping[str, str], granted: Collection[str] = ()) -> tuple[str, ...]:
    """The names of the variables that the model gets without their value, or not all of it; ours apart."""
    given = guest_environment(environ, granted)
    theirs = {name: value for name, value in _given_back(environ).items() if not _is_ours(name)}
    return tuple(sorted(name for name, value in theirs.items() if given.get(name) != value))


def image_environment(variables: Iterable[str]) -> str:
    """What the build records of an image's `NAME=value`: the names, and digests in the place of the values."""
    pairs = (variable.partition("=")[::2] for variable in variables)
    return " ".join(digest(name, value) for name, value in pairs if _NAME.fullmatch(name))


def digest(name: str, value: str) -> str:
    """By which a variable that a job definition has changed is told from the image's own."""
    return f"{name}={hashlib.sha256(f'{name}={value}'.encode(errors='surrogateescape')).hexdigest()[:16]}"


def _given_back(environ: Mapping[str, str]) -> dict[str, str]:
    set_aside = {name.removeprefix(_SET_ASIDE): value for name, value in environ.items() if name.startswith(_SET_ASIDE)}
    return {name: value for name, value in {**environ, **set_aside}.items() if name}


def _is_ours(name: str) -> bool:
    return name.startswith(_OURS) or name in _OUR_NAMES


_OUR_NAMES = frozenset(variable.name for variable in VARIABLES)
