"""Every test module on every DEEPaaS release, by every runner: the right answer, or an honest failure.

What comes of it is the table in docs/deepaas.md: see scripts/docs/deepaas_table.py.
"""

import ast
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.integration.cases import CASES, COLUMNS, QUICK, Case, Column, Other
from tests.integration.cell import Cell
from tests.modules.install import MODULES, names

Recorded = Callable[[str, object], None]


def cells(wanted: Callable[[Case, Column], bool]) -> list[Any]:
    """(case, column) of those wanted, each as a test's parameters."""
    return [
        pytest.param(case, column, id=f"{column}-{case.module}", marks=() if column in QUICK else pytest.mark.releases)
        for column in COLUMNS
        for case in CASES
        if wanted(case, column)
    ]


def test_every_test_module_is_in_the_table() -> None:
    assert [case.module for case in CASES] == names()


@pytest.mark.parametrize(("case", "column"), cells(lambda case, column: True))
def test_auto_gives_the_right_answer_or_failure(
    case: Case, column: Column, tmp_path: Path, record_property: Recorded
) -> None:
    auto = Cell.of(case, column, tmp_path).run("auto")
    record(record_property, case, column, code=auto.ended.code, chosen=auto.chosen, used=auto.used)
    case.outcome.require(auto.ended, auto.results)
    assert auto.chosen == case.choice(column)
    if case.outcome.code == 0:
        assert auto.used == ("deepaas-cli" if case.not_by_cli(column) is None else "worker")
        assert auto.ran == auto.used


@pytest.mark.releases
@pytest.mark.parametrize(("case", "column"), cells(lambda case, column: case.choice(column) == "deepaas-cli"))
def test_the_worker_ends_as_the_command_line_does(case: Case, column: Column, tmp_path: Path) -> None:
    worker = Cell.of(case, column, tmp_path).run("worker")
    case.outcome.require(worker.ended, worker.results)


@pytest.mark.releases
@pytest.mark.parametrize(
    ("case", "column"), cells(lambda case, column: bool(case.not_by_cli(column)) and case.choice(column) is not None)
)
def test_a_command_line_that_cannot_carry_it_says_why(
    case: Case, column: Column, tmp_path: Path, record_property: Recorded
) -> None:
    run = Cell.of(case, column, tmp_path).run("cli")
    record(record_property, case, column, by_cli=run.ended.status.get("error", {}).get("message", run.used))
    limit = case.not_by_cli(column)
    if isinstance(limit, Other):
        case.outcome.require(run.ended, run.results)
        assert run.used == "deepaas-predict"
    elif limit:
        limit.outcome.require(run.ended, run.results)


def record(record_property: Recorded, case: Case, column: Column, **found: object) -> None:
    """One line for the table, kept in the test's report."""
    does = ast.get_docstring(ast.parse((MODULES / f"{case.module}.py").read_text()))
    facts = {"module": case.module, "does": does, "release": column.release, "python": column.python_name, **found}
    record_property("deepaas", json.dumps(facts))
