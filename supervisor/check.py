"""`supervisor check`: what is here and whether the job could run, before anything is spent."""

import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

from supervisor import __version__, storage
from supervisor.failures import SUCCESS, DeviceMissing, DiskTrouble, Failure, Stopped
from supervisor.job import MANY, JobSpec
from supervisor.machine import credential_files, device, disk, users
from supervisor.machine.device import Device
from supervisor.model.environment import guest_environment, withheld
from supervisor.model.runner import Call, Model
from supervisor.stages import look_at
from supervisor.work.plan import Item, plan_work

# Of a prefix so many objects are listed, which is what S3 gives in one page.
_PAGE = 1000
_LOOKED_AT = 100
# What is looked at of the module, in this order; the second with its weights.
MODULE = ("module", "arguments", "runner")
LOADED = (*MODULE, "load")


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing looked at: what was found, or the failure that a job would end with."""

    name: str
    found: str
    facts: dict[str, Any]
    failure: Failure | None = None


@dataclass(frozen=True, kw_only=True)
class Report:
    """All findings, in the order in which a job would meet them."""

    findings: tuple[Finding, ...]

    @property
    def exit_code(self) -> int:
        """The first failure's code."""
        return next((f.failure.code for f in self.findings if f.failure), SUCCESS)

    def as_dict(self) -> dict[str, Any]:
        checks = {}
        for finding in self.findings:
            failure = finding.failure
            checks[finding.name] = {"ok": failure is None, "found": finding.found, **finding.facts} | (
                {"code": failure.code, "message": failure.message, "hint": failure.hint} if failure else {}
            )
        return {
            "ok": self.exit_code == SUCCESS,
            "exit_code": self.exit_code,
            "supervisor": __version__,
            "checks": checks,
        }

    def as_text(self) -> str:
        width = max(len(f.name) for f in self.findings)
        lines = []
        for finding in self.findings:
            mark = "FAIL" if finding.failure else "ok"
            lines.append(f"{mark:<5}{finding.name:<{width}}  {finding.found}")
            lines += [f"{'':<{width + 7}}{line}" for line in finding.facts.get("lines", ())]
            if finding.failure:
                lines.append(
                    f"{'':<{width + 7}}to do: {finding.failure.hint} (a job would exit {finding.failure.code})"
                )
        return "\n".join(lines)


def run(spec: JobSpec, looks: Sequence[str] = MODULE) -> Report:
    """Looks at everything that a job needs; looks on where something is missing. looks: at the module, LOADED to load
    its model too."""
    findings = [
        _looked("device", lambda: _device(spec)),
        _looked("secrets", lambda: _secrets(spec)),
        *_module(spec, looks),
        _looked("copies", lambda: _copies(spec)),
        _looked("disk", _disk),
    ]
    if spec.input or spec.event or spec.manifest:
        findings.append(_looked("input", lambda: _input(spec)))
    if spec.output:
        findings.append(_looked("output", lambda: _output(spec)))
    return Report(findings=tuple(findings))


def _looked(name: str, look: Callable[[], tuple[str, dict[str, Any]]]) -> Finding:
    try:
        found, facts = look()
    except Stopped:
        raise
    except Failure as failure:
        return Finding(name=name, found=failure.message, facts={}, failure=failure)
    return Finding(name=name, found=found, facts=facts)


def _device(spec: JobSpec) -> tuple[str, dict[str, Any]]:
    found = device.find(spec.device, guest_environment(spec.environment, spec.guest_env))
    if found.kind == "cpu":
        why = f": {found.note}" if found.note else f": JOB_DEVICE is {spec.device}" if spec.device == "cpu" else ""
        return f"CPU{why}", found.as_dict()
    gpus = ", ".join(f"{gpu.name} ({gpu.memory / 2**30:.1f} GiB)" for gpu in found.gpus)
    return f"CUDA: {gpus}; driver for CUDA {found.driver}", found.as_dict()


def _module(spec: JobSpec, looks: Sequence[str]) -> list[Finding]:
    """A model that is to be loaded gets the device; one that is only asked does without."""
    on = Device(kind="cpu")
    if "load" in looks:
        with suppress(DeviceMissing):
            on = device.find(spec.device, guest_environment(spec.environment, spec.guest_env))
    try:
        with disk.job_folder() as folder:
            module = _Module(spec, on, folder)
            try:
                return list(module.findings(looks))
            finally:
                module.end()
    except DiskTrouble as failure:  # no folder could be made
        return [Finding(name="module", found=failure.message, facts={}, failure=failure)]


def _secrets(spec: JobSpec) -> tuple[str, dict[str, Any]]:
    """What the model does not see, and which credentials are within its reach all the same."""
    hidden = withheld(spec.environment, spec.guest_env)
    absent = [name for name in spec.guest_env if name not in spec.environment]
    user = users.find(spec.run_as) if spec.run_as else None
    files = list(map(str, credential_files.readable(spec.environment, user)))
    lines = []
    if hidden:
        lines.append(f"it does not get {', '.join(hidden)}; JOB_GUEST_ENV names what it needs, AWS's apart")
    if absent:
        lines.append(f"JOB_GUEST_ENV names {', '.join(absent)}, which the environment lacks")
    if files and user:
        lines.append(f"their modes let the user of JOB_RUN_AS read them: {', '.join(files)}")
    elif files:
        lines.append(f"it runs as the supervisor's user, who can read {', '.join(files)}; JOB_RUN_AS makes it another")
    found = f"files of credentials within the model's reach: {len(files) or 'none'}"
    return found, {"withheld": list(hidden), "files": files, "lines": lines}


class _Module:
    """The module in the image, which one look after the other finds out more about."""

    def __init__(self, spec: JobSpec, on: Device, folder: Path) -> None:
        self._spec = spec
        self._device = on
        self._folder = folder
        self._total, self._items = _first_items(spec)
        self._log: list[str] = []
        self._model: Model | None = None
        self._call: Call | None = None

    def findings(self, looks: Sequence[str]) -> Iterator[Finding]:
        """None comes after one that failed."""
        for name in looks:
            finding = _looked(name, getattr(self, name))
            if finding.failure and self._log and name in ("module", "load"):
                finding = replace(finding, facts={"lines": self._log[-10:]})
            yield finding
            if finding.failure:
                return

    def end(self) -> None:
        if self._model:
            self._model.end()

    def module(self) -> tuple[str, dict[str, Any]]:
        environment = guest_environment(self._spec.environment, self._spec.guest_env)
        self._model = model = Model(self._spec, environment, self._device, self._folder / "tmp", self._log.append)
        model.start()
        described = model.prepare()
        found = (
            f"{described.name} {described.version or ''} on DEEPaaS {described.deepaas}, "
            f"Python {described.python} ({model.installation.python})"
        )
        arguments = [{"name": f.name, "type": f.type, "file": f.file, "required": f.required, "default": f.default,
                      "choices": list(f.choices), "help": f.help} for f in described.fields]  # fmt: skip
        return found, {
            "name": described.name,
            "version": described.version,
            "deepaas": described.deepaas,
            "python": described.python,
            "interpreter": str(model.installation.python),
            "programs": list(model.installation.programs),
            "arguments": arguments,
            "lines": [f.summary + (f": {f.help}" if f.help else "") for f in described.fields],
        }

    def arguments(self) -> tuple[str, dict[str, Any]]:
        """Of the job's first item; where no input is named, of what a job could name."""
        assert self._model is not None  # noqa: S101
        first = self._items[0] if self._items else None
        fields = first.fields if first else self._fields_of_some_job(self._model)
        given = self._spec.predict_args if first is None or first.arguments is None else first.arguments
        self._call = call = self._model.fit(given, fields)
        names = [field.name for field in call.fields]
        found = f"the file goes to {names[0]}" if len(names) == 1 else f"the files go to {', '.join(names)}"
        found += "".join(f"; {name}={value!r}" for name, value in call.arguments.items())
        lines = [self._model.module.several_hint(call.fields)] if any(fields) and not first else []
        return found, {"field": names[0], "fields": names, "lines": lines}

    def runner(self) -> tuple[str, dict[str, Any]]:
        assert self._model is not None  # noqa: S101
        assert self._call is not None  # noqa: S101
        names = [each.file_name for item in self._items for each in item.inputs]
        choice = self._model.choose(self._call, self._total, names or ["input.json"])
        return f"{choice.runner}: {choice.why}", {"name": choice.runner, "why": choice.why}

    def load(self) -> tuple[str, dict[str, Any]]:
        assert self._model is not None  # noqa: S101
        began = time.perf_counter()
        self._model.warm_up()
        seconds = round(time.perf_counter() - began, 1)
        return f"warm() took {seconds} s", {"seconds": seconds}

    def _fields_of_some_job(self, model: Model) -> Sequence[str | None]:
        """Where no input is named, which field takes it is for a job to say: an image is not at fault."""
        named = self._spec.input or self._spec.event or self._spec.manifest or self._spec.input_field
        return (None,) if named else model.module.possible_fields


def _first_items(spec: JobSpec) -> tuple[int | None, list[Item]]:
    """How many items there are, as far as it is known, and the first. Trouble with them is told as the input's."""
    try:
        work = plan_work(spec)
        return work.total, list(islice(work, _LOOKED_AT))
    except Stopped:
        raise
    except Failure:
        return 1, []


def _copies(spec: JobSpec) -> tuple[str, dict[str, Any]]:
    """What the image says of its module."""
    spec.require_safe_copies()
    image = spec.image
    copies = "several may run side by side" if image.copies == MANY else "one at a time"
    said = f"copies: {image.copies}" if image.copies else "SUPERVISOR_COPIES is not set"
    return f"{copies} ({said}); network: {image.network or 'not known'}", {
        "declared": image.copies,
        "network": image.network,
        "results": list(image.results),
    }


def _disk() -> tuple[str, dict[str, Any]]:
    try:
        with tempfile.NamedTemporaryFile(prefix="supervisor-") as file:
            usage = shutil.disk_usage(file.name)
            place = str(Path(file.name).parent)
    except OSError as error:
        raise DiskTrouble(f"no temporary file can be written: {error}", "give the container a writable /tmp") from None
    return f"{usage.free / 2**30:.1f} GiB free in {place}", {
        "place": place,
        "free": usage.free,
        "total": usage.total,
    }


def _input(spec: JobSpec) -> tuple[str, dict[str, Any]]:
    """An event's objects are all looked at; of a manifest or a prefix the first one is."""
    work = plan_work(spec)
    items = list(islice(work, _PAGE + 1))
    count = work.total if work.total is not None else min(len(items), _PAGE)
    more = "+" if work.total is None and len(items) > _PAGE else ""
    child = f" for child {spec.slice.index} of {spec.slice.count}" if spec.slice else ""
    if not items:
        return f"no inputs{child}", {"count": 0}
    sizes = [look_at(item).size for item in (items if spec.event else items[:1])]
    first = f"{items[0].shown} " + ("of unknown size" if sizes[0] is None else f"of {sizes[0]:,} bytes")
    facts = {"count": count, "more": bool(more), "uri": items[0].shown, "bytes": sizes[0]}
    if count == 1:
        return first, facts
    if spec.event:
        return f"{count} inputs, all there", facts
    return f"{count:,}{more} inputs{child}, the first is {first}", facts


def _output(spec: JobSpec) -> tuple[str, dict[str, Any]]:
    assert spec.output is not None  # noqa: S101
    try:
        storage.of(spec.output).probe(spec.output)
    except storage.StorageError as error:
        raise storage.on_output(error) from None
    return f"{spec.output} can be written", {"uri": spec.output}
