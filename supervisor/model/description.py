"""What the module says of itself, and whether the job's arguments fit it."""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from supervisor.failures import BadUsage


@dataclass(frozen=True, kw_only=True)
class Field:
    """One argument of the module. `type` is marshmallow's name for it; `default` its repr."""

    name: str
    type: str
    plain: bool
    exact_field: bool
    file: bool
    data_key: str | None
    required: bool
    has_default: bool
    default_called: bool
    default: str | None
    default_type: str | None
    default_text: str | None
    choices: tuple[str, ...]
    described: bool
    help: str

    @property
    def summary(self) -> str:
        """As an error message lists it: `threshold (Float, default 0.5)`."""
        facts = ["file" if self.file else self.type]
        if self.required:
            facts.append("required")
        elif self.has_default and self.default not in (None, "None"):
            facts.append(f"default {self.default}")
        if self.choices:
            facts.append("one of " + "|".join(self.choices[:10]))
        return f"{self.name} ({', '.join(facts)})"


@dataclass(frozen=True, kw_only=True)
class Module:
    """The module in the image, as its own get_predict_args() and its distribution describe it."""

    name: str
    version: str | None
    deepaas: str | None
    python: str
    fields: tuple[Field, ...]
    train_described: bool | None
    has_predict: bool
    has_predict_data: bool

    @property
    def release(self) -> tuple[int, ...]:
        """The DEEPaaS release as numbers; development suffixes are left out: 2.5.2.dev3 -> (2, 5, 2)."""
        numbers: list[int] = []
        for part in (self.deepaas or "0").split("."):
            if not part.isdigit():
                break
            numbers.append(int(part))
        return tuple(numbers)

    @property
    def identity(self) -> str:
        """What tells this model from another where no image digest does."""
        return f"{self.name}=={self.version}"

    def field(self, name: str) -> Field | None:
        """The argument of that name: the module's own, or the one the REST API shows (data_key)."""
        by_key = {f.data_key: f for f in self.fields if f.data_key}
        return {**by_key, **{f.name: f for f in self.fields}}.get(name)

    def file_field(self, wanted: str | None) -> Field:
        """The argument that takes the input: `wanted`, else the only one of type file, else `files`.

        Raises BadUsage where that leaves none, or leaves a required file out.
        """
        files = [f for f in self.fields if f.file]
        chosen = self.field(wanted) if wanted else files[0] if len(files) == 1 else self.field("files")
        if chosen is None and wanted:
            raise BadUsage(
                f"JOB_INPUT_FIELD is {wanted!r}: the module {self.name} has no such argument"
                + did_you_mean(wanted, [f.name for f in self.fields]),
                f"file arguments: {_listed(files) or 'none'}; all: {_listed(self.fields) or 'none'}",
            )
        if chosen is None and files:
            raise BadUsage(
                f"the module {self.name} has several file arguments: {_listed(files)}",
                "say with JOB_INPUT_FIELD which of them takes the input",
            )
        if chosen is None:
            raise BadUsage(
                f"the module {self.name} takes no file: its arguments are {_listed(self.fields) or 'none'}",
                "only modules with a file argument can predict on files; if one of these takes it, name it with "
                "JOB_INPUT_FIELD",
            )
        if not (chosen.file or chosen.plain):
            raise BadUsage(
                f"the argument {chosen.summary} of the module {self.name} takes no file",
                f"file arguments: {_listed(files) or 'none'}",
            )
        others = [f for f in files if f.required and f is not chosen]
        if others:
            raise BadUsage(
                f"the module {self.name} needs further files beside {chosen.name}: {_listed(others)}",
                "a batch item is one file; this module cannot run on one",
            )
        return chosen

    def accept_for(self, arguments: Mapping[str, Any]) -> str:
        """The media type that the answer will have, by the module's `accept` argument."""
        field = self.field("accept")
        asked = arguments.get("accept", field.default_text if field else None)
        return asked if isinstance(asked, str) and "/" in asked and "*" not in asked else "application/json"

    def require_known(self, arguments: Mapping[str, Any], taken: Field) -> Mapping[str, Any]:
        """The job's arguments under the module's own names. Raises BadUsage for an unknown, missing or file one."""
        renamed: dict[str, Any] = {}
        others = [f for f in self.fields if not f.file and f is not taken]
        for name, value in arguments.items():
            field = self.field(name)
            if field is None:
                raise BadUsage(
                    f"JOB_PREDICT_ARGS: the module {self.name} has no argument {name!r}"
                    + did_you_mean(name, [f.name for f in others]),
                    f"it has: {_listed(others) or 'none'}",
                )
            if field is taken or field.file:
                raise BadUsage(
                    f"JOB_PREDICT_ARGS: {field.name} takes a file, which JOB_INPUT names",
                    f"leave it out; the others are: {_listed(others) or 'none'}",
                )
            renamed[field.name] = value
        absent = [f for f in others if f.required and f.name not in renamed]
        if absent:
            raise BadUsage(
                f"the module {self.name} requires the argument{'s' * (len(absent) > 1)} {_listed(absent)}",
                "give it in JOB_PREDICT_ARGS",
            )
        return renamed


def from_reply(reply: Mapping[str, Any]) -> Module:
    """The worker's answer to `describe`, as types."""
    fields = tuple(
        Field(**{**field, "choices": tuple(field["choices"] or ()), "name": str(field["name"])})
        for field in reply["fields"]
    )
    return Module(fields=fields, **{k: reply[k] for k in Module.__dataclass_fields__ if k != "fields"})


def did_you_mean(name: str, known: list[str]) -> str:
    """`: did you mean threshold?`, or nothing."""
    close = difflib.get_close_matches(name, known, n=1)
    return f": did you mean {close[0]}?" if close else ""


def _listed(fields: tuple[Field, ...] | list[Field]) -> str:
    return ", ".join(f.summary for f in fields)
