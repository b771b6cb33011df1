"""One object from S3, through the real DEEPaaS command line, to its result."""

from pathlib import Path

from tests.conftest import S3Server, Supervisor


def test_an_object_becomes_its_answer_and_a_status(plain: Supervisor, s3: S3Server) -> None:
    uri = s3.put("incoming/a b+c.wav", b"RIFF" * 10)
    ended = plain(
        "run", JOB_INPUT=uri, JOB_OUTPUT=f"s3://{s3.bucket}/results/", AWS_BATCH_JOB_ID="job-1", **s3.variables
    )
    assert ended.code == 0, ended.stderr
    assert s3.keys() == ["incoming/a b+c.wav", "results/_status/job-1.json", "results/a b+c.wav.json"]
    answer = s3.json("results/a b+c.wav.json")
    assert (answer["name"], answer["size"]) == ("a b+c.wav", 40)
    status = s3.json("results/_status/job-1.json")
    assert status["state"] == "SUCCEEDED"
    assert status["exit_code"] == 0
    assert status["counts"] == {"total": 1, "done": 1, "skipped": 0, "failed": 0, "pending": 0, "placeholders": 0}


def test_a_second_run_leaves_an_up_to_date_result_alone(plain: Supervisor, s3: S3Server) -> None:
    variables = {"JOB_INPUT": s3.put("a.wav"), "JOB_OUTPUT": f"s3://{s3.bucket}/out/", **s3.variables}
    assert plain("run", **variables).status["counts"]["done"] == 1
    assert plain("run", **variables).status["counts"]["skipped"] == 1
    s3.put("a.wav", b"another")
    assert plain("run", **variables).status["counts"]["done"] == 1


def test_a_local_file_is_left_as_it_was(plain: Supervisor, recording: Path, tmp_path: Path) -> None:
    before = recording.read_bytes(), recording.stat().st_mtime_ns
    ended = plain("run", "--input", str(recording), "--output", str(tmp_path / "out"))
    assert ended.code == 0, ended.stderr
    assert (recording.read_bytes(), recording.stat().st_mtime_ns) == before
    assert (tmp_path / "out" / "recording.wav.json").exists()
