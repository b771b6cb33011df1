"""Manifest lines that say which argument takes their file, or give the module several files in one call."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import NEWEST, OLD, Ended, S3Server, Supervisor
from tests.integration.odd_modules import image_of

ALL = '{"files": {"demo_image": "s3://…", "demo_audio": "s3://…", "demo_video": "s3://…"}}'


@pytest.fixture
def model(tmp_path: Path) -> Supervisor:
    return image_of(tmp_path, "three_files")


def files(folder: Path, image: str = "a.png", audio: str = "a.wav", video: str = "a.mp4") -> dict[str, str]:
    """The "files" of one line; each is there, and holds its own path."""
    named = {"demo_image": image, "demo_audio": audio, "demo_video": video}
    for name in named.values():
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        if not path.exists():
            path.write_text(name)
    return {kind: str(folder / name) for kind, name in named.items()}


def run(model: Supervisor, folder: Path, *lines: object, **variables: str) -> Ended:
    (folder / "list").write_text("\n".join(map(json.dumps, lines)))
    return model("run", JOB_MANIFEST=str(folder / "list"), JOB_OUTPUT=str(folder / "out"), **variables)


def answer(folder: Path, name: str) -> Any:
    return json.loads((folder / "out" / name).read_text())


@pytest.mark.parametrize(("release", "python"), [(NEWEST, "python3.11"), (OLD, "python3.6")])
def test_a_call_gets_all_its_files(release: str, python: str, tmp_path: Path) -> None:
    model = image_of(tmp_path, "three_files", release, python)
    ended = run(model, tmp_path, {"files": files(tmp_path), "args": {"threshold": 0.9}})
    assert ended.code == 0, ended.stderr
    assert answer(tmp_path, "a.png.json") == {  # named after the first
        "demo_image": ["a.png", "a.png", "image/png", "a.png"],
        "demo_audio": ["a.wav", "a.wav", "audio/x-wav", "a.wav"],
        "demo_video": ["a.mp4", "a.mp4", "video/mp4", "a.mp4"],
        "folders": 1,
    }
    [item] = ended.status["items"]
    assert [(each["field"], Path(each["input"]).name, each["bytes"]) for each in item["inputs"]] == [
        ("demo_image", "a.png", 5),
        ("demo_audio", "a.wav", 5),
        ("demo_video", "a.mp4", 5),
    ]
    assert item["bytes"] == 15
    assert item["etag"].count(" ") == 2
    assert "the worker several" in ended.status["runner"]["why"]


def test_files_of_one_name_lie_apart(model: Supervisor, tmp_path: Path) -> None:
    same = files(tmp_path, image="i/x.dat", audio="a/x.dat", video="v/x.dat")
    ended = run(model, tmp_path, {"files": same, "output": "all.json"})
    assert ended.code == 0, ended.stderr
    found = answer(tmp_path, "all.json")
    assert found["folders"] == 3
    assert [found[kind][1::2] for kind in same] == [["x.dat", name] for name in ("i/x.dat", "a/x.dat", "v/x.dat")]


def test_the_input_is_one_of_the_files_and_names_the_result(model: Supervisor, tmp_path: Path) -> None:
    image, audio, video = files(tmp_path).values()
    only_one_left = {"input": video, "files": {"demo_image": image, "demo_audio": audio}}
    with_its_field = {"input": image, "field": "demo_image", "files": {"demo_audio": audio, "demo_video": video}}
    ended = run(model, tmp_path, only_one_left, with_its_field)
    assert ended.code == 0, ended.stderr
    assert answer(tmp_path, "a.mp4.json") == answer(tmp_path, "a.png.json")


def test_each_file_counts_for_what_is_up_to_date(model: Supervisor, tmp_path: Path) -> None:
    named = files(tmp_path)

    def state(named: dict[str, str]) -> str:
        ended = run(model, tmp_path, {"files": named, "output": "x.json"})
        assert ended.code == 0, ended.stderr
        return str(ended.status["items"][0]["state"])

    assert state(named) == "done"
    assert state(named) == "skipped"
    assert state({kind: named[kind] for kind in reversed(named)}) == "skipped"  # an object's members have no order
    Path(named["demo_video"]).write_text("another one")
    assert state(named) == "done"
    assert state(named) == "skipped"
    assert state({**named, "demo_audio": named["demo_image"], "demo_image": named["demo_audio"]}) == "done"


def test_all_files_of_a_call_come_from_s3_and_count_there(model: Supervisor, s3: S3Server) -> None:
    named = {kind: s3.put(f"in/{kind}/x", kind.encode()) for kind in ("demo_image", "demo_audio", "demo_video")}
    s3.put("list", json.dumps({"files": named, "output": "x.json"}).encode())
    job = {"JOB_MANIFEST": f"s3://{s3.bucket}/list", "JOB_OUTPUT": f"s3://{s3.bucket}/out/", **s3.variables}
    first = model("run", **job)
    assert first.code == 0, first.stderr
    assert s3.json("out/x.json")["demo_video"][3] == "demo_video"
    assert model("run", **job).status["items"][0]["state"] == "skipped"
    s3.put("in/demo_audio/x", b"another one")
    assert model("run", **job).status["items"][0]["state"] == "done"
    metadata = s3.client.head_object(Bucket=s3.bucket, Key="out/x.json")["Metadata"]
    assert metadata["input-etag"].count(" ") == 2


def test_the_file_that_is_missing_is_named(model: Supervisor, tmp_path: Path) -> None:
    named = files(tmp_path)
    forbidding = {**named, "demo_video": "/proc/self/environ"}
    Path(named["demo_audio"]).unlink()
    ended = run(
        model, tmp_path, {"files": named}, {"files": {**forbidding, "demo_audio": named["demo_image"]}, "output": "b"}
    )
    missing, forbidden = ended.status["items"]
    assert (missing["error"]["code"], forbidden["error"]["code"]) == (66, 64)
    assert f"input {named['demo_audio']}: no such file" in missing["error"]["message"]
    assert "input /proc/self/environ: " in forbidden["error"]["message"]
    assert [each["field"] for each in missing["inputs"]] == ["demo_image", "demo_audio", "demo_video"]


def test_a_call_whose_model_crashed_gets_all_its_files_again(model: Supervisor, tmp_path: Path) -> None:
    named = files(tmp_path, audio="i/a.png")
    Path(named["demo_audio"]).write_text("crash")
    ended = run(model, tmp_path, {"files": named})
    assert ended.code == 0, ended.stderr
    assert ended.status["items"][0]["retried"] is True
    assert answer(tmp_path, "a.png.json")["demo_audio"][3] == "crash"


@pytest.mark.parametrize(
    ("without", "extra", "says"),
    [
        ("demo_video", None, "needs further files beside demo_image and demo_audio: demo_video (file, required)"),
        (
            "demo_video",
            "demo_vidoe",
            "the line's field is 'demo_vidoe': the module three_files has no such argument",
        ),
        ("", "threshold", "the argument threshold (Float, default 0.5) of the module three_files takes no file"),
    ],
)
def test_files_that_do_not_fit_the_module_fail_their_item_alone(
    without: str, extra: str | None, says: str, model: Supervisor, tmp_path: Path
) -> None:
    wrong = {kind: uri for kind, uri in files(tmp_path).items() if kind != without}
    if extra:
        wrong[extra] = wrong["demo_image"]
    ended = run(model, tmp_path, {"files": wrong, "output": "wrong"}, {"files": files(tmp_path)})
    assert ended.code == 64
    refused, done = ended.status["items"]
    assert says in refused["error"]["message"]
    assert done["state"] == "done"


def test_one_file_for_a_module_that_needs_three_is_told_what_can_work(model: Supervisor, tmp_path: Path) -> None:
    one = files(tmp_path)["demo_image"]
    ended = model("run", JOB_INPUT=one, JOB_OUTPUT=str(tmp_path / "out"), JOB_INPUT_FIELD="demo_image")
    assert ended.code == 64
    assert f"name the files of a call in a line of JOB_MANIFEST: {ALL}" in ended.stderr


def test_a_command_line_that_is_asked_for_carries_one_file(model: Supervisor, tmp_path: Path) -> None:
    ended = run(model, tmp_path, {"files": files(tmp_path)}, JOB_RUNNER="cli")
    assert ended.code == 64
    assert "JOB_RUNNER is cli, but a command line carries one file" in ended.stderr


@pytest.mark.parametrize("runner", ["auto", "worker", "cli"])
def test_each_line_may_name_its_field(runner: str, tmp_path: Path) -> None:
    lines = []
    for name, field in (("a.png", "image"), ("b.zip", "zip"), ("c.png", None)):
        (tmp_path / name).write_text("x")
        lines.append({"input": str(tmp_path / name)} | ({"field": field} if field else {}))
    ended = run(image_of(tmp_path, "two_kinds"), tmp_path, *lines, JOB_INPUT_FIELD="image", JOB_RUNNER=runner)
    if runner == "cli":
        assert ended.code == 64
        assert "deepaas-cli would give zip, which has no default, as <marshmallow.missing>" in ended.stderr
        return
    assert ended.code == 0, ended.stderr
    given = [answer(tmp_path, f"{name}.json")["given"] for name in ("a.png", "b.zip", "c.png")]
    assert given == [["image"], ["zip"], ["image"]]


def test_a_line_that_names_no_field_where_one_is_needed_ends_the_job(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_text("x")
    named, unnamed = (
        {"input": str(tmp_path / "a.png"), "field": "image"},
        {"input": str(tmp_path / "a.png"), "output": "b"},
    )
    ended = run(image_of(tmp_path, "two_kinds"), tmp_path, named, unnamed)
    assert ended.code == 64
    assert "has several file arguments: image (file), zip (file)" in ended.stderr


def test_check_looks_at_the_lines_own_fields(model: Supervisor, tmp_path: Path) -> None:
    (tmp_path / "list").write_text(json.dumps({"files": files(tmp_path)}))
    ended = model("check", JOB_MANIFEST=str(tmp_path / "list"))
    assert ended.code == 0, ended.stdout
    assert "the files go to demo_image, demo_audio, demo_video" in ended.stdout
    assert "of 15 bytes" in ended.stdout


@pytest.mark.parametrize(
    ("module", "says"),
    [("three_files", "the files go to demo_image, demo_audio, demo_video"), ("two_kinds", "the file goes to image")],
)
def test_check_of_an_image_alone_says_what_a_job_can_name(module: str, says: str, tmp_path: Path) -> None:
    """As `make images` asks: there is no job yet that could name a field."""
    ended = image_of(tmp_path, module)("check")
    assert ended.code == 0, ended.stdout
    assert says in ended.stdout
    assert "in a line of JOB_MANIFEST: {" in ended.stdout
