"""A small disk: what can be done without gives way, and what comes without its size is let in as there is room."""

import json
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.conftest import Ended, S3Server, Supervisor
from tests.integration.odd_modules import bare, image_of, module

MIB = 1024 * 1024


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk with 24 MiB beyond the 64 that every job leaves free."""
    if os.geteuid():
        pytest.skip("only root can mount a disk")
    folder = tmp_path / "small"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=88m", "tmpfs", str(folder)], check=True)
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.fixture
def large(tmp_path: Path) -> Supervisor:
    """An image whose module answers with 900 KB."""
    module(tmp_path, "large", "def predict(**kwargs):\n    return {'rows': ['x' * 996] * 900}\n")
    return bare(tmp_path)


def without_table(ended: Ended, why: str) -> None:
    assert ended.code == 0, ended.stderr
    assert "results_table" not in ended.status
    assert why in "".join(ended.status["warnings"])


def test_a_table_of_results_that_the_disk_has_no_room_for_ends_and_the_job_goes_on(
    large: Supervisor, small_disk: Path, s3: S3Server
) -> None:
    for number in range(120):
        s3.put(f"in/{number:03}.wav")
    job = {"JOB_INPUT": f"s3://{s3.bucket}/in/", "JOB_OUTPUT": f"s3://{s3.bucket}/out/", **s3.variables}
    table = {"JOB_RESULTS_TABLE": f"s3://{s3.bucket}/table/", "TMPDIR": str(small_disk)}
    with used(small_disk) as most:
        ended = large("run", **job, **table)
    without_table(ended, "which the job needs")
    assert ended.status["counts"]["done"] == 120
    assert max(most) < 64 * MIB
    assert not any(key.startswith("table/") for key in s3.keys())  # noqa: SIM118 # no mapping
    again = large("run", **job, **table)
    without_table(again, "which the job needs")
    assert again.status["counts"]["skipped"] == 120


def test_a_result_that_stands_is_no_failure_for_want_of_room_in_the_table(
    large: Supervisor, small_disk: Path, s3: S3Server
) -> None:
    for number in range(3):
        s3.put(f"in/{number}.wav")
    job = {"JOB_INPUT": f"s3://{s3.bucket}/in/", "JOB_OUTPUT": f"s3://{s3.bucket}/out/", **s3.variables}
    assert large("run", **job).code == 0
    with (small_disk / "filler").open("wb") as filler:
        filler.truncate(0)
        os.posix_fallocate(filler.fileno(), 0, shutil.disk_usage(small_disk).free - 400_000)
    ended = large("run", **job, JOB_RESULTS_TABLE=f"s3://{s3.bucket}/table/", TMPDIR=str(small_disk))
    without_table(ended, "No space left on device")
    assert ended.status["counts"]["skipped"] == 3


# inputs without a size


@contextmanager
def used(folder: Path) -> Iterator[list[int]]:
    """Bytes used of the folder's disk, every 5 ms."""
    seen, over = [0], threading.Event()

    def look() -> None:
        while not over.wait(0.005):
            seen.append(shutil.disk_usage(folder).used)

    looking = threading.Thread(target=look)
    looking.start()
    try:
        yield seen
    finally:
        over.set()
        looking.join()


@contextmanager
def streaming() -> Iterator[str]:
    """The address of a web server that does not say how much it will send: of /20/x.wav 20 MiB, of /endless no end."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            name = self.path.split("/")[1]
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.send_header("ETag", '"1"')
            self.end_headers()
            try:
                for _ in range(int(name) if name.isdigit() else 100_000):
                    self.wfile.write(b"%x\r\n%s\r\n" % (MIB, bytes(MIB)))
                self.wfile.write(b"0\r\n\r\n")
            except OSError:  # who asked has seen enough
                self.close_connection = True

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_inputs_that_come_without_their_size_keep_to_the_disks_bound(
    plain: Supervisor, small_disk: Path, tmp_path: Path
) -> None:
    with streaming() as address, used(small_disk) as seen:
        (tmp_path / "list").write_text("".join(f"{address}/{20 + n}/{n}.wav\n" for n in range(6)))
        ended = plain("run", "--manifest", f"{tmp_path}/list", "--output", f"{tmp_path}/out", TMPDIR=str(small_disk))
    assert ended.code == 0, ended.stderr
    sizes = [json.loads((tmp_path / "out" / f"{n}.wav.json").read_text())["size"] for n in range(6)]
    assert sizes == [(20 + n) * MIB for n in range(6)]
    assert max(seen) < 30 * MIB


def test_files_of_one_call_that_come_without_their_size_keep_to_it_together(small_disk: Path, tmp_path: Path) -> None:
    model = image_of(tmp_path, "two_kinds")
    with streaming() as address, used(small_disk) as seen:
        sizes = [(9, 9), (1, 200), (40, 40), (1, 1)]
        lines = [
            {"files": {"image": f"{address}/{image}/{n}.png", "zip": f"{address}/{packed}/{n}.zip"}}
            for n, (image, packed) in enumerate(sizes)
        ]
        (tmp_path / "list").write_text("\n".join(map(json.dumps, lines)))
        ended = model("run", "--manifest", f"{tmp_path}/list", "--output", f"{tmp_path}/out", TMPDIR=str(small_disk),
                      JOB_MAX_FAILURES="2")  # fmt: skip
    assert ended.code == 0, ended.stderr
    codes = [item.get("error", {}).get("code") for item in ended.status["items"]]
    assert sorted(codes, key=str) == [74, 74, None, None]
    assert json.loads((tmp_path / "out" / "0.png.json").read_text()) == {"given": ["image", "zip"]}
    assert max(seen) < 50 * MIB


def test_an_input_without_an_end_fails_alone(plain: Supervisor, small_disk: Path, tmp_path: Path) -> None:
    with streaming() as address, used(small_disk) as seen:
        (tmp_path / "list").write_text(f"{address}/1/a.wav\n{address}/endless.wav\n{address}/2/b.wav\n")
        ended = plain("run", "--manifest", f"{tmp_path}/list", "--output", f"{tmp_path}/out", TMPDIR=str(small_disk),
                      JOB_MAX_FAILURES="1")  # fmt: skip
    assert ended.code == 0, ended.stderr
    assert [item["state"] for item in ended.status["items"]] == ["done", "failed", "done"]
    assert ended.status["items"][1]["error"]["code"] == 74
    assert "endless.wav: has more than" in ended.status["items"][1]["error"]["message"]
    assert max(seen) < 50 * MIB


def test_inputs_that_come_without_their_size_come_ahead_of_the_model_where_there_is_room(
    plain: Supervisor, tmp_path: Path
) -> None:
    with streaming() as address:
        (tmp_path / "list").write_text("".join(f"{address}/{1 + 17 * (n % 2)}/{n}.wav\n" for n in range(12)))
        ended = plain("run", "--manifest", f"{tmp_path}/list", "--output", f"{tmp_path}/out")
    assert ended.code == 0, ended.stderr
    assert ended.status["counts"]["done"] == 12
