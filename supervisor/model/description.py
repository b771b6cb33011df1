"""What the module says of itself, and whether the job's arguments fit it."""

import difflib
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from supervisor.failures import BadUsage
from supervisor.model.plain_text import folded, plain_text

_LONGEST_HELP = 500  # characters
_NAME_ALL = 'give each file an argument of its own: {"files": {"image": "s3://…", "audio": "s3://…"}}'


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
    def in_development(self) -> bool:
        """Whether this is no release of DEEPaaS: between two of them, or of no known version."""
        return not re.fullmatch(r"[0-9]+(\.[0-9]+)*(\.post[0-9]+)?", self.deepaas or "")

    @property
    def identity(self) -> str:
        """What tells this model from another where no image digest does."""
        return f"{self.name}=={self.version}"

    def field(self, name: str) -> Field | None:
        """The argument of that name: the module's own, or the one the REST API shows (data_key)."""
        by_key = {f.data_key: f for f in self.fields if f.data_key}
        return {**by_key, **{f.name: f for f in self.fields}}.get(name)

    def file_fields(self, named: Sequence[str | None], default: str | None) -> tuple[Field, ...]:
        """The arguments that take an item's files, in their order: as the item names them, or for None the job's.

        default: JOB_INPUT_FIELD; without one it is the only argument of type file that the item does not name, else
        `files`. Raises BadUsage where that leaves none, two files for one argument, or a required one without a file.
        """
        own = {name: self._file_field(name, "the line's field") for name in named if name}
        taken = tuple(own[name] if name else self._default(default, own.values()) for name in named)
        for field in taken:
            if taken.count(field) > 1:
                raise BadUsage(f"the argument {field.name} of the module {self.name} is given two files", _NAME_ALL)
        absent = [f for f in self._files if f.required and f not in taken]
        if absent:
            beside = " and ".join(f.name for f in taken)
            raise BadUsage(
                f"the module {self.name} needs further files beside {beside}: {_listed(absent)}",
                self.several_hint(taken),
            )
        return taken

    @property
    def possible_fields(self) -> tuple[str | None, ...]:
        """The fields of a call that can be made, as an item would have to name them; None: it need not."""
        if len(self._files) < 2:
            return (None,)
        required = [f.name for f in self._files if f.required]
        return tuple(required) or ((None,) if self.field("files") else (self._files[0].name,))

    @property
    def _files(self) -> list[Field]:
        return [f for f in self.fields if f.file]

    def _default(self, default: str | None, own: Collection[Field]) -> Field:
        """The argument for a file that names none."""
        if default:
            return self._file_field(default, "JOB_INPUT_FIELD")
        free = [f for f in self._files if f not in own]
        chosen = free[0] if len(free) == 1 else self.field("files")
        if chosen is None and free:
            raise BadUsage(
                f"the module {self.name} has several file arguments: {_listed(free)}",
                f"say with JOB_INPUT_FIELD which of them takes the input; or {self.several_hint(free)}",
            )
        if chosen is None:
            raise BadUsage(
                f"the module {self.name} takes no file: its arguments are {_listed(self.fields) or 'none'}",
                "only modules with a file argument can predict on files; if one of these takes it, name it with "
                "JOB_INPUT_FIELD",
            )
        return self._fit_for_a_file(chosen)

    def _file_field(self, name: str, said_by: str) -> Field:
        field = self.field(name)
        if field is None:
            raise BadUsage(
                f"{said_by} is {name!r}: the module {self.name} has no such argument"
                + did_you_mean(name, [f.name for f in self.fields]),
                f"file arguments: {_listed(self._files) or 'none'}; all: {_listed(self.fields) or 'none'}",
            )
        return self._fit_for_a_file(field)

    def _fit_for_a_file(self, field: Field) -> Field:
        if not (field.file or field.plain):
            raise BadUsage(
                f"the argument {field.summary} of the module {self.name} takes no file",
                f"file arguments: {_listed(self._files) or 'none'}",
            )
        return field

    def several_hint(self, some: Sequence[Field]) -> str:
        """What can work where one input is not enough."""
        wanted = [f.name for f in self._files if f.required or f in some]
        files = ", ".join(f'"{name}": "s3://…"' for name in wanted)
        return f'name the files of a call in a line of JOB_MANIFEST: {{"files": {{{files}}}}}'

    def accept_for(self, arguments: Mapping[str, Any]) -> str:
        """The media type that the answer will have, by the module's `accept` argument."""
        field = self.field("accept")
        asked = arguments.get("accept", field.default_text if field else None)
        return asked if isinstance(asked, str) and "/" in asked and "*" not in asked else "application/json"

    def require_known(self, arguments: Mapping[str, Any], taken: Sequence[Field]) -> Mapping[str, Any]:
        """The job's arguments under the module's own names. Raises BadUsage for an unknown, missing or file one.

        taken: those that take files.
        """
        renamed: dict[str, Any] = {}
        others = [f for f in self.fields if not f.file and f not in taken]
        for name, value in arguments.items():
            field = self.field(name)
            if field is None:
                raise BadUsage(
                    f"JOB_PREDICT_ARGS: the module {self.name} has no argument {name!r}"
                    + did_you_mean(name, [f.name for f in others]),
                    f"it has: {_listed(others) or 'none'}",
                )
            if field in taken or field.file:
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
        Field(
            **{
                **field,
                "name": str(field["name"]),
                "choices": tuple(map(folded, field["choices"] or ())),
                "help": plain_text(field["help"], _LONGEST_HELP),
            }
        )
        for field in reply["fields"]
    )
    return Module(fields=fields, **{k: reply[k] for k in Module.__dataclass_fields__ if k != "fields"})


def did_you_mean(name: str, known: list[str]) -> str:
    """`: did you mean threshold?`, or nothing."""
    close = difflib.get_close_matches(name, known, n=1)
    return f": did you mean {close[0]}?" if close else ""


def _listed(fields: Sequence[Field]) -> str:
    return ", ".join(f.summary for f in fields)
