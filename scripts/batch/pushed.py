"""Whether build.json tells the truth: the image is in its registry under its name, and that is the one written down.

A definition names its image by digest. One that the registry does not hold can never be pulled; and where somebody else
has pushed a newer image under the name, this record would take production back to an old one.
"""

from __future__ import annotations

import re

from docker import DockerClient

from scripts.batch import aws
from scripts.images import derived, engine
from scripts.images.derived import Built
from supervisor.failures import BadUsage, Failure, InputMissing, ItemFailed

_ECR = re.compile(r"(?P<account>\d{12})\.dkr\.ecr(-fips)?\.(?P<region>[a-z0-9-]+)\.amazonaws\.com(\.cn)?/(?P<path>.+)")
_UNCHECKED = "or take the record at its word: --unchecked"


class NotPushed(BadUsage):
    """A definition may name an image in a registry alone."""


class RecordIsWrong(ItemFailed):
    """The registry or the engine contradicts build.json."""


def require_pushed(built: Built) -> None:
    """Raises NotPushed for a local image: its name would be one of Docker Hub's, which anyone may own."""
    if built.digest is None:
        raise NotPushed(f"{built.name} is not pushed, and Batch would look for that name on Docker Hub", _push(built))
    if not re.fullmatch(r"sha256:[0-9a-f]{64}", built.digest):
        raise RecordIsWrong(f"build.json says that {built.name} is {built.digest!r}, which is no digest", _push(built))


def check(built: Built) -> str | None:
    """Asks the registry, or else the engine that pushed the image. Returns a note where the registry did not answer.

    Raises RecordIsWrong, InputMissing, and what kept the registry from answering.
    """
    try:
        there = _registered_digest(built)
    except InputMissing:
        raise
    except Failure as failure:
        if not _engine_holds(built):
            raise type(failure)(failure.message, f"{failure.hint}; {_UNCHECKED}") from None
        return f"{failure.message}; the engine holds {built.name} as it was pushed"
    if there != built.digest:
        raise RecordIsWrong(
            f"build.json says that {built.name} is {built.digest}, and its registry says {there}",
            f"{_push(built)}; {_UNCHECKED}",
        )
    return None


def _registered_digest(built: Built) -> str:
    """What the image's name stands for in its registry. Raises Failure."""
    if found := _ECR.fullmatch(built.repository):
        return _ecr_digest(built, found["account"], found["region"], found["path"])
    try:
        return _registry_digest(engine.connect(), built)
    except engine.NoEngine as failure:
        said = f"{built.name}: its registry cannot be asked: {failure.message}"
        raise engine.NoEngine(said, failure.hint) from None


def _engine_holds(built: Built) -> bool:
    try:
        image = engine.find_image(engine.connect(), built.name)
    except Failure:
        return False
    if image is None:
        return False
    return (image.id, engine.registry_digest(image, built.repository)) == (built.id, built.digest)


def _ecr_digest(built: Built, account: str, region: str, path: str) -> str:
    """In Amazon's registry, asked with the credentials that register."""
    ecr = aws.connect("ecr", region)
    tag = built.name.rpartition(":")[2]
    try:
        with aws.errors(f"{built.name}: its registry cannot be asked"):
            found = ecr.describe_images(registryId=account, repositoryName=path, imageIds=[{"imageTag": tag}])
    except aws.NotThere as missing:
        raise InputMissing(f"{built.name} is not in its registry: {missing.said}", _push(built)) from None
    return str(found["imageDetails"][0]["imageDigest"])


def _registry_digest(client: DockerClient, built: Built) -> str:
    """In any other registry, asked by way of the engine, which has logged in there."""
    try:
        return str(client.images.get_registry_data(built.name).id)
    except engine.ERRORS as error:
        failure = engine.failure(f"{built.name}: its registry cannot be asked", error)
        if isinstance(failure, InputMissing):
            raise InputMissing(
                f"{built.name} is not in its registry: {engine.explanation(error)}", _push(built)
            ) from None
        raise failure from None


def _push(built: Built) -> str:
    registry = built.repository.removesuffix(f"/{built.module}")
    named = "HOST/PATH" if registry == derived.REGISTRY else registry
    command = derived.build_command(built.module, built.variant, registry=named, tag=built.tag, push=True)
    return f"push it: {command}"
