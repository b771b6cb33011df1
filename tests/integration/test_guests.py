"""The model as a guest: several of them, badly behaved ones, and what the supervisor lets in, out and live on."""

import json
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import NEWEST, OLD, Ended, S3Server, image
from tests.integration.cases import EVERY_TYPE, SECRETS
from tests.integration.cell import alive
from tests.integration.odd_modules import await_file, bare, event, module

ON_OLD_AND_NEWEST = pytest.mark.parametrize("release", [pytest.param(OLD, marks=pytest.mark.releases), NEWEST])


@pytest.fixture
def run(tmp_path: Path, recording: Path) -> Callable[..., Ended]:
    """Runs test modules on the recording: run("plain", release=…, JOB_…=…); results go to tmp_path/out."""

    def run_one(*modules: str, release: str = NEWEST, python: str | None = None, **variables: str) -> Ended:
        supervisor = image(tmp_path, modules, release, python)
        return supervisor("run", **{"JOB_INPUT": str(recording), "JOB_OUTPUT": str(tmp_path / "out"), **variables})

    return run_one


def answer_in(folder: Path) -> Any:
    return json.loads((folder / "out" / "recording.wav.json").read_bytes())


# several modules


@ON_OLD_AND_NEWEST
@pytest.mark.parametrize("runner", ["auto", "cli", "worker"])
def test_of_several_modules_one_has_to_be_chosen(run: Callable[..., Ended], release: str, runner: str) -> None:
    ended = run("plain", "no_metadata", release=release, JOB_RUNNER=runner)
    assert ended.code == 78
    assert "several modules are installed: no_metadata, plain" in ended.stderr
    assert "name one of them in DEEPAAS_V2_MODEL" in ended.stderr


@ON_OLD_AND_NEWEST
@pytest.mark.parametrize("runner", ["auto", "cli", "worker"])
@pytest.mark.parametrize("other", ["plain", "broken_import"])
def test_the_chosen_one_of_several_modules_answers(
    run: Callable[..., Ended], tmp_path: Path, release: str, runner: str, other: str
) -> None:
    ended = run("no_metadata", other, release=release, JOB_RUNNER=runner, DEEPAAS_V2_MODEL="no_metadata")
    assert ended.code == 0, ended.stderr
    assert answer_in(tmp_path) == {"name": "recording.wav"}


@ON_OLD_AND_NEWEST
def test_a_module_that_ends_the_interpreter_does_not_take_the_chosen_one_along(
    run: Callable[..., Ended], tmp_path: Path, release: str
) -> None:
    """deepaas-cli imports both and ends with 0 and no answer, which is where auto takes the worker."""
    ended = run("no_metadata", "exits_on_import", release=release, DEEPAAS_V2_MODEL="no_metadata")
    assert ended.code == 0, ended.stderr
    assert answer_in(tmp_path) == {"name": "recording.wav"}


@ON_OLD_AND_NEWEST
def test_a_module_that_is_not_there_is_told_with_those_that_are(run: Callable[..., Ended], release: str) -> None:
    ended = run("plain", "no_metadata", release=release, DEEPAAS_V2_MODEL="plane")
    assert ended.code == 78
    assert "there is no module 'plane'; installed: no_metadata, plain" in ended.stderr


def test_a_broken_module_beside_a_good_one_is_not_passed_over_in_silence(run: Callable[..., Ended]) -> None:
    ended = run("plain", "broken_import")
    assert ended.code == 78
    assert "several modules are installed: broken_import, plain" in ended.stderr


# the job's arguments


@ON_OLD_AND_NEWEST
def test_an_ill_typed_argument_is_named_with_its_value_and_what_is_wanted(
    run: Callable[..., Ended], release: str
) -> None:
    ended = run("every_type", release=release, JOB_PREDICT_ARGS=json.dumps({**EVERY_TYPE, "count": 11}))
    assert ended.code == 64
    (line,) = ended.stderr.splitlines()
    assert "JOB_PREDICT_ARGS: count is 11: " in line
    assert "less than or equal to 10" in line
    assert "the argument is count (Integer, required). Required, 1 to 10" in line


@ON_OLD_AND_NEWEST
def test_an_unknown_argument_gets_a_guess_and_the_list_of_all(run: Callable[..., Ended], release: str) -> None:
    ended = run("plain", release=release, JOB_PREDICT_ARGS='{"treshold": 0.6}')
    assert ended.code == 64
    (line,) = ended.stderr.splitlines()
    assert "the module plain has no argument 'treshold': did you mean threshold?" in line
    assert "it has: label (String, default 'speech'), top (Integer, default 3), threshold (Float, default 0.5)" in line


@ON_OLD_AND_NEWEST
def test_a_required_argument_that_is_missing_is_named(run: Callable[..., Ended], release: str) -> None:
    ended = run("every_type", release=release, JOB_PREDICT_ARGS='{"name": "x"}')
    assert ended.code == 64
    assert "the module every_type requires the argument count (Integer, required)" in ended.stderr


def test_a_file_is_no_argument(run: Callable[..., Ended]) -> None:
    ended = run("plain", JOB_PREDICT_ARGS='{"files": "other.wav"}')
    assert ended.code == 64
    assert "JOB_PREDICT_ARGS: files takes a file, which JOB_INPUT names" in ended.stderr


def test_of_several_file_arguments_one_has_to_be_chosen(run: Callable[..., Ended]) -> None:
    ended = run("many_files")
    assert ended.code == 64
    assert "several file arguments: demo-image (file), demo-audio (file)" in ended.stderr
    assert "JOB_INPUT_FIELD" in ended.stderr


def test_a_file_argument_that_is_not_there_gets_a_guess(run: Callable[..., Ended]) -> None:
    ended = run("many_files", JOB_INPUT_FIELD="demo-adio")
    assert ended.code == 64
    assert "did you mean demo-audio?" in ended.stderr


def test_an_argument_goes_by_its_name_in_the_rest_api_too(run: Callable[..., Ended], tmp_path: Path) -> None:
    assert run("data_key", JOB_INPUT_FIELD="data").code == 0
    assert answer_in(tmp_path) == {"files": "recording.wav"}


# the input's name


@pytest.mark.parametrize(("release", "python"), [(NEWEST, None), (OLD, "python3.6")])
@pytest.mark.parametrize("runner", ["auto", "worker"])
def test_a_name_that_is_not_ascii_comes_through_without_a_locale(
    tmp_path: Path, release: str, python: str | None, runner: str
) -> None:
    source = tmp_path / "-grabación 50% $HOME 🎙.wav"
    source.write_bytes(b"RIFF")
    supervisor = image(tmp_path, "plain", release, python)
    unset = {"LANG": "", "JOB_RUNNER": runner}
    ended = supervisor("run", JOB_INPUT=str(source), JOB_OUTPUT=str(tmp_path / "out"), **unset)
    assert ended.code == 0, ended.stderr
    assert json.loads((tmp_path / "out" / f"{source.name}.json").read_bytes())["name"] == source.name


# several items in one process


@ON_OLD_AND_NEWEST
@pytest.mark.parametrize(
    ("runner", "calls"),
    [("worker", [1, 2, 3]), ("cli", [1, 1, 1])],  # DEEPaaS' programs can run once in a process
)
def test_the_worker_loads_the_model_once_for_all_items(
    tmp_path: Path, s3: S3Server, release: str, runner: str, calls: list[int]
) -> None:
    ended = image(tmp_path, "counts_calls", release)("run", JOB_RUNNER=runner, **event(s3, 3))
    assert ended.code == 0, ended.stderr
    answers = [s3.json(f"out/{number}.wav.json") for number in range(3)]
    assert sorted(answer["calls"] for answer in answers) == calls  # in the order in which inputs came
    assert {answer["warmed"] for answer in answers} == {1}


def test_a_model_that_dies_is_started_again_for_the_next_item(tmp_path: Path, s3: S3Server) -> None:
    module(
        tmp_path,
        "dies_on_1",
        "def predict(**kwargs):\n"
        "    if kwargs['files'].original_filename == '1.wav':\n"
        "        os._exit(3)\n"
        "    return {'pid': os.getpid()}\n",
    )
    ended = bare(tmp_path)("run", JOB_RUNNER="worker", **event(s3, 4))
    states = {item["input"].rpartition("/")[2]: item["state"] for item in ended.status["items"]}
    assert states == {"0.wav": "done", "1.wav": "failed", "2.wav": "done", "3.wav": "done"}
    assert len({s3.json(f"out/{number}.wav.json")["pid"] for number in (0, 2, 3)}) <= 2  # before it, and after


def test_a_long_job_gathers_neither_descriptors_nor_zombies(tmp_path: Path, s3: S3Server) -> None:
    """Every other item kills the model, and every one leaves a daemon that ends at once."""
    module(
        tmp_path,
        "odd_ones_die",
        "def predict(**kwargs):\n"
        "    if os.fork() == 0:\n"
        "        os.setsid()\n"
        "        os._exit(0) if os.fork() else os._exit(0)\n"
        "    parent = '/proc/%d' % os.getppid()\n"
        "    if int(kwargs['files'].original_filename.split('.')[0]) % 2:\n"
        "        os._exit(3)\n"
        "    children = open(parent + '/task/%d/children' % os.getppid()).read().split()\n"
        "    return {'descriptors': len(os.listdir(parent + '/fd')), 'children': len(children)}\n",
    )
    bare(tmp_path)("run", JOB_RUNNER="worker", **event(s3, 20))
    answers = [s3.json(f"out/{number}.wav.json") for number in range(0, 20, 2)]
    # Eight models died in between; the files and connections of the transfers under way come and go.
    assert answers[-1]["descriptors"] < answers[1]["descriptors"] + 8
    assert answers[-1]["children"] <= 2  # the model itself, and perhaps the daemon of the item before


# processes


@pytest.mark.parametrize("runner", ["auto", "worker"])
@pytest.mark.parametrize("name", ["leaves_children", "forks_daemon", "leaves_threads"])
def test_what_the_module_leaves_behind_does_not_outlive_the_job(
    run: Callable[..., Ended], tmp_path: Path, name: str, runner: str
) -> None:
    assert run(name, JOB_RUNNER=runner).code == 0
    pids = [pid for key, pid in answer_in(tmp_path).items() if key != "threads"]
    assert [pid for pid in pids if Path(f"/proc/{pid}").exists()] == []
    assert alive(tmp_path) == []


@pytest.mark.parametrize("runner", ["auto", "worker"])
def test_a_prediction_that_takes_too_long_ends_at_once_with_124(run: Callable[..., Ended], runner: str) -> None:
    ended = run("slow", JOB_PREDICT_TIMEOUT="0.5", JOB_RUNNER=runner)
    assert ended.code == 124
    assert "the prediction took longer than JOB_PREDICT_TIMEOUT (0.5 s)" in ended.stderr
    assert 0.5 <= ended.status["items"][0]["seconds"]["predict"] < 5


@pytest.mark.parametrize("runner", ["auto", "worker"])
def test_a_module_that_ignores_sigterm_ends_with_the_supervisor(tmp_path: Path, recording: Path, runner: str) -> None:
    arguments = json.dumps({"pids": str(tmp_path / "pids")})
    job = {"JOB_INPUT": str(recording), "JOB_OUTPUT": str(tmp_path / "out"), "JOB_RUNNER": runner}
    with image(tmp_path, "ignores_term").start("run", **job, JOB_PREDICT_ARGS=arguments) as process:
        await_file(tmp_path / "pids", process)
        process.send_signal(signal.SIGTERM)
        stdout, stderr = process.communicate(timeout=30)
    assert process.returncode == 143, stderr
    assert json.loads(stdout.splitlines()[-1])["status"]["exit_code"] == 143
    assert alive(tmp_path) == []


def test_an_import_that_never_ends_can_be_stopped(tmp_path: Path, recording: Path) -> None:
    image(tmp_path, "plain")
    with (tmp_path / "site" / "plain.py").open("a") as source:
        source.write(
            f"\nimport time\nopen({str(tmp_path / 'pids')!r}, 'w').close()\nwhile True:\n    print('x' * 99)\n"
        )
    job = {"JOB_INPUT": str(recording), "JOB_OUTPUT": str(tmp_path / "out")}
    supervisor = bare(tmp_path)
    with subprocess.Popen(
        [sys.executable, "-m", "supervisor", "run"],
        env={**supervisor.environment, **job},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    ) as process:
        await_file(tmp_path / "pids", process)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=30) == 143
    assert alive(tmp_path) == []


def test_a_child_that_leaves_through_sys_exit_does_not_answer_for_the_module(tmp_path: Path, recording: Path) -> None:
    """The common recipe for daemons ends the parent of each fork by sys.exit."""
    module(
        tmp_path,
        "daemonises",
        "import sys, time\n"
        "def predict(**kwargs):\n"
        "    child = os.fork()\n"
        "    if child == 0:\n"
        "        sys.exit(3)\n"
        "    return {'child': os.waitpid(child, 0)[1] >> 8}\n",
    )
    job = {"JOB_INPUT": str(recording), "JOB_OUTPUT": str(tmp_path / "out")}
    for runner in ("worker", "cli"):
        ended = bare(tmp_path)("run", **job, JOB_RUNNER=runner, JOB_OVERWRITE="always")
        assert ended.code == 0, ended.stderr
        assert answer_in(tmp_path) == {"child": 3}


def test_a_model_that_dies_while_its_child_holds_the_pipes_is_missed(tmp_path: Path, recording: Path) -> None:
    module(
        tmp_path,
        "dies_and_leaves_a_child",
        "import time\n"
        "def predict(**kwargs):\n"
        "    if os.fork() == 0:\n"
        "        os.setsid()\n"
        "        time.sleep(600)\n"
        "    os._exit(5)\n",
    )
    job = {"JOB_INPUT": str(recording), "JOB_OUTPUT": str(tmp_path / "out")}
    ended = bare(tmp_path)("run", **job, JOB_RUNNER="worker")
    assert ended.code == 65
    assert "ended with exit status 5 in the middle of a prediction" in ended.stderr
    assert alive(tmp_path) == []


def test_a_module_that_closes_our_pipes_is_told_of(tmp_path: Path, recording: Path) -> None:
    module(
        tmp_path,
        "closes_all_and_lives",
        "import threading, time\n"
        "def predict(**kwargs):\n"
        "    threading.Thread(target=time.sleep, args=(600,)).start()\n"
        "    os.closerange(3, 4096)\n",
    )
    job = {"JOB_INPUT": str(recording), "JOB_OUTPUT": str(tmp_path / "out")}
    ended = bare(tmp_path)("run", **job, JOB_RUNNER="worker")
    assert ended.code == 65
    assert "the module closed the worker's pipes in the middle of a prediction" in ended.stderr


# what comes out


@ON_OLD_AND_NEWEST
def test_lines_that_look_like_ours_are_only_ever_log_lines(run: Callable[..., Ended], release: str) -> None:
    ended = run("prints_like_us", release=release)
    assert ended.code == 0
    assert {event["event"] for event in ended.events} == {"status", "model", "log", "item"}
    assert all("exit_code" in e["status"] or e["status"]["state"] == "RUNNING" for e in statuses(ended))
    assert len(statuses(ended)) == 2
    assert '{"event": "status", "state": "SUCCEEDED"}' in ended.log


def statuses(ended: Ended) -> Sequence[dict[str, Any]]:
    return [event for event in ended.events if event["event"] == "status"]


@pytest.mark.parametrize("runner", ["auto", "worker"])
@pytest.mark.parametrize("name", ["floods_stdout", "floods_stderr"])
def test_a_flood_of_output_is_cut_and_counted(run: Callable[..., Ended], name: str, runner: str) -> None:
    ended = run(name, JOB_RUNNER=runner)
    assert ended.code == 0
    assert len(ended.stdout) < 3_000_000
    assert any(re.search(r"^\([\d,]+ more lines not shown: over 1,024 KiB in one prediction\)$", e) for e in ended.log)


def test_the_log_before_a_failure_is_in_the_status_to_the_last_line(run: Callable[..., Ended]) -> None:
    ended = run("raises", JOB_RUNNER="worker")
    assert ended.status["error"]["log"][-1] == "ValueError: the recording is silent: 0 of 16000 samples"
    assert [event["event"] for event in ended.events][-2:] == ["item", "status"]


@pytest.mark.parametrize(("name", "arguments"), [("big_json", {"n": 50_000_000}), ("floods_stdout", {})])
@pytest.mark.parametrize("runner", ["auto", "worker"])
def test_the_supervisor_stays_below_100_mb(
    tmp_path: Path, recording: Path, name: str, arguments: dict[str, int], runner: str
) -> None:
    job = {"JOB_INPUT": str(recording), "JOB_OUTPUT": str(tmp_path / "out"), "JOB_RUNNER": runner}
    with image(tmp_path, name).start("run", **job, JOB_PREDICT_ARGS=json.dumps(arguments)) as process:
        assert process.stdout is not None
        peak = 0
        for line in process.stdout:
            if '"event": "item"' in line:  # the result is uploaded, and the process not yet at its end
                status = Path(f"/proc/{process.pid}/status").read_text()
                peak = int(re.findall(r"VmHWM:\s+(\d+) kB", status)[0])
    assert process.returncode == 0
    assert 10_000 < peak < 100_000


# what goes in


@ON_OLD_AND_NEWEST
@pytest.mark.parametrize("runner", ["auto", "worker"])
def test_the_guest_is_given_no_secret(run: Callable[..., Ended], tmp_path: Path, release: str, runner: str) -> None:
    ended = run("dumps_environment", release=release, JOB_RUNNER=runner, **SECRETS)
    assert ended.code == 0
    given = answer_in(tmp_path)["environment"]
    assert given["HOME"] == str(tmp_path)
    assert [name for name in given if name.startswith(("AWS_", "JOB_", "SUPERVISOR_"))] == ["SUPERVISOR_GUEST"]
    assert not any(secret in value for secret in SECRETS.values() for value in given.values())
