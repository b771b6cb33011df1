"""A job of many items: one model, nothing done twice, one item's trouble its own."""

import json
import signal
import subprocess
from pathlib import Path

import pytest

from tests.conftest import Ended, S3Server, Supervisor
from tests.integration.gate import Gate
from tests.integration.odd_modules import bare
from tests.modules.install import lay_out


@pytest.fixture
def told(tmp_path: Path) -> Supervisor:
    lay_out(Path(__file__).with_name("does_as_told.py"), tmp_path / "site")
    return bare(tmp_path)


def put(server: S3Server, count: int, **special: str) -> None:
    """count objects in/000.txt, …; special: n3="crash" for the text of in/003.txt."""
    for number in range(count):
        server.put(f"in/{number:03}.txt", special.get(f"n{number}", f"item {number}").encode())


def job(server: S3Server, **variables: str) -> dict[str, str]:
    return {
        "JOB_INPUT": f"s3://{server.bucket}/in/",
        "JOB_OUTPUT": f"s3://{server.bucket}/out/",
        **server.variables,
        **variables,
    }


def results(server: S3Server) -> dict[str, dict[str, object]]:
    keys = server.keys()
    return {
        key.removeprefix("out/"): server.json(key)
        for key in keys
        if key.startswith("out/") and not key.startswith("out/_status/")
    }


def listed(server: S3Server) -> list[dict[str, object]]:
    """The full list of items that the job left beside its status."""
    keys = server.keys()
    key = next(key for key in keys if key.endswith(".items.jsonl"))
    return [json.loads(line) for line in server.get(key).splitlines()]


def stop_at(process: "subprocess.Popen[str]", event: str) -> None:
    """SIGTERM at the first line that tells of such an event."""
    assert process.stdout
    for line in process.stdout:
        if json.loads(line)["event"] == event:
            process.send_signal(signal.SIGTERM)
            return


def counts(ended: Ended) -> tuple[int, int, int]:
    told = ended.status["counts"]
    return told["done"], told["skipped"], told["failed"]


def test_everything_below_a_prefix_is_done_by_one_model(told: Supervisor, seaweedfs: S3Server) -> None:
    put(seaweedfs, 20)
    ended = told("run", **job(seaweedfs))
    assert (ended.code, counts(ended)) == (0, (20, 0, 0)), ended.stderr
    found = results(seaweedfs)
    assert {name: answer["told"] for name, answer in found.items()} == {
        f"{number:03}.txt.json": f"item {number}" for number in range(20)
    }
    assert len({answer["pid"] for answer in found.values()}) == 1


def test_items_are_told_in_the_order_of_the_listing(told: Supervisor, seaweedfs: S3Server) -> None:
    put(seaweedfs, 20, n2="sleep 0.3", n7="raise no")
    told("run", **job(seaweedfs, JOB_WORKERS="2", SUPERVISOR_COPIES="many"))
    inputs = [str(line["input"]).rpartition("/")[2] for line in listed(seaweedfs)]
    assert inputs == [f"{number:03}.txt" for number in range(20)]


def test_a_local_folder_is_a_prefix_too(told: Supervisor, tmp_path: Path) -> None:
    for name in ("a/x.txt", "b/x.txt"):
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True)
        path.write_text(name)
    ended = told("run", JOB_INPUT=f"{tmp_path}/in/", JOB_OUTPUT=f"{tmp_path}/out")
    assert ended.code == 0, ended.stderr
    assert {json.loads((tmp_path / "out" / f"{name}.json").read_text())["told"] for name in ("a/x.txt", "b/x.txt")} == {
        "a/x.txt",
        "b/x.txt",
    }


def test_a_manifest_is_done_line_by_line_with_arguments_of_its_own(
    told: Supervisor, seaweedfs: S3Server, tmp_path: Path
) -> None:
    put(seaweedfs, 3)
    lines = [
        f"s3://{seaweedfs.bucket}/in/000.txt",
        json.dumps({"input": f"s3://{seaweedfs.bucket}/in/001.txt", "output": "elsewhere/one.json"}),
        json.dumps({"input": f"s3://{seaweedfs.bucket}/in/002.txt", "args": {"second": 1}}),
    ]
    (tmp_path / "manifest").write_text("\n".join(lines))
    environment = job(seaweedfs, JOB_MANIFEST=str(tmp_path / "manifest"))
    del environment["JOB_INPUT"]
    ended = told("run", **environment)
    assert ended.code == 64
    assert counts(ended) == (2, 0, 1)
    assert "did you mean seconds?" in ended.stderr
    assert set(results(seaweedfs)) == {"000.txt.json", "elsewhere/one.json"}


def test_a_module_that_raises_fails_its_item_alone(told: Supervisor, seaweedfs: S3Server) -> None:
    put(seaweedfs, 10, n4="raise it is silent")
    ended = told("run", **job(seaweedfs))
    assert (ended.code, counts(ended), ended.status["state"]) == (65, (9, 0, 1), "PARTIAL")
    assert len({answer["pid"] for answer in results(seaweedfs).values()}) == 1


def test_an_item_that_kills_its_model_is_tried_once_more_and_the_rest_goes_on(
    told: Supervisor, seaweedfs: S3Server
) -> None:
    put(seaweedfs, 10, n4="crash")
    ended = told("run", **job(seaweedfs))
    assert (ended.code, counts(ended)) == (65, (9, 0, 1)), ended.stderr
    assert "SIGSEGV" in ended.stderr
    assert len({answer["pid"] for answer in results(seaweedfs).values()}) == 2


def test_an_item_whose_model_died_by_chance_is_done_at_the_second_try(
    told: Supervisor, seaweedfs: S3Server, tmp_path: Path
) -> None:
    put(seaweedfs, 6, n3=f"crash-once {tmp_path}/crashed")
    ended = told("run", **job(seaweedfs))
    assert (ended.code, counts(ended)) == (0, (6, 0, 0)), ended.stderr


def test_several_workers_share_the_items(told: Supervisor, seaweedfs: S3Server) -> None:
    put(seaweedfs, 12)
    several = {"JOB_WORKERS": "3", "SUPERVISOR_COPIES": "many"}
    ended = told("run", **job(seaweedfs, **several, JOB_PREDICT_ARGS='{"seconds": 0.1}'))
    assert ended.code == 0, ended.stderr
    found = results(seaweedfs)
    assert len({answer["pid"] for answer in found.values()}) == 3
    assert len(found) == 12


def test_a_second_run_leaves_what_stands_and_does_what_has_changed(told: Supervisor, seaweedfs: S3Server) -> None:
    put(seaweedfs, 70)
    assert told("run", **job(seaweedfs)).code == 0
    seaweedfs.put("in/003.txt", b"changed")
    seaweedfs.put("in/069.txt", b"changed too")
    seaweedfs.put("in/100.txt", b"new")
    ended = told("run", **job(seaweedfs))
    assert (ended.code, counts(ended)) == (0, (3, 68, 0)), ended.stderr
    assert results(seaweedfs)["003.txt.json"]["told"] == "changed"
    other = told("run", **job(seaweedfs, JOB_PREDICT_ARGS='{"seconds": 0.001}'))
    assert counts(other) == (71, 0, 0)


def test_a_new_prefix_of_many_asks_for_no_result_that_a_listing_shows_absent(
    told: Supervisor, seaweedfs: S3Server
) -> None:
    put(seaweedfs, 100)
    with Gate(seaweedfs.endpoint) as gate:
        ended = told("run", **job(seaweedfs) | {"AWS_ENDPOINT_URL": gate.endpoint})
    assert ended.code == 0, ended.stderr
    heads = [request for request in gate.requests if request.method == "HEAD" and "/out/" in request.path]
    assert len(heads) <= 64
    gets = [request for request in gate.requests if request.method == "GET" and "/in/" in request.path]
    assert len(gets) == 100


def test_a_stop_keeps_what_is_done_and_the_next_run_does_the_rest(told: Supervisor, seaweedfs: S3Server) -> None:
    put(seaweedfs, 30)
    environment = job(seaweedfs, JOB_PREDICT_ARGS='{"seconds": 0.2}')
    with told.start("run", **environment) as process:
        stop_at(process, "item")
        stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 143, stderr
    stopped = Ended(code=143, stdout=stdout, stderr=stderr)
    assert stopped.status["state"] == "INTERRUPTED"
    done = counts(stopped)[0]
    assert 0 < done < 30
    assert len(results(seaweedfs)) == done
    ended = told("run", **environment)
    assert (ended.code, counts(ended)) == (0, (30 - done, done, 0)), ended.stderr


def test_a_prediction_under_way_has_the_grace_to_end(told: Supervisor, seaweedfs: S3Server) -> None:
    put(seaweedfs, 3, n1="sleep 2")
    with told.start("run", **job(seaweedfs)) as process:
        stop_at(process, "log")
        process.communicate(timeout=60)
    assert process.returncode == 143
    assert "001.txt.json" in results(seaweedfs)


def test_a_prediction_that_outlasts_the_grace_is_cut_off_and_not_counted(told: Supervisor, seaweedfs: S3Server) -> None:
    put(seaweedfs, 3, n1="sleep 60")
    with told.start("run", **job(seaweedfs, JOB_GRACE="1")) as process:
        stop_at(process, "log")
        stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 143, stderr
    found = results(seaweedfs)
    assert "001.txt.json" not in found
    assert counts(Ended(code=143, stdout=stdout, stderr=stderr)) == (len(found), 0, 0)


def test_a_prefix_with_nothing_below_it_is_missing(told: Supervisor, seaweedfs: S3Server) -> None:
    ended = told("run", **job(seaweedfs))
    assert ended.code == 66, ended.stderr
    assert len(ended.stderr.splitlines()) == 1


def test_the_table_of_results_holds_every_answer_also_of_a_run_that_skips(
    told: Supervisor, seaweedfs: S3Server
) -> None:
    put(seaweedfs, 5)
    environment = job(seaweedfs, JOB_RESULTS_TABLE=f"s3://{seaweedfs.bucket}/tables/", AWS_BATCH_JOB_ID="one")
    for _ in range(2):
        assert told("run", **environment).code == 0
        rows = [json.loads(line) for line in seaweedfs.get("tables/one.results.jsonl").splitlines()]
        assert {row["answer"]["told"] for row in rows} == {f"item {number}" for number in range(5)}


def test_a_run_over_what_is_done_asks_for_no_result_that_an_earlier_list_vouches_for(
    told: Supervisor, seaweedfs: S3Server
) -> None:
    put(seaweedfs, 100)
    assert told("run", **job(seaweedfs, AWS_BATCH_JOB_ID="first")).code == 0
    seaweedfs.put("out/099.txt.json", b'"written by somebody else"')
    with Gate(seaweedfs.endpoint) as gate:
        ended = told("run", **job(seaweedfs, AWS_BATCH_JOB_ID="second") | {"AWS_ENDPOINT_URL": gate.endpoint})
    assert (ended.code, counts(ended)) == (0, (1, 99, 0)), ended.stderr
    heads = [request.path for request in gate.requests if request.method == "HEAD" and "/out/" in request.path]
    assert len(heads) <= 64 + 1
    assert seaweedfs.json("out/099.txt.json")["told"] == "item 99"
    again = told("run", **job(seaweedfs, AWS_BATCH_JOB_ID="third"))
    assert counts(again) == (0, 100, 0)
    other = told("run", **job(seaweedfs, JOB_PREDICT_ARGS='{"seconds": 0.001}'))
    assert counts(other) == (100, 0, 0)
