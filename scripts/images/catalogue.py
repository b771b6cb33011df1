"""The catalogue: what is known of each module's image, read from images/<module>.yaml.

The files say what a module is called, which image it comes in, which argument takes the file, what it answers and
what a job needs; images/schema.json says what each key means. This is their only reader.

    catalogue = load()
    module = find("deep-oc-audio-classification-tf", catalogue)
    module.image("gpu")          # deephdc/deep-oc-audio-classification-tf:gpu
"""

from __future__ import annotations

import argparse
import difflib
import json
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, cast

import yaml
from jsonschema import Draft202012Validator, ValidationError
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from scripts import terminal
from scripts.checkout import ROOT, shown
from scripts.docs.markdown import markdown_table
from supervisor.failures import SUCCESS, BadUsage, InputMissing, ItemFailed
from supervisor.machine import console

IMAGES = ROOT / "images"
SCHEMA = IMAGES / "schema.json"

Variant = Literal["cpu", "gpu"]
VARIANTS: tuple[Variant, ...] = ("cpu", "gpu")


class UnknownModule(BadUsage):
    """No module goes by that name; the hint is a suggestion."""


class InvalidCatalogue(ItemFailed):
    """A file of the catalogue is not as the schema wants it; the message is the first fault, `faults` has all."""

    def __init__(self, faults: list[Fault]) -> None:
        more = f" (and {len(faults) - 1} more: deepaas-batch catalogue --check)" if len(faults) > 1 else ""
        super().__init__(f"{faults[0]}{more}", "correct it; images/schema.json says what each key means")
        self.faults = faults


@dataclass(frozen=True, order=True)
class Fault:
    """Something wrong in one file of the catalogue."""

    path: Path
    line: int
    message: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.message}"


@dataclass(frozen=True, kw_only=True)
class Input:
    """The file that a prediction takes."""

    field: str
    media_types: tuple[str, ...]
    extensions: tuple[str, ...]  # empty where the module names none
    other_fields: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Resources:
    """What a job asks for; `gpus` is for the gpu variant alone."""

    vcpus: int
    memory_mib: int
    gpus: int


@dataclass(frozen=True, kw_only=True)
class Module:
    """One module of the catalogue. images/schema.json describes each field."""

    name: str
    title: str
    repository: str
    tags: Mapping[Variant, str | None]
    source: str
    base: Mapping[Variant, str | None]
    python: str | None
    licence: str | None
    input: Input
    results: tuple[str, ...]
    arguments: Mapping[str, Any]
    copies: Literal["many", 1]
    network: Literal["at start", "at prediction", "none"]
    resources: Resources
    timeout_seconds: int
    sources: Mapping[str, str]
    build: str | None = None
    successor: str | None = None
    default_args: Mapping[str, Any] | None = None
    unfit: str | None = None
    notes: tuple[str, ...] = ()

    @property
    def variants(self) -> tuple[Variant, ...]:
        """The variants that an image is known for."""
        return tuple(variant for variant in VARIANTS if self.tags[variant])

    def image(self, variant: Variant) -> str | None:
        """The catalogue image that `variant` is derived from, as `repository:tag`; None where there is none."""
        tag = self.tags[variant]
        return f"{self.repository}:{tag}" if tag else None


def load(folder: Path = IMAGES) -> dict[str, Module]:
    """Read every module in `folder`, by name; a link to nothing is left out, which is said. Raises InvalidCatalogue."""
    paths = sorted(folder.glob("*.yaml"))
    for path in paths:
        if not path.exists():
            console.say(f"catalogue: {path.name} is a link to {path.readlink()}, where nothing is, and is left out")
    documents = [_Document(path) for path in paths if path.exists()]
    faults = sorted(_faults(documents))
    if faults:
        raise InvalidCatalogue(faults)
    modules = [_module(document.value) for document in documents]
    # The successors after all that they may succeed.
    modules.sort(key=lambda module: (module.name.startswith("ai4os-"), module.name))
    return {module.name: module for module in modules}


def find(name: str, modules: Mapping[str, Module] | None = None) -> Module:
    """Return the module called `name`. Raises UnknownModule.

    Beside its own name a module goes by its image repository, with or without registry, owner and
    `deep-oc-`; case does not count, nor does `_` against `-`. A module's own name is never another's.
    """
    modules = load() if modules is None else modules
    by_alias = _by_alias(modules.values())
    wanted = _plain(name)
    found = by_alias.get(wanted, [])
    if len(found) == 1:
        return found[0]
    if found:
        raise UnknownModule(f"{name!r} could be {' or '.join(module.name for module in found)}", "say which")
    near = difflib.get_close_matches(wanted, by_alias, n=5) or [alias for alias in by_alias if wanted in alias]
    names = list(dict.fromkeys(module.name for alias in near for module in by_alias[alias]))[:3]
    guess = f": did you mean {' or '.join(names)}?" if names else ""
    raise UnknownModule(f"no module called {name!r} in the catalogue{guess}", "`deepaas-batch catalogue` lists them")


def variant(text: str) -> Variant:
    """The one variant that `text` names. Raises BadUsage."""
    for known in VARIANTS:
        if text == known:
            return known
    raise BadUsage(f"there is no variant {text!r}", f"use {' or '.join(VARIANTS)}")


def variants(text: str) -> tuple[Variant, ...]:
    """The variants that `text` names: one, or `all`. Raises BadUsage."""
    if text not in (*VARIANTS, "all"):
        raise BadUsage(f"there is no variant {text!r}", f"use {', '.join(VARIANTS)} or all")
    return VARIANTS if text == "all" else (variant(text),)


def words(models: Iterable[str]) -> list[str]:
    """Modules as people list them, several in one argument too: with spaces or commas."""
    return [word for each in models for word in re.split(r"[\s,]+", each) if word]


def _by_alias(modules: Iterable[Module]) -> dict[str, list[Module]]:
    by_alias: dict[str, list[Module]] = {}
    modules = list(modules)
    for module in modules:
        for alias in _aliases(module.repository):
            by_alias.setdefault(alias, []).append(module)
    return by_alias | {_plain(module.name): [module] for module in modules}


def _aliases(repository: str) -> set[str]:
    repository = _plain(repository)
    bare = repository.rpartition("/")[2]
    return {repository, bare, re.sub(r"^(uc-.+-)?deep-oc-", "", bare)}


def _plain(name: str) -> str:
    # The first part of a path is a registry's host where it has a dot.
    return re.sub(r"^[^/]+\.[^/]+/", "", name.strip().lower().replace("_", "-"))


def _module(document: Mapping[str, Any]) -> Module:
    value = _frozen(document)
    return Module(**value | {"input": Input(**_frozen(value["input"])), "resources": Resources(**value["resources"])})


def _frozen(value: Mapping[str, Any]) -> dict[str, Any]:
    return {key: tuple(part) if isinstance(part, list) else part for key, part in value.items()}


# Checking: the schema file by file, then what only all files together can tell.


class _Loader(yaml.SafeLoader):
    """YAML that refuses a key given twice, of which PyYAML would silently keep the last."""

    def construct_mapping(self, node: MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[object] = set()
        for key in (key for key, _ in node.value if isinstance(key, ScalarNode)):
            if key.value in seen:
                raise yaml.MarkedYAMLError(problem=f"the key {key.value} is there twice", problem_mark=key.start_mark)
            seen.add(key.value)
        return cast("dict[Any, Any]", super().construct_mapping(node, deep=deep))


class _Document:
    """One file, as a value and as the nodes that know their lines. What is no YAML mapping is a fault, not a value."""

    def __init__(self, path: Path) -> None:
        self.path = shown(path)
        self.value: dict[str, Any] = {}
        self.unreadable: Fault | None = None
        self._root: Node | None = None
        try:
            loader = _Loader(path.read_text(encoding="utf-8"))
            self._root = loader.get_single_node()
            if not isinstance(self._root, MappingNode):
                raise yaml.MarkedYAMLError(problem="wants `key: value` lines at the top")
            self.value = loader.construct_document(self._root)
        except yaml.MarkedYAMLError as error:
            line = error.problem_mark.line + 1 if error.problem_mark else 1
            self.unreadable = Fault(self.path, line, f"no valid YAML: {error.problem}")
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            self.unreadable = Fault(self.path, 1, f"no valid YAML: {' '.join(str(error).split())}")

    def fault(self, message: str, *where: str | int) -> Fault:
        return Fault(self.path, self._line(where), message)

    def _line(self, where: Iterable[str | int]) -> int:
        """The line of the deepest part of the path `where` that the file has."""
        node, line = self._root, 1
        for step in where:
            if isinstance(node, MappingNode):
                found = [(key, value) for key, value in node.value if isinstance(key, ScalarNode) and key.value == step]
                if not found:
                    break
                key, node = found[0]
                line = key.start_mark.line + 1
            elif isinstance(node, SequenceNode) and isinstance(step, int):
                node = node.value[step]
                line = node.start_mark.line + 1
        return line


def _faults(documents: list[_Document]) -> Iterator[Fault]:
    readable = [document for document in documents if not document.unreadable]
    yield from (document.unreadable for document in documents if document.unreadable)
    validator = Draft202012Validator(json.loads(SCHEMA.read_text(encoding="utf-8")))
    sound = []
    for document in readable:
        errors = list(validator.iter_errors(document.value))
        # What the schema wants of one key for another's sake (its allOf) says little while a key is wrong by itself.
        errors = [error for error in errors if error.absolute_schema_path[0] != "allOf"] or errors
        yield from (fault for error in errors for fault in _schema_faults(document, error))
        if not errors:
            sound.append(document)
    for document in sound:
        yield from _own_faults(document)
    yield from _shared_images(sound)
    if len(sound) == len(documents):
        yield from _lost_successors(sound)


def _schema_faults(document: _Document, error: ValidationError) -> Iterator[Fault]:
    where = list(error.absolute_path)
    at = f"{'.'.join(map(str, where))}: " if where else ""
    schema, value = cast("dict[str, Any]", error.schema), cast("Any", error.instance)
    if error.validator == "additionalProperties":
        known = list(schema["properties"])
        for key in sorted(set(value) - set(known), key=str):
            near = difflib.get_close_matches(str(key), known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
            yield document.fault(f"{at}no such key as {key}; {hint}", *where, key)
    elif error.validator in ("pattern", "anyOf") and "description" in schema:
        yield document.fault(f"{at}{value!r} will not do; wanted: {schema['description']}", *where)
    elif error.validator == "contains" and "description" in schema:
        yield document.fault(f"{at}wanted among them: {schema['description']}", *where)
    else:
        yield document.fault(f"{at}{error.message}", *where)


def _own_faults(document: _Document) -> Iterator[Fault]:
    value = document.value
    if value["name"] != document.path.stem:
        yield document.fault(f"name: {value['name']} stands in {document.path.name}; they must be the same", "name")
    given = value.get("default_args", {})
    for argument in given.keys() - value["arguments"].keys() - {"accept"}:
        yield document.fault(f"default_args.{argument}: not among the arguments", "default_args", argument)
    if "accept" in given and given["accept"] not in value["results"]:
        yield document.fault(f"default_args.accept: not among the results: {given['accept']}", "default_args", "accept")


def _shared_images(documents: list[_Document]) -> Iterator[Fault]:
    first: dict[str, _Document] = {}
    for document in documents:
        image = document.value["repository"]
        if first.setdefault(_plain(image), document) is not document:
            yield document.fault(f"repository: {image} is {first[_plain(image)].path.name}'s too", "repository")


def _lost_successors(documents: list[_Document]) -> Iterator[Fault]:
    names = {document.value["name"] for document in documents}
    for document in documents:
        successor = document.value.get("successor")
        if successor and successor not in names:
            yield document.fault(f"successor: there is no {successor}.yaml", "successor")


# Showing: the same table for a terminal, for Markdown and, as data, for machines.

HEADINGS = (
    "module",
    "variants",
    "copies",
    "network",
    "file argument",
    "takes",
    "answers",
    "vCPU",
    "GiB",
    "GPU",
    "minutes",
    "image",
)
NUMBERS = {"vCPU", "GiB", "GPU", "minutes"}
UNFIT = "*"


def print_table(modules: Iterable[Module]) -> None:
    """The table on stdout, with what speaks against an image below it."""
    modules = list(modules)
    terminal.print_table(HEADINGS, map(_row, modules), NUMBERS)
    for line in ["", *unfit] if (unfit := _unfit(modules)) else []:
        print(line)


def markdown(modules: Iterable[Module]) -> str:
    """The table as Markdown, with what speaks against an image below it."""
    modules = list(modules)
    rows = (_escaped(_row(module)) for module in modules)
    unfit = (line.replace(UNFIT, r"\*", 1) + "  " for line in _unfit(modules))
    return "\n".join([markdown_table(HEADINGS, rows, NUMBERS), "", *unfit]).rstrip()


def _row(module: Module) -> tuple[str, ...]:
    needs = module.resources
    return (
        module.name + (UNFIT if module.unfit else ""),
        " ".join(module.variants) or "unknown",
        str(module.copies),
        module.network,
        module.input.field,
        " ".join(module.input.media_types),
        " ".join(module.results),
        str(needs.vcpus),
        str(needs.memory_mib // 1024),
        str(needs.gpus),
        str(module.timeout_seconds // 60),
        module.repository,
    )


def _unfit(modules: list[Module]) -> list[str]:
    return [f"{UNFIT} {module.name}: {module.unfit}" for module in modules if module.unfit]


def _notes(modules: Iterable[Module]) -> Iterator[str]:
    """What else is to be known of each module, after an empty line."""
    for module in modules:
        if module.notes:
            yield f"\n{module.name}:"
            yield from (f"- {note}" for note in module.notes)


def _escaped(row: tuple[str, ...]) -> list[str]:
    return [cell.replace("*", r"\*").replace("_", r"\_") for cell in row]


# The command.

DESCRIPTION = "Shows the catalogue of modules that `deepaas-batch images` can build on, from images/*.yaml."
EPILOG = """\
copies: whether several copies predict side by side without mixing their items up (many), or one at a time (1);
network: when the image needs one. A module marked * cannot work as it stands; the reason is below the table, and so
are the notes on modules that are named. To add a module, write images/<module>.yaml (images/schema.json says what each
key means), then --check, which exits 65 where a file is wrong.

examples:
  deepaas-batch catalogue
  deepaas-batch catalogue yolov8
  deepaas-batch catalogue --check"""


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", nargs="*", help="only these, with notes, by own name or image repository; all without")
    shape = parser.add_mutually_exclusive_group()
    shape.add_argument("--markdown", action="store_true", help="the table as Markdown")
    shape.add_argument("--json", action="store_true", help="all that is known, with where it was read, as JSON")
    shape.add_argument("--check", action="store_true", help="say each fault in the files, with its file and line")
    parser.add_argument("--images", metavar="FOLDER", type=Path, default=IMAGES, help="read another folder's files")


def main(options: argparse.Namespace) -> int:
    """Raises UnknownModule, InvalidCatalogue, InputMissing."""
    try:
        modules = load(options.images)
    except InvalidCatalogue as error:
        if options.check:
            print(*error.faults, sep="\n", file=sys.stderr)
            return error.code
        raise
    if not modules:
        raise InputMissing(f"{options.images}: no *.yaml files there", "name the folder that holds them: --images")
    chosen = [find(name, modules) for name in words(options.model)] or list(modules.values())
    if options.check:
        print(f"{len(modules)} modules, nothing wrong")
    elif options.markdown:
        print(markdown(chosen))
    elif options.json:
        print(json.dumps({module.name: asdict(module) for module in chosen}, indent=2))
    else:
        print_table(chosen)
        if options.model:
            print(*_notes(chosen), sep="\n")
    return SUCCESS
