"""A user's mistake: one clear line, the right exit code, a status document, and no half-written result."""

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Ended, S3Server, Supervisor, image
from tests.integration.gate import Gate, Refusal

WITHOUT_RETRIES = {"AWS_MAX_ATTEMPTS": "2", "AWS_EC2_METADATA_DISABLED": "true"}


def line(ended: Ended, code: int) -> str:
    """The one line on stderr."""
    assert ended.code == code, ended.stderr + ended.stdout
    assert "Traceback" not in ended.stderr
    (told,) = ended.stderr.splitlines()
    assert told.startswith("supervisor: ")
    assert f"(exit {code}, " in told
    assert ". To do: " in told
    return told


def document(folder: Path) -> dict[str, Any]:
    (path,) = (folder / "_status").iterdir()
    status: dict[str, Any] = json.loads(path.read_text())
    return status


def failed(status: Mapping[str, Any], code: int, told: str) -> None:
    assert (status["state"], status["exit_code"]) == ("FAILED", code)
    assert status["error"]["code"] == code
    assert status["error"]["message"] in told
    assert status["error"]["hint"] in told


def results(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and path.parent.name != "_status"]


# 64


@pytest.mark.parametrize(
    ("variables", "told"),
    [
        ({"JOB_INPTU": "a.wav"}, "JOB_INPTU is not known: did you mean JOB_INPUT?"),
        ({"JOB_RUNNER": "wroker"}, "JOB_RUNNER is 'wroker': did you mean worker?"),
        ({}, "none of JOB_INPUT, JOB_EVENT and JOB_MANIFEST is set"),
        ({"JOB_INPUT": "a.wav", "JOB_EVENT": "{}"}, "JOB_INPUT and JOB_EVENT are both set"),
        ({"JOB_INPUT": "https://host/in/"}, "names no file"),
        ({"JOB_MANIFEST": "ftp://host/list"}, "the scheme ftp:// is not one of"),
        ({"JOB_MANIFEST": "list", "JOB_ARRAY_INDEX": "1"}, "JOB_ARRAY_SIZE is not set"),
        ({"JOB_EVENT": "s3://recordings/a.wav"}, "JOB_EVENT is not JSON"),
        ({"JOB_INPUT": "ftp://host/a.wav"}, "ftp:// cannot be read"),
        ({"JOB_INPUT": "a.wav", "JOB_PREDICT_ARGS": "{threshold: 1}"}, "JOB_PREDICT_ARGS is not JSON"),
        ({"JOB_INPUT": "a.wav", "JOB_ARRAY_INDEX": "x"}, "JOB_ARRAY_INDEX is 'x'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, dict) else "",
)
def test_a_bad_environment_is_64(variables: dict[str, str], told: str, plain: Supervisor, tmp_path: Path) -> None:
    ended = plain("run", JOB_OUTPUT=str(tmp_path / "out"), **variables)
    said = line(ended, 64)
    assert told in said
    failed(document(tmp_path / "out"), 64, said)
    failed(ended.status, 64, said)
    assert results(tmp_path / "out") == []


def test_records_that_would_share_a_result_are_64_before_anything_runs(
    plain: Supervisor, s3: S3Server, tmp_path: Path
) -> None:
    event = {
        "Records": [
            {"s3": {"bucket": {"name": s3.bucket}, "object": {"key": s3.put(key).partition(f"{s3.bucket}/")[2]}}}
            for key in ("1/a.wav", "2/a.wav")
        ]
    }
    ended = plain("run", JOB_EVENT=json.dumps(event), JOB_OUTPUT=str(tmp_path / "out"), **s3.variables)
    said = line(ended, 64)
    assert "would share the result" in said
    failed(document(tmp_path / "out"), 64, said)
    assert results(tmp_path / "out") == []


def test_an_argument_that_the_module_lacks_is_64_and_lists_those_it_has(
    plain: Supervisor, recording: Path, tmp_path: Path
) -> None:
    ended = plain(
        "run", JOB_INPUT=str(recording), JOB_OUTPUT=str(tmp_path / "out"), JOB_PREDICT_ARGS='{"treshold": 0.6}'
    )
    said = line(ended, 64)
    assert "did you mean threshold?" in said
    assert "top (Int" in said or "top (Integer" in said
    failed(document(tmp_path / "out"), 64, said)
    assert results(tmp_path / "out") == []


def test_no_output_is_64_and_told_where_the_status_goes(plain: Supervisor, tmp_path: Path) -> None:
    ended = plain("run", JOB_INPUT="a.wav", JOB_STATUS=str(tmp_path / "status.json"))
    failed(json.loads((tmp_path / "status.json").read_text()), 64, line(ended, 64))


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["run", "--inptu", "a.wav"], "did you mean --input?"),
        (["run", "--input"], "expected one argument"),
        (["rnu"], "did you mean run?"),
        (["run", "--status-secret", "whsec_x"], "unrecognized arguments: --status-secret"),
        (["run", "a.wav"], "unrecognized arguments: a.wav"),
        (["version", "--input", "a"], "unrecognized arguments: --input"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_usage_is_64(arguments: list[str], told: str, plain: Supervisor) -> None:
    ended = plain(*arguments)
    assert told in line(ended, 64)
    assert "whsec_x" not in ended.stdout + ended.stderr


def test_bad_flags_are_told_where_the_environment_says(plain: Supervisor, tmp_path: Path) -> None:
    ended = plain("run", "--inptu", "a.wav", JOB_STATUS=str(tmp_path / "status.json"))
    failed(json.loads((tmp_path / "status.json").read_text()), 64, line(ended, 64))


def test_a_key_that_is_not_utf8_is_64(plain: Supervisor, s3: S3Server, tmp_path: Path) -> None:
    ended = plain("run", JOB_INPUT="s3://recordings/\udcff.wav", JOB_OUTPUT=str(tmp_path / "out"), **s3.variables)
    said = line(ended, 64)
    assert r"s3://recordings/\udcff.wav: the key is not UTF-8" in said
    failed(document(tmp_path / "out"), 64, said)


def test_a_web_address_for_results_is_64_before_anything_runs(
    plain: Supervisor, recording: Path, tmp_path: Path
) -> None:
    status = tmp_path / "status.json"
    ended = plain("run", JOB_INPUT=str(recording), JOB_OUTPUT="https://host/out/", JOB_STATUS=str(status))
    said = line(ended, 64)
    assert "JOB_OUTPUT https://host/out/ cannot be written to" in said
    failed(json.loads(status.read_text()), 64, said)


# 65 to 78


def test_a_module_that_fails_is_65(recording: Path, tmp_path: Path) -> None:
    ended = image(tmp_path, "raises")("run", JOB_INPUT=str(recording), JOB_OUTPUT=str(tmp_path / "out"))
    failed(document(tmp_path / "out"), 65, line(ended, 65))
    assert results(tmp_path / "out") == []


@pytest.mark.parametrize(
    ("name", "told"), [("nothing.wav", "no such file"), ("folder", "is a folder, not a file"), ("loop", "no such file")]
)
def test_a_local_input_that_is_no_file_is_66(name: str, told: str, plain: Supervisor, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "loop").symlink_to("nowhere")
    ended = plain("run", JOB_INPUT=str(tmp_path / name), JOB_OUTPUT=str(tmp_path / "out"))
    said = line(ended, 66)
    assert told in said
    failed(document(tmp_path / "out"), 66, said)


@pytest.mark.parametrize(
    ("uri", "told"), [("s3://recordings/nothing.wav", "no such object"), ("s3://no-such/a.wav", "no bucket no-such")]
)
def test_an_object_that_is_not_there_is_66(uri: str, told: str, plain: Supervisor, s3: S3Server) -> None:
    ended = plain("run", JOB_INPUT=uri, JOB_OUTPUT="s3://recordings/out/", AWS_BATCH_JOB_ID="1", **s3.variables)
    said = line(ended, 66)
    assert told in said
    failed(s3.json("out/_status/1.json"), 66, said)
    assert s3.keys() == ["out/_status/1.json"]


def test_cuda_without_a_device_is_69(plain: Supervisor, recording: Path, tmp_path: Path) -> None:
    ended = plain("run", JOB_INPUT=str(recording), JOB_OUTPUT=str(tmp_path / "out"), JOB_DEVICE="cuda")
    said = line(ended, 69)
    assert "JOB_DEVICE is cuda, but no CUDA driver library (libcuda.so.1) is in the container" in said
    failed(document(tmp_path / "out"), 69, said)
    assert results(tmp_path / "out") == []


def test_an_output_bucket_that_is_not_there_is_73(plain: Supervisor, s3: S3Server) -> None:
    ended = plain("run", JOB_INPUT=s3.put("a.wav"), JOB_OUTPUT="s3://no-such/out/", **s3.variables)
    said = line(ended, 73)
    assert "there is no bucket no-such" in said
    failed(ended.status, 73, said)


def test_an_output_that_may_not_be_written_is_73(plain: Supervisor, s3: S3Server) -> None:
    uri = s3.put("a.wav")
    with Gate(s3.endpoint, lambda r: Refusal(status=403, code="AccessDenied") if r.method == "PUT" else None) as gate:
        ended = plain(
            "run",
            JOB_INPUT=uri,
            JOB_OUTPUT="s3://recordings/out/",
            **s3.variables | {"AWS_ENDPOINT_URL": gate.endpoint},
        )
    failed(ended.status, 73, line(ended, 73))
    assert s3.keys() == ["a.wav"]


@pytest.mark.parametrize("place", ["file", "file/below"])
def test_a_file_in_the_way_of_the_output_folder_is_73(
    place: str, plain: Supervisor, recording: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("in the way")
    status = tmp_path / "status.json"
    ended = plain("run", JOB_INPUT=str(recording), JOB_OUTPUT=str(tmp_path / place), JOB_STATUS=str(status))
    failed(json.loads(status.read_text()), 73, line(ended, 73))
    assert (tmp_path / "file").read_text() == "in the way"


def test_an_input_larger_than_the_disk_is_74_before_it_is_copied(plain: Supervisor, tmp_path: Path) -> None:
    large = tmp_path / "large.wav"
    large.touch()
    os.truncate(large, shutil.disk_usage(tmp_path).free * 2)
    ended = plain("run", JOB_INPUT=str(large), JOB_OUTPUT=str(tmp_path / "out"))
    said = line(ended, 74)
    assert f"has {large.stat().st_size:,} bytes" in said
    failed(document(tmp_path / "out"), 74, said)


def test_an_s3_server_that_is_not_there_is_75(plain: Supervisor, tmp_path: Path) -> None:
    ended = plain("run", JOB_INPUT="s3://recordings/a.wav", JOB_OUTPUT=str(tmp_path / "out"), AWS_ACCESS_KEY_ID="x",
                  AWS_SECRET_ACCESS_KEY="y", AWS_ENDPOINT_URL="http://127.0.0.1:1", **WITHOUT_RETRIES)  # fmt: skip
    said = line(ended, 75)
    assert "Could not connect" in said
    status = document(tmp_path / "out")
    failed(status, 75, said)
    assert status["error"]["retry"] is True


def test_an_input_that_may_not_be_read_is_77(plain: Supervisor, tmp_path: Path) -> None:
    with Gate("127.0.0.1:1", lambda _: Refusal(status=403, code="AccessDenied", message="Access Denied")) as gate:
        ended = plain("run", JOB_INPUT="s3://recordings/a.wav", JOB_OUTPUT=str(tmp_path / "out"), AWS_ACCESS_KEY_ID="x",
                      AWS_SECRET_ACCESS_KEY="y", AWS_ENDPOINT_URL=gate.endpoint)  # fmt: skip
    failed(document(tmp_path / "out"), 77, line(ended, 77))


def test_no_credentials_are_77(plain: Supervisor, tmp_path: Path) -> None:
    ended = plain("run", JOB_INPUT="s3://recordings/a.wav", JOB_OUTPUT=str(tmp_path / "out"), **WITHOUT_RETRIES)
    said = line(ended, 77)
    assert "Unable to locate credentials" in said
    failed(document(tmp_path / "out"), 77, said)


@pytest.mark.parametrize(
    ("modules", "told"),
    [
        ([], "no DEEPaaS module is installed"),
        (["broken_import"], "broken_import fails to import"),
        (["plain", "slow"], "several modules are installed: plain, slow"),
    ],
    ids=["none", "broken", "several"],
)
def test_an_image_without_a_usable_module_is_78(modules: list[str], told: str, recording: Path, tmp_path: Path) -> None:
    (tmp_path / "site").mkdir()
    ended = image(tmp_path, modules)("run", JOB_INPUT=str(recording), JOB_OUTPUT=str(tmp_path / "out"))
    said = line(ended, 78)
    assert told in said
    failed(document(tmp_path / "out"), 78, said)
    assert results(tmp_path / "out") == []
