"""Python code that runs in a process of its own."""

import subprocess
import sys


def ran(code: str) -> "subprocess.Popen[str]":
    return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)


def said(code: str) -> str:
    with ran(code) as process:
        stdout, _ = process.communicate(timeout=30)
    assert process.returncode == 0
    return stdout.strip()
