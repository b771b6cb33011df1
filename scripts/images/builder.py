"""Builds derived images: any catalogue image plus the private runtime, for CPU and for GPU, several side by side.

    make images MODEL=audio-classification
    make images MODEL="voice-activity yolov8" VARIANT=gpu REGISTRY=registry.example.org/batch PUSH=1 JOBS=2

An image is built anew only where something that goes into it changed: its labels say what it was made of. Each is
looked at by its own `supervisor check` and written down in build/build.json.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import queue
import re
import shutil
import signal
import sys
import tarfile
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol, TextIO

from docker import DockerClient
from docker.errors import DockerException
from docker.models.containers import Container
from docker.models.images import Image
from docker.types import DeviceRequest

from scripts.images import catalogue, derived
from scripts.images.catalogue import VARIANTS, InvalidCatalogue, Module, UnknownModule, Variant
from scripts.images.derived import ROOT, BadName, BadRecord, Built, Check, Name
from scripts.images.engine import NoEngine, connect, find_image, in_words, registry_digest
from supervisor import __version__
from supervisor.model.environment import image_environment

RUNTIME = ROOT / "build" / "runtime" / "runtime.tar"
# One label tells what an image was made of: a build with the same key has nothing to do.
KEY = "deepaas-batch.key"
_OCI = "org.opencontainers.image"
_CHECK_SECONDS = 900  # TensorFlow's first import in a cold container takes a minute; a module may load its model too
_SPARE_DISK = 256 * 2**20


class OrderFailed(Exception):
    """One image could not be made; the message is one line: what was wrong, and what to do."""


@dataclass(frozen=True, kw_only=True)
class Order:
    """One image to make: what it is called, and the catalogue image to make it from."""

    module: Module
    name: Name
    base: str

    @property
    def variant(self) -> Variant:
        return self.name.variant

    @property
    def base_is_ours(self) -> bool:
        """Whether the base is built from a folder of this project, rather than pulled."""
        return self.module.build is not None and self.base == self.module.image(self.variant)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How one order ended. state: built, unchanged or failed; error: one line where it failed."""

    name: str
    state: str
    seconds: float = 0.0
    built: Built | None = None
    error: str | None = None


# Planning: which images the words of a person mean.


def plan(
    modules: Mapping[str, Module],
    models: Sequence[str],
    variant: str,
    *,
    registry: str = derived.REGISTRY,
    tag: str | None = None,
    base: str | None = None,
) -> list[Order | str]:
    """The orders for MODEL, VARIANT, REGISTRY, TAG and BASE, in order; a text is what is wrong with one of them."""
    if base and (len(models) > 1 or "all" in models):
        raise OrderFailed("BASE names one base image: give it with one MODEL")
    wanted = VARIANTS if variant == "all" else (_variant(variant),)
    orders: dict[str, Order | str] = {}
    for module in _modules(models, modules):
        if isinstance(module, str):
            orders[module] = module
            continue
        for order in _orders(module, wanted, explicit=variant != "all", registry=registry, tag=tag, base=base):
            orders[order if isinstance(order, str) else str(order.name)] = order
    return list(orders.values())


def _modules(models: Iterable[str], modules: Mapping[str, Module]) -> Iterator[Module | str]:
    for model in models:
        if model == "all":
            yield from (module for module in modules.values() if module.variants and not module.unfit)
            continue
        try:
            yield catalogue.find(model, modules)
        except UnknownModule as error:
            yield str(error)


def _variant(variant: str) -> Variant:
    for known in VARIANTS:
        if variant == known:
            return known
    raise OrderFailed(f"VARIANT is {variant!r}: use cpu, gpu or all")


def _orders(
    module: Module, wanted: Iterable[Variant], *, explicit: bool, registry: str, tag: str | None, base: str | None
) -> Iterator[Order | str]:
    sources = {variant: base or module.image(variant) for variant in wanted}
    if not any(sources.values()) and not explicit:
        yield f"{module.name}: no tag of {module.repository} is known; name one with BASE={module.repository}:TAG"
    for variant, source in sources.items():
        if source:
            name = Name(registry=registry, module=module.name, variant=variant, tag=tag)
            yield Order(module=module, name=name, base=source)
        elif explicit:
            there = " and ".join(module.variants)
            hint = f"it has {there}" if there else f"name one with BASE={module.repository}:TAG"
            yield f"{module.name} has no {variant} image; {hint}"


# Progress: a line that is written over on a terminal, JSON Lines elsewhere. The table at the end goes to stdout.


class Progress(Protocol):
    def stage(self, name: str, stage: str, detail: str = "") -> None: ...
    def note(self, name: str, text: str) -> None: ...
    def ended(self, outcome: Outcome) -> None: ...


class TerminalProgress:
    def __init__(self, total: int, out: TextIO) -> None:
        self._total, self._out = total, out
        self._done = 0
        self._active: dict[str, str] = {}
        self._lock = threading.Lock()

    def stage(self, name: str, stage: str, detail: str = "") -> None:
        with self._lock:
            self._active[name] = f"{stage} {detail}".strip()
            self._draw()

    def note(self, name: str, text: str) -> None:
        with self._lock:
            self._line(f"  {name}: {text}")

    def ended(self, outcome: Outcome) -> None:
        with self._lock:
            self._done += 1
            self._active.pop(outcome.name, None)
            mark = "FAILED" if outcome.state == "failed" else outcome.state
            self._line(f"  {outcome.name}: {mark} in {outcome.seconds:.1f} s")

    def _line(self, text: str) -> None:
        self._out.write(f"\r\x1b[K{text}\n")
        self._draw()

    def _draw(self) -> None:
        if self._done == self._total:
            self._out.write("\r\x1b[K")
        else:
            filled = round(10 * self._done / self._total)
            doing = " | ".join(f"{name.rpartition('/')[2]}: {what}" for name, what in self._active.items())
            line = f"[{'#' * filled}{'.' * (10 - filled)}] {self._done}/{self._total} {doing}"
            self._out.write(f"\r\x1b[K{line[: shutil.get_terminal_size().columns - 1]}")
        self._out.flush()


class JsonProgress:
    """A line for each new stage, and one every few seconds within it."""

    EVERY_SECONDS = 5.0

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._last: dict[str, tuple[str, float]] = {}
        self._lock = threading.Lock()

    def stage(self, name: str, stage: str, detail: str = "") -> None:
        with self._lock:
            before, when = self._last.get(name, ("", 0.0))
            if stage != before or time.monotonic() - when >= self.EVERY_SECONDS:
                self._last[name] = (stage, time.monotonic())
                self._write(event="stage", image=name, stage=stage, detail=detail)

    def note(self, name: str, text: str) -> None:
        with self._lock:
            self._write(event="note", image=name, text=text)

    def ended(self, outcome: Outcome) -> None:
        with self._lock:
            self._write(
                event="ended",
                image=outcome.name,
                state=outcome.state,
                seconds=round(outcome.seconds, 1),
                error=outcome.error,
            )

    def _write(self, **event: object) -> None:
        event = {"time": datetime.now(UTC).isoformat(timespec="seconds"), **event}
        self._out.write(json.dumps({key: value for key, value in event.items() if value not in (None, "")}) + "\n")
        self._out.flush()


# Building: base, image, check, push, for one order.


@dataclass(frozen=True, kw_only=True)
class Base:
    """A base image that the engine holds. digest: its registry's, else its id, which is one too; environment: names and
    digests of its variables, which are public."""

    name: str
    id: str
    digest: str
    size: int
    environment: str = ""


@dataclass(frozen=True, kw_only=True)
class Runtime:
    """The archive that becomes the one shared layer, and the build context around it."""

    digest: str
    size: int
    context: Path

    @classmethod
    def pack(cls, archive: Path, context: Path) -> Runtime:
        """Writes the context of every build: both Dockerfiles and the archive. Raises OrderFailed."""
        if not archive.is_file():
            raise OrderFailed(
                f"the private runtime is not built ({_shown(archive)} is missing): run `make runtime` first"
            )
        with tarfile.open(context, "w") as tar:
            for variant in VARIANTS:
                tar.add(ROOT / f"Dockerfile.{variant}", f"Dockerfile.{variant}")
            tar.add(archive, "build/runtime/runtime.tar")
        with archive.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        return cls(digest=f"sha256:{digest}", size=archive.stat().st_size, context=context)


@dataclass(kw_only=True)
class Builder:
    """Makes derived images; its methods may run in several threads at once."""

    engine: DockerClient
    runtime: Runtime
    progress: Progress
    record: Path
    push: bool = False
    pull: bool = True
    load: bool = False
    _bases: dict[str, Base] = field(default_factory=dict)
    _locks: dict[str, threading.Lock] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _containers: set[str] = field(default_factory=set)

    def make(self, order: Order) -> Outcome:
        """Base, image, check, push, record; never raises."""
        name, started = str(order.name), time.monotonic()
        try:
            built, state = self._make(order, started)
            outcome = Outcome(name=name, state=state, seconds=time.monotonic() - started, built=built)
        except (OrderFailed, BadRecord) as error:
            outcome = Outcome(name=name, state="failed", seconds=time.monotonic() - started, error=str(error))
        except (DockerException, OSError) as error:
            outcome = Outcome(
                name=name, state="failed", seconds=time.monotonic() - started, error=f"{name}: {_explained(error)}"
            )
        self.progress.ended(outcome)
        return outcome

    def stop(self) -> None:
        """Removes the containers of checks under way. Builds under way end with their connection."""
        for each in list(self._containers):
            with suppress(DockerException):
                self.engine.api.remove_container(each, force=True, v=True)

    def _make(self, order: Order, started: float) -> tuple[Built, str]:
        name = str(order.name)
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
            raise OrderFailed(f"{name}: built, but its check fails with {checked.exit_code}: {said}")
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
            raise OrderFailed(f"{name}: no base image {order.base} here, and --no-pull asks no registry for it")
        self.progress.stage(name, "pull")
        try:
            self._follow_pull(name, self.engine.api.pull(order.base, stream=True, decode=True))
        except (OrderFailed, DockerException, OSError) as error:
            said = _explained(error)
            if here is None or "disk" in said:
                raise OrderFailed(f"{name}: no base image {order.base}: {said}") from None
            self.progress.note(name, f"{order.base} is used as it is here, for it cannot be pulled: {said}")
            return here
        return self.engine.images.get(order.base)

    def _follow_pull(self, name: str, events: Iterable[Mapping[str, Any]]) -> None:
        layers: dict[str, tuple[int, int]] = {}
        for event in events:
            if "error" in event:
                raise OrderFailed(event["error"])
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
        for event in events:
            if text := str(event.get("stream") or "").strip():
                log.append(text)
                if step := re.match(r"Step (\d+/\d+)", text):
                    self.progress.stage(name, f"build {what}".strip(), f"step {step[1]}")
            if "error" in event:
                last = next((line for line in reversed(log) if not line.startswith(("Step ", "--->"))), "")
                said = _explained(OrderFailed(event["error"]))
                raise OrderFailed(f"{name}: building {options['tag']} failed: {said}" + (f"; {last}" if last else ""))

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
        for event in self.engine.api.push(order.name.repository, tag=order.name.full_tag, stream=True, decode=True):
            if "error" in event:
                raise OrderFailed(f"{name}: not pushed: {_explained(OrderFailed(event['error']))}")
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


def _require_disk(engine: DockerClient, name: str, needed: int) -> None:
    """Raises OrderFailed where the engine's disk is too small; a disk that cannot be seen from here is let pass."""
    root = engine.info().get("DockerRootDir", "")
    with suppress(OSError):
        free = shutil.disk_usage(root).free
        if free < needed:
            raise OrderFailed(
                f"{name}: the disk is too small: {free / 1e6:,.0f} MB free in {root}, and a build takes"
                f" {needed / 1e6:,.0f} MB: make room (docker system prune) or move the engine's folder"
            )


# What engines and registries say, and what it means to the person who asked.
_HINTS = (
    ("no space left", "the disk is too small: make room (docker system prune)"),
    ("no basic auth|unauthorized|authentication required|denied", "check the name, and `docker login` to its registry"),
    ("repository .*does not exist|name unknown", "create the repository in the registry first"),
    ("manifest unknown|not found", "check its name and tag"),
    ("no such host|timeout|refused|unreachable|timed out", "no registry is in reach: `docker load` it, or give BASE"),
)


def _explained(error: BaseException) -> str:
    said = in_words(error)
    hint = next((hint for pattern, hint in _HINTS if re.search(pattern, said, re.IGNORECASE)), "")
    return f"{said} ({hint})" if hint else said


def _folder_digest(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            digest.update(f"{path.relative_to(folder)}\0{hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return digest.hexdigest()


def _shown(path: Path) -> Path:
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


# Side by side.


def side_by_side(work: Callable[[Order], Outcome], orders: Sequence[Order], jobs: int) -> list[Outcome]:
    """Every order's outcome, in their order. The threads are daemons, so that Ctrl-C need not wait for a build."""
    waiting: queue.SimpleQueue[int] = queue.SimpleQueue()
    ended: queue.SimpleQueue[tuple[int, Outcome | BaseException]] = queue.SimpleQueue()
    for number in range(len(orders)):
        waiting.put(number)

    def worker() -> None:
        while True:
            try:
                number = waiting.get_nowait()
            except queue.Empty:
                return
            try:
                ended.put((number, work(orders[number])))
            except BaseException as error:  # a bug: it belongs to the main thread, which would wait for ever
                ended.put((number, error))

    for _ in range(min(jobs, len(orders))):
        threading.Thread(target=worker, daemon=True).start()
    outcomes: dict[int, Outcome] = {}
    while len(outcomes) < len(orders):
        number, outcome = ended.get()
        if isinstance(outcome, BaseException):
            raise outcome
        outcomes[number] = outcome
    return [outcomes[number] for number in range(len(orders))]


HEADINGS = ("image", "state", "digest", "base", "MB", "added MB", "seconds", "check")


def table(outcomes: Iterable[Outcome]) -> str:
    rows = [HEADINGS, *map(_row, outcomes)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    numbers = {"MB", "added MB", "seconds"}
    return "\n".join(
        "  ".join(
            cell.rjust(width) if heading in numbers else cell.ljust(width)
            for cell, width, heading in zip(row, widths, HEADINGS, strict=True)
        ).rstrip()
        for row in rows
    )


def _row(outcome: Outcome) -> tuple[str, ...]:
    built, seconds = outcome.built, f"{outcome.seconds:.1f}"
    if built is None:
        return (outcome.name, outcome.state, "-", "-", "-", "-", seconds, "-")
    return (
        outcome.name,
        outcome.state,
        (built.digest or built.id).removeprefix("sha256:")[:12] + ("" if built.digest else " (local)"),
        built.base_digest.removeprefix("sha256:")[:12],
        f"{built.size / 1e6:.0f}",
        f"{built.added / 1e6:.0f}",
        seconds,
        "no GPU here" if "device" in built.check.failed else "ok",
    )


# The command line.


def main(argv: list[str] | None = None) -> int:
    """Runs the command; returns 0 where every image was made, else 1; 2 for bad usage, 130 for Ctrl-C."""
    options = _parser().parse_args(argv)
    try:
        orders = plan(
            catalogue.load(),
            [word for words in options.model for word in re.split(r"[\s,]+", words) if word],
            options.variant,
            registry=options.registry,
            tag=options.tag,
            base=options.base,
        )
        if options.push and options.registry == derived.REGISTRY:
            raise OrderFailed("PUSH=1 wants to know where to: give REGISTRY=host/path")
    except (OrderFailed, BadName, InvalidCatalogue) as error:
        print(f"images: {error}", file=sys.stderr)
        return 2
    try:
        return _run(orders, options)
    except (NoEngine, OrderFailed) as error:
        print(f"images: {error}", file=sys.stderr)
        return 1


def _run(orders: Sequence[Order | str], options: argparse.Namespace) -> int:
    complaints = [each for each in orders if isinstance(each, str)]
    wanted = [each for each in orders if isinstance(each, Order)]
    for complaint in complaints:
        print(f"images: {complaint}", file=sys.stderr)
    if not wanted:
        return 1
    progress = TerminalProgress(len(wanted), sys.stderr) if sys.stderr.isatty() else JsonProgress(sys.stderr)
    with tempfile.TemporaryDirectory(prefix="deepaas-batch-") as folder:
        builder = Builder(
            engine=connect(),
            runtime=Runtime.pack(RUNTIME, Path(folder, "context.tar")),
            progress=progress,
            record=options.record,
            push=options.push,
            pull=options.pull,
            load=options.check == "load",
        )
        try:
            outcomes = side_by_side(builder.make, wanted, options.jobs)
        except KeyboardInterrupt:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            builder.stop()
            print("\nimages: stopped; what was built is kept", file=sys.stderr)
            return 130
    print(table(outcomes))
    failed = [outcome for outcome in outcomes if outcome.error]
    for outcome in failed:
        print(f"images: {outcome.error}", file=sys.stderr)
    if len(failed) < len(outcomes):
        print(f"written down in {_shown(options.record)}")
    return 1 if failed or complaints else 0


def _positive(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text)):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 up")
    return int(text)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m scripts.images.builder",
        description="Builds derived images: a catalogue image, unmodified, plus the supervisor and its private runtime,"
        " called REGISTRY/<module>:[TAG-]<variant>. Then runs `supervisor check` in each; a GPU that this machine lacks"
        " does not count against a gpu image.",
        epilog="The base is pulled where its registry has it, else the local image is used and a line says so; a local"
        " image that never was in a registry is used as it is. Building again with nothing changed takes seconds."
        " One image that fails leaves the others alone; the exit code is then 1. Examples:"
        " `make images MODEL=audio-classification`; `make images MODEL=all VARIANT=cpu JOBS=4`;"
        " `make images MODEL=yolov8 REGISTRY=registry.example.org/batch TAG=2026-01 PUSH=1`.",
    )
    parser.add_argument(
        "model", nargs="+", help="modules by own name or image repository (`make catalogue` lists them), or all"
    )
    parser.add_argument("--variant", default="all", metavar="cpu|gpu|all", help="default: every variant there is")
    parser.add_argument("--registry", default=derived.REGISTRY, help="first part of the name (default: %(default)s)")
    parser.add_argument("--tag", help="prefix of the tag: 2026-01 gives 2026-01-cpu")
    parser.add_argument("--base", help="another base image than the catalogue's, for one module")
    parser.add_argument("--push", action="store_true", help="push each image once its check has passed")
    parser.add_argument(
        "--check",
        choices=("load",),
        help="load: have the check load the model, too, with the memory, and perhaps the network, that this takes",
    )
    parser.add_argument("--no-pull", dest="pull", action="store_false", help="ask no registry: local base images alone")
    parser.add_argument(
        "--jobs", type=_positive, default=2, metavar="N", help="builds side by side (default: %(default)s)"
    )
    parser.add_argument("--record", type=Path, default=derived.RECORD, metavar="FILE", help="default: build/build.json")
    return parser


if __name__ == "__main__":
    sys.exit(main())
