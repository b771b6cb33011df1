"""The exit code is settled by the work alone, and an ending uses the time it has."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.conftest import Ended, S3Server, Supervisor
from tests.integration.cell import alive
from tests.integration.gate import Gate, Refusal, Request
from tests.integration.odd_modules import await_file, bare, module
from tests.metadata import Metadata

BROKEN = ("closed", "without a reader", "on a full disk")


def run_with(
    supervisor: Supervisor, arguments: list[str], broken: dict[int, str], **variables: str
) -> tuple[int, dict[int, str]]:
    """Runs `supervisor ARGUMENTS` with some of stdout (1) and stderr (2) broken; gives its code and what the others
    were told."""
    program = [sys.executable, *supervisor.command, *arguments]
    ends: dict[int, int] = {}
    read: dict[int, int] = {}
    for number in (1, 2):
        if broken.get(number) == "on a full disk":
            ends[number] = os.open("/dev/full", os.O_WRONLY)
            continue
        reader, ends[number] = os.pipe()
        if number in broken:
            os.close(reader)
        else:
            read[number] = reader
    closed = [number for number, how in broken.items() if how == "closed"]
    if closed:  # sh closes them: Popen has no word for that
        redirections = " ".join(f"{number}>&-" for number in closed)
        program = ["sh", "-c", f'exec "$@" {redirections}', "sh", *program]
    process = subprocess.Popen(
        program,
        env={**supervisor.environment, **variables},
        stdin=subprocess.DEVNULL,
        stdout=ends[1],
        stderr=ends[2],
    )
    for end in ends.values():
        os.close(end)
    said = {}
    for number, reader in read.items():
        with os.fdopen(reader, errors="surrogateescape") as stream:
            said[number] = stream.read()
    return process.wait(timeout=120), said


@pytest.mark.parametrize("how", BROKEN)
@pytest.mark.parametrize("broken", [(1,), (2,), (1, 2)], ids=["stdout", "stderr", "both"])
@pytest.mark.parametrize(
    ("arguments", "variables", "code"),
    [
        (["run"], {"JOB_INPUT": "missing.wav"}, 66),
        (["run"], {"JOB_INPUT": "recording.wav"}, 0),
        (["run"], {}, 64),
        (["run", "--inptu", "x"], {}, 64),
        (["check"], {"JOB_INPUT": "missing.wav"}, 66),
        (["nonsense"], {}, 64),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_nobody_who_listens_changes_the_exit_code(
    plain: Supervisor, tmp_path: Path, recording: Path, arguments: list[str], variables: dict[str, str], code: int,
    broken: tuple[int, ...], how: str,
) -> None:  # fmt: skip
    variables = {name: str(tmp_path / value) for name, value in variables.items()}
    ended, said = run_with(
        plain, arguments, dict.fromkeys(broken, how), JOB_OUTPUT=str(tmp_path / "out"), JOB_RUNNER="worker", **variables
    )
    assert ended == code
    assert "Traceback" not in "".join(said.values())
    assert "Exception ignored" not in "".join(said.values())
    if code == 0:
        assert (tmp_path / "out/recording.wav.json").exists()
    if 2 in said and code and arguments != ["check"]:
        assert f"(exit {code}, " in said[2]


@pytest.mark.parametrize("how", ["closed", "without a reader"])
@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"], ["version"], ["--version"]])
def test_what_only_tells_ends_quietly_where_nobody_listens(plain: Supervisor, arguments: list[str], how: str) -> None:
    assert run_with(plain, arguments, {1: how}) == (0, {2: ""})


def test_a_dry_run_ends_quietly_with_its_reader_and_loudly_on_a_full_disk(plain: Supervisor, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for number in range(300):
        (tmp_path / f"in/{number}.wav").touch()
    job = {"JOB_INPUT": f"{tmp_path}/in/", "JOB_OUTPUT": str(tmp_path / "out")}
    assert run_with(plain, ["run", "--dry-run"], {1: "without a reader"}, **job) == (0, {2: ""})
    code, said = run_with(plain, ["run", "--dry-run"], {1: "on a full disk"}, **job)
    assert code == 74
    assert "stdout cannot be written: No space left on device" in said[2]
    assert len(said[2].splitlines()) == 1


def test_what_the_job_opens_is_not_taken_for_a_closed_stdout(plain: Supervisor, tmp_path: Path, s3: S3Server) -> None:
    """The number of a closed descriptor goes to the next file that is opened: a connection, or a result."""
    s3.put("a.wav")
    job = {"JOB_INPUT": f"s3://{s3.bucket}/a.wav", "JOB_OUTPUT": f"s3://{s3.bucket}/out/", **s3.variables}
    code, _ = run_with(plain, ["run"], {1: "closed", 2: "closed"}, **job)
    assert code == 0
    assert s3.json("out/a.wav.json")["size"] == 4


def test_a_hang_up_is_a_stop(tmp_path: Path) -> None:
    with waiting(tmp_path) as process:
        await_file(tmp_path / "began", process)
        process.send_signal(signal.SIGHUP)
        _, stderr = process.communicate(timeout=60)
    assert process.returncode == 143, stderr
    assert "stopped by SIGHUP" in stderr
    assert alive(tmp_path) == []


def test_nohup_keeps_a_job_from_being_hung_up(tmp_path: Path) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        process = waiting(tmp_path)
    finally:
        signal.signal(signal.SIGHUP, before)
    with process:
        await_file(tmp_path / "began", process)
        process.send_signal(signal.SIGHUP)
        (tmp_path / "go").touch()
        _, stderr = process.communicate(timeout=60)
    assert process.returncode == 0, stderr


def waiting(folder: Path) -> "subprocess.Popen[str]":
    """A job whose only prediction writes the file `began` and ends once there is a file `go`."""
    module(
        folder,
        "odd",
        f"import time\ndef predict(**kwargs):\n    open({str(folder / 'began')!r}, 'w').close()\n"
        f"    while not os.path.exists({str(folder / 'go')!r}):\n        time.sleep(0.05)\n    return {{'size': 4}}\n",
    )
    (folder / "a.wav").write_bytes(b"RIFF")
    return bare(folder).start(
        "run", JOB_INPUT=str(folder / "a.wav"), JOB_OUTPUT=str(folder / "out"), JOB_RUNNER="worker", JOB_GRACE="1"
    )


def test_an_upload_gets_the_grace_that_predictions_leave(plain: Supervisor, s3: S3Server) -> None:
    s3.put("a.wav")
    uploading, seconds = threading.Event(), 4.0

    def hold_the_result(request: Request) -> Refusal | None:
        if request.method == "PUT" and "/out/a.wav.json" in request.path:
            uploading.set()
            time.sleep(seconds)
        return None

    with Gate(s3.endpoint, hold_the_result) as gate:
        job = {"JOB_INPUT": f"s3://{s3.bucket}/a.wav", "JOB_OUTPUT": f"s3://{s3.bucket}/out/", "JOB_RUNNER": "worker"}
        with plain.start("run", **job, **{**s3.variables, "AWS_ENDPOINT_URL": gate.endpoint}) as process:
            assert uploading.wait(60)
            process.send_signal(signal.SIGTERM)
            began = time.monotonic()
            stdout, stderr = process.communicate(timeout=40)
    assert process.returncode == 143, stderr
    assert seconds - 1 < time.monotonic() - began < 30
    assert s3.json("out/a.wav.json")["size"] == 4
    assert Ended(code=143, stdout=stdout, stderr=stderr).status["counts"]["done"] == 1


def test_a_storage_that_hangs_holds_a_stop_up_for_the_grace_and_five_seconds(plain: Supervisor, s3: S3Server) -> None:
    s3.put("a.wav")
    uploading, over = threading.Event(), threading.Event()

    def hold(request: Request) -> Refusal | None:
        if request.method == "PUT" and "/out/a.wav.json" in request.path:
            uploading.set()
        if uploading.is_set():
            over.wait(60)
        return None

    with Gate(s3.endpoint, hold) as gate:
        job = {"JOB_INPUT": f"s3://{s3.bucket}/a.wav", "JOB_OUTPUT": f"s3://{s3.bucket}/out/", "JOB_RUNNER": "worker"}
        variables = {**s3.variables, "AWS_ENDPOINT_URL": gate.endpoint, "JOB_GRACE": "3"}
        with plain.start("run", **job, **variables) as process:
            assert uploading.wait(60)
            process.send_signal(signal.SIGTERM)
            began = time.monotonic()
            _, stderr = process.communicate(timeout=40)
            took = time.monotonic() - began
            over.set()
    assert process.returncode == 143, stderr
    assert took < 3 + 5 + 2  # two for a busy machine


def test_new_items_begin_for_as_long_as_a_reclaimed_machine_has_time(tmp_path: Path) -> None:
    module(tmp_path, "odd", "import time\ndef predict(**kwargs):\n    time.sleep(0.2)\n    return {}\n")
    (tmp_path / "in").mkdir()
    for number in range(1000):
        (tmp_path / f"in/{number:04}.wav").touch()
    metadata = Metadata()
    try:
        job = {"JOB_INPUT": f"{tmp_path}/in/", "JOB_OUTPUT": str(tmp_path / "out"), "JOB_GRACE": "1"}
        with bare(tmp_path).start("run", **job, AWS_EC2_METADATA_SERVICE_ENDPOINT=metadata.address) as process:
            await_file(tmp_path / "out/0003.wav.json", process)
            # 11 s are kept for the grace, the ending and clocks that differ.
            end = datetime.now(UTC) + timedelta(seconds=22)
            notice = {"action": "terminate", "time": end.strftime("%Y-%m-%dT%H:%M:%SZ")}
            metadata.answer = (200, json.dumps(notice).encode())
            metadata.wait_for(lambda asked: asked[-1].endswith("instance-action 200"))
            seen = len(list((tmp_path / "out").glob("*.json")))
            stdout, stderr = process.communicate(timeout=60)
            left = (end - datetime.now(UTC)).total_seconds()
    finally:
        metadata.close()
    ended = Ended(code=process.returncode, stdout=stdout, stderr=stderr)
    assert ended.code == 75, stderr
    assert left > 2
    assert ended.status["counts"]["done"] > seen + 8
    assert ended.status["counts"]["pending"]
    assert any("Spot notice: this machine goes" in warning for warning in ended.status["warnings"])


@pytest.mark.parametrize("elsewhere", ["the status", "one line's output", "the table"])
def test_an_output_that_cannot_be_written_is_found_before_anything_is_predicted(
    tmp_path: Path, s3: S3Server, elsewhere: str
) -> None:
    began = tmp_path / "began"
    module(tmp_path, "odd", f"def predict(**kwargs):\n    open({str(began)!r}, 'w').close()\n    return {{}}\n")
    (tmp_path / "a.wav").write_bytes(b"RIFF")
    manifest = tmp_path / "manifest.jsonl"
    manifest.write_text(json.dumps({"input": str(tmp_path / "a.wav"), "output": "s3://no-such-bucket/a.json"}))
    job = {
        "the status": {"JOB_OUTPUT": "s3://no-such-bucket/out/", "JOB_STATUS": f"s3://{s3.bucket}/status.json"},
        "one line's output": {"JOB_OUTPUT": f"s3://{s3.bucket}/out/", "JOB_MANIFEST": str(manifest)},
        "the table": {"JOB_OUTPUT": f"s3://{s3.bucket}/out/", "JOB_RESULTS_TABLE": "s3://no-such-bucket/tables/"},
    }[elsewhere]
    source = {} if "JOB_MANIFEST" in job else {"JOB_INPUT": str(tmp_path / "a.wav")}
    ended = bare(tmp_path)("run", **job, **source, **s3.variables)
    assert ended.code == 73, ended.stderr
    assert "there is no bucket no-such-bucket" in ended.stderr
    assert ended.status["state"] == "FAILED"
    assert not began.exists()


def test_a_job_all_of_whose_items_failed_is_no_success_whatever_may_fail(tmp_path: Path) -> None:
    module(tmp_path, "odd", "def predict(**kwargs):\n    raise ValueError('bad')\n")
    (tmp_path / "in").mkdir()
    for number in range(3):
        (tmp_path / f"in/{number}.wav").touch()
    ended = bare(tmp_path)(
        "run", JOB_INPUT=f"{tmp_path}/in/", JOB_OUTPUT=str(tmp_path / "out"), JOB_MAX_FAILURES="1000"
    )
    assert (ended.code, ended.status["state"]) == (65, "FAILED")


def test_a_webhook_that_has_never_answered_costs_a_job_five_seconds(
    plain: Supervisor, recording: Path, tmp_path: Path, silent_receiver: Callable[[], str]
) -> None:
    began = time.monotonic()
    ended = plain("run", JOB_INPUT=str(recording), JOB_OUTPUT=str(tmp_path / "out"), JOB_STATUS_URL=silent_receiver())
    took = time.monotonic() - began
    assert (ended.code, ended.status["state"]) == (0, "SUCCEEDED")
    assert "was not told the end of the job" in str([e for e in ended.events if e["event"] == "warning"])
    assert took - ended.status["seconds"]["total"] < 5 + 4  # four to start and stop on a busy machine


@pytest.fixture
def silent_receiver() -> Callable[[], str]:
    """The address of a port on which nobody listens."""
    return lambda: "http://127.0.0.1:9/hook"
