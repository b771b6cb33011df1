"""Shared libraries that stand in for those of a GPU's driver, compiled where there is a compiler."""

import shutil
import subprocess
from pathlib import Path

import pytest


def shared_library(source: str, library: Path, *flags: str) -> Path:
    """Compiles that C into `library`, with further flags for the compiler; the test is left out where there is none."""
    if not shutil.which("gcc"):
        pytest.skip("needs gcc, to compile a stand-in for a GPU driver's library")
    file = library.with_name("source.c")
    file.write_text(source)
    subprocess.run(["gcc", "-shared", "-fPIC", "-w", "-o", library, file, *flags], check=True)
    return library
