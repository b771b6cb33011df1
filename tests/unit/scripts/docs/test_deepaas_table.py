"""docs/deepaas.md is up to date: it has a row for every test module and a column for every release."""

import json
from collections.abc import Mapping
from pathlib import Path
from xml.sax.saxutils import quoteattr

import pytest

from scripts.docs.deepaas_table import Incomplete, main, read
from tests.conftest import REPOSITORY
from tests.integration.cases import COLUMNS
from tests.modules.install import names

DOCUMENT = REPOSITORY / "docs" / "deepaas.md"


def cells_of(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_every_module_has_a_row_and_every_release_a_column() -> None:
    lines = DOCUMENT.read_text().splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("| module | what it does |"))
    rows = [cells_of(line) for line in lines[start + 2 : lines.index("", start)]]
    columns = [tuple(cell.split(" / ")) for cell in cells_of(lines[start])[2:]]
    assert [release for release, _ in columns] == [each.release for each in COLUMNS]
    # The others may have run on any Python from 3.11 on.
    assert [python == "3.6" for _, python in columns] == [each.python == "python3.6" for each in COLUMNS]
    assert [row[0] for row in rows] == [f"`{name}`" for name in names()]
    assert all(cell for row in rows for cell in row)


def test_every_command_and_path_in_the_document_is_there() -> None:
    text = DOCUMENT.read_text()
    assert (REPOSITORY / "tests" / "integration" / "test_releases.py").exists()
    assert "tests/integration/test_releases.py" in text
    assert "scripts.docs.deepaas_table" in text


def report(path: Path, *cells: Mapping[str, object], failed: str = "") -> Path:
    """What pytest writes, of these cells."""
    properties = "".join(
        f"<property name='deepaas' value={quoteattr(json.dumps(cell))}/>"
        for cell in ({"does": "Does it.", "python": "python3.11", **cell} for cell in cells)
    )
    failure = f"<failure message='{failed}'/>" if failed else ""
    path.write_text(
        f"<testsuites><testcase name='a'><properties>{properties}</properties>{failure}</testcase></testsuites>"
    )
    return path


BY_CLI = {"module": "plain", "release": "2.6.0", "code": 0, "chosen": "deepaas-cli", "used": "deepaas-cli"}


def test_what_was_seen_becomes_a_row(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fell_back = {**BY_CLI, "release": "2.10.0", "used": "worker"}
    why = {"module": "plain", "release": "2.10.0", "by_cli": "deepaas-cli 2.10.0 said <no> to /tmp/x/a.wav"}
    assert main([str(report(tmp_path / "report.xml", fell_back, BY_CLI, why))]) == 0
    told = capsys.readouterr().out
    assert "| module | what it does | 2.6.0 / 3.11 | 2.10.0 / 3.11 |" in told
    assert "| `plain` | Does it. | ✓ cli | ✓ cli, worker |" in told
    assert "| deepaas-cli said &lt;no&gt; to /… | every one that comes to a runner | 2.10.0 / 3.11 |" in told


def test_the_last_run_of_a_test_counts(tmp_path: Path) -> None:
    failed = report(tmp_path / "first.xml", {**BY_CLI, "code": 65}, failed="wrong answer")
    table, _ = read(failed, report(tmp_path / "second.xml", BY_CLI))
    assert [str(cell) for cell in table["plain"].values()] == ["✓ cli"]


def test_a_missing_cell_is_told(tmp_path: Path) -> None:
    other = {**BY_CLI, "module": "raises", "release": "1.3.0"}
    with pytest.raises(Incomplete, match=r"\w+ on .* is missing"):
        read(report(tmp_path / "report.xml", BY_CLI, other))


def test_a_failed_test_makes_no_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(report(tmp_path / "report.xml", BY_CLI, failed="wrong answer"))]) == 1
    assert "a test failed, which no table may hide: wrong answer" in capsys.readouterr().err
