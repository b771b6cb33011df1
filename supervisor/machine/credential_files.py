"""Where the supervisor's own credentials lie in files: AWS's, Kubernetes', Docker's, and those for web addresses.

None of them is ever an input, and the model can read them only where its user can.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import nullcontext, suppress
from itertools import islice
from pathlib import Path

from supervisor.machine import users
from supervisor.machine.users import User

# Each names a file: the tokens of IRSA and EKS Pod Identity, the shared credentials, what may hold some; or a folder.
_NAMING = (
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
    "AWS_SHARED_CREDENTIALS_FILE",
    "AWS_CONFIG_FILE",
    "AWS_LOGIN_CACHE_DIRECTORY",
    "NETRC",
)
# Below the last two, which are one in most images, lie Kubernetes' service accounts and Docker's secrets.
_USUAL = ("~/.aws", "~/.boto", "~/.netrc", "~/_netrc", "/run/secrets", "/var/run/secrets")
# Files looked at below one of these.
_MOST = 200


def places(environ: Mapping[str, str]) -> tuple[Path, ...]:
    """The files, and the folders with all that lies below them; absolute, whether they are there or not."""
    return tuple(dict.fromkeys(_absolute(place) for place in (*map(environ.get, _NAMING), *_USUAL) if place))


def identities(environ: Mapping[str, str]) -> frozenset[tuple[int, int]]:
    """(device, inode) of each file: under any other name, a hard link's or another mount's, it is the same."""
    found = set()
    for place in places(environ):
        for path in islice(_files(place), _MOST):
            with suppress(OSError):
                status = path.stat()
                found.add((status.st_dev, status.st_ino))
    return frozenset(found)


def readable(environ: Mapping[str, str], user: User | None) -> tuple[Path, ...]:
    """Those of the files that a user can read; None: we ourselves. For a process of one thread."""
    found: dict[Path, Path] = {}  # by the real path: /var/run is /run in most images
    with users.acting_as(user) if user else nullcontext():
        for place in places(environ):
            for path in islice(_files(place), _MOST):
                if _opens(path):
                    found.setdefault(path.resolve(), path)
    return tuple(found.values())


def _absolute(place: str) -> Path:
    try:
        return Path(place).expanduser().absolute()
    except RuntimeError:  # nobody's home
        return Path("/", place)


def _files(place: Path) -> Iterator[Path]:
    with suppress(OSError):  # a folder that may not be entered
        if place.is_file():
            yield place
    for folder, _, names in os.walk(place):
        yield from (Path(folder, name) for name in sorted(names))


def _opens(path: Path) -> bool:
    try:
        os.close(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC))
    except OSError:
        return False
    return True
