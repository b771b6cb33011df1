"""A model that misbehaves: every ending is told as what it is, within bounds, and nothing of it lives on."""

import json
import os
import re
import signal
import subprocess
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from supervisor import job
from supervisor.failures import BadUsage, ItemFailed, Stopped
from supervisor.machine.device import Device
from supervisor.machine.memory import MemoryKills
from supervisor.model import usage
from supervisor.model.runner import Choice, LocalFile, Model
from tests.conftest import Ended, S3Server, image
from tests.integration.cell import alive
from tests.integration.odd_modules import bare, event, module

WORKER = Choice(runner="worker", why="a test")
BOUND = 150_000  # KiB


@pytest.fixture
def run(tmp_path: Path, recording: Path) -> Callable[..., Ended]:
    """Runs a module with that body on the recording; whatever comes of it, it ends with a status and nothing stays."""

    def run_one(body: str, **variables: str) -> Ended:
        module(tmp_path, "odd", body)
        defaults = {"JOB_INPUT": str(recording), "JOB_OUTPUT": str(tmp_path / "out"), "JOB_RUNNER": "worker"}
        ended = bare(tmp_path)("run", **{**defaults, **variables})
        assert "Traceback" not in ended.stderr
        assert ended.status["exit_code"] == ended.code
        assert ended.status["state"] == ("SUCCEEDED" if ended.code == 0 else "FAILED")
        assert alive(tmp_path) == []
        return ended

    return run_one


def results(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "out").glob("[!.]*") if path.is_file())


# it dies


@pytest.mark.parametrize(
    ("ending", "says"),
    [
        ("os.kill(os.getpid(), 11)", "killed by SIGSEGV in the middle of a prediction"),
        ("os._exit(0)", "ended with exit status 0 in the middle of a prediction"),
    ],
)
def test_an_item_that_kills_its_model_is_tried_once_more_and_then_failed(
    run: Callable[..., Ended], tmp_path: Path, ending: str, says: str
) -> None:
    ended = run(f"def predict(**kwargs):\n    print('asked', flush=True)\n    {ending}\n")
    assert ended.code == 65
    assert says in ended.stderr
    assert ended.log.count("asked") == 2
    assert results(tmp_path) == []


def test_what_killed_its_model_but_once_is_done_in_the_end(run: Callable[..., Ended], tmp_path: Path) -> None:
    ended = run(
        "def predict(**kwargs):\n"
        f"    if not os.path.exists({str(tmp_path / 'been')!r}):\n"
        f"        open({str(tmp_path / 'been')!r}, 'w').close()\n"
        "        os._exit(1)\n"
        "    return {'size': os.path.getsize(kwargs['files'].filename)}\n"
    )
    assert ended.code == 0, ended.stderr
    assert json.loads((tmp_path / "out/recording.wav.json").read_text()) == {"size": 100}


def test_a_kill_by_somebody_is_not_taken_for_a_lack_of_memory(run: Callable[..., Ended]) -> None:
    if MemoryKills()._counted() is None:
        pytest.skip("this kernel does not count kills for memory")
    ended = run("def predict(**kwargs):\n    os.kill(os.getpid(), 9)\n")
    assert ended.code == 65
    assert "killed by SIGKILL by somebody, not by the kernel for memory" in ended.stderr


def test_a_module_that_imports_only_once_ends_the_job_after_a_crash(run: Callable[..., Ended], tmp_path: Path) -> None:
    ended = run(
        f"if os.path.exists({str(tmp_path / 'been')!r}):\n"
        "    raise ImportError('the licence was used up')\n"
        "def predict(**kwargs):\n"
        f"    open({str(tmp_path / 'been')!r}, 'w').close()\n"
        "    os._exit(1)\n"
    )
    assert ended.code == 78
    assert "odd fails to import: ImportError: the licence was used up" in ended.stderr


# it hangs


TREE = """
import signal, subprocess, sys, time
STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); time.sleep(600)"
def stubborn(**options):
    started = subprocess.Popen([sys.executable, "-c", STUBBORN], stdout=subprocess.PIPE, **options)
    started.stdout.readline()
    return started
def tree():
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    stubborn(), stubborn(start_new_session=True)
    if os.fork() == 0:
        os.setsid()
        stubborn(start_new_session=True)
        os._exit(0)
    os.wait()
"""


def test_a_hang_ends_at_its_timeout_with_all_that_the_module_has_started(run: Callable[..., Ended]) -> None:
    ended = run(TREE + "def predict(**kwargs):\n    tree()\n    time.sleep(600)\n", JOB_PREDICT_TIMEOUT="3")
    assert ended.code == 124
    assert "took longer than JOB_PREDICT_TIMEOUT (3 s)" in ended.stderr


def test_two_hundred_children_and_their_daemons_go_with_the_job(run: Callable[..., Ended], tmp_path: Path) -> None:
    ended = run(
        "import time\n"
        "def predict(**kwargs):\n"
        "    for number in range(200):\n"
        "        if os.fork() == 0:\n"
        "            if number % 2:\n"
        "                os.setsid()\n"
        "            if number % 4 == 3 and os.fork():\n"
        "                os._exit(0)\n"
        "            time.sleep(600)\n"
        "    return {'started': 200}\n"
    )
    assert ended.code == 0, ended.stderr
    assert results(tmp_path) == ["recording.wav.json"]


@pytest.mark.parametrize("stream", [1, 2])
def test_a_flood_without_a_line_from_a_module_that_hangs_stays_within_bounds(
    tmp_path: Path, recording: Path, stream: int
) -> None:
    module(tmp_path, "odd", f"def predict(**kwargs):\n    while True:\n        os.write({stream}, b'x' * 65536)\n")
    ended, peak = with_peak(tmp_path, JOB_INPUT=str(recording), JOB_PREDICT_TIMEOUT="3")
    assert ended.code == 124
    assert len(ended.stdout) < 3_000_000
    assert peak < BOUND


def with_peak(folder: Path, **variables: str) -> tuple[Ended, int]:
    """How a job by worker ended, and the supervisor's own peak memory in KiB, as the last item was told."""
    job = {"JOB_OUTPUT": str(folder / "out"), "JOB_RUNNER": "worker", **variables}
    lines, peak = [], 0
    with bare(folder).start("run", **job) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        for line in process.stdout:
            lines.append(line)
            if '"event": "item"' in line:
                peak = int(re.findall(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{process.pid}/status").read_text())[0])
        stderr = process.stderr.read()
    assert alive(folder) == []
    assert peak > 0
    return Ended(code=process.returncode, stdout="".join(lines), stderr=stderr), peak


# its disk


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk with 24 MiB beyond the 64 that every job leaves free."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=88m", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("needs to mount a disk, as root may outside of containers")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


FILLS = """
import tempfile
def fill():
    try:
        with tempfile.NamedTemporaryFile(delete=False) as file:
            while True:
                file.write(b'x' * 65536)
    except OSError:
        pass
"""


@pytest.mark.parametrize(
    ("then", "code", "says"),
    [
        ("open(os.path.join(tempfile.gettempdir(), 'mine'), 'w').write('x' * 99999)", 65, "No space left on device"),
        ("return {'rows': ['x' * 1000] * 1000}", 74, "the answer cannot be written to the local disk: No space left"),
    ],
)
def test_a_full_disk_is_told_and_the_status_is_written(
    run: Callable[..., Ended], small_disk: Path, s3: S3Server, then: str, code: int, says: str
) -> None:
    job = {**event(s3, 1), "JOB_INPUT": s3.put("in/a.wav"), "JOB_EVENT": "", "TMPDIR": str(small_disk)}
    ended = run(FILLS + f"def predict(**kwargs):\n    fill()\n    {then}\n", **job)
    assert ended.code == code
    assert says in ended.stderr
    written = [key for key in sorted(s3.keys()) if key.startswith("out/")]
    assert all(key.startswith("out/_status/") for key in written)
    [status] = [key for key in written if key.endswith(".json")]
    assert s3.json(status)["exit_code"] == code


# its answer


@pytest.mark.parametrize("size", [300_000_000, pytest.param(2**30, marks=pytest.mark.slow)])
def test_an_answer_of_many_megabytes_is_no_burden_on_the_supervisor(tmp_path: Path, recording: Path, size: int) -> None:
    module(tmp_path, "odd", f"def predict(**kwargs):\n    return {{'text': 'x' * {size}, 'n': float('nan')}}\n")
    ended, peak = with_peak(tmp_path, JOB_INPUT=str(recording))
    assert ended.code == 0, ended.stderr
    assert peak < BOUND
    with (tmp_path / "out/recording.wav.json").open("rb") as result:
        assert result.read(12) == b'{"text": "xx'
        result.seek(-15, os.SEEK_END)
        assert result.read() == b'xxx", "n": null}'[-15:]
        assert result.tell() == size + len('{"text": "", "n": null}')


@pytest.mark.slow
def test_a_file_of_a_gibibyte_is_no_burden_on_the_supervisor(tmp_path: Path, recording: Path) -> None:
    code = """
    def predict(**kwargs):
        with open(os.path.join(tempfile.gettempdir(), "large.bin"), "wb") as large:
            large.truncate(2**30 - 3)
            large.seek(0, os.SEEK_END)
            large.write(b"end")
        return open(large.name, "rb")
    """
    module(tmp_path, "odd", "import tempfile\n" + textwrap.dedent(code))
    ended, peak = with_peak(tmp_path, JOB_INPUT=str(recording))
    assert ended.code == 0, ended.stderr
    assert peak < BOUND
    [result] = results(tmp_path)
    with (tmp_path / "out" / result).open("rb") as file:
        file.seek(-3, os.SEEK_END)
        assert (file.read(), file.tell()) == (b"end", 2**30)


def test_an_error_in_the_disguise_of_many_megabytes_is_found(run: Callable[..., Ended], tmp_path: Path) -> None:
    ended = run("def predict(**kwargs):\n    return {'rows': ['x' * 1000] * 40_000, 'error': 'out of tea'}\n")
    assert ended.code == 65
    assert "the module answered with an error: out of tea" in ended.stderr
    assert results(tmp_path) == []


@pytest.mark.parametrize("runner", ["cli", "worker"])
@pytest.mark.parametrize(
    "answer",
    [
        "return nested",
        "return {'a': nested}",
        "return json.loads('[' * 900 + ']' * 900) and nested",
    ],
)
def test_an_answer_nested_beyond_all_measure_is_failed(
    run: Callable[..., Ended], tmp_path: Path, answer: str, runner: str
) -> None:
    nest = "nested = []\n    for _ in range(100_000):\n        nested = [nested]\n"
    ended = run(f"import json\ndef predict(**kwargs):\n    {nest}    {answer}\n", JOB_RUNNER=runner)
    assert ended.code == 65
    assert results(tmp_path) == []


@pytest.mark.parametrize("content", [b"\xff\xfe{}", b'{"a": "\xc3"}', b"{", b"[" * 100_000, b""])
def test_a_file_that_is_called_json_and_is_none_is_failed(
    run: Callable[..., Ended], tmp_path: Path, content: bytes
) -> None:
    ended = run(
        "import tempfile\n"
        "def predict(**kwargs):\n"
        "    path = os.path.join(tempfile.gettempdir(), 'answer.json')\n"
        f"    open(path, 'wb').write({content!r} if len({content!r}) < 50 else b'[' * 100_000)\n"
        "    return open(path, 'rb')\n"
    )
    assert ended.code == 65
    assert "the module's answer is not JSON" in ended.stderr
    assert results(tmp_path) == []


# one model, in this process


@pytest.fixture
def model(tmp_path: Path) -> Iterator[Callable[..., Model]]:
    """Starts a module with that body; ends it."""
    started = []

    def start(body: str, **variables: str) -> Model:
        module(tmp_path, "odd", body)
        environment = {**image(tmp_path, ()).environment, **variables}
        one = Model(job.read(environment, {}), environment, Device(kind="cpu"), tmp_path / "scratch", lambda line: None)
        started.append(one)
        one.start()
        one.prepare()
        one.fit({})
        return one

    yield start
    for one in started:
        one.end()


def predicted(model: Model, folder: Path, number: int = 0) -> Any:
    """The answer to an item."""
    source = folder / f"item-{number}" / "a.wav"
    source.parent.mkdir(parents=True)
    source.write_bytes(b"RIFF")
    answer = model.predict(WORKER, model.fit({}), [LocalFile(path=source)], source.parent).settled().source
    assert isinstance(answer, bytes)
    return json.loads(answer)


def test_a_model_that_died_between_two_items_is_started_again(model: Callable[..., Model], tmp_path: Path) -> None:
    one = model("def predict(**kwargs):\n    return {'pid': os.getpid()}\n")
    first = predicted(one, tmp_path)["pid"]
    os.kill(first, signal.SIGKILL)
    assert one._guest is not None
    assert one._guest.tree.ended_within(30)
    assert predicted(one, tmp_path, 1)["pid"] != first


@pytest.mark.parametrize(
    ("body", "crashed"), [("os._exit(3)", True), ("os.closerange(3, 4096); time.sleep(600)", True), ("1 / 0", False)]
)
def test_a_crash_is_told_from_an_answer_that_is_an_error(
    model: Callable[..., Model], tmp_path: Path, body: str, crashed: bool
) -> None:
    one = model(f"import time\ndef predict(**kwargs):\n    {body}\n")
    with pytest.raises(ItemFailed) as failed:
        predicted(one, tmp_path)
    assert failed.value.crashed is crashed


def test_a_model_that_has_ended_stays_ended(model: Callable[..., Model], tmp_path: Path) -> None:
    one = model("def predict(**kwargs):\n    return {}\n")
    one.end()
    with pytest.raises(Stopped):
        predicted(one, tmp_path)


def test_what_a_model_used_over_all_its_processes_is_known(
    model: Callable[..., Model], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Looked at several times while it works: of a process that has ended, the kernel's own peak counts only where it
    is above the supervisor's, which here is that of all the tests."""
    monkeypatch.setattr(usage, "_EVERY", 0.1)
    monkeypatch.setattr(usage, "_PAUSE", 0)
    one = model(
        "import time\n"
        "def predict(**kwargs):\n"
        "    held = b'x' * 300_000_000\n"
        "    busy = time.monotonic() + 1\n"
        "    while time.monotonic() < busy or time.process_time() < 0.5: pass\n"
        "    os._exit(3)\n"
    )
    for number in range(2):
        with pytest.raises(ItemFailed):
            predicted(one, tmp_path, number)
    used = one.usage()
    assert (used.cpu_seconds or 0) > 1
    assert (used.peak_memory or 0) > 300_000_000
    assert used.gpu_memory is None


@pytest.mark.parametrize("user", ["no-such-user-here", "nobody-else"])
def test_a_user_that_the_image_does_not_know_is_refused(model: Callable[..., Model], user: str) -> None:
    with pytest.raises(BadUsage, match=f"JOB_RUN_AS is '{user}': the image has no such user"):
        model("", JOB_RUN_AS=user)
