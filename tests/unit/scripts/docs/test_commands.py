"""The commands in README.md and docs/ are ones that deepaas-batch takes."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from scripts import cli
from scripts.checkout import ROOT
from scripts.make_target import variables

DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


def commands(document: Path) -> list[str]:
    """Each line of a block that begins with deepaas-batch, with the lines that continue it."""
    joined = re.sub(r"\\\n\s*", "", document.read_text(encoding="utf-8"))
    return re.findall(r"^\s*(deepaas-batch .*)$", joined, re.MULTILINE)


def targets(document: Path) -> list[str]:
    """Each `make target VARIABLE=…`, in a block or in a sentence, of those that are aliases."""
    names = "|".join(["submit-one", *(command.name for command in cli.COMMANDS)])
    return re.findall(rf"\bmake (?:{names})(?: [A-Z_]+=[^\s`]*)+", document.read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    "line",
    [pytest.param(line, id=f"{each.name}: {line}") for each in DOCUMENTS for line in commands(each)],
)
def test_a_command_in_a_document_is_one_that_parses(line: str) -> None:
    _, name, *words = shlex.split(line, comments=True)
    command = next(each for each in cli.COMMANDS if each.name == name)

    cli.command_parser(command, command.load()).parse_args(words)


@pytest.mark.parametrize(
    "line",
    [pytest.param(line, id=f"{each.name}: {line}") for each in DOCUMENTS for line in targets(each)],
)
def test_the_variables_of_a_target_in_a_document_are_ones_that_it_takes(line: str) -> None:
    _, target, *given = line.split()

    assert {word.partition("=")[0] for word in given} <= variables(target).keys()


def test_the_variables_that_make_help_shows_are_ones_that_the_target_takes() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    names = "|".join(["submit-one", *(command.name for command in cli.COMMANDS)])
    shown = re.findall(rf"^({names}): .*## (.*)$", makefile, re.MULTILINE)

    assert len(shown) == len(cli.COMMANDS)
    for target, text in shown:
        assert set(re.findall(r"\b([A-Z_]{2,})=", text)) <= variables(target).keys()
