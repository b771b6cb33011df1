"""The Docker engine: reached, or refused in one line, and its errors put into a sentence."""

from __future__ import annotations

import os
import re

import docker
from docker import DockerClient
from docker.errors import APIError, DockerException, ImageNotFound
from docker.models.images import Image
from requests.exceptions import RequestException
from urllib3.exceptions import HTTPError

from supervisor.failures import BadUsage, DiskTrouble, Failure, InputDenied, InputMissing, ItemFailed, PassingTrouble

# Pulling, building and checking an image may each say nothing for minutes.
_PATIENCE_SECONDS = 1800


# What docker-py lets through: its own errors, and those of the connection, in the middle of an answer even urllib3's.
ERRORS = (DockerException, HTTPError, OSError)
_ARCHITECTURE = "amd64"  # of the private runtime


class NoEngine(PassingTrouble):
    """No Docker engine to work with."""


def connect() -> DockerClient:
    """The engine that DOCKER_HOST names, or this machine's. Raises NoEngine, InputDenied, BadUsage."""
    where = os.environ.get("DOCKER_HOST") or "unix:///var/run/docker.sock"
    try:
        engine = docker.from_env(timeout=_PATIENCE_SECONDS)
        machine = str(engine.version()["Arch"])
    except DockerException as error:
        if "permission denied" in str(error).lower():
            raise InputDenied(f"no right to use the Docker engine at {where}", "join the docker group") from None
        raise NoEngine(f"no Docker engine answers at {where}", "start it, or name another with DOCKER_HOST") from None
    if machine != _ARCHITECTURE:
        raise BadUsage(
            f"the Docker engine at {where} is one for {machine}, and the supervisor runs on {_ARCHITECTURE}",
            "name an engine on such a machine with DOCKER_HOST",
        )
    return engine


def find_image(engine: DockerClient, name: str) -> Image | None:
    """The image that the engine holds by that name, without a look at any registry."""
    try:
        return engine.images.get(name)
    except ImageNotFound:
        return None


def registry_digest(image: Image, repository: str) -> str | None:
    """The digest that `repository`'s registry knows the image by; None where it was neither pulled nor pushed."""
    digests = dict(entry.rsplit("@", 1) for entry in image.attrs.get("RepoDigests") or ())
    # The engine leaves Docker Hub's own names out.
    return digests.get(re.sub(r"^(docker\.io/)?(library/)?", "", repository))


def explanation(error: BaseException) -> str:
    """What the engine said, on one line, without the client's own preamble."""
    said = error.explanation if isinstance(error, APIError) and error.explanation else str(error)
    said = " ".join(str(said).split())
    return re.sub(r"^(Error response from daemon|Get \"[^\"]*\"|Head \"[^\"]*\"): ", "", said)[:300]


# What engines and registries say, what kind of failure it is, and what it means to the person who asked.
_KINDS: tuple[tuple[str, type[Failure], str], ...] = (
    ("no space left", DiskTrouble, "the disk is too small: make room (docker system prune)"),
    (
        "no basic auth|unauthorized|authentication required|denied",
        InputDenied,
        "check the name, and `docker login` to its registry",
    ),
    ("repository .*does not exist|name unknown", InputMissing, "create the repository in the registry first"),
    ("manifest unknown|not found|no such image", InputMissing, "check its name and tag"),
    (
        "no such host|timeout|refused|unreachable|timed out|aborted|reset by peer",
        PassingTrouble,
        "see whether engine and registry are in reach; an image can be brought along with `docker load`",
    ),
)


def gone(what: str) -> PassingTrouble:
    """The engine went away in the middle of something: `what` is what it did not come to the end of."""
    return PassingTrouble(
        f"{what}: the Docker engine went away",
        "see whether it runs (`docker info`), and run the command again: what was built is kept",
    )


def failure(what: str, error: BaseException) -> Failure:
    """An error of the engine or a registry as a failure: `what` is what could not be done."""
    if isinstance(error, Failure):
        return error
    if isinstance(error, RequestException | HTTPError) and not isinstance(error, APIError):
        return gone(what)
    said = explanation(error)
    for pattern, kind, hint in _KINDS:
        if re.search(pattern, said, re.IGNORECASE):
            return kind(f"{what}: {said}", hint)
    return ItemFailed(f"{what}: {said}", "see the engine's words")
