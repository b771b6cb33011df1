"""The same inputs give the same image id: what the engine wrote of the hour and place of a build is taken out."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from docker import DockerClient
from docker.errors import DockerException
from docker.models.images import Image

# What an image says of its containers (OCI image specification, config); engines add fields of their own, which
# differ from release to release.
_SETTINGS = (
    "ArgsEscaped", "Cmd", "Entrypoint", "Env", "ExposedPorts", "Healthcheck", "Labels", "OnBuild", "Shell",
    "StopSignal", "StopTimeout", "User", "Volumes", "WorkingDir",
)  # fmt: skip


def without_times(client: DockerClient, built: Image, base: Image) -> Image:
    """The built image with its base's date, without what differs from build to build.

    The engine takes the same layers under the new configuration; the built image is removed. Where the engine keeps
    images in containerd's store, which wants the layers anew, it is returned as it is. Raises DockerException.
    """
    if _layers_cannot_be_named(client):
        return built
    created = str(base.attrs["Created"])
    config = _config(built.attrs, _history(base, created), created)
    digest = f"sha256:{hashlib.sha256(config).hexdigest()}"
    if digest == built.id:
        return built
    [stamped] = client.images.load(_archive(config, built.attrs["RootFS"]["Layers"]))
    with suppress(DockerException):  # another build beside this one may have it, too
        client.images.remove(str(built.id), noprune=True)  # its parents are the builder's cache
    return stamped


def _layers_cannot_be_named(client: DockerClient) -> bool:
    return ["driver-type", "io.containerd.snapshotter.v1"] in (client.info().get("DriverStatus") or ())


def _config(attrs: Mapping[str, Any], history: Sequence[Mapping[str, Any]], created: str) -> bytes:
    """The image's configuration, from what `docker inspect` says of it."""
    config = {
        "architecture": attrs["Architecture"],
        "os": attrs["Os"],
        "variant": attrs.get("Variant"),
        "author": attrs.get("Author"),
        "created": created,
        "config": {name: attrs["Config"][name] for name in _SETTINGS if attrs["Config"].get(name)},
        "rootfs": {"type": "layers", "diff_ids": attrs["RootFS"]["Layers"]},
        "history": history,
    }
    return json.dumps({name: value for name, value in config.items() if value}, sort_keys=True).encode()


def _history(base: Image, created: str) -> list[dict[str, Any]]:
    """The steps that the base was made by, the first one first, and ours.

    The engine does not say which steps made a layer: those with a size, where they are as many as the layers. Else
    there is no history, since one of another length makes an image that no engine shows.
    """
    steps = base.history()[::-1]
    if sum(step["Size"] > 0 for step in steps) != len(base.attrs["RootFS"]["Layers"]):
        return []
    known = [
        {
            "created": datetime.fromtimestamp(step["Created"], UTC).isoformat().replace("+00:00", "Z"),
            "created_by": step["CreatedBy"],
            "empty_layer": not step["Size"],
        }
        for step in steps
    ]
    return [*known, {"created": created, "created_by": "deepaas-batch images", "empty_layer": False}]


def _archive(config: bytes, layers: Sequence[str]) -> bytes:
    """What `docker load` takes: a configuration, and a name for each layer, which the engine has."""
    name = f"{hashlib.sha256(config).hexdigest()}.json"
    manifest = [{"Config": name, "RepoTags": None, "Layers": [f"{layer.partition(':')[2]}.tar" for layer in layers]}]
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for member, content in ((name, config), ("manifest.json", json.dumps(manifest).encode())):
            entry = tarfile.TarInfo(member)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return packed.getvalue()
