"""The model of one job: started, asked what it is, given the job's arguments, and run on one item after another."""

import mimetypes
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

from supervisor.device import Device
from supervisor.failures import BadUsage, Failure, ImageUnfit, ItemFailed, OutOfMemory, PredictionTimedOut
from supervisor.job import JobSpec
from supervisor.model import answer, description, find, releases
from supervisor.model.description import Field, Module
from supervisor.model.process import Guest, GuestDied, GuestTimeout

# Beside what Python guesses, which differs between releases and knows none of these.
_SUFFIXES = {
    "application/json": ".json",
    "application/zip": ".zip",
    "application/octet-stream": ".bin",
    "image/tiff": ".tif",
    "image/jpeg": ".jpg",
    "text/plain": ".txt",
    "text/csv": ".csv",
    "video/mp4": ".mp4",
}


@dataclass(frozen=True, kw_only=True)
class Choice:
    """How items are run, and why."""

    runner: str
    why: str


@dataclass(frozen=True, kw_only=True)
class Answer:
    """A result on the local disk. runner: what it was made by in the end."""

    path: Path
    suffix: str
    media_type: str
    runner: str


class Model:
    """The module in the image, driven through its guest process.

    Call start, then prepare, then predict as often as there are items, then end. Not thread-safe.
    """

    def __init__(self, spec: JobSpec, device: Device, scratch: Path, log: Callable[[str], None]) -> None:
        self._spec = spec
        self._environment = {**spec.guest_environment, **device.environment()}
        self._scratch = scratch
        self._log = log
        self._guest: Guest | None = None
        self._warm = False
        self._program_ran = False
        self._last_tail: tuple[str, ...] = ()
        self.installation = find.find(self._environment)

    def start(self) -> None:
        """Starts the guest, which begins to import the module; prepare waits for it."""
        self._scratch.mkdir(exist_ok=True)
        self._warm = self._program_ran = False
        try:
            self._guest = Guest(self.installation, self._environment, self._scratch, self._log)
        except OSError as error:
            raise ImageUnfit(f"the Python of DEEPaaS, {self.installation.python}, does not start: {error}") from None
        self._guest.send("describe", wanted=self._environment.get("DEEPAAS_V2_MODEL") or None)

    def prepare(self) -> Module:
        """Waits for the module. Raises ImageUnfit where it cannot be used."""
        module = description.from_reply(self._reply())
        if module.release < (1,):
            raise ImageUnfit(f"DEEPaaS {module.deepaas} has no V2 model API: 1.0 is the first release that has")
        if not module.has_predict:
            raise ImageUnfit(f"the module {module.name} has no predict()")
        self.module = module
        return module

    def fit(self, arguments: Mapping[str, Any], wanted_field: str | None) -> Mapping[str, Any]:
        """Checks the job's arguments against the module's own. Raises BadUsage; returns them under its names."""
        self.field: Field = self.module.file_field(wanted_field)
        known = self.module.require_known(arguments, self.field)
        problems = self._ask("check", arguments=known)["problems"] if known else {}
        if problems:
            name, problem = next(iter(problems.items()))
            field = self.module.field(name)
            raise BadUsage(
                f"JOB_PREDICT_ARGS: {name} is {repr(known[name])[:200]}: {problem}",
                f"the argument is {field.summary}. {field.help}" if field else None,
            )
        return known

    def choose(self, arguments: Mapping[str, Any], file_names: list[str]) -> Choice:
        """The runner for this job's items. Raises BadUsage where JOB_RUNNER=cli cannot carry them."""
        wanted = self._spec.runner
        if wanted == "worker":
            return Choice(runner="worker", why="JOB_RUNNER asks for it")
        limits = (self._cli_limit(arguments, name) for name in file_names)
        limit = next((found for found in limits if found), None)
        if wanted == "auto":
            if limit:
                return Choice(runner="worker", why=limit)
            if len(file_names) > 1:
                return Choice(runner="worker", why=f"{len(file_names)} items: the model is loaded once")
            return Choice(runner=releases.CLI, why=f"a single item, and deepaas-cli {self.module.deepaas} carries it")
        if limit is None:
            return Choice(runner=releases.CLI, why="JOB_RUNNER asks for it")
        other = releases.predict_limit(self.module, self.installation, self.field, arguments)
        if other is None:
            return Choice(runner=releases.PREDICT, why=f"JOB_RUNNER asks for a command line, and {limit}")
        raise BadUsage(
            f"JOB_RUNNER is cli, but {limit}" + ("" if limit == other else f"; {other}"),
            "use JOB_RUNNER=auto or worker, which give the same answer",
        )

    def _cli_limit(self, arguments: Mapping[str, Any], file_name: str) -> str | None:
        return releases.cli_limit(self.module, self.installation, self.field, arguments, file_name)

    def predict(self, choice: Choice, arguments: Mapping[str, Any], source: Path, folder: Path) -> Answer:
        """Predicts on one file; the answer lies in `folder`. Raises the Failure that fits."""
        if self._guest is None:
            self.start()
            self.prepare()
        if choice.runner == "worker":
            return self._by_worker(arguments, source, folder)
        if choice.runner == releases.PREDICT:
            return self._by_predict(source, folder)
        try:
            return self._by_cli(arguments, source, folder)
        except ItemFailed as failure:
            if self._spec.runner != "auto":
                raise
            # deepaas-cli hands over less than the REST API does (no extension, no content type, unvalidated
            # defaults) and writes fewer kinds of answers: the worker has the last word.
            self._log(f"supervisor: deepaas-cli failed ({failure.message}); trying the worker")
        if self._guest is None:
            self.start()
            self.prepare()
        return self._by_worker(arguments, source, folder)

    def dismiss(self) -> None:
        """No more items: the guest may leave while the last result is uploaded."""
        if self._guest:
            self._guest.dismiss()

    def end(self) -> None:
        """Ends the guest and all that it started. May be called at any time, more than once."""
        guest, self._guest = self._guest, None
        if guest:
            guest.end()

    def tail(self) -> tuple[str, ...]:
        """The last lines of the model's log."""
        return self._guest.log.tail() if self._guest else self._last_tail

    # one item by each way

    def _by_worker(self, arguments: Mapping[str, Any], source: Path, folder: Path) -> Answer:
        self._warm_up()
        written = folder / "answer"
        reply = self._ask(
            "predict",
            self._spec.predict_timeout,
            files={self.field.name: str(source)},
            arguments=arguments,
            output=str(written),
        )
        if reply["form"] == "bytes" and not str(reply["name"] or "").endswith(".json"):
            return _bytes_answer(written, reply["media_type"], reply["name"])
        return self._settled(written, folder, "json", "worker")

    def _by_cli(self, arguments: Mapping[str, Any], source: Path, folder: Path) -> Answer:
        written = folder / "answer.json"
        argv = releases.cli_arguments(self.field, str(source), arguments, str(written))
        self._program(releases.CLI, argv, None, written)
        return self._settled(written, folder, "json", releases.CLI)

    def _by_predict(self, source: Path, folder: Path) -> Answer:
        written = folder / f"out_{source.stem}.json"
        # It writes into its working folder first, which need not be writable elsewhere.
        self._program(releases.PREDICT, releases.predict_arguments(str(source), str(folder)), folder, written)
        return self._settled(written, folder, "repr", releases.PREDICT)

    def _program(self, name: str, argv: list[str], folder: Path | None, written: Path) -> None:
        """Success is the expected output, whatever the exit status says: 1.3.0 to 2.5.1 exit 1 on success, 2.5.2
        and 2.6.0 can exit 0 without output."""
        if self._program_ran:  # its options cannot be registered twice: a process runs one program
            self.end()
            self.start()
            self.prepare()
        self._warm_up()
        self._program_ran = True
        reply = self._ask(
            "program",
            self._spec.predict_timeout,
            name=name,
            argv=argv,
            folder=str(folder) if folder else None,
        )
        if not written.is_file():
            raise ItemFailed(f"{name} {self.module.deepaas} ended with status {reply['exit']} and wrote no answer")

    def _warm_up(self) -> None:
        """As the REST API does before its first prediction, and DEEPaaS' programs never do: one module, one answer."""
        if not self._warm:
            self._ask("warm")
            self._warm = True

    @staticmethod
    def _settled(written: Path, folder: Path, form: str, runner: str) -> Answer:
        result = folder / "result.json"
        answer.settle(written, result, form)
        return Answer(path=result, suffix=".json", media_type="application/json", runner=runner)

    # the guest

    def _ask(self, do: str, timeout: float | None = None, **arguments: Any) -> dict[str, Any]:
        assert self._guest is not None  # noqa: S101 - predict starts one where there is none
        self._guest.send(do, **arguments)
        return self._reply(timeout, during=do)

    def _reply(self, timeout: float | None = None, during: str = "describe") -> dict[str, Any]:
        """The guest's reply, or the failure that stands for its absence. A guest that died is let go of."""
        assert self._guest is not None  # noqa: S101
        try:
            reply = self._guest.receive(timeout)
        except GuestTimeout:
            self._let_go()
            raise PredictionTimedOut(f"the prediction took longer than JOB_PREDICT_TIMEOUT ({timeout:g} s)") from None
        except GuestDied as death:
            self._let_go()
            raise _death(death, during) from None
        if reply["ok"]:
            return reply
        raise _refusal(reply, during)

    def _let_go(self) -> None:
        guest, self._guest = self._guest, None
        if guest:
            guest.end()
            self._last_tail = guest.log.tail()


def _death(death: GuestDied, during: str) -> Failure:
    if death.status == -9:
        return OutOfMemory(f"{death} while asked to {during}: out of memory, most likely")
    if during in ("predict", "program"):
        return ItemFailed(f"{death} in the middle of a prediction")
    return ImageUnfit(f"{death} while the module was loaded ({during})")


def _refusal(reply: Mapping[str, Any], during: str) -> Failure:
    message = str(reply["message"])
    if reply["kind"] == "unfit":
        several = "name one of them in DEEPAAS_V2_MODEL" if reply.get("several") else None
        return ImageUnfit(message, several)
    if reply["kind"] == "answer":
        return ItemFailed(message, "the module must return what JSON can hold, or a file")
    if during in ("predict", "program"):
        return ItemFailed(f"the module failed: {message}")
    return ImageUnfit(f"the module failed in {during}: {message}")


def _bytes_answer(written: Path, media_type: str | None, name: str | None) -> Answer:
    """A file as the module made it, under its own extension: that of its name, else that of its media type."""
    guessed = mimetypes.guess_type(name)[0] if name else None
    media_type = (
        media_type if media_type and media_type != "application/json" else guessed or "application/octet-stream"
    )
    own = PurePath(name).suffix.lower() if name else ""
    suffix = own if own and guessed == media_type else suffix_for(media_type)
    return Answer(path=written, suffix=suffix, media_type=media_type, runner="worker")


def suffix_for(media_type: str) -> str:
    """The extension of a result of this media type, as results are named."""
    plain = media_type.partition(";")[0].strip().lower()
    return _SUFFIXES.get(plain) or mimetypes.guess_extension(plain) or ".bin"
