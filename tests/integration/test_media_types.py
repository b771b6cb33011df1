"""What an input is said to be, and what a binary answer is called, where no name or type tells."""

import json
from pathlib import Path

import pytest

from tests.conftest import NEWEST, OLD, S3Server, Supervisor
from tests.integration.odd_modules import image_of

PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"
TYPE = {"JOB_PREDICT_ARGS": '{"echo": false}', "JOB_RUNNER": "worker"}


@pytest.fixture
def model(tmp_path: Path) -> Supervisor:
    return image_of(tmp_path, "echoes_file")


def told(model: Supervisor, path: Path, folder: Path) -> str:
    ended = model("run", JOB_INPUT=str(path), JOB_OUTPUT=str(folder / "out"), **TYPE)
    assert ended.code == 0, ended.stderr
    return str(json.loads((folder / "out" / f"{path.name}.json").read_text())["content_type"])


@pytest.mark.parametrize(("release", "python"), [(NEWEST, "python3.11"), (OLD, "python3.6")])
def test_an_input_without_an_extension_is_what_its_bytes_say(release: str, python: str, tmp_path: Path) -> None:
    model = image_of(tmp_path, "echoes_file", release, python)
    for name, content, media_type in (
        ("picture", PNG, "image/png"),
        ("picture.dat9", PNG, "image/png"),
        ("table", b"a,b\n1,2\n", "text/csv"),
        ("x", b"\0\1\2", "application/octet-stream"),
        ("misnamed.wav", PNG, "audio/x-wav"),
    ):
        (tmp_path / name).write_bytes(content)
        assert told(model, tmp_path / name, tmp_path) == media_type, name


@pytest.mark.parametrize(
    ("name", "said", "media_type"),
    [
        ("x", "audio/x-raw; rate=8000", "audio/x-raw"),
        ("x", "application/octet-stream", "image/png"),
        ("x", "binary/octet-stream", "image/png"),
        ("x", "text/plain", "image/png"),
        ("x.jpg", "audio/x-raw", "image/jpeg"),
    ],
)
@pytest.mark.parametrize("source", ["object", "prefix"])
def test_an_object_is_what_its_store_says_where_its_name_does_not(
    source: str, name: str, said: str, media_type: str, model: Supervisor, s3: S3Server
) -> None:
    s3.client.put_object(Bucket=s3.bucket, Key=f"in/{name}", Body=PNG, ContentType=said)
    uri = f"s3://{s3.bucket}/in/{name if source == 'object' else ''}"
    ended = model("run", JOB_INPUT=uri, JOB_OUTPUT=f"s3://{s3.bucket}/out/", **TYPE, **s3.variables)
    assert ended.code == 0, ended.stderr
    assert s3.json(f"out/{name}.json")["content_type"] == media_type


@pytest.mark.parametrize(
    ("content", "accept", "name", "result", "media_type"),
    [
        (PNG, "image/*", "", "x.png", "image/png"),
        (b"II*\0\x08\0\0\0", "image/*", "", "x.tif", "image/tiff"),
        (PNG, "*/*", "", "x.png", "image/png"),
        (PNG, "image/*", "/tmp/out.jpg", "x.png", "image/png"),
        (b"\0\1", "image/*", "/tmp/out.jpg", "x.jpg", "image/jpeg"),
        (b"\0\1", "image/*", "", "x.bin", "application/octet-stream"),
        (b"a,b\n1,2\n", "*/*", "", "x.csv", "text/csv"),
        (PNG, "image/x-nobody-knows", "", "x.png", "image/x-nobody-knows"),
        (b"\0\1", "image/x-nobody-knows", "/tmp/out.odd9", "x.odd9", "image/x-nobody-knows"),
        (PNG, "application/json", "", "x.png", "image/png"),
        (b"\x89HDF\r\n\x1a\n", "application/json", "/tmp/out.h5", "x.h5", None),
        (b"\x89HDF\r\n\x1a\n", "application/x-hdf5", "", "x.h5", "application/x-hdf5"),
        (PNG, "image/jpeg", "", "x.jpg", "image/jpeg"),
        (PNG, "application/octet-stream", "", "x.bin", "application/octet-stream"),
    ],
)
def test_an_answer_is_named_by_what_it_is(
    content: bytes, accept: str, name: str, result: str, media_type: str | None, model: Supervisor, s3: S3Server
) -> None:
    s3.put("in/x", content)
    arguments = json.dumps({"accept": accept, "name": name})
    job = {"JOB_INPUT": f"s3://{s3.bucket}/in/x", "JOB_OUTPUT": f"s3://{s3.bucket}/out/", "JOB_PREDICT_ARGS": arguments}
    ended = model("run", **job, **s3.variables)
    assert ended.code == 0, ended.stderr
    assert s3.get(f"out/{result}") == content
    stored = s3.client.head_object(Bucket=s3.bucket, Key=f"out/{result}")["ContentType"]
    assert media_type is None or stored == media_type


def test_json_that_is_answered_as_bytes_is_held_to_what_json_is(model: Supervisor, tmp_path: Path) -> None:
    arguments = json.dumps({"accept": "*/*"})
    for name, content, code in (("good", b'{"a": NaN}', 0), ("bad", b'{"status": "error", "message": "cannot"}', 65)):
        (tmp_path / name).write_bytes(content)
        job = {"JOB_INPUT": str(tmp_path / name), "JOB_OUTPUT": str(tmp_path / "out"), "JOB_PREDICT_ARGS": arguments}
        assert model("run", **job).code == code
    assert json.loads((tmp_path / "out" / "good.json").read_text()) == {"a": None}
