"""JOB_GIVE_UP_AFTER: a job whose first items all fail of one cause ends with it, and is taken up again later."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Ended, Supervisor
from tests.integration.odd_modules import bare, module
from tests.modules.install import lay_out

WITHOUT_WEIGHTS = """
def predict(**kwargs):
    with open(kwargs["files"].filename) as upload:
        told = upload.read()
    if told == "fine" or os.path.exists({weights!r}):
        return {{"told": told}}
    raise OSError("cannot load " + {weights!r} + " for " + kwargs["files"].filename)
"""


@pytest.fixture
def supervisor(tmp_path: Path) -> Supervisor:
    """An image whose weights are missing until tmp_path/weights.h5 is there."""
    module(tmp_path, "odd", WITHOUT_WEIGHTS.format(weights=str(tmp_path / "weights.h5")))
    return bare(tmp_path)


def job(folder: Path, count: int, fine: tuple[int, ...] = (), **variables: str) -> dict[str, str]:
    (folder / "in").mkdir(exist_ok=True)
    for number in range(count):
        (folder / f"in/{number:03}.txt").write_text("fine" if number in fine else f"item {number}")
    return {"JOB_INPUT": f"{folder}/in/", "JOB_OUTPUT": str(folder / "out"), **variables}


def counts(ended: Ended) -> dict[str, int]:
    return {name: ended.status["counts"][name] for name in ("done", "skipped", "failed", "pending")}


def test_twenty_items_that_fail_of_one_cause_end_the_job(supervisor: Supervisor, tmp_path: Path) -> None:
    ended = supervisor("run", **job(tmp_path, 300))
    assert ended.code == 65
    (line,) = ended.stderr.splitlines()
    assert "gave up: the first 20 items failed of one cause and none has succeeded (JOB_GIVE_UP_AFTER is 20)" in line
    assert "OSError: cannot load " in line
    assert "JOB_GIVE_UP_AFTER=0 has every item tried" in line
    found = counts(ended)
    assert 20 <= found["failed"] < 150
    assert found["pending"] > 0
    assert ended.status["state"] == "FAILED"
    assert ended.status["error"]["code"] == 65


def test_what_is_run_again_once_the_cause_is_mended_is_done_whole(supervisor: Supervisor, tmp_path: Path) -> None:
    variables = job(tmp_path, 60)
    assert supervisor("run", **variables).code == 65
    (tmp_path / "weights.h5").touch()
    ended = supervisor("run", **variables)
    assert (ended.code, counts(ended)["done"]) == (0, 60), ended.stderr


@pytest.mark.parametrize(
    ("variables", "fine"),
    [({"JOB_GIVE_UP_AFTER": "0"}, ()), ({}, (19,)), ({}, (0,)), ({"JOB_GIVE_UP_AFTER": "60"}, ())],
)
def test_otherwise_every_item_is_tried(
    supervisor: Supervisor, tmp_path: Path, variables: dict[str, str], fine: tuple[int, ...]
) -> None:
    ended = supervisor("run", **job(tmp_path, 60, fine, **variables))
    assert ended.code == 65
    assert counts(ended) == {"done": len(fine), "skipped": 0, "failed": 60 - len(fine), "pending": 0}
    assert "gave up" not in ended.stderr


def test_what_is_up_to_date_is_no_success_of_this_job(supervisor: Supervisor, tmp_path: Path) -> None:
    fine = tuple(range(10))
    variables = job(tmp_path, 60, fine, JOB_GIVE_UP_AFTER="5")
    first = supervisor("run", **variables)
    assert counts(first)["failed"] == 50
    second = supervisor("run", **variables)
    assert counts(second)["skipped"] == 10
    assert "gave up: the first 5 items failed of one cause" in second.stderr


def test_failures_allowed_do_not_keep_a_hopeless_job_going(supervisor: Supervisor, tmp_path: Path) -> None:
    ended = supervisor("run", **job(tmp_path, 300, JOB_MAX_FAILURES="1000"))
    assert ended.code == 65
    assert "gave up" in ended.stderr


def test_inputs_that_are_all_missing_end_the_job_before_the_manifest_does(
    supervisor: Supervisor, tmp_path: Path
) -> None:
    (tmp_path / "manifest").write_text("".join(f"{tmp_path}/in/{number}.wav\n" for number in range(2000)))
    ended = supervisor("run", JOB_MANIFEST=str(tmp_path / "manifest"), JOB_OUTPUT=str(tmp_path / "out"))
    assert ended.code == 66
    assert "gave up: the first 20 items failed of one cause" in ended.stderr
    assert counts(ended)["pending"] > 0


def test_a_command_line_that_never_gets_to_the_module_is_told_once(tmp_path: Path, recording: Path) -> None:
    """A deepaas-cli that is broken in the image is no fault of any item."""
    supervisor = with_program(tmp_path, "import sys\nsys.stderr.write('no config')\nsys.exit(3)\n")
    ended = supervisor("run", **job(tmp_path, 3, JOB_RUNNER="cli"))
    assert ended.code == 78
    (line,) = ended.stderr.splitlines()
    assert "deepaas-cli 2.6.0 ended with status 3 and wrote no answer: it ends before it calls the module" in line
    assert "use JOB_RUNNER=auto or worker" in line
    assert counts(ended) == {"done": 0, "skipped": 0, "failed": 0, "pending": 3}


@pytest.mark.parametrize(
    ("program", "says"),
    [
        (
            "import no_such_library\n",
            "deepaas-cli 2.6.0 failed: ModuleNotFoundError: No module named 'no_such_library'",
        ),
        ("import os\nos._exit(9)\n", "the model's process ended with exit status 9"),
        ("", "deepaas-cli 2.6.0 ended with status 0 and wrote no answer"),
    ],
)
def test_however_it_dies(tmp_path: Path, program: str, says: str) -> None:
    ended = with_program(tmp_path, program)("run", **job(tmp_path, 2, JOB_RUNNER="cli"))
    assert ended.code == 78, ended.stderr
    assert says in ended.stderr


def test_in_auto_the_worker_has_the_last_word_and_the_status_says_so(tmp_path: Path) -> None:
    variables = job(tmp_path, 1) | {"JOB_INPUT": f"{tmp_path}/in/000.txt"}
    ended = with_program(tmp_path, "import sys\nsys.exit(3)\n")("run", **variables)
    assert ended.code == 0, ended.stderr
    chosen: dict[str, Any] = next(event for event in ended.events if event["event"] == "model")["runner"]
    assert chosen["name"] == "deepaas-cli"
    assert ended.status["runner"] == {"name": "worker", "why": "deepaas-cli was chosen, and failed"}


def test_a_name_that_the_command_line_dies_of_is_that_items_own_failure(tmp_path: Path) -> None:
    """deepaas-cli takes $ in a value for a reference to another option."""
    lay_out(Path(__file__).with_name("does_as_told.py"), tmp_path / "site")
    variables = job(tmp_path, 1, JOB_RUNNER="cli")
    (tmp_path / "in" / "000 costs $100.txt").write_text("a")
    ended = bare(tmp_path)("run", **variables)
    assert ended.status["counts"]["done"] >= 1, ended.stderr
    assert ended.code in (0, 65), ended.stderr


def with_program(folder: Path, program: str) -> Supervisor:
    """An image with that in the place of deepaas-cli."""
    lay_out(Path(__file__).with_name("does_as_told.py"), folder / "site")
    supervisor = bare(folder)
    programs = Path(supervisor.environment["PATH"].partition(":")[0])
    own = folder / "programs"
    own.mkdir()
    (own / "deepaas-cli").write_text(f"#!{programs / 'python'}\n{program}")
    (own / "deepaas-cli").chmod(0o755)
    path = f"{own}:{supervisor.environment['PATH']}"
    return Supervisor(environment={**supervisor.environment, "PATH": path})


def test_an_unknown_release_is_run_by_the_worker(tmp_path: Path) -> None:
    supervisor = bare(tmp_path)
    lay_out(Path(__file__).with_name("does_as_told.py"), tmp_path / "site")
    metadata = tmp_path / "site" / "deepaas-3.0.0.dist-info"  # comes before the one that is installed
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: deepaas\nVersion: 3.0.0\n")
    one = {"JOB_INPUT": f"{tmp_path}/in/000.txt"}
    ended = supervisor("run", **job(tmp_path, 1) | one)
    assert ended.code == 0, ended.stderr
    assert ended.status["runner"]["name"] == "worker"
    assert ended.status["runner"]["why"] == "deepaas-cli of DEEPaaS 3.0.0 is not known here"
    refused = supervisor("run", **job(tmp_path, 1, JOB_RUNNER="cli", JOB_OVERWRITE="always") | one)
    assert refused.code == 64
    assert json.loads((tmp_path / "out" / "000.txt.json").read_text())["name"] == "000.txt"
