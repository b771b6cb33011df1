"""/supervisor in an image that is not what was built: nothing of it runs, and one line says why."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable

import pytest
from docker import DockerClient

from tests.containers.tracked import Containers, Finished

pytestmark = pytest.mark.containers
Derived = Callable[..., str]
TAKE_OVER = b"import os; os._exit(99)\n"


def run_with(containers: Containers, engine: DockerClient, image: str, path: str, entry: tarfile.TarInfo) -> Finished:
    """`version` in a container of the image, with one more entry at that path."""
    container = engine.containers.create(image, ["version"])
    tracked = containers.track(container)
    packed = io.BytesIO()
    entry.name = path.lstrip("/")
    with tarfile.open(fileobj=packed, mode="w") as archive:
        archive.addfile(entry, io.BytesIO(TAKE_OVER[: entry.size]) if entry.isreg() else None)
    container.put_archive("/", packed.getvalue())
    container.start()
    return tracked.wait()


def file(size: int = len(TAKE_OVER), mtime: int = 0) -> tarfile.TarInfo:
    entry = tarfile.TarInfo()
    entry.size, entry.mtime = size, mtime
    return entry


def link(target: str) -> tarfile.TarInfo:
    entry = tarfile.TarInfo()
    entry.type, entry.linkname = tarfile.SYMTYPE, target
    return entry


# What Python would load of its own accord, or a library of ours if it were there.
PLANTED = {
    "the archive that comes first on Python's path": "/supervisor/lib/python311.zip",
    "a package in place of a module": "/supervisor/lib/python3.11/os/__init__.py",
    "a settings file of Python's": "/supervisor/pyvenv.cfg",
    "a library that urllib3 would use": "/supervisor/site/brotli.py",
    "a library for this processor": "/supervisor/lib/glibc-hwcaps/x86-64-v2/libc.so.6",
    "what our loader looks for": "/supervisor/none",
}


@pytest.mark.parametrize("name", PLANTED)
def test_what_a_base_has_planted_is_named_and_not_run(
    name: str, containers: Containers, engine: DockerClient, derived: Derived
) -> None:
    finished = run_with(containers, engine, derived("scratch"), PLANTED[name], file())

    assert (finished.code, finished.stdout) == (78, "")
    [line] = finished.stderr.splitlines()
    assert any(line.startswith(f"supervisor: {path} is not what was built: ") for path in folders(PLANTED[name]))


def folders(path: str) -> list[str]:
    """The path, and every folder above it that may not be there either."""
    parts = path.split("/")
    return ["/".join(parts[:count]) for count in range(3, len(parts) + 1)]


CHANGED = {
    "a file of another size": ("/supervisor/main.py", file()),
    "a file of another time": ("/supervisor/openssl.cnf", file(size=0, mtime=1)),
    "a link": ("/supervisor/main.py", link("/elsewhere.py")),
}


@pytest.mark.parametrize("name", CHANGED)
def test_what_was_changed_since_is_named(
    name: str, containers: Containers, engine: DockerClient, derived: Derived
) -> None:
    path, entry = CHANGED[name]
    finished = run_with(containers, engine, derived("scratch"), path, entry)

    assert finished.code == 78
    assert finished.stderr.startswith(f"supervisor: {path} is not what was built: ")


def test_a_file_that_is_gone_is_noticed(containers: Containers, derived: Derived) -> None:
    remove_one = "rm /supervisor/openssl.cnf; exec /supervisor/bin/supervisor version"
    finished = containers.run(derived("python311"), entrypoint=["sh", "-c", remove_one])

    assert (finished.code, finished.stderr.partition(":")[0]) == (78, "supervisor")
    assert "lacks files" in finished.stderr
