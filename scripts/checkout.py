"""The checkout that the operator's side works on: its Dockerfiles, its catalogue and its build folder."""

from __future__ import annotations

from pathlib import Path

from supervisor.failures import BadUsage

ROOT = Path(__file__).resolve().parents[1]


def require() -> None:
    """Raises BadUsage where this was installed as a copy, apart from the files that it works on."""
    if not (ROOT / "Dockerfile.cpu").is_file():
        raise BadUsage(
            f"deepaas-batch is installed as a copy in {ROOT}, without the Dockerfiles and the catalogue",
            "install it from a checkout, and leave it there: pip install -e '.[host]'",
        )


def shown(path: Path) -> Path:
    """A path as people read it: from the working folder where it is below it."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
