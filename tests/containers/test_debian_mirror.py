"""The runtime's Debian packages: from the mirror, or from Debian's archive of what was on it."""

from __future__ import annotations

import hashlib
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.containers import images
from tests.containers.tracked import Containers, Finished

pytestmark = pytest.mark.containers


@pytest.fixture
def snapshot(tmp_path: Path) -> Iterator[Snapshot]:
    """A stand-in for Debian's snapshot archive, on loopback."""
    folder = tmp_path / "snapshot"
    folder.mkdir()
    handler = partial(SimpleHTTPRequestHandler, directory=str(folder))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    with serving(server):
        yield Snapshot(folder=folder, address=f"http://127.0.0.1:{server.server_port}/archive")


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    folder: Path
    address: str

    def fetch(self, containers: Containers, lock: str) -> Finished:
        """Runs fetch.sh with this lock beside Debian's mirror, and lists what came of libdemo."""
        (self.folder.parent / "debian.lock").write_text(lock)
        mounted = {
            str(images.ROOT / "images/runtime/fetch.sh"): {"bind": "/build/fetch.sh", "mode": "ro"},
            str(self.folder.parent / "debian.lock"): {"bind": "/build/debian.lock", "mode": "ro"},
        }
        return containers.run(
            images.STAND_IN, "sh", "-c", "./fetch.sh && cat debs/libdemo/usr/share/demo",
            working_dir="/build", volumes=mounted, network_mode="host", environment={"SNAPSHOT": self.address},
        )  # fmt: skip


DATE = "20260102T030405Z"


def lock(sum: str, path: str) -> str:
    return f"# snapshot {DATE}: when all were there\nlibdemo 1.0-gone {sum} layer {path} MIT\n"


@pytest.mark.parametrize(
    ("archive", "pool"), [("debian", "pool/main/d/demo"), ("debian-security", "pool/updates/main/d/demo")]
)
def test_a_package_that_the_mirror_dropped_comes_from_the_snapshot_archive_which_is_said(
    archive: str, pool: str, snapshot: Snapshot, containers: Containers
) -> None:
    package = demo_package(snapshot.folder / "archive" / archive / DATE / pool / "libdemo_1.0-gone_amd64.deb")

    finished = snapshot.fetch(containers, lock(sha256(package), f"{pool}/{package.name}"))

    assert finished.code == 0, finished.stderr
    assert "the demo" in finished.stdout
    url = f"{snapshot.address}/{archive}/{DATE}/{pool}/{package.name}"
    assert f"libdemo 1.0-gone is no longer on Debian's mirror and comes from {url}" in finished.stdout


def test_a_package_of_the_snapshot_archive_that_is_not_the_locked_one_is_refused(
    snapshot: Snapshot, containers: Containers
) -> None:
    package = demo_package(snapshot.folder / "archive/debian" / DATE / "pool/main/d/demo/libdemo_1.0-gone_amd64.deb")

    finished = snapshot.fetch(containers, lock("0" * 64, f"pool/main/d/demo/{package.name}"))

    assert finished.code == 1
    assert "libdemo 1.0-gone is not what debian.lock names" in finished.stderr


def test_a_package_that_is_nowhere_is_named_with_what_to_do(snapshot: Snapshot, containers: Containers) -> None:
    finished = snapshot.fetch(containers, lock("0" * 64, "pool/main/d/demo/x.deb"))

    assert finished.code == 1
    assert "libdemo=1.0-gone" in finished.stderr
    assert snapshot.address in finished.stderr
    assert "images/runtime/lock" in finished.stderr


def demo_package(path: Path) -> Path:
    """A Debian package of one file."""
    root = path.parent / "root"
    (root / "DEBIAN").mkdir(parents=True)
    (root / "DEBIAN/control").write_text(
        "Package: libdemo\nVersion: 1.0-gone\nArchitecture: amd64\n"
        "Maintainer: demo <demo@example.org>\nDescription: demo\n"
    )
    (root / "usr/share").mkdir(parents=True)
    (root / "usr/share/demo").write_text("the demo\n")
    subprocess.run(["dpkg-deb", "--root-owner-group", "--build", root, path], check=True, capture_output=True)
    return path


@contextmanager
def serving(server: ThreadingHTTPServer) -> Iterator[None]:
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
