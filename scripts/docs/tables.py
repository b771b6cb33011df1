"""Writes the tables in README.md and docs/ that are generated from the code, or says that they are stale.

    python -m scripts.docs.tables            write them
    python -m scripts.docs.tables --check    exit 1 where one is out of date

The variables come from supervisor/job.py, the exit codes from supervisor/failures.py, the status and its schema from
supervisor/status/schema.py, Batch's retry rules from scripts/batch/retry.py, the figures from benchmarks/results.json,
the catalogue from images/.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from scripts import whole_file
from scripts.batch import retry
from scripts.checkout import ROOT
from scripts.docs import figures, plot
from scripts.docs.markdown import cell, markdown_table
from scripts.docs.regions import replace_region
from scripts.images import catalogue
from supervisor.failures import SUCCESS, TABLE
from supervisor.job import VARIABLES
from supervisor.status.schema import MEMBERS, schema


def variables() -> str:
    """The container's contract, one variable a row."""
    rows = []
    for variable in VARIABLES:
        facts = variable.meaning
        if variable.choices:
            facts += f": {', '.join(f'`{choice}`' for choice in variable.choices)}"
        if variable.default:
            facts += f"; default `{variable.default}`"
        rows.append((f"`{variable.name}`", "" if variable.secret else f"`{variable.flag}`", cell(facts)))
    return markdown_table(("variable", "flag", "meaning"), rows)


def exit_codes() -> str:
    """The failure table, one exit code a row."""
    rows = [(str(SUCCESS), "", "every item done or already up to date", "", "")]
    for each in TABLE:
        rows.append((str(each.code), each.category, each.meaning, "yes" if each.retry else "no", cell(each.advice)))
    return markdown_table(("code", "category", "meaning", "retry", "what to do"), rows)


def status_members() -> str:
    """The status document, one member a row."""
    rows = []
    for name, member in MEMBERS.items():
        rows.append((f"`{name}`", cell(member["description"])))
        for inner, part in member.get("properties", {}).items():
            rows.append((f"`{name}.{inner}`", cell(part["description"])))
    return markdown_table(("member", "meaning"), rows)


def documents() -> dict[Path, str]:
    """Every document with generated regions, as it should read today."""
    contract = ROOT / "docs" / "contract.md"
    batch = ROOT / "docs" / "batch.md"
    readme = ROOT / "README.md"
    text = replace_region(contract.read_text(), "variables", variables())
    text = replace_region(text, "status", status_members())
    home = replace_region(readme.read_text(), "variables", variables())
    home = replace_region(home, "exit-codes", exit_codes())
    home = replace_region(home, "figures", figures.table())
    return {
        plot.PLOT: plot.svg(),
        batch: replace_region(batch.read_text(), "retries", retry.markdown()),
        contract: replace_region(text, "exit-codes", exit_codes()),
        ROOT / "docs" / "status.schema.json": json.dumps(schema(), indent=2, ensure_ascii=False) + "\n",
        readme: replace_region(home, "catalogue", catalogue.markdown(catalogue.load().values())),
    }


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m scripts.docs.tables", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 where a table is stale")
    options = parser.parse_args(argv)
    stale = {path: text for path, text in documents().items() if not path.exists() or path.read_text() != text}
    for path, text in stale.items():
        if options.check:
            print(f"{path.relative_to(ROOT)} is stale: run `make docs`", file=sys.stderr)
        else:
            whole_file.write_text(path, text)
    return 1 if stale and options.check else 0


if __name__ == "__main__":
    sys.exit(main())
