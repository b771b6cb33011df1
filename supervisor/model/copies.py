"""The copies of the model that predict side by side in one job (JOB_WORKERS): how many there are, and each checked
against the job before its first item."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from supervisor.failures import DeviceMissing, Failure, ItemFailed, OutOfMemory, Stopped
from supervisor.job import AUTO, MANY, MOST_WORKERS, JobSpec
from supervisor.machine import cpu, memory
from supervisor.machine.device import Device
from supervisor.model import silent_fallback, usage
from supervisor.model.answer_rules import leaves_of
from supervisor.model.description import Module
from supervisor.model.environment import guest_environment
from supervisor.model.growth import Growth
from supervisor.model.releases import CLI, WORKER
from supervisor.model.runner import Answer, AnswerRefused, Call, Choice, LocalFile, Model, Origin
from supervisor.model.silent_fallback import Evidence, FallbackDetector, words_of
from supervisor.model.turns import Overlaps, Prediction, Sharing, Turns
from supervisor.model.usage import Usage

# Seconds between SIGTERM and SIGKILL for copies that are cut off.
_TERM = 1.0
# What a further copy may take, beside what one was seen to take, and what stays free: bytes, or a part of what is free.
_MORE_THAN_SEEN = 1.1
_KEPT_FREE, _KEPT_FREE_PART = 256 * 1024 * 1024, 0.1
# Free bytes for each further import at once: TensorFlow's and PyTorch's take less than 1 GiB, and weights come later.
_PLENTY = 4 * 1024**3


class Observer(Protocol):
    """What a job's models have to say. Called from any thread."""

    def log(self, line: str) -> None:
        """A line that a model printed, or a remark of ours on it."""

    def warning(self, message: str) -> None:
        """Something that the job goes on after."""

    def model_ready(self, module: Module, choice: Choice, seconds: float) -> None:
        """The first copy is ready, and how items are run is chosen; seconds: that it took. Called once."""

    def runner_changed(self, choice: Choice) -> None:
        """Items are run in another way than was chosen."""


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


@dataclass(frozen=True, kw_only=True)
class Predicted:
    """What one copy made of one item, and what it needs to be made once more."""

    answer: Answer
    request: Request
    prediction: Prediction


class Copies:
    """A job's models. One thread predicts with one copy; `cut_off` and `end` may be called from any other meanwhile."""

    def __init__(self, spec: JobSpec, device: Device, folder: Path, items: int | None, observer: Observer) -> None:
        """folder: where each copy gets a folder for temporary files; items: how many the job has, None: not known yet.

        Raises ImageUnfit without DEEPaaS, and BadUsage where JOB_RUN_AS cannot be.
        """
        self._spec = spec
        self._device = device
        self._folder = folder
        self._items = items
        self._observer = observer
        self._environment = guest_environment(spec.environment, spec.guest_env)
        self._most = _most(spec, items)
        self._growth = Growth(self._most, self._carried) if spec.workers == AUTO else None
        self._growing = threading.Lock()
        self._fallbacks: list[FallbackDetector] = []
        self._models: list[Model] = []
        self._spares: list[Model] = []  # copies on their way before it is known whether they are wanted
        for copy in range(1 if self._growth else self._most):
            self._add_model(copy)
        self._replaced: list[Usage] = []
        self._gpus_before: usage.GpuMemory | None = None
        self._described: Module | None = None
        self._choice: Choice | None = None
        self._runner: str | None = None
        self._prepared: set[int] = set()
        self._fitted: dict[int, Call] = {}  # by copy: the call of an item that names neither fields nor arguments
        self._began: float | None = None
        self._preparing = threading.Lock()
        self._turns = Turns()
        self._overlaps = Overlaps()
        self._failed_last = 0
        self._over = self._cut = False
        self.on_more: Callable[[], None] = lambda: None  # called for each copy that is added while the job runs

    def __len__(self) -> int:
        return len(self._models)

    def start(self) -> None:
        """Starts the first copy, which begins to import the module."""
        if self._device.gpus:
            self._gpus_before = usage.gpu_memory(self._device.gpus, self._environment.get("LD_LIBRARY_PATH", ""))
        self._models[0].start()
        self._start_spares(_PLENTY)

    def module(self) -> Module:
        """What the first copy says of its module, which may have to be waited for. Raises ImageUnfit."""
        with self._preparing:
            self._described = self._described or self._models[0].prepare()
            return self._described

    def begin(self, copy: int) -> bool:
        """Loads a copy that was added while the job ran, before its first item; whether it can be had."""
        assert self._growth is not None  # noqa: S101
        model = self._models[copy]
        try:
            self._prepare(copy)
            model.warm_up()
        except Stopped:
            return False
        except Failure as failure:
            model.end()
            with self._growing:
                told = not self.goes_on(copy)
                self._growth.not_loaded(copy)
            if not told:
                self._observer.warning(
                    f"the job goes on with {self._growth.wanted} of its model, for no other copy can be loaded: "
                    f"{failure.message}"
                )
            return False
        with self._growing:
            self._growth.arrived()
        return True

    def goes_on(self, copy: int) -> bool:
        """Whether a copy that was added takes another item."""
        return self._growth is None or copy < self._growth.wanted

    def make_ready(self, copy: int, request: Request) -> None:
        """Sees to it that a copy has been checked against the job; request: its next item. Raises the job's
        failures."""
        if copy in self._fitted or (request.names_fields and copy in self._prepared):
            return
        with self._heeding_fallbacks(copy, loading=True):
            self._make_ready(copy, request)

    def predict(self, copy: int, request: Request) -> Predicted:
        """One copy's answer. Where its process died of the item, the item is tried once more, with no other copy
        predicting beside it. Raises the item's failure; DeviceMissing and ImageUnfit are the job's."""
        if self._device.gpus:
            names = (file.path.name for file in request.files)
            self._fallbacks[copy].begin(words_of(request.shown, *names, *self._texts(request)))
        with self._heeding_fallbacks(copy):
            predicted = self._predict(copy, request)
        if self._growth:
            self._grow()
        return predicted

    def settled(self, predicted: Predicted) -> Answer:
        """The answer as a result, once all that ran beside it have ended. Where one of them wrote its answer to the
        same file, each may hold the other's: the item is done again, alone. Raises the item's failure."""
        answer, sharing = predicted.answer, self._overlaps.sharing(predicted.prediction)
        if sharing is not Sharing.NONE:
            answer = self._done_again(predicted.request, answer.origin if sharing is Sharing.CERTAIN else None).answer
        return answer.settled()

    def dismiss(self, copy: int) -> None:
        """No more items for this copy."""
        with self._turns.beside_others():  # the first may be about to do another's item again
            self._models[copy].dismiss()

    def cut_off(self) -> None:
        """Ends every prediction that still runs."""
        self._cut = True
        ends = [threading.Thread(target=model.end, args=(_TERM,), daemon=True) for model in self._all()]
        for each in ends:
            each.start()
        for each in ends:
            each.join(_TERM + 2)

    def end(self) -> None:
        """Ends all copies with everything that they started."""
        for model in self._all():
            model.end()

    def usage(self) -> Usage:
        """What they have used until now, together."""
        first, *others = [model.usage() for model in self._models]
        return usage.together([usage.in_turn([*self._replaced, first]), *others])

    def log_tail(self, copy: int | None = None) -> tuple[str, ...]:
        """The last lines that a copy printed for its item; None: that the one did which failed last."""
        return self._models[self._failed_last if copy is None else copy].tail()

    # one copy

    def _add_model(self, copy: int) -> None:
        self._models.append(self._spares.pop(0) if self._spares else self._new_model(copy))

    def _new_model(self, copy: int) -> Model:
        while len(self._fallbacks) <= copy:
            self._fallbacks.append(FallbackDetector(self._device, self._observer.log))
        scratch, log = self._folder / f"tmp-{copy}", self._fallbacks[copy].line
        return Model(self._spec, self._environment, self._device, scratch, log, copy, self._most)

    def _make_ready(self, copy: int, request: Request) -> None:
        self._began = self._began or time.perf_counter()
        self._prepare(copy)
        if not request.names_fields:  # else it is the item that does not fit
            with self._turns.beside_others():
                model = self._models[copy]
                call = model.fit(self._spec.predict_args)
                self._choose(model, call, request)
                self._fitted[copy] = call

    def _prepare(self, copy: int) -> None:
        """Waits until a copy has imported the module."""
        model = self._models[copy]
        if copy and copy not in self._prepared:
            if not model.started:
                model.start()
            model.prepare()
        self.module()
        self._prepared.add(copy)

    def _choose(self, model: Model, call: Call, request: Request) -> Choice:
        """The runner for an item: the first one's, unless that is a command line, which carries not every name."""
        module = self.module()
        with self._preparing:
            first, choice = self._choice is None, self._choice
            if choice is None or choice.runner != WORKER:
                choice = model.choose(call, self._items, [file.path.name for file in request.files])
            self._choice = self._choice or choice
        if first:
            if taken := model.memory_taken():
                self._start_spares(2 * taken)
            self._runner = choice.runner
            self._observer.model_ready(module, choice, time.perf_counter() - (self._began or 0))
        return choice

    def _predict(self, copy: int, request: Request) -> Predicted:
        self._models[copy].begin_item()
        prediction = Prediction()
        try:
            with self._turns.beside_others():
                return self._one(copy, request, prediction)
        except Failure as failure:
            sharing = self._spoilt_by_another(failure, prediction)
            if sharing is not Sharing.NONE:
                return self._done_again(request, prediction.ran.origin if sharing is Sharing.CERTAIN else None)
            # In auto the worker has had its turn after deepaas-cli.
            tried_twice = self._spec.runner == "auto" and self._choice and self._choice.runner == CLI
            if not failure.crashed or tried_twice or self._cut:
                raise
            if self._growth and isinstance(failure, OutOfMemory):
                with self._growing:
                    self._growth.lost()
            self._observer.warning(f"{request.shown}: {failure.message}; it is tried once more, alone")
        request.restore()
        with self._turns.alone():
            return self._one(copy, request, Prediction())

    def _spoilt_by_another(self, failure: Failure, prediction: Prediction) -> Sharing:
        """Whether an item may have failed because another copy wrote to its file, or took it away."""
        if self._cut or failure.crashed or not isinstance(failure, ItemFailed):
            return Sharing.NONE
        if self._turns.are_one_by_one and prediction.beside:
            return Sharing.POSSIBLE
        return self._overlaps.sharing(prediction)

    def _one(self, copy: int, request: Request, prediction: Prediction) -> Predicted:
        model, origin, failed = self._models[copy], None, True
        call = self._call(copy, request)
        choice = self._choose(model, call, request)
        self._overlaps.begin(prediction)
        try:
            answer = model.predict(choice, call, request.files, request.folder)
            origin, failed = answer.origin, False
            return Predicted(answer=answer, request=request, prediction=prediction)
        except AnswerRefused as refused:
            origin = refused.origin
            raise
        finally:
            self._overlaps.end(prediction, origin, failed=failed)
            if model.ran != self._runner:
                self._tell_runner(model, choice)

    def _call(self, copy: int, request: Request) -> Call:
        if request.arguments is None and not request.names_fields and copy in self._fitted:
            return self._fitted[copy]
        arguments = self._spec.predict_args if request.arguments is None else request.arguments
        return self._models[copy].fit(arguments, request.fields)

    def _tell_runner(self, model: Model, choice: Choice) -> None:
        if model.ran:
            self._runner = model.ran
            why = choice.why if model.ran == choice.runner else f"{choice.runner} was chosen, and failed"
            self._observer.runner_changed(Choice(runner=model.ran, why=why))

    def _done_again(self, request: Request, origin: Origin | None) -> Predicted:
        """The first copy does it, which is never given up."""
        if origin and self._turns.one_by_one():
            self._observer.warning(
                f"two copies of the model wrote their answers to one file, {origin.path}: their items are done again, "
                "and from now on one copy predicts at a time. Declare it so: `copies: 1` in images/<module>.yaml"
            )
        request.restore()
        with self._turns.alone():
            self._models[0].begin_item()
            return self._one(0, request, Prediction())

    # how many

    def _start_spares(self, each: int) -> None:
        """Has the copies of the first step import the module before the first item has shown that there will be any,
        where so many bytes are free for each: a job of a few seconds would be half over before."""
        room = memory.available()
        if self._growth is None or self._device.gpus or room is None:
            return
        with self._growing:
            if self._over or self._spares or len(self._models) > 1:
                return
            count = min(self._growth.following - 1, (room - _KEPT_FREE) // each)
            self._spares = spares = [self._new_model(1 + number) for number in range(count)]
        for spare in spares:
            with suppress(Failure):  # told once it is needed
                spare.start()

    def _grow(self) -> None:
        """After an item: adds the copies that are wanted, and loads the first anew where fewer are to share the cores
        than was thought."""
        assert self._growth is not None  # noqa: S101
        with self._growing:
            self._growth.ended()
            anew = (
                len(self._models) == 1
                and cpu.share(self._growth.most) > cpu.share(self._most)
                and not self._device.gpus
            )
            self._most = self._growth.most
            while len(self._models) < self._growth.wanted and not self._over:
                self._add_model(len(self._models))
                self.on_more()
            superfluous, self._spares = self._spares, []
        for spare in superfluous:
            spare.end()
        if anew:
            self._load_anew()

    def _load_anew(self) -> None:
        """The first copy, with its share of the cores as it turns out: threads are a process's from its start on."""
        old = self._models[0]
        old.end()
        with self._growing:
            if self._over:
                return
            self._replaced.append(old.usage())
            self._models[0] = model = self._new_model(0)
        model.start()
        model.prepare()

    def _carried(self) -> int:
        """How many copies the machine's memory carries, and its GPUs', by what those there are were seen to take."""
        taken = [took for model in self._models if (took := model.memory_taken())]
        room = memory.available()
        carried = MOST_WORKERS
        if taken and room is not None:
            room -= max(_KEPT_FREE, int(room * _KEPT_FREE_PART))
            carried = len(self._models) + max(0, int(room / (max(taken) * _MORE_THAN_SEEN)))
        return min(carried, self._carried_by_gpus()) if self._device.gpus else carried

    def _carried_by_gpus(self) -> int:
        """One on each, or as many as its memory takes where the driver tells."""
        gpus, before = self._device.gpus, self._gpus_before
        now = usage.gpu_memory(gpus, self._environment.get("LD_LIBRARY_PATH", ""))
        if before is None or now is None:
            return len(gpus)
        on_each = -(-len(self._models) // len(gpus))
        taken = max(1, max(now.used[0], self._models[0].usage().gpu_memory or 0) - before.used[0]) / on_each
        return sum(
            max(1, int((total - used) * (1 - _KEPT_FREE_PART) / (taken * _MORE_THAN_SEEN)))
            for total, used in zip(before.total, before.used, strict=True)
        )

    def _all(self) -> list[Model]:
        """From now on there are no more."""
        with self._growing:
            self._over = True
            return [*self._models, *self._spares]

    # a silent fallback

    def _texts(self, request: Request) -> list[str]:
        arguments = self._spec.predict_args if request.arguments is None else request.arguments
        return [text for text in leaves_of(dict(arguments)) if isinstance(text, str)]

    @contextmanager
    def _heeding_fallbacks(self, copy: int, *, loading: bool = False) -> Iterator[None]:
        """Work of a model's. That it took the CPU although CUDA is there ends a job that asked for CUDA, whatever
        else came of it, and is a warning in any other. A model that is only loaded has not had to use a GPU yet."""
        try:
            yield
        except Failure:
            self._failed_last = copy
            self._heed_fallback(copy)
            raise
        if not loading:
            self._heed_fallback(copy)

    def _heed_fallback(self, copy: int) -> None:
        detector = self._fallbacks[copy]
        if not detector.seen:
            return
        fallen_back, told = detector.verdict(self._evidence(copy))
        if fallen_back and self._spec.device == "cuda":
            raise DeviceMissing(f"JOB_DEVICE is cuda, but {told}", silent_fallback.HINT) from None
        self._observer.warning(told)

    def _evidence(self, copy: int) -> Evidence:
        model, before = self._models[copy], self._gpus_before
        now = usage.gpu_memory(self._device.gpus, self._environment.get("LD_LIBRARY_PATH", "")) if before else None
        grown = None
        if before and now:
            seen = max(sum(now.used), model.usage().gpu_memory or 0)
            grown = seen - sum(before.used)
        return Evidence(driver=model.driver_loaded(), grown=grown)


def _most(spec: JobSpec, items: int | None) -> int:
    """How many copies the job asks for, or its cores allow; no more than it has items. One more than there are cores
    has work for them while another waits for its next item."""
    asked = spec.workers
    if asked == AUTO:
        cores = cpu.cores() if spec.image.copies == MANY else 1
        asked = min(cores + 1, MOST_WORKERS) if cores > 1 else 1
    return max(1, min(int(asked), items or MOST_WORKERS))
