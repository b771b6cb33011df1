"""The model of one job: started, asked what it is, given the job's arguments, and run on one item after another."""

import mimetypes
import signal
import stat
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path, PurePath
from typing import Any

from supervisor.failures import (
    BadUsage,
    DiskTrouble,
    Failure,
    ImageUnfit,
    ItemFailed,
    OutOfMemory,
    PredictionTimedOut,
    Stopped,
)
from supervisor.job import JobSpec
from supervisor.machine import memory, openmp, users
from supervisor.machine.device import Device
from supervisor.machine.tree_removal import remove_tree
from supervisor.model import description, find, releases, strict_json
from supervisor.model.answer_rules import LARGEST
from supervisor.model.description import Field, Module
from supervisor.model.environment import withheld
from supervisor.model.first_bytes import media_type_of
from supervisor.model.guest import Guest, GuestDied, GuestDismissed, GuestTimeout
from supervisor.model.media_types import UNKNOWN_SUFFIX, is_suffix, known_suffix, plain, suffix_for
from supervisor.model.usage import NOTHING, Usage, in_turn

# Seconds for the module to be imported, to check arguments, and to be warmed: weights of many GB that come over a slow
# network, the slowest honest start that there is, take minutes. JOB_PREDICT_TIMEOUT raises it, and never lowers it.
_READY_WITHIN = 1800.0
_TOLD_WITHIN = 10.0
_WORKING = ("predict", "program", "reach")
# The name of the answer, which lies beside the input: what modules write there themselves has other names.
_ANSWER = ".supervisor-answer"
_SEVERAL_FILES = "a command line carries one file, and the worker several"
# Files and folders in TMPDIR that predictions have left in use, by descriptors that the module forgot to close: they
# can be removed with its process alone, and at 1,024 of them it cannot open another file.
_MOST_HELD = 250
_UNKNOWN = "application/octet-stream"
_LACKING = {
    "file": "the module wants {name}: build the image with it, or mount it there",
    "access": "the module may not use {name}: give its user the right to (JOB_RUN_AS is whom it runs as)",
    "package": "the image lacks the Python package {name}: install it with `{python} -m pip`",
    "library": "the image lacks the library {name}: install the package of its distribution that has it",
    "variable": "the module wants the variable {name}: set it in the job's environment",
    "network": "the module wants {name} from the network: give the container one that leads there, or build the image "
    "with what it fetches",
}


@dataclass(frozen=True, kw_only=True)
class Choice:
    """How items are run, and why."""

    runner: str
    why: str


@dataclass(frozen=True, kw_only=True)
class Call:
    """One call of predict(), as the module knows it: which of its arguments take the files, in their order, and the
    others."""

    fields: tuple[Field, ...]
    arguments: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class LocalFile:
    """One input on the local disk. media_type: what its storage says of it."""

    path: Path
    media_type: str | None = None


@dataclass(frozen=True, kw_only=True)
class Origin:
    """The file that a module wrote its answer to, outside of its own folders, and that the worker read it from."""

    path: str
    device: int
    inode: int

    def is_also(self, other: "Origin") -> bool:
        """Whether the other one is the same file. An inode's number is soon used again: it counts while both are
        there."""
        if self.path == other.path:
            return True
        if (self.device, self.inode) != (other.device, other.inode):
            return False
        try:
            return Path(self.path).samefile(other.path)
        except (OSError, ValueError):
            return False


class AnswerRefused(ItemFailed):
    """The module answered with what is no answer. origin: where it had put it, if in a file."""

    origin: Origin | None = None


@dataclass(frozen=True, kw_only=True)
class Answer:
    """A result: a local file, or its bytes where they are few. runner: what it was made by in the end; raw: JSON just
    as the worker wrote it, of a module that is declared to answer with `results`; origin: where the module had put
    it."""

    source: Path | bytes
    suffix: str
    media_type: str
    runner: str
    raw: bool = False
    results: tuple[str, ...] = ()
    origin: Origin | None = None

    def settled(self) -> "Answer":
        """Strict JSON that is no error in disguise, else ItemFailed. Not done in predict, so that the model goes on."""
        if not self.raw:
            return self
        if isinstance(self.source, Path):
            strict_json.rewrite(self.source, results=self.results)
            return replace(self, raw=False)
        return replace(self, raw=False, source=strict_json.of(self.source, results=self.results))


class Model:
    """The module in the image, driven through its guest process: one of JOB_WORKERS.

    Call start, then prepare, then predict as often as there are items, then end. One thread at a time; but for end,
    which any thread may call at any moment.
    """

    def __init__(
        self,
        spec: JobSpec,
        environment: Mapping[str, str],
        device: Device,
        scratch: Path,
        log: Callable[[str], None],
        copy: int = 0,
        copies: int = 1,
    ) -> None:
        """environment: the guest's; scratch: a folder to be made for the model's temporary files; copy: which of how
        many copies on this machine it is.

        Raises ImageUnfit without DEEPaaS, and BadUsage where JOB_RUN_AS cannot be.
        """
        self._spec = spec
        self._gpus = device.pinned(copy, copies)
        self._environment = {
            **environment,
            **openmp.environment(copies, environment),
            **device.environment(copy, copies, environment),
        }
        self._user = users.find(spec.run_as) if spec.run_as else None
        self._scratch = scratch
        self._log = log
        self._guest: Guest | None = None
        memory.kills()  # which are counted from now on
        self._change = threading.Lock()  # of the guest, which another thread may be about to end
        self._over = False
        self._used = NOTHING
        self._warm = False
        self._program_ran = False
        self._program_sound = False  # one of DEEPaaS' own has come as far as to call the module
        self._last_tail: tuple[str, ...] = ()
        self.ran: str | None = None
        self.installation = find.find(self._environment)

    def start(self) -> None:
        """Starts the guest, which begins to import the module; prepare waits for it. Raises Stopped after end."""
        remove_tree(str(self._scratch))  # of a guest before this one
        self._scratch.mkdir(exist_ok=True)
        if self._user:
            self._scratch.parent.chmod(0o711)  # a way through, and nothing to see
            users.give(self._user, self._scratch)
        self._warm = self._program_ran = False
        with self._change:
            if self._over:
                raise Stopped("the model was ended")
            try:
                self._guest = guest = self._new_guest()
            except OSError as error:
                raise ImageUnfit(
                    f"the Python of DEEPaaS, {self.installation.python}, does not start: {error}"
                ) from None
        wanted = self._environment.get("DEEPAAS_V2_MODEL") or None
        guest.send("describe", wanted=wanted, results=self._spec.image.results)

    @property
    def started(self) -> bool:
        return self._guest is not None

    def prepare(self) -> Module:
        """Waits for the module. Raises ImageUnfit where it cannot be used."""
        module = description.from_reply(self._reply(self._ready_within))
        if module.release < (1,):
            raise ImageUnfit(f"DEEPaaS {module.deepaas} has no V2 model API: 1.0 is the first release that has")
        if not module.has_predict:
            raise ImageUnfit(f"the module {module.name} has no predict()")
        self.module = module
        return module

    def fit(self, arguments: Mapping[str, Any], named: Sequence[str | None] = (None,)) -> Call:
        """Holds arguments, and the fields that an item names for its files, against the module's own. Raises BadUsage.

        named: one for each file; None: what JOB_INPUT_FIELD says, else the module itself.
        """
        fields = self.module.file_fields(named, self._spec.input_field)
        known = self.module.require_known(arguments, fields)
        self._revive()
        problems = self._ask("check", self._ready_within, arguments=known)["problems"] if known else {}
        if problems:
            name, problem = next(iter(problems.items()))
            field = self.module.field(name)
            raise BadUsage(
                f"JOB_PREDICT_ARGS: {name} is {repr(known[name])[:200]}: {problem}",
                f"the argument is {field.summary}. {field.help}" if field else None,
            )
        return Call(fields=fields, arguments=known)

    def choose(self, call: Call, items: int | None, file_names: Iterable[str]) -> Choice:
        """The runner for this job's items. Raises BadUsage where JOB_RUNNER=cli cannot carry them.

        call: of one of them; items: how many there are, None where that is not known yet; file_names: those known.
        """
        wanted = self._spec.runner
        if wanted == "worker":
            return Choice(runner="worker", why="JOB_RUNNER asks for it")
        limits = (self._cli_limit(call, name) for name in file_names)
        limit = next((found for found in limits if found), None)
        if wanted == "auto":
            if limit:
                return Choice(runner="worker", why=limit)
            if items != 1:
                many = "an unknown number of" if items is None else items
                return Choice(runner="worker", why=f"{many} items: the model is loaded once")
            return Choice(runner=releases.CLI, why=f"a single item, and deepaas-cli {self.module.deepaas} carries it")
        if limit is None:
            return Choice(runner=releases.CLI, why="JOB_RUNNER asks for it")
        other = self._predict_limit(call)
        if other is None:
            return Choice(runner=releases.PREDICT, why=f"JOB_RUNNER asks for a command line, and {limit}")
        raise BadUsage(
            f"JOB_RUNNER is cli, but {limit}" + ("" if limit == other else f"; {other}"),
            "use JOB_RUNNER=auto or worker, which give the same answer",
        )

    def _cli_limit(self, call: Call, file_name: str) -> str | None:
        if len(call.fields) > 1:
            return _SEVERAL_FILES
        return releases.cli_limit(self.module, self.installation, call.fields[0], call.arguments, file_name)

    def _predict_limit(self, call: Call) -> str | None:
        if len(call.fields) > 1:
            return _SEVERAL_FILES
        return releases.predict_limit(self.module, self.installation, call.fields[0], call.arguments)

    def warm_up(self) -> None:
        """As the REST API does before its first prediction, and DEEPaaS' programs never do: one module, one answer."""
        if not self._warm:
            self._ask("warm", self._ready_within)
            self._warm = True

    def predict(self, choice: Choice, call: Call, files: Sequence[LocalFile], folder: Path) -> Answer:
        """Predicts on the files of one item, in the order of the call's fields; the answer lies in `folder`, which
        holds nothing else than these files. `ran` says by which runner, in the end.

        Raises the Failure that fits; its `crashed` tells that the model's process is gone with it. A model that died
        is started again for the next item.
        """
        self._revive()
        self.ran = choice.runner
        if choice.runner == releases.WORKER:
            return self._by_worker(call, files, folder)
        if choice.runner == releases.PREDICT:
            return self._by_predict(files[0].path, folder)
        try:
            return self._by_cli(call, files[0].path, folder)
        except ItemFailed as failure:
            if self._spec.runner != "auto":
                raise
            # deepaas-cli hands over less than the REST API does (no extension, no content type, unvalidated
            # defaults) and writes fewer kinds of answers: the worker has the last word.
            self._log(f"supervisor: deepaas-cli failed ({failure.message}); trying the worker")
        self._revive()
        self.ran = releases.WORKER
        return self._by_worker(call, files, folder)

    def begin_item(self) -> None:
        """What is printed from now on is another item's."""
        self._last_tail = ()
        if guest := self._guest:
            guest.log.begin_item()

    def dismiss(self) -> None:
        """No more items: the guest may leave while the last result is uploaded."""
        if guest := self._guest:
            guest.dismiss()

    def end(self, grace: float | None = None) -> None:
        """Ends the guest and all that it started, for good. May be called at any time, more than once, by any thread:
        a prediction that is under way raises Stopped at once.

        grace: seconds that the guest has after SIGTERM; None: it may first leave on its own.
        """
        with self._change:
            self._over = True
        self._let_go(grace)

    def memory_taken(self) -> int | None:
        """The most memory that it was seen to take, in bytes."""
        if guest := self._guest:
            guest.look()
        return self.usage().peak_memory

    def driver_loaded(self) -> bool | None:
        """Whether the CUDA driver library is in the memory of one of its processes; None where that cannot be told."""
        guest = self._guest
        if guest is None or not guest.lives():
            return None
        try:
            loaded: bool | None = self._ask("driver", _TOLD_WITHIN)["loaded"]
        except Failure:
            return None
        return loaded

    def usage(self) -> Usage:
        """What the model has used until now, over all of its processes."""
        guest = self._guest
        return in_turn([self._used, guest.usage()]) if guest else self._used

    def tail(self) -> tuple[str, ...]:
        """The last lines of the model's log."""
        return self._guest.log.tail() if self._guest else self._last_tail

    # one item by each way

    def _by_worker(self, call: Call, files: Sequence[LocalFile], folder: Path) -> Answer:
        self.warm_up()
        paths = [file.path for file in files]
        written = _unlike(paths, folder / _ANSWER)
        with self._lent(folder, *paths):
            reply = self._ask(
                "predict",
                self._spec.predict_timeout,
                files={
                    field.name: {"path": str(file.path), "media_type": file.media_type}
                    for field, file in zip(call.fields, files, strict=True)
                },
                arguments=call.arguments,
                output=str(written),
            )
        origin = _origin(reply)
        if isinstance(small := reply.get("answer"), str):
            return self._json(small.encode(errors="surrogatepass"), releases.WORKER, raw=True, origin=origin)
        size = _require_file(written, "the module")
        if reply["form"] == "bytes":
            answer = _bytes_answer(written, reply["media_type"], reply["name"])
            return replace(answer, origin=origin, results=self._spec.image.results)
        # A large one is strict by the way in which the worker writes, which has also looked for errors in disguise.
        return self._json(written, releases.WORKER, raw=size <= LARGEST, origin=origin)

    def _by_cli(self, call: Call, source: Path, folder: Path) -> Answer:
        written = _unlike([source], folder / f"{_ANSWER}.json")
        argv = releases.cli_arguments(call.fields[0], str(source), call.arguments, str(written))
        with self._lent(folder, source):
            self._program(releases.CLI, argv, self._harmless_call(call), None, written)
        _require_file(written, releases.CLI)
        strict_json.rewrite(written, results=self._spec.image.results)
        return self._json(written, releases.CLI)

    def _by_predict(self, source: Path, folder: Path) -> Answer:
        written = folder / f"out_{source.stem}.json"
        with self._lent(folder, source):
            # It writes into its working folder first, which need not be writable elsewhere.
            argv = releases.predict_arguments(str(source), str(folder))
            harmless = releases.predict_arguments(str(self._harmless), str(self._scratch))
            self._program(releases.PREDICT, argv, harmless, folder, written)
        _require_file(written, releases.PREDICT)
        strict_json.rewrite(written, "repr", self._spec.image.results)
        return self._json(written, releases.PREDICT)

    def _json(self, source: Path | bytes, runner: str, **more: Any) -> Answer:
        results = self._spec.image.results
        return Answer(
            source=source, suffix=".json", media_type="application/json", runner=runner, results=results, **more
        )

    @property
    def _harmless(self) -> Path:
        """A file of ours, of which no program of DEEPaaS' dies."""
        return self._scratch / "input.json"

    def _harmless_call(self, call: Call) -> list[str]:
        """The command line on that file, with the job's arguments."""
        known = self.module.require_known(self._spec.predict_args, call.fields)
        none = str(self._scratch / "none.json")
        return releases.cli_arguments(call.fields[0], str(self._harmless), known, none)

    def _program(self, name: str, argv: list[str], harmless: list[str], folder: Path | None, written: Path) -> None:
        """Success is the expected output, whatever the exit status says: 1.3.0 to 2.5.1 exit 1 on success, 2.5.2
        and 2.6.0 can exit 0 without output."""
        try:
            reply = self._run_program("program", name, argv, folder)
        except ItemFailed as failure:  # its process died
            self._require_sound(name, harmless, failure.message)
            raise
        self._program_sound = self._program_sound or reply["called"]
        if written.is_file():
            return
        if reply["by_module"]:
            raise ItemFailed(f"the module failed: {reply['raised']}", self._hint_on(reply["lacks"]))
        told = f"{name} {self.module.deepaas} " + (
            f"failed: {reply['raised']}"
            if reply["raised"]
            else f"ended with status {reply['exit']} and wrote no answer"
        )
        self._require_sound(name, harmless, told)
        raise ItemFailed(told)

    def _run_program(self, do: str, name: str, argv: list[str], folder: Path | None) -> dict[str, Any]:
        if self._program_ran:  # its options cannot be registered twice: a process runs one program
            self._let_go()
            self._revive()
        self.warm_up()
        self._program_ran = True
        place = str(folder) if folder else None
        return self._ask(do, self._spec.predict_timeout, name=name, argv=argv, folder=place)

    def _require_sound(self, name: str, argv: list[str], told: str) -> None:
        """Where one of DEEPaaS' programs ended before it called the module, be it of this item (2.6.0 dies of a `$`
        in a file's name) or of itself. It is run once more by `argv`, on a file of ours with the job's arguments, and
        the module is not called: a program that does not come as far as that ends the job. In auto the worker has the
        last word."""
        if self._program_sound or self._spec.runner == "auto":
            return
        try:
            self._revive()  # which empties the folder
            self._harmless.write_text("{}")
            if self._user:
                users.give(self._user, self._harmless)
            self._program_sound = self._run_program("reach", name, argv, self._scratch)["called"]
        except (ItemFailed, PredictionTimedOut):
            pass
        if not self._program_sound:
            raise ImageUnfit(
                f"{told}: it ends before it calls the module, whatever the item",
                "use JOB_RUNNER=auto or worker, which need none of DEEPaaS' programs",
            )

    @contextmanager
    def _lent(self, folder: Path, *files: Path) -> Iterator[None]:
        """The item's folder belongs to the model's user while it predicts, and to us alone before we read or
        write there again: else a link that it leaves could lead us to any file of ours."""
        if self._user is None:
            yield
            return
        users.give(self._user, folder, *dict.fromkeys(file.parent for file in files), *files)
        try:
            yield
        finally:
            users.reclaim(folder)

    @property
    def _ready_within(self) -> float:
        return max(_READY_WITHIN, self._spec.predict_timeout or 0.0)

    # the guest

    def _revive(self) -> None:
        """Starts the guest where there is none, or where the one there was has died since it last answered."""
        guest = self._guest
        if guest and guest.lives():
            return
        if guest:
            if not guest.dismissed:
                self._log("supervisor: the model's process ended between two predictions; it is started again")
            self._let_go()
        self.start()
        self.prepare()

    def _ask(self, do: str, timeout: float | None = None, **arguments: Any) -> dict[str, Any]:
        guest = self._guest
        if guest is None:
            raise Stopped("the model was ended")
        guest.send(do, **arguments)
        return self._reply(timeout, during=do)

    def _reply(self, timeout: float | None = None, during: str = "describe") -> dict[str, Any]:
        """The guest's reply, or the failure that stands for its absence. A guest that died is let go of."""
        guest = self._guest
        if guest is None:
            raise Stopped("the model was ended")
        try:
            reply = guest.receive(timeout)
        except GuestDismissed:
            raise Stopped("the model was ended in the middle of its work") from None
        except GuestTimeout:
            self._let_go()
            raise _too_slow(during, timeout or 0.0) from None
        except GuestDied as death:
            self._let_go()
            raise _death(death, during) from None
        if reply.get("held", 0) > _MOST_HELD:
            self._log(f"supervisor: {reply['held']} open files were left in TMPDIR; the model is started again")
            self._let_go()
        if reply["ok"]:
            return reply
        raise _refusal(reply, during, self._hint_on(reply.get("lacks")))

    def _hint_on(self, lack: Mapping[str, str] | None) -> str | None:
        """What to do about what the module lacks; None where it does not say, or lacks what was never the image's."""
        if not lack or lack["name"].startswith(str(self._scratch.parent)):
            return None
        if lack["kind"] == "variable" and lack["name"] in withheld(self._spec.environment, self._spec.guest_env):
            return (
                f"the variable {lack['name']} is kept from the model as a secret: JOB_GUEST_ENV={lack['name']} gives it"
            )
        return _LACKING[lack["kind"]].format(name=lack["name"] or "something", python=self.installation.python)

    def _new_guest(self) -> Guest:
        return Guest(self.installation, self._environment, self._scratch, self._log, user=self._user, gpus=self._gpus)

    def _let_go(self, grace: float | None = None) -> None:
        guest = self._guest
        if guest is None:
            return
        guest.end(grace)
        with self._change:
            if self._guest is guest:  # else another thread was as fast
                self._used = in_turn([self._used, guest.usage()])
                self._last_tail = guest.log.tail()
                self._guest = None


def _unlike(inputs: Sequence[Path], answer: Path) -> Path:
    """The answer's path, or the first like it that is no input's."""
    while answer in inputs:
        answer = answer.with_name(f"_{answer.name}")
    return answer


def _require_file(written: Path, writer: str) -> int:
    """Only what is a file of its own can be the answer: no link to one of somebody else's. Returns its bytes."""
    try:
        found = written.lstat()
    except FileNotFoundError:
        raise ItemFailed(f"{writer} removed its own answer") from None
    if not stat.S_ISREG(found.st_mode) or found.st_nlink != 1:
        raise ItemFailed(f"{writer} left something else than a file in the place of its answer")
    return found.st_size


def _too_slow(during: str, timeout: float) -> Failure:
    if during in _WORKING:
        return PredictionTimedOut(f"the prediction took longer than JOB_PREDICT_TIMEOUT ({timeout:g} s)")
    return ImageUnfit(
        f"the module was not ready within {timeout:g} s ({during})",
        "see its log for what it waits for: as a rule a network that it needs to fetch its weights. A "
        f"JOB_PREDICT_TIMEOUT above {_READY_WITHIN:g} gives it as long",
    )


def _death(death: GuestDied, during: str) -> Failure:
    """What the end of the guest means. Where it was busy with an item, the item may do better in a new one."""
    working = during in _WORKING
    failure: Failure
    told = str(death)
    if death.status == -signal.SIGKILL:
        if killed := memory.kills().explain():
            failure = OutOfMemory(f"{told} while asked to {during}: {killed.told}", killed.hint)
            failure.crashed = working
            return failure
        told += f" {memory.kills().not_for_memory()},"
    if working:
        failure = ItemFailed(f"{told} in the middle of a prediction")
    else:
        failure = ImageUnfit(f"{told} while the module was loaded ({during})")
    failure.crashed = working
    return failure


def _refusal(reply: Mapping[str, Any], during: str, hint: str | None) -> Failure:
    """hint: on what the module says is missing."""
    message = str(reply["message"])
    if reply["kind"] == "unfit":
        several = "name one of them in DEEPAAS_V2_MODEL" if reply.get("several") else None
        return ImageUnfit(message, several or hint)
    if reply["kind"] == "disk":
        return DiskTrouble(message)
    if reply["kind"] == "answer":
        refused = AnswerRefused(message, reply.get("hint") or "the module must return what JSON can hold, or a file")
        refused.origin = _origin(reply)
        return refused
    if during in _WORKING:
        return ItemFailed(f"the module failed: {message}", hint)
    return ImageUnfit(f"the module failed in {during}: {message}", hint)


def _origin(reply: Mapping[str, Any]) -> Origin | None:
    return Origin(**where) if (where := reply.get("source")) else None


def _bytes_answer(written: Path, accept: str | None, name: str | None) -> Answer:
    """A file as the module made it. accept: the media type that it was asked for; name: that of a file it returned.

    What was asked for is believed where it names a type; a wildcard, or a type that nobody knows, says less than the
    file's first bytes, and without a type its name comes first.
    """
    named = mimetypes.guess_type(name)[0] if name else None
    own = PurePath(name).suffix.lower() if name else ""
    own = own if is_suffix(own) else ""
    asked = plain(accept) if accept else None
    if asked in (None, "application/json"):
        media_type = named or media_type_of(str(written)) or _UNKNOWN
    elif "*" in asked:
        media_type = media_type_of(str(written)) or named or _UNKNOWN
    elif known_suffix(asked) is None:
        seen = media_type_of(str(written)) or named
        suffix = suffix_for(seen) if seen else own or UNKNOWN_SUFFIX
        return Answer(source=written, suffix=suffix, media_type=asked, runner=releases.WORKER)
    else:
        media_type = asked
    if media_type == "application/json" and named is None:
        return Answer(source=written, suffix=".json", media_type=media_type, runner=releases.WORKER, raw=True)
    suffix = own if own and named == media_type else suffix_for(media_type)
    return Answer(source=written, suffix=suffix, media_type=media_type, runner=releases.WORKER)
