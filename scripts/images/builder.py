"""Makes derived images: any catalogue image plus the private runtime, for CPU and for GPU, several side by side.

An image is built anew only where something that goes into it changed: its labels say what it was made of. Each is
looked at by its own `supervisor check` and written down in build/build.json.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import tarfile
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from docker import DockerClient
from docker.errors import DockerException
from docker.models.containers import Container
from docker.models.images import Image
from docker.types import DeviceRequest

from scripts.checkout import ROOT
from scripts.images import derived, engine
from scripts.images.derived import Built, Check
from scripts.images.engine import find_image, registry_digest
from scripts.images.plan import Order
from scripts.images.progress import BuildProgress
from scripts.images.runtime import Runtime
from supervisor import __version__
from supervisor.failures import DiskTrouble, Failure, ImageUnfit, InputMissing, Stopped
from supervisor.model.environment import image_environment

# One label tells what an image was made of: a build with the same key has nothing to do.
KEY = "deepaas-batch.key"
_OCI = "org.opencontainers.image"
_CHECK_SECONDS = 900  # TensorFlow's first import in a cold container takes a minute; a module may load its model too
_SPARE_DISK = 256 * 2**20


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How one order ended. state: built, unchanged or failed."""

    name: str
    state: str
    seconds: float = 0.0
    built: Built | None = None
    failure: Failure | None = None


@dataclass(frozen=True, kw_only=True)
class Base:
    """A base image that the engine holds. digest: its registry's, else its id, which is one too; environment: names and
    digests of its variables, which are public."""

    name: str
    id: str
    digest: str
    size: int
    environment: str = ""


@dataclass(kw_only=True)
class Builder:
    """Makes derived images; its methods may run in several threads at once."""

    engine: DockerClient
    runtime: Runtime
    progress: BuildProgress
    record: Path
    push: bool = False
    pull: bool = True
    load: bool = False
    _bases: dict[str, Base] = field(default_factory=dict)
    _locks: dict[str, threading.Lock] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _containers: set[str] = field(default_factory=set)
    _stopped: threading.Event = field(default_factory=threading.Event)

    def make(self, order: Order) -> Outcome:
        """Base, image, check, push, record; never raises."""
        name, started = str(order.name), time.monotonic()
        built, state, failure = None, "failed", None
        try:
            built, state = self._make(order, started)
        except (Failure, DockerException, OSError) as error:
            failure = engine.failure(name, error)
        seconds = time.monotonic() - started
        self.progress.ended(name, state, seconds, failure.message if failure else None)
        return Outcome(name=name, state=state, seconds=seconds, built=built, failure=failure)

    def stop(self) -> None:
        """Ends what is under way: checks with their containers; pulls, builds and pushes at the engine's next word."""
        self._stopped.set()
        for each in list(self._containers):
            with suppress(DockerException):
                self.engine.api.remove_container(each, force=True, v=True)

    def _told(self, events: Iterable[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
        """What the engine says, until stop(): leaving the answer unread ends the work at the engine, too."""
        for event in events:
            if self._stopped.is_set():
                raise Stopped("stopped by Ctrl-C", "run the command again: what was built is kept")
            yield event

    def _make(self, order: Order, started: float) -> tuple[Built, str]:
        name = str(order.name)
        if self._stopped.is_set():
            raise Stopped(f"{name}: not begun", "run the command again: what was built is kept")
        if order.module.unfit:
            self.progress.note(name, f"known to be unfit: {order.module.unfit}")
        base = self._base(order)
        labels = self._labels(order, base)
        image = find_image(self.engine, name)
        before = derived.read(self.record).get(name)
        state = "unchanged"
        if image is None or image.labels.get(KEY) != labels[KEY]:
            image, state = self._build(order, base, labels), "built"
        known = before and before.id == image.id and (before.check.loaded or not self.load)
        checked = before.check if before and known else self._check(order, image)
        if faults := checked.faults(order.variant):
            said = "; ".join(f"{check}: {text}" for check, text in faults.items())
            raise ImageUnfit(
                f"{name}: built, but its check fails with {checked.exit_code}: {said}",
                f"correct the base image, or choose another; `docker run --rm {name} check` says more",
            )
        if self.push:
            self._push(order)
            image.reload()
        built = Built(
            name=name,
            module=order.module.name,
            variant=order.variant,
            id=str(image.id),
            digest=registry_digest(image, order.name.repository),
            base=base.name,
            base_digest=base.digest,
            runtime=self.runtime.digest,
            supervisor=__version__,
            size=image.attrs["Size"],
            added=image.attrs["Size"] - base.size,
            seconds=before.seconds if before and state == "unchanged" else round(time.monotonic() - started, 2),
            built=image.attrs["Created"],
            check=checked,
        )
        derived.record(built, self.record)
        return built, state

    def _base(self, order: Order) -> Base:
        """One look at a base, however many images are made from it at once."""
        with self._lock:
            lock = self._locks.setdefault(order.base, threading.Lock())
        with lock:
            if order.base not in self._bases:
                image = self._own_base(order) if order.base_is_ours else self._catalogue_base(order)
                self._bases[order.base] = Base(
                    name=order.base,
                    id=str(image.id),
                    digest=registry_digest(image, _repository(order.base)) or str(image.id),
                    size=image.attrs["Size"],
                    environment=image_environment(image.attrs["Config"].get("Env") or ()),
                )
            return self._bases[order.base]

    def _catalogue_base(self, order: Order) -> Image:
        """The registry's image where it has one by that name, else the local one.

        No registry is asked for a digest that is here already, nor for a local image that never was in a registry:
        it was built or loaded here on purpose, and a stranger's image of that name must not take its place.
        """
        name, here = str(order.name), find_image(self.engine, order.base)
        local = here is not None and registry_digest(here, _repository(order.base)) is None
        if here and (local or not self.pull or "@" in order.base):
            return here
        if not self.pull:
            raise InputMissing(
                f"{name}: no base image {order.base} here, and --no-pull asks no registry for it",
                "bring it along with `docker load`, or name another with --base",
            )
        self.progress.stage(name, "pull")
        try:
            self._follow_pull(name, self.engine.api.pull(order.base, stream=True, decode=True))
        except (Failure, DockerException, OSError) as error:
            failure = engine.failure(f"{name}: no base image {order.base}", error)
            if here is None or isinstance(failure, DiskTrouble | Stopped):
                raise failure from None
            said = engine.explanation(error)
            self.progress.note(name, f"{order.base} is used as it is here, for it cannot be pulled: {said}")
            return here
        return self.engine.images.get(order.base)

    def _follow_pull(self, name: str, events: Iterable[Mapping[str, Any]]) -> None:
        layers: dict[str, tuple[int, int]] = {}
        for event in self._told(events):
            if "error" in event:
                raise DockerException(event["error"])
            amount = event.get("progressDetail") or {}
            if event.get("status") == "Downloading" and amount.get("total"):
                layers[event["id"]] = (amount["current"], amount["total"])
            have, whole = (sum(column) for column in zip(*layers.values(), strict=True)) if layers else (0, 0)
            self.progress.stage(name, "pull", f"{have / 1e6:,.0f} of {whole / 1e6:,.0f} MB" if whole else "")

    def _own_base(self, order: Order) -> Image:
        """A base that is built from a folder of this project, again where the folder changed."""
        assert order.module.build is not None  # noqa: S101
        folder = ROOT / order.module.build
        key = _folder_digest(folder)
        here = find_image(self.engine, order.base)
        if here and here.labels.get(KEY) == key:
            return here
        with tempfile.TemporaryFile() as context:
            with tarfile.open(fileobj=context, mode="w") as tar:
                tar.add(folder, ".", filter=lambda entry: None if "__pycache__" in entry.name else entry)
            context.seek(0)
            self._run_build(order, context, tag=order.base, dockerfile="Dockerfile", labels={KEY: key}, buildargs={})
        return self.engine.images.get(order.base)

    def _labels(self, order: Order, base: Base) -> dict[str, str]:
        """The labels beside those that the Dockerfile sets; the key is made of all that goes into the image."""
        module = order.module
        labels = {
            f"{_OCI}.description": module.title,
            f"{_OCI}.source": module.source,
            "deepaas-batch.module": module.name,
            "deepaas-batch.supervisor": __version__,
            "deepaas-batch.runtime": self.runtime.digest,
        } | ({f"{_OCI}.licenses": module.licence} if module.licence else {})
        dockerfile = (ROOT / f"Dockerfile.{order.variant}").read_text(encoding="utf-8")
        made_of = json.dumps([dockerfile, base.id, _build_arguments(order, base), labels], sort_keys=True)
        return {**labels, KEY: hashlib.sha256(made_of.encode()).hexdigest()}

    def _build(self, order: Order, base: Base, labels: Mapping[str, str]) -> Image:
        _require_disk(self.engine, str(order.name), 2 * self.runtime.size + _SPARE_DISK)
        with self.runtime.context.open("rb") as context:
            self._run_build(
                order,
                context,
                tag=str(order.name),
                dockerfile=f"Dockerfile.{order.variant}",
                labels=labels,
                buildargs=_build_arguments(order, base),
            )
        return self.engine.images.get(str(order.name))

    def _run_build(self, order: Order, context: Any, **options: Any) -> None:
        name = str(order.name)
        what = "" if options["tag"] == name else "base "
        self.progress.stage(name, f"build {what}".strip())
        events = self.engine.api.build(
            fileobj=context, custom_context=True, rm=True, forcerm=True, decode=True, **options
        )
        log: list[str] = []
        for event in self._told(events):
            if text := str(event.get("stream") or "").strip():
                log.append(text)
                if step := re.match(r"Step (\d+/\d+)", text):
                    self.progress.stage(name, f"build {what}".strip(), f"step {step[1]}")
            if "error" in event:
                last = next((line for line in reversed(log) if not line.startswith(("Step ", "--->"))), "")
                where = f"{name}: building {options['tag']} failed" + (f" after {last!r}" if last else "")
                raise engine.failure(where, DockerException(event["error"]))

    def _check(self, order: Order, image: Image) -> Check:
        """What `supervisor check` says inside the image, with the engine's GPUs where it has some, and with the model
        loaded where that was asked for."""
        name = str(order.name)
        self.progress.stage(name, "check")
        gpus = [DeviceRequest(count=-1, capabilities=[["gpu"]])]
        has_gpus = order.variant == "gpu" and "nvidia" in self.engine.info().get("Runtimes", {})
        command = ["check", "--json", *(["--load"] if self.load else [])]
        container = self.engine.containers.create(str(image.id), command, device_requests=gpus if has_gpus else None)
        self._containers.add(str(container.id))
        try:
            container.start()
            code = int(container.wait(timeout=_CHECK_SECONDS)["StatusCode"])
            return _read_check(code, container, loaded=self.load)
        finally:
            with suppress(DockerException):
                container.remove(force=True, v=True)
            self._containers.discard(str(container.id))

    def _push(self, order: Order) -> None:
        name = str(order.name)
        self.progress.stage(name, "push")
        events = self.engine.api.push(order.name.repository, tag=order.name.full_tag, stream=True, decode=True)
        for event in self._told(events):
            if "error" in event:
                raise engine.failure(f"{name}: not pushed", DockerException(event["error"]))
            amount = event.get("progressDetail") or {}
            if amount.get("total"):
                self.progress.stage(
                    name, "push", f"{amount.get('current', 0) / 1e6:,.0f} of {amount['total'] / 1e6:,.0f} MB"
                )


def _repository(image: str) -> str:
    """`host:5000/name` of `host:5000/name:tag` or `host:5000/name@sha256:…`."""
    return re.sub(r"(:[^:/@]+)?(@.+)?$", "", image)


def _build_arguments(order: Order, base: Base) -> dict[str, str]:
    """For the Dockerfile's ARGs. BASE is the image's id: its name may mean another one by the time it is read."""
    return {
        "BASE": base.id,
        "BASE_NAME": base.name.partition("@")[0],
        "BASE_DIGEST": base.digest,
        "MODULE": order.module.name,
        "VERSION": __version__,
        "MODULE_COPIES": str(order.module.copies),
        "MODULE_NETWORK": order.module.network,
        "MODULE_RESULTS": ",".join(order.module.results),
        "IMAGE_ENV": base.environment,
    }


def _read_check(code: int, container: Container, *, loaded: bool) -> Check:
    written = container.logs(stdout=True, stderr=False).decode(errors="replace")
    try:
        checks = json.loads(written)["checks"]
    except (ValueError, KeyError):
        said = container.logs(stdout=True, stderr=True).decode(errors="replace").split("\n")
        last = next((line for line in reversed(said) if line.strip()), "nothing")
        return Check(
            exit_code=code, failed={"supervisor": f"it did not start; the container's last words: {last}"[:300]}
        )
    failed = {name: found["message"] for name, found in checks.items() if not found.get("ok")}
    return Check(exit_code=code, failed=failed, loaded=loaded)


def _require_disk(client: DockerClient, name: str, needed: int) -> None:
    """Raises DiskTrouble where the engine's disk is too small; a disk that cannot be seen from here is let pass."""
    root = client.info().get("DockerRootDir", "")
    with suppress(OSError):
        free = shutil.disk_usage(root).free
        if free < needed:
            raise DiskTrouble(
                f"{name}: the disk is too small: {free / 1e6:,.0f} MB free in {root}, and a build takes"
                f" {needed / 1e6:,.0f} MB",
                "make room (docker system prune) or move the engine's folder",
            )


def _folder_digest(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            digest.update(f"{path.relative_to(folder)}\0{hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return digest.hexdigest()
