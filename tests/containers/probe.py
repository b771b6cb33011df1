"""Stands in for supervisor/cli.py in some container tests: imports all there is, and tells what came from where."""

from __future__ import annotations

import json
import os
import pkgutil
import socket
import ssl
import sys
from importlib import import_module
from pathlib import Path

import supervisor
from supervisor.model.environment import guest_environment

LIBRARIES = (
    "boto3",
    "bz2",
    "ctypes",
    "lzma",
    "multiprocessing.shared_memory",
    "obstore",
    "requests",
    "tenacity",
    "zlib",
)


def program() -> None:
    ours = [each.name for each in pkgutil.walk_packages(supervisor.__path__, "supervisor.")]
    for name in (*LIBRARIES, *(name for name in ours if not name.endswith("__main__"))):
        import_module(name)
    seen = {
        "modules": sorted({str(getattr(module, "__file__", None) or "") for module in sys.modules.values()} - {""}),
        "mapped": sorted({line.split()[-1] for line in _mappings() if line.split()[-1].startswith("/")}),
        "tls": ssl.create_default_context().check_hostname,
        "addresses": [socket.gethostbyname(name) for name in sys.argv[2:]],
        "model's environment": guest_environment(os.environ),
    }
    print(json.dumps(seen))


def _mappings() -> list[str]:
    return Path("/proc/self/maps").read_text().splitlines()
