"""The status of real jobs: each document keeps to the published schema and says how the job went."""

import json
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from scripts import cli
from tests.conftest import Ended, S3Server, Supervisor, image
from tests.unit.status.jobs import valid


def recordings(folder: Path, count: int, body: bytes = b"RIFF") -> str:
    """A prefix with so many inputs."""
    folder.mkdir()
    for number in range(count):
        (folder / f"{number:03}.wav").write_bytes(body)
    return f"{folder}/"


def written(output: Path) -> Mapping[str, Any]:
    """The last document that the one job wrote, checked."""
    (path,) = (output / "_status").glob("*.json")
    return valid(json.loads(path.read_text()))


def lines(uri: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(uri).read_text().splitlines()]


def all_valid(ended: Ended) -> Ended:
    for event in ended.events:
        if event["event"] == "status":
            valid(event["status"])
    return ended


def test_the_status_of_one_item_is_whole(plain: Supervisor, recording: Path, tmp_path: Path) -> None:
    ended = all_valid(plain("run", JOB_INPUT=str(recording), JOB_OUTPUT=str(tmp_path / "out"), AWS_BATCH_JOB_ID="j"))
    assert ended.code == 0, ended.stderr
    status = written(tmp_path / "out")
    assert status == ended.status
    assert (status["state"], status["exit_code"], status["module"]["name"]) == ("SUCCEEDED", 0, "plain")
    assert set(status["seconds"]) == {"model", "download", "predict", "upload", "total"}
    assert status["usage"]["peak_memory"] > 1_000_000
    assert status["usage"]["cpu_seconds"] > 0
    assert "items_uri" not in status


def test_several_items_have_a_list_and_a_table(plain: Supervisor, tmp_path: Path) -> None:
    ended = all_valid(
        plain(
            "run",
            JOB_INPUT=recordings(tmp_path / "in", 120),
            JOB_OUTPUT=str(tmp_path / "out"),
            JOB_RESULTS_TABLE=str(tmp_path / "out" / "_status"),
            AWS_BATCH_JOB_ID="j",
        )
    )
    assert ended.code == 0, ended.stderr
    status = written(tmp_path / "out")
    assert (status["counts"]["total"], status["counts"]["done"], len(status["items"])) == (120, 120, 100)
    assert "listing" not in status["counts"]
    items, rows = lines(status["items_uri"]), lines(status["results_table"])
    assert [Path(row["input"]).name for row in items] == [f"{number:03}.wav" for number in range(120)]
    results = {row["result"]: row["answer"] for row in rows}
    assert results == {row["result"]: json.loads(Path(row["result"]).read_text()) for row in items}
    assert len([event for event in ended.events if event["event"] == "item"]) <= 100


def test_a_second_run_lists_what_it_skipped_and_its_answers(plain: Supervisor, tmp_path: Path) -> None:
    variables = {
        "JOB_INPUT": recordings(tmp_path / "in", 3),
        "JOB_OUTPUT": str(tmp_path / "out"),
        "JOB_RESULTS_TABLE": str(tmp_path / "tables"),
    }
    assert plain("run", **variables, AWS_BATCH_JOB_ID="first").code == 0
    status = plain("run", **variables, AWS_BATCH_JOB_ID="second").status
    assert [row["state"] for row in lines(status["items_uri"])] == ["skipped"] * 3
    assert sorted(row["answer"]["name"] for row in lines(status["results_table"])) == ["000.wav", "001.wav", "002.wav"]


@pytest.mark.parametrize(("tolerated", "code"), [("0", 66), ("1", 0)])
def test_a_job_some_of_whose_items_failed_is_partial(
    plain: Supervisor, tmp_path: Path, tolerated: str, code: int
) -> None:
    manifest = tmp_path / "inputs.txt"
    (tmp_path / "a.wav").write_bytes(b"RIFF")
    manifest.write_text(f"{tmp_path}/a.wav\n{tmp_path}/missing.wav\n")
    ended = all_valid(
        plain("run", JOB_MANIFEST=str(manifest), JOB_OUTPUT=str(tmp_path / "out"), JOB_MAX_FAILURES=tolerated)
    )
    status = written(tmp_path / "out")
    assert (ended.code, status["state"], status["exit_code"]) == (code, "PARTIAL", code)
    assert ("error" in status) == (code != 0)
    assert [row["state"] for row in lines(status["items_uri"])] == ["done", "failed"]


def test_a_job_all_of_whose_items_failed_has_failed_with_the_models_log(tmp_path: Path) -> None:
    ended = all_valid(
        image(tmp_path, "raises")("run", JOB_INPUT=recordings(tmp_path / "in", 2), JOB_OUTPUT=str(tmp_path / "out"))
    )
    status = written(tmp_path / "out")
    assert (ended.code, status["state"], status["counts"]["failed"]) == (65, "FAILED", 2)
    assert status["error"]["hint"]
    assert status["error"]["log"]


def test_a_job_that_cannot_begin_has_failed(plain: Supervisor, tmp_path: Path) -> None:
    ended = all_valid(plain("run", JOB_INPUT="a.wav", JOB_OUTPUT=str(tmp_path / "out"), JOB_RUNNER="nothing"))
    status = written(tmp_path / "out")
    assert (ended.code, status["state"], status["error"]["category"]) == (64, "FAILED", "bad-usage")


def test_a_job_that_is_stopped_is_interrupted_and_lists_what_had_ended(tmp_path: Path) -> None:
    output = tmp_path / "out"
    with image(tmp_path, "slow").start(
        "run",
        JOB_INPUT=recordings(tmp_path / "in", 40),
        JOB_OUTPUT=str(output),
        JOB_PREDICT_ARGS='{"seconds": 0.2}',
        JOB_GRACE="5",
    ) as process:
        assert process.stdout
        heard = []
        for line in process.stdout:
            heard.append(line)
            if '"event": "item"' in line:
                process.send_signal(signal.SIGTERM)
                break
        stdout, stderr = process.communicate(timeout=60)
    all_valid(Ended(code=process.returncode, stdout="".join(heard) + stdout, stderr=stderr))
    status = written(output)
    assert (process.returncode, status["state"], status["exit_code"]) == (143, "INTERRUPTED", 143)
    counts = status["counts"]
    assert counts["done"] >= 1
    assert counts["pending"] == counts["total"] - counts["done"] >= 1
    assert len(lines(status["items_uri"])) == counts["done"]


def test_a_presigned_url_is_nowhere_in_log_or_status(plain: Supervisor, tmp_path: Path, s3: S3Server) -> None:
    url = s3.client.generate_presigned_url("get_object", Params={"Bucket": s3.bucket, "Key": "missing.wav"})
    signature = url.rpartition("Signature=")[2].partition("&")[0]
    assert len(signature) > 20
    ended = all_valid(plain("run", JOB_INPUT=url, JOB_OUTPUT=str(tmp_path / "out")))
    assert ended.code == 66
    everything = ended.stdout + ended.stderr + json.dumps(written(tmp_path / "out"))
    assert signature not in everything


def test_the_report_reads_what_a_job_wrote(
    plain: Supervisor, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ended = plain(
        "run",
        JOB_INPUT=recordings(tmp_path / "in", 3),
        JOB_OUTPUT=str(tmp_path / "out"),
        JOB_RESULTS_TABLE=str(tmp_path / "out" / "_status"),
    )
    assert ended.code == 0, ended.stderr
    assert cli.main(["report", str(tmp_path / "out" / "_status"), "--output", str(tmp_path / "page.html")]) == 0
    said = capsys.readouterr().out
    assert "3 items (3 done" in said
    assert "could not be used" not in said
