"""The table in docs/deepaas.md, from the report of a test run that filled its cells.

    pytest tests/integration/test_releases.py -n 2 --junitxml=build/releases.xml
    python -m scripts.docs.deepaas_table build/releases.xml --update docs/deepaas.md

Each test leaves a property `deepaas` in the report: JSON with the cell's place (module, release, python) and what was
seen there (exit code, runners, what JOB_RUNNER=cli says). Without --update the table goes to stdout.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from scripts import whole_file
from scripts.docs.markdown import cell, markdown_table
from scripts.docs.regions import NoSuchRegion, replace_region

REGION = "releases"
PROPERTY = "deepaas"
CLI, PREDICT = "deepaas-cli", "deepaas-predict"
LEGEND = """\
| cell | meaning |
|---|---|
| ✓ cli | the right answer; `auto` takes deepaas-cli, and the worker gives the same |
| ✓ worker | the right answer; `auto` takes the worker: the command line cannot carry this, and `cli` is refused (64) |
| ✓ cli, worker | the right answer by the worker, which `auto` falls back on when deepaas-cli has failed: `cli` is 65 |
| ✓ predict | as ✓ worker, but `cli` takes deepaas-predict and gives the right answer too |
| 64, 65, 78 | the module's own failure, whichever the runner: that exit code and one line that names the cause |"""


class Incomplete(Exception):
    """The report does not have what the table needs; the message is one line."""


@dataclass(frozen=True, kw_only=True, order=True)
class Release:
    """One column."""

    python: tuple[int, ...]
    numbers: tuple[int, ...]

    @classmethod
    def of(cls, facts: Mapping[str, str]) -> Release:
        # The newest Python first, and on it the oldest release.
        python = tuple(-int(part) for part in facts["python"].removeprefix("python").split("."))
        return cls(python=python, numbers=tuple(int(part) for part in facts["release"].split(".")))

    def __str__(self) -> str:
        python = ".".join(str(-part) for part in self.python)
        return f"{'.'.join(map(str, self.numbers))} / {python}"


@dataclass(frozen=True, kw_only=True)
class Cell:
    """What was seen of one module on one release. by_cli: None where the command line is one of the runners."""

    code: int
    chosen: str | None
    used: str | None
    by_cli: str | None

    def __str__(self) -> str:
        if self.code:
            return str(self.code)
        if self.chosen == CLI:
            return "✓ cli" if self.used == CLI else "✓ cli, worker"
        return "✓ predict" if self.by_cli == PREDICT else "✓ worker"


Table = Mapping[str, Mapping[Release, Cell]]


def read(*reports: Path) -> tuple[Table, Mapping[str, str]]:
    """The cells by module and release, and what each module does; of a test run again the last run counts.

    Raises Incomplete.
    """
    tests = {
        (test.get("classname"), test.get("name")): test
        for report in reports
        for test in ElementTree.parse(report).iter("testcase")  # noqa: S314 - pytest's own
    }
    for failed in (fault for test in tests.values() for kind in ("failure", "error") for fault in test.iter(kind)):
        raise Incomplete(f"a test failed, which no table may hide: {failed.get('message', '')[:200]}")
    seen: dict[str, dict[Release, dict[str, object]]] = {}
    does: dict[str, str] = {}
    for recorded in (each for test in tests.values() for each in test.iter("property")):
        if recorded.get("name") == PROPERTY:
            facts = json.loads(recorded.get("value", "{}"))
            does[facts["module"]] = facts["does"]
            seen.setdefault(facts["module"], {}).setdefault(Release.of(facts), {}).update(facts)
    if not seen:
        raise Incomplete("there is no cell: was this written by pytest tests/integration/test_releases.py?")
    columns = {release for row in seen.values() for release in row}
    for module, row in seen.items():
        for release in columns:
            if "code" not in row.get(release, {}):
                raise Incomplete(f"{module} on {release} is missing: run all of the tests, marked `releases` too")
    return {module: {at: _cell(facts) for at, facts in row.items()} for module, row in seen.items()}, does


def _cell(facts: Mapping[str, object]) -> Cell:
    return Cell(**{name: facts.get(name) for name in Cell.__dataclass_fields__})  # type: ignore[arg-type]


def render(table: Table, does: Mapping[str, str]) -> str:
    """The legend, the table, and why the worker is taken where it is."""
    releases = sorted({release for row in table.values() for release in row})
    rows = [[f"`{name}`", does[name], *(str(table[name][at]) for at in releases)] for name in sorted(table)]
    return "\n\n".join(
        [
            LEGEND,
            markdown_table(["module", "what it does", *map(str, releases)], rows),
            "### What `JOB_RUNNER=cli` says where the command line is no way",
            markdown_table(["message", "modules", "releases"], _reasons(table, releases)),
        ]
    )


def _reasons(table: Table, releases: Iterable[Release]) -> Iterable[list[str]]:
    """Each message once, with the modules and the releases that it was seen with."""
    seen: dict[str, tuple[dict[str, None], dict[str, None]]] = {}
    for name in sorted(table):
        for release in releases:
            said = table[name][release].by_cli
            if said and said != PREDICT:
                modules, where = seen.setdefault(_general(said, release), ({}, {}))
                modules[f"`{name}`"] = where[str(release)] = None
    for said, (modules, where) in seen.items():
        told = ", ".join(modules) if len(modules) < len(table) / 2 else "every one that comes to a runner"
        yield [said, told, ", ".join(where)]


def _general(said: str, release: Release) -> str:
    number = ".".join(map(str, release.numbers))
    said = said.removeprefix("JOB_RUNNER is cli, but ").partition("; deepaas-predict")[0]
    words = said.replace(f"{number} ", "").split(" ")
    text = " ".join("/…" if word.startswith("/") else word for word in words)
    return cell(text)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("report", type=Path, nargs="+", help="what pytest wrote for --junitxml; the last one wins")
    parser.add_argument("--update", type=Path, metavar="FILE", help="put the table into this document, not on stdout")
    given = parser.parse_args(arguments)
    try:
        rendered = render(*read(*given.report))
        if given.update:
            whole_file.write_text(given.update, replace_region(given.update.read_text(), REGION, rendered))
        else:
            print(rendered)
    except (Incomplete, NoSuchRegion, OSError, ElementTree.ParseError) as fault:
        print(f"error: {fault}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
