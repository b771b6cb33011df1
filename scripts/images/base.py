"""What a base image may not bring: anything that would run in the supervisor, with the job's credentials."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import PurePosixPath
from typing import Any

from docker import DockerClient
from docker.errors import DockerException, NotFound
from docker.models.images import Image

from supervisor.failures import ImageUnfit
from supervisor.job import VARIABLES

ARCHITECTURE = "amd64"  # of the private runtime
_SUPERVISOR = "/supervisor"
_LAUNCHER = "/supervisor/bin/supervisor"
# boto3 runs the programs that these files name (credential_process) before it asks for the job's role.
_FILES_OF_BOTO3 = ("config", "credentials")
_VARIABLES_OF_BOTO3 = ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE")
_UNMODIFIED = "take the catalogue's own image, or one that is built without it"


def require_fit(client: DockerClient, image: Image, name: str) -> None:
    """Raises ImageUnfit where the base would change what the supervisor is. name: what a person calls it.

    The image is looked at by its id, in a container that is never started.
    """
    if fault := next(_faults_of_settings(image.attrs), None) or _fault_of_files(client, image):
        raise ImageUnfit(f"the base {name} {fault}", _UNMODIFIED)


def _faults_of_settings(attrs: dict[str, Any]) -> Iterator[str]:
    config = attrs.get("Config") or {}
    if attrs.get("Architecture", ARCHITECTURE) != ARCHITECTURE or attrs.get("Os", "linux") != "linux":
        yield f"is for {attrs.get('Os')}/{attrs['Architecture']}, and the supervisor is for linux/{ARCHITECTURE}"
    labels = config.get("Labels") or {}
    if "deepaas-batch.variant" in labels or _LAUNCHER in (config.get("Entrypoint") or ()):
        yield "is a derived image already: it has a supervisor"
    names = [entry.partition("=")[0] for entry in config.get("Env") or ()]
    job = {variable.name for variable in VARIABLES}
    for variable in names:
        if variable in job or variable.startswith("SUPERVISOR_"):
            yield f"sets {variable}, which tells the supervisor what to do"
        if variable in _VARIABLES_OF_BOTO3:
            yield f"sets {variable}, whose file may name a program for the supervisor to run"
    for volume in config.get("Volumes") or ():
        if PurePosixPath(volume).is_relative_to(_SUPERVISOR):
            yield f"has a volume at {volume}, where the supervisor lies"


def _fault_of_files(client: DockerClient, image: Image) -> str | None:
    environment = dict(entry.partition("=")[::2] for entry in image.attrs["Config"].get("Env") or ())
    homes = dict.fromkeys(("/root", environment.get("HOME") or "/root"))
    container = client.api.create_container(image.id, ["none"], entrypoint=["none"])["Id"]
    try:
        if _stat(client, container, _SUPERVISOR) is not None:
            return f"has a {_SUPERVISOR} of its own, and what lies there would run in the supervisor"
        preload = _stat(client, container, "/etc/ld.so.preload")
        if preload and (preload["size"] or preload.get("linkTarget")):
            return "has an /etc/ld.so.preload, whose libraries every program of the image loads"
        for path in (f"{home}/.aws/{file}" for home in homes for file in _FILES_OF_BOTO3):
            if _stat(client, container, path) is not None:
                return f"has a file {path}, which may name a program for the supervisor to run"
        return None
    finally:
        with suppress(DockerException):
            client.api.remove_container(container, force=True, v=True)


def _stat(client: DockerClient, container: str, path: str) -> dict[str, Any] | None:
    """What lies at the path, without following a link at its end; None where there is nothing."""
    try:
        stream, found = client.api.get_archive(container, path)
    except NotFound:
        return None
    stream.close()
    assert found is not None  # noqa: S101 - docker-py's own header
    return dict(found)
