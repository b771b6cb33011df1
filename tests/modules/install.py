"""Lays out test modules so that DEEPaaS finds them, without pip and in milliseconds.

    install("plain", site)      then run DEEPaaS with PYTHONPATH=site: it sees exactly that module

Entry points live in a distribution's metadata; a folder on PYTHONPATH that holds `<name>.py` beside
`<name>-1.0.dist-info` is one, for pkg_resources and for importlib.metadata alike.
From a shell, `python tests/modules/install.py SITE NAME...` does the same, and without arguments it
writes README.md, the table of what each module does, from the first lines of their docstrings.
"""

from __future__ import annotations

import ast
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

MODULES = Path(__file__).resolve().parent
NAMESPACE = "deepaas.v2.model"
INTRODUCTION = """\
# Modules that behave as real ones do

Each is a DEEPaaS V2 module in one file, for Python 3.6 and newer and every DEEPaaS release; `install.py` lays
them out. Unless said otherwise the one file argument is `files` and the answer is JSON. This file is
written by `python tests/modules/install.py`.
"""
OBJECTS = {"class_based": "class_based:API"}  # the others are the module itself


def names() -> list[str]:
    """Every test module there is."""
    return sorted(path.stem for path in MODULES.glob("*.py") if path.stem not in ("install", "__init__"))


def install(name: str | Sequence[str], site: Path) -> Path:
    """Puts that module, or those, into the folder `site`, made if need be, and returns it."""
    for each in [name] if isinstance(name, str) else name:
        _install_one(each, site)
    return site


def _install_one(name: str, site: Path) -> None:
    if name not in names():
        raise ValueError(f"no test module {name!r} in {MODULES}")
    lay_out(MODULES / f"{name}.py", site)


def lay_out(module: Path, site: Path) -> Path:
    """Puts a module of one file, wherever it lies, into the folder `site`, made if need be, and returns it."""
    name = module.stem
    metadata = site / f"{name}-1.0.dist-info"
    metadata.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(module, site / f"{name}.py")
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(f"[{NAMESPACE}]\n{name} = {OBJECTS.get(name, name)}\n")
    return site


def table() -> str:
    """README.md as it should read today."""
    rows = [f"| [{name}]({name}.py) | {_docstring(name)} |" for name in names()]
    return "\n".join([INTRODUCTION, "| module | what it does |", "|---|---|", *rows, ""])


def _docstring(name: str) -> str:
    return ast.get_docstring(ast.parse((MODULES / f"{name}.py").read_text())) or ""


if __name__ == "__main__":
    if sys.argv[1:]:
        install(sys.argv[2:], Path(sys.argv[1]))
    else:
        (MODULES / "README.md").write_text(table())
