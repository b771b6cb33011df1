"""The copies of the model that predict side by side in one job (JOB_WORKERS): each checked against the job before its
first item, and who of them predicts beside whom."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from supervisor.failures import DeviceMissing, Failure
from supervisor.job import JobSpec
from supervisor.machine.device import Device
from supervisor.model import silent_fallback, usage
from supervisor.model.description import Module
from supervisor.model.environment import guest_environment
from supervisor.model.releases import CLI, WORKER
from supervisor.model.runner import Answer, Call, Choice, LocalFile, Model
from supervisor.model.silent_fallback import FallbackDetector
from supervisor.model.usage import Usage

# Seconds between SIGTERM and SIGKILL for copies that are cut off.
_TERM = 1.0


class Observer(Protocol):
    """What a job's models have to say. Called from any thread."""

    def log(self, line: str) -> None:
        """A line that a model printed, or a remark of ours on it."""

    def warning(self, message: str) -> None:
        """Something that the job goes on after."""

    def model_ready(self, module: Module, choice: Choice, seconds: float) -> None:
        """The first copy is ready, and how items are run is chosen; seconds: that it took. Called once."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """One item for a copy. shown: its first input's URI; files: its local inputs, alone in their folder; fields: the
    arguments that take them, None for the job's; arguments: its own, None where the job's hold; restore: brings the
    inputs back into the emptied folder."""

    shown: str
    files: Sequence[LocalFile]
    folder: Path
    fields: Sequence[str | None]
    arguments: Mapping[str, Any] | None
    restore: Callable[[], object]

    @property
    def names_fields(self) -> bool:
        """Whether it says itself which arguments take its files."""
        return any(self.fields)


class Copies:
    """A job's models. One thread predicts with one copy; `cut_off` and `end` may be called from any other meanwhile."""

    def __init__(
        self, spec: JobSpec, device: Device, folder: Path, count: int, items: int | None, observer: Observer
    ) -> None:
        """folder: where each copy gets a folder for temporary files; items: how many the job has, None: not known yet.

        Raises ImageUnfit without DEEPaaS, and BadUsage where JOB_RUN_AS cannot be.
        """
        self._spec = spec
        self._items = items
        self._observer = observer
        self._fallback = FallbackDetector(device, observer.log)
        environment = guest_environment(spec.environment, spec.guest_env)
        self._models = [
            Model(spec, environment, device, folder / f"tmp-{copy}", self._fallback.line, copy) for copy in range(count)
        ]
        self._described: Module | None = None
        self._choice: Choice | None = None
        self._prepared: set[int] = set()
        self._fitted: dict[int, Call] = {}  # by copy: the call of an item that names neither fields nor arguments
        self._began: float | None = None
        self._preparing = threading.Lock()
        self._turns = _Turns(count)
        self._failed_last = 0
        self._cut = False

    def __len__(self) -> int:
        return len(self._models)

    def start(self) -> None:
        """Starts the first copy, which begins to import the module."""
        self._models[0].start()

    def module(self) -> Module:
        """What the first copy says of its module, which may have to be waited for. Raises ImageUnfit."""
        with self._preparing:
            self._described = self._described or self._models[0].prepare()
            return self._described

    def make_ready(self, copy: int, request: Request) -> None:
        """Sees to it that a copy has been checked against the job; request: its next item. Raises the job's
        failures."""
        if copy in self._fitted or (request.names_fields and copy in self._prepared):
            return
        with self._heeding_fallbacks(copy):
            self._make_ready(copy, request)

    def predict(self, copy: int, request: Request) -> Answer:
        """One copy's answer. Where its process died of the item, the item is tried once more, with no other copy
        predicting beside it. Raises the item's failure; DeviceMissing and ImageUnfit are the job's."""
        with self._heeding_fallbacks(copy):
            return self._predict(copy, request)

    def dismiss(self, copy: int) -> None:
        """No more items for this copy."""
        self._models[copy].dismiss()

    def cut_off(self) -> None:
        """Ends every prediction that still runs."""
        self._cut = True
        ends = [threading.Thread(target=model.end, args=(_TERM,), daemon=True) for model in self._models]
        for each in ends:
            each.start()
        for each in ends:
            each.join(_TERM + 2)

    def end(self) -> None:
        """Ends all copies with everything that they started."""
        for model in self._models:
            model.end()

    def usage(self) -> Usage:
        """What they have used until now, together."""
        return usage.together([model.usage() for model in self._models])

    def log_tail(self, copy: int | None = None) -> tuple[str, ...]:
        """The last lines that a copy printed for its item; None: that the one did which failed last."""
        return self._models[self._failed_last if copy is None else copy].tail()

    def _make_ready(self, copy: int, request: Request) -> None:
        self._began = self._began or time.perf_counter()
        model = self._models[copy]
        if copy and copy not in self._prepared:
            model.start()
            model.prepare()
        self.module()
        self._prepared.add(copy)
        if not request.names_fields:  # else it is the item that does not fit
            call = model.fit(self._spec.predict_args)
            self._choose(model, call, request)
            self._fitted[copy] = call

    def _choose(self, model: Model, call: Call, request: Request) -> Choice:
        """The runner for an item: the first one's, unless that is a command line, which carries not every name."""
        module = self.module()
        with self._preparing:
            first, choice = self._choice is None, self._choice
            if choice is None or choice.runner != WORKER:
                choice = model.choose(call, self._items, [file.path.name for file in request.files])
            self._choice = self._choice or choice
        if first:
            self._observer.model_ready(module, choice, time.perf_counter() - (self._began or 0))
        return choice

    def _predict(self, copy: int, request: Request) -> Answer:
        model = self._models[copy]
        model.begin_item()
        if request.arguments is None and not request.names_fields:
            call = self._fitted[copy]
        else:
            arguments = self._spec.predict_args if request.arguments is None else request.arguments
            call = model.fit(arguments, request.fields)
        choice = self._choose(model, call, request)
        try:
            with self._turns.beside_others():
                return model.predict(choice, call, request.files, request.folder)
        except Failure as failure:
            # In auto the worker has had its turn after deepaas-cli.
            tried_twice = choice.runner == CLI and self._spec.runner == "auto"
            if not failure.crashed or tried_twice or self._cut:
                raise
            self._observer.warning(f"{request.shown}: {failure.message}; it is tried once more, alone")
        request.restore()
        with self._turns.alone():
            return model.predict(choice, call, request.files, request.folder)

    @contextmanager
    def _heeding_fallbacks(self, copy: int) -> Iterator[None]:
        """Work of a model's. That it took the CPU although CUDA is there ends a job that asked for CUDA, whatever
        else came of it, and is a warning in any other."""
        try:
            yield
        except Failure:
            self._failed_last = copy
            self._heed_fallback()
            raise
        self._heed_fallback()

    def _heed_fallback(self) -> None:
        seen = self._fallback.take()
        if seen is None:
            return
        if self._spec.device == "cuda":
            raise DeviceMissing(f"JOB_DEVICE is cuda, but {seen}", silent_fallback.HINT) from None
        self._observer.warning(seen)


class _Turns:
    """Who predicts beside whom: usually every copy, but an item that killed its model is tried with none beside it."""

    def __init__(self, copies: int) -> None:
        self._count = copies
        self._free = threading.Semaphore(copies)
        self._taking_all = threading.Lock()

    @contextmanager
    def beside_others(self) -> Iterator[None]:
        with self._free:
            yield

    @contextmanager
    def alone(self) -> Iterator[None]:
        with self._taking_all:
            for _ in range(self._count):
                self._free.acquire()
            try:
                yield
            finally:
                self._free.release(self._count)
