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
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from docker import DockerClient
from docker.errors import DockerException
from docker.models.containers import Container
from docker.models.images import Image
from docker.types import DeviceRequest
from requests.exceptions import ConnectionError, ReadTimeout

from scripts.checkout import ROOT
from scripts.images import derived, engine, stamp
from scripts.images.base import require_fit
from scripts.images.derived import Built, Check
from scripts.images.engine import find_image, registry_digest
from scripts.images.lock import one_at_a_time
from scripts.images.plan import Order
from scripts.images.progress import BuildProgress
from scripts.images.runtime import Runtime
from supervisor import __version__
from supervisor.failures import DiskTrouble, Failure, ImageUnfit, InputMissing, ItemFailed, PassingTrouble, Stopped
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
        except (Failure, *engine.ERRORS) as error:
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
        """Everything goes by the image's id: its name is given to it once its check has passed."""
        name = str(order.name)
        self._require_going(name)
        if order.module.unfit:
            self.progress.note(name, f"known to be unfit: {order.module.unfit}")
        base = self._base(order)
        labels = self._labels(order, base)
        with one_at_a_time(name, lambda: self._wait(name)):
            image = find_image(self.engine, name)
            before = derived.read(self.record).get(name)
            state = "unchanged"
            if image is None or image.labels.get(KEY) != labels[KEY]:
                image, state = self._build(order, base, labels), "built"
            known = before and before.id == image.id and (before.check.loaded or not self.load)
            checked = before.check if before and known else self._check(order, image)
            if faults := checked.faults(order.variant):
                self._take_back(name, image)
                said = "; ".join(f"{check}: {text}" for check, text in faults.items())
                raise ImageUnfit(
                    f"{name}: built, but its check fails with {checked.exit_code}: {said}",
                    f"correct the base image, or choose another; `docker run --rm {image.short_id} check` says more",
                )
            image.tag(order.name.repository, order.name.full_tag)
            pushed = self._push(order, image) if self.push else None
            image.reload()
            built = Built(
                name=name,
                module=order.module.name,
                variant=order.variant,
                id=str(image.id),
                digest=pushed or registry_digest(image, order.name.repository),
                base=base.name,
                base_digest=base.digest,
                runtime=self.runtime.digest,
                supervisor=__version__,
                size=image.attrs["Size"],
                added=image.attrs["Size"] - base.size,
                seconds=before.seconds if before and state == "unchanged" else round(time.monotonic() - started, 2),
                built=before.built if before and before.id == image.id else _now(),
                check=checked,
            )
            derived.record(built, self.record)
        return built, state

    def _take_back(self, name: str, image: Image) -> None:
        """The name from an image whose check failed, and what is written down of it. One that was just built never had
        the name, and stays by its id, to be looked at."""
        named = find_image(self.engine, name)
        if named is not None and named.id == image.id:
            self.engine.api.remove_image(name, noprune=True)
        derived.forget(name, str(image.id), self.record)

    def _wait(self, name: str) -> None:
        self.progress.stage(name, "wait", "for another build of this name")
        self._stopped.wait(0.2)
        self._require_going(name)

    def _require_going(self, name: str) -> None:
        """Raises Stopped after stop()."""
        if self._stopped.is_set():
            raise Stopped(f"{name}: stopped", "run the command again: what was built is kept")

    def _base(self, order: Order) -> Base:
        """One look at a base, however many images are made from it at once."""
        with self._lock:
            lock = self._locks.setdefault(order.base, threading.Lock())
        with lock:
            if order.base not in self._bases:
                image = self._own_base(order) if order.base_is_ours else self._catalogue_base(order)
                require_fit(self.engine, image, order.base)
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
        except (Failure, *engine.ERRORS) as error:
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
            built = self._run_build(
                order, context, "build base", dockerfile="Dockerfile", labels={KEY: key}, buildargs={}
            )
        built.tag(*order.base.rsplit(":", 1))
        return built

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
        """The image, which has no name yet."""
        _require_disk(self.engine, str(order.name), 2 * self.runtime.size + _SPARE_DISK)
        below = self.engine.images.get(base.id)
        with self.runtime.context.open("rb") as context:
            try:
                built = self._run_build(
                    order,
                    context,
                    dockerfile=f"Dockerfile.{order.variant}",
                    labels=labels,
                    buildargs=_build_arguments(order, base),
                )
            except ItemFailed as failure:
                if steps := below.attrs["Config"].get("OnBuild"):
                    hint = "its author meant them for other builds: take a base without them"
                    raise ImageUnfit(f"{failure.message}; the base has ONBUILD steps, {steps[0]!r}", hint) from None
                raise
        return stamp.without_times(self.engine, built, below)

    def _run_build(self, order: Order, context: Any, what: str = "build", **options: Any) -> Image:
        """What the engine builds; `what` is how it is called meanwhile. Raises Failure."""
        name = str(order.name)
        self.progress.stage(name, what)
        events = self.engine.api.build(
            fileobj=context, custom_context=True, rm=True, forcerm=True, decode=True, **options
        )
        log: list[str] = []
        built = None
        for event in self._told(events):
            if text := str(event.get("stream") or "").strip():
                log.append(text)
                if step := re.match(r"Step (\d+/\d+)", text):
                    self.progress.stage(name, what, f"step {step[1]}")
            if "error" in event:
                last = next((line for line in reversed(log) if not line.startswith(("Step ", "--->"))), "")
                where = f"{name}: the {what} failed" + (f" after {last!r}" if last else "")
                raise engine.failure(where, DockerException(event["error"]))
            built = (event.get("aux") or {}).get("ID", built)
        if built is None:
            raise engine.gone(f"{name}: the {what} came to no end")
        return self.engine.images.get(built)

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
            self._require_going(name)  # stop() has not seen a container that was being created
            container.start()
            try:
                code = int(container.wait(timeout=_CHECK_SECONDS)["StatusCode"])
            except (ReadTimeout, ConnectionError) as error:
                if "timed out" not in str(error).lower():
                    raise
                raise ImageUnfit(
                    f"{name}: its check did not end within {_CHECK_SECONDS} s",
                    f"see what the module does when it is imported: docker run --rm {image.short_id} check",
                ) from None
            self._require_going(name)
            return _read_check(code, container, loaded=self.load)
        finally:
            with suppress(DockerException):
                container.remove(force=True, v=True)
            self._containers.discard(str(container.id))

    def _push(self, order: Order, image: Image) -> str:
        """The digest that the registry has given the image.

        An engine pushes by name. That it was this image under the name is seen from the digest, which the engine writes
        down with the image that it pushed.
        """
        name = str(order.name)
        digest: str | None = None
        self.progress.stage(name, "push")
        events = self.engine.api.push(order.name.repository, tag=order.name.full_tag, stream=True, decode=True)
        for event in self._told(events):
            if "error" in event:
                raise engine.failure(f"{name}: not pushed", DockerException(event["error"]))
            digest = (event.get("aux") or {}).get("Digest", digest)
            amount = event.get("progressDetail") or {}
            if amount.get("total"):
                self.progress.stage(
                    name, "push", f"{amount.get('current', 0) / 1e6:,.0f} of {amount['total'] / 1e6:,.0f} MB"
                )
        if digest is None:
            raise engine.gone(f"{name}: the push came to no end")
        image.reload()
        if not any(entry.endswith(f"@{digest}") for entry in image.attrs.get("RepoDigests") or ()):
            raise PassingTrouble(
                f"{name}: something else gave the name to another image meanwhile, and that was pushed: {digest}",
                "see that nothing but this command gives that name, and run it again",
            )
        return digest


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


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


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
