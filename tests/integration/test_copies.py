"""Several copies of the model in one job: where that is safe, how many they are, and whose answer is whose."""

import json
from pathlib import Path

import pytest

from supervisor.machine import cpu
from tests.conftest import Ended, Supervisor, image
from tests.integration.odd_modules import bare, module
from tests.modules.install import lay_out

ITEMS = 400
MANY = {"SUPERVISOR_COPIES": "many"}


def job(folder: Path, count: int, **variables: str) -> dict[str, str]:
    """A job over so many inputs, each of which says which it is."""
    (folder / "in").mkdir()
    for number in range(count):
        (folder / f"in/{number:03}.txt").write_text(f"item {number}")
    return {"JOB_INPUT": f"{folder}/in/", "JOB_OUTPUT": str(folder / "out"), **variables}


def wrong(folder: Path, suffix: str, right: str) -> list[str]:
    """The results that are not what their own input makes; right: with {} for the item's number."""
    return [
        path.name
        for path in sorted((folder / "out").glob(f"*{suffix}"))
        if path.read_text() != right.format(int(path.name[:3]))
    ]


def done(ended: Ended) -> int:
    count: int = ended.status["counts"]["done"]
    return count


@pytest.fixture
def told(tmp_path: Path) -> Supervisor:
    lay_out(Path(__file__).with_name("does_as_told.py"), tmp_path / "site")
    return bare(tmp_path)


def processes(folder: Path) -> set[int]:
    """Those that answered, as does_as_told says."""
    return {json.loads(path.read_text())["pid"] for path in (folder / "out").glob("*.json")}


@pytest.mark.parametrize(("said", "says"), [({}, "is not set"), ({"SUPERVISOR_COPIES": "1"}, "says '1'")])
def test_more_than_one_copy_of_a_module_that_nobody_declared_safe_is_refused(
    told: Supervisor, tmp_path: Path, said: dict[str, str], says: str
) -> None:
    ended = told("run", **job(tmp_path, 2, JOB_WORKERS="2", **said))
    assert ended.code == 64
    (line,) = ended.stderr.splitlines()
    assert "JOB_WORKERS is 2, but nothing says that copies of the module do not mix up their items" in line
    assert f"SUPERVISOR_COPIES {says}" in line
    assert "`copies: many` in images/<module>.yaml" in line
    assert "SUPERVISOR_COPIES=many" in line
    assert list((tmp_path / "out").glob("*.json")) == []


def test_check_says_how_many_copies_there_may_be_and_when_the_module_needs_a_network(
    told: Supervisor, tmp_path: Path
) -> None:
    ended = told(
        "check", "--json", **MANY, SUPERVISOR_NETWORK="at start", SUPERVISOR_RESULTS="application/json,text/plain"
    )
    assert ended.code == 0, ended.stdout
    found = json.loads(ended.stdout)["checks"]["copies"]
    assert found["found"] == "several may run side by side (copies: many); network: at start"
    assert found["results"] == ["application/json", "text/plain"]
    refused = told("check", JOB_WORKERS="2")
    assert refused.code == 64
    assert "FAIL copies     JOB_WORKERS is 2, but nothing says" in refused.stdout
    assert "one at a time (SUPERVISOR_COPIES is not set); network: not known" in told("check").stdout


@pytest.mark.parametrize("name", ["fixed_file", "fixed_scratch"])
def test_an_undeclared_module_gets_one_copy_and_mixes_nothing_up(tmp_path: Path, name: str) -> None:
    ended = image(tmp_path, name)("run", **job(tmp_path, ITEMS, JOB_WORKERS="auto"))
    assert (ended.code, done(ended)) == (0, ITEMS), ended.stderr
    right = {"fixed_file": (".bin", "made of item {}"), "fixed_scratch": (".json", '{{"made_of": "item {}"}}')}
    assert wrong(tmp_path, *right[name]) == []


def test_answers_that_two_copies_wrote_to_one_file_are_done_again_alone(tmp_path: Path) -> None:
    """Of 400 items, JOB_WORKERS=2 stored some 200 with another's answer."""
    ended = image(tmp_path, "fixed_file")("run", **job(tmp_path, ITEMS, JOB_WORKERS="3", **MANY))
    assert (ended.code, done(ended)) == (0, ITEMS), ended.stderr
    assert wrong(tmp_path, ".bin", "made of item {}") == []
    (warning,) = ended.status["warnings"]
    assert "two copies of the model wrote their answers to one file, " in warning
    assert "result_of_fixed_file.bin" in warning
    assert "`copies: 1` in images/<module>.yaml" in warning


# Each of these hides that it is one file.
DISGUISES = {
    "a link of its own": "link = path + str(os.getpid())\n"
    "    os.path.lexists(link) or os.symlink(path, link)\n"
    "    return open(link, 'rb')",
    "a name of its own": "link = path + str(os.getpid())\n"
    "    os.path.exists(link) or os.link(path, link)\n"
    "    return open(link, 'rb')",
    "a file that is gone": "answer = open(path, 'rb')\n    os.remove(path)\n    return answer",
    "a path from here": "os.chdir(os.path.dirname(path))\n    return open(os.path.basename(path), 'rb')",
    "JSON": "os.replace(path, path + '.json')\n    return open(path + '.json')",
}
SHARES = """
import random, time
def predict(**kwargs):
    path = {path!r}
    with open(kwargs["files"].filename) as upload, open(path, "w") as result:
        result.write('"' + upload.read() + ' ' * 5000 + '"')
    time.sleep(random.random() / 200)
    try:
        {answer}
    except FileNotFoundError:
        raise ValueError("another copy has taken it")
"""


@pytest.mark.parametrize("disguise", DISGUISES)
def test_one_file_is_known_through_whatever_name(tmp_path: Path, disguise: str) -> None:
    (tmp_path / "shared").mkdir()
    answer = DISGUISES[disguise].replace("\n", "\n    ")
    module(tmp_path, "odd", SHARES.format(path=str(tmp_path / "shared" / "result"), answer=answer))
    variables = job(tmp_path, 200, JOB_WORKERS="2", JOB_MAX_FAILURES="200", SUPERVISOR_RESULTS="text/plain", **MANY)
    ended = bare(tmp_path)("run", **variables)
    assert ended.code == 0, ended.stderr
    assert any("two copies of the model wrote their answers to one file" in each for each in ended.status["warnings"])
    results = [path for path in (tmp_path / "out").glob("*.txt.*") if path.suffix != ".provenance"]
    assert len(results) == done(ended) > 100
    mixed_up = [path.name for path in results if path.read_text().strip('"').strip() != f"item {int(path.name[:3])}"]
    assert mixed_up == []


PRIVATE = """
import os, tempfile, time
def predict(**kwargs):
    number, path = tempfile.mkstemp({where})
    with open(kwargs["files"].filename) as upload, open(number, "w") as result:
        result.write(upload.read())
    answer = open(path, "rb")
    {then}
    return answer
"""


@pytest.mark.parametrize("where", ["", "dir='/dev/shm'"])
@pytest.mark.parametrize("then", ["pass", "os.remove(path)"])
def test_a_file_of_its_own_for_each_answer_is_no_reason_to_do_it_again(tmp_path: Path, where: str, then: str) -> None:
    """Though an inode's number that is free again is the next one to be taken."""
    module(tmp_path, "odd", PRIVATE.format(where=where, then=then))
    ended = bare(tmp_path)("run", **job(tmp_path, 100, JOB_WORKERS="3", **MANY))
    assert (ended.code, done(ended)) == (0, 100), ended.stderr
    assert "warnings" not in ended.status
    for path in Path("/dev/shm").glob("tmp*"):
        path.unlink()


def test_a_file_that_nobody_writes_to_is_no_reason_to_do_it_again(tmp_path: Path) -> None:
    (tmp_path / "legend.bin").write_bytes(b"the same for all")
    body = f"def predict(**kwargs):\n    return open({str(tmp_path / 'legend.bin')!r}, 'rb')\n"
    module(tmp_path, "odd", "import time\ntime.sleep(0.3)\n" + body)
    ended = bare(tmp_path)("run", **job(tmp_path, 50, JOB_WORKERS="2", **MANY))
    assert (ended.code, done(ended)) == (0, 50), ended.stderr
    assert "warnings" not in ended.status


@pytest.mark.skipif(cpu.cores() < 2, reason="one core carries one copy")
def test_auto_takes_more_copies_of_a_module_that_is_declared_safe(told: Supervisor, tmp_path: Path) -> None:
    variables = job(tmp_path, 80, JOB_WORKERS="auto", JOB_PREDICT_ARGS='{"seconds": 0.05}', **MANY)
    ended = told("run", **variables)
    assert (ended.code, done(ended)) == (0, 80), ended.stderr
    assert 2 <= len(processes(tmp_path)) <= cpu.cores() + 1


def test_auto_takes_one_copy_where_there_is_one_item(told: Supervisor, tmp_path: Path) -> None:
    ended = told("run", **job(tmp_path, 1, JOB_WORKERS="auto", **MANY))
    assert (ended.code, done(ended)) == (0, 1), ended.stderr


@pytest.mark.skipif(cpu.cores() < 2, reason="one core carries one copy")
def test_a_copy_that_cannot_be_loaded_does_not_end_a_job_that_left_their_number_to_us(tmp_path: Path) -> None:
    body = (
        "import os, time\n"
        "def warm():\n"
        f"    os.open({str(tmp_path / 'taken')!r}, os.O_CREAT | os.O_EXCL)\n"
        "def predict(**kwargs):\n"
        "    time.sleep(0.02)\n"
        "    return {'pid': os.getpid()}\n"
    )
    module(tmp_path, "odd", body)
    ended = bare(tmp_path)("run", **job(tmp_path, 100, JOB_WORKERS="auto", **MANY))
    assert (ended.code, done(ended)) == (0, 100), ended.stderr
    assert len(processes(tmp_path)) == 1
    *_, last = ended.status["warnings"]
    assert "the job goes on with 1 of its model, for no other copy can be loaded: the module failed in warm" in last
