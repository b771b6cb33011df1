"""Whole runs over the names that people and programs give to objects: each result in its place, and nowhere else."""

import hashlib
import io
import json
import tarfile
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from urllib.parse import quote_plus

import pytest

from tests.conftest import Ended, S3Server, Supervisor

PREFIX = "in/"
OUTSIDE = "evil.txt"


def _zip() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(f"../../{OUTSIDE}", "out of here")
        archive.writestr(f"/tmp/{OUTSIDE}", "out of here")
    return file.getvalue()


def _tar() -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for name in (f"../../{OUTSIDE}", f"/tmp/{OUTSIDE}"):
            archive.addfile(tarfile.TarInfo(name))
        link = tarfile.TarInfo("link")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    return file.getvalue()


# What every S3 server keeps as it is.
NAMES = [
    "plain.wav",
    "a b.wav",
    "a+b.wav",
    "a%20b.wav",
    "a%2Bb.wav",
    "100%.wav",
    "x.wav",
    "x.wav.json",
    "x.mp3",
    ".hidden",
    ".x.wav.json.provenance",
    "-rf",
    "--output=elsewhere.wav",
    "~",
    "~root/x.wav",
    "tab\t.wav",
    "🎙 über.wav",
    "e\u0301.wav",
    "\u00e9.wav",
    "\u202egnp.wav",
    "quote\"'`$(touch evil.txt).wav",
    "back\\slash.wav",
    "question?mark=1&x#y.wav",
    "glob*[a-z].wav",
    "semi;colon,comma.wav",
    "empty.wav",
    "traversal.zip",
    "traversal.tar",
    "no_extension",
]
# What moto finds no route for, and SeaweedFS keeps.
LINES = ["new\nline.wav", "carriage\rreturn.wav", "in\n\nto/two.wav"]
# What S3 itself keeps, moto too, and a server that stores keys as paths (SeaweedFS) makes something else of; with what
# becomes of them in a folder.
PATHS = {
    "../outside.wav": "%2E%2E/outside.wav",
    "../../../outside.wav": "%2E%2E/%2E%2E/%2E%2E/outside.wav",
    "..": "%2E%2E",
    ".": "%2E",
    "sub/./x.wav": "sub/%2E/x.wav",
    "sub/../up.wav": "sub/%2E%2E/up.wav",
    "/etc/passwd": "%2F/etc/passwd",
    "//two.wav": "%2F/%2F/two.wav",
    "a//b.wav": "a/%2F/b.wav",
    "%2F/b.wav": "%252F/b.wav",
    "%2E%2E/outside.wav": "%252E%2E/outside.wav",
    "esc\x1b[31m.wav": "esc\x1b[31m.wav",
}
LONG = (
    "/".join("d" * 200 for _ in range(5)) + "/" + "l" * (1024 - len(PREFIX) - 5 * 201 - 4) + ".wav"
)  # 1,024 bytes in all
LONG_NAME = "n" * 240 + ".wav"  # with .json, and its provenance beside it, just what a file system takes
CONTENT = {"empty.wav": b"", "traversal.zip": _zip(), "traversal.tar": _tar()}


@pytest.fixture
def s3(s3: S3Server) -> Iterator[S3Server]:
    """Emptied by a plain listing: moto's listing of versions ends in 500 over all of these keys at once."""
    yield s3
    for key in s3.keys():  # noqa: SIM118 # no mapping
        s3.client.delete_object(Bucket=s3.bucket, Key=key)


def content(name: str) -> bytes:
    return CONTENT.get(name, name.encode())


def put(server: S3Server, names: Sequence[str]) -> None:
    for name in names:
        server.put(PREFIX + name, content(name))


def by_event(server: S3Server, names: Sequence[str], folder: Path) -> dict[str, str]:
    records = [
        {
            "eventName": "ObjectCreated:Put",
            "s3": {"bucket": {"name": server.bucket}, "object": {"key": quote_plus(PREFIX + n)}},
        }
        for n in names
    ]
    return {"JOB_EVENT": json.dumps({"Records": records}), "JOB_INPUT_ROOT": f"s3://{server.bucket}/{PREFIX}"}


def by_prefix(server: S3Server, names: Sequence[str], folder: Path) -> dict[str, str]:
    return {"JOB_INPUT": f"s3://{server.bucket}/{PREFIX}"}


def by_manifest(server: S3Server, names: Sequence[str], folder: Path) -> dict[str, str]:
    manifest = folder / "manifest.jsonl"
    manifest.write_text("".join(json.dumps({"input": f"s3://{server.bucket}/{PREFIX}{n}"}) + "\n" for n in names))
    return {"JOB_MANIFEST": str(manifest), "JOB_INPUT_ROOT": f"s3://{server.bucket}/{PREFIX}"}


Way = Callable[[S3Server, Sequence[str], Path], dict[str, str]]
WAYS = [by_event, by_prefix, by_manifest]
every_way = pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)


def is_about(answer: Mapping[str, object], name: str) -> bool:
    return (answer["size"], answer["sha256"]) == (len(content(name)), hashlib.sha256(content(name)).hexdigest())


def told_in_print(ended: Ended) -> None:
    """Nothing in the logs drives a terminal, or is taken for another line."""
    for line in [*ended.stdout.splitlines(), *ended.stderr.splitlines()]:
        assert line.isprintable()
    assert all(isinstance(event, dict) for event in ended.events)


def files_below(folder: Path) -> set[str]:
    """But those that Python and the image's own programs leave at home."""
    found = {path.relative_to(folder) for path in folder.rglob("*") if path.is_file()}
    return {str(path) for path in found if path.parts[0] not in ("site", ".cache")}


@every_way
def test_each_key_has_its_result_in_s3(plain: Supervisor, s3: S3Server, tmp_path: Path, way: Way) -> None:
    names = [*NAMES, *PATHS, LONG_NAME]
    put(s3, names)
    ended = plain("run", **way(s3, names, tmp_path), JOB_OUTPUT=f"s3://{s3.bucket}/out/", AWS_BATCH_JOB_ID="1",
                  **s3.variables)  # fmt: skip
    assert ended.code == 0, ended.stderr
    told_in_print(ended)
    stored = s3.keys()
    assert {key for key in stored if not key.startswith((PREFIX, "out/_status/"))} == {
        f"out/{name}.json" for name in names
    }
    assert [name for name in names if not is_about(s3.json(f"out/{name}.json"), name)] == []


@every_way
def test_each_key_has_its_result_below_the_local_folder(
    plain: Supervisor, s3: S3Server, tmp_path: Path, way: Way
) -> None:
    names = [*NAMES, *PATHS, LONG, LONG_NAME]
    put(s3, names)
    output = tmp_path / "deep" / "below" / "out"
    sources = way(s3, names, tmp_path)
    before = files_below(tmp_path)
    ended = plain("run", **sources, JOB_OUTPUT=str(output), JOB_STATUS=str(output / "status.json"), **s3.variables)
    assert ended.code == 0, ended.stderr
    told_in_print(ended)
    places = {name: PATHS.get(name, name) + ".json" for name in names}
    assert [n for n, place in places.items() if not is_about(json.loads((output / place).read_text()), n)] == []
    written = files_below(tmp_path) - before
    assert {path for path in written if not path.startswith("deep/below/out/")} == set()
    assert not any(Path(path).exists() for path in ("/tmp/" + OUTSIDE, "/etc/passwd.json", "/outside.wav.json"))


@every_way
def test_a_real_server_keeps_them_apart_too(plain: Supervisor, seaweedfs: S3Server, tmp_path: Path, way: Way) -> None:
    names = [*NAMES, *LINES]
    put(seaweedfs, names)
    ended = plain("run", **way(seaweedfs, names, tmp_path), JOB_OUTPUT=f"s3://{seaweedfs.bucket}/out/",
                  AWS_BATCH_JOB_ID="1", **seaweedfs.variables)  # fmt: skip
    assert ended.code == 0, ended.stderr
    told_in_print(ended)
    assert [name for name in names if not is_about(seaweedfs.json(f"out/{name}.json"), name)] == []


@pytest.mark.parametrize(
    "name",
    ["../outside.wav", "/etc/passwd", "~root/x.wav", "-rf", LONG, "empty.wav"],
    ids=["climbing", "absolute", "home", "option", "long", "empty"],
)
def test_one_input_of_that_name_has_its_result_in_the_folder(
    name: str, plain: Supervisor, s3: S3Server, tmp_path: Path
) -> None:
    put(s3, [name])
    before = files_below(tmp_path)
    ended = plain("run", "--input", f"s3://{s3.bucket}/{PREFIX}{name}", "--output", str(tmp_path / "out"),
                  JOB_STATUS=str(tmp_path / "status.json"), **s3.variables)  # fmt: skip
    assert ended.code == 0, ended.stderr
    told_in_print(ended)
    result = name.rpartition("/")[2] + ".json"
    assert files_below(tmp_path) - before - {"status.json"} == {f"out/{result}", f"out/.{result}.provenance"}
    assert is_about(json.loads((tmp_path / "out" / result).read_text()), name)


@every_way
def test_a_line_break_in_a_key_is_one_in_the_name_of_its_result(
    plain: Supervisor, seaweedfs: S3Server, tmp_path: Path, way: Way
) -> None:
    put(seaweedfs, LINES)
    output = tmp_path / "out"
    ended = plain("run", **way(seaweedfs, LINES, tmp_path), JOB_OUTPUT=str(output), **seaweedfs.variables)
    assert ended.code == 0, ended.stderr
    told_in_print(ended)
    assert [name for name in LINES if not is_about(json.loads((output / f"{name}.json").read_text()), name)] == []


@pytest.mark.parametrize("way", [by_event, by_prefix], ids=lambda way: way.__name__)
def test_folders_placeholders_are_counted_and_left_out(
    plain: Supervisor, s3: S3Server, tmp_path: Path, way: Way
) -> None:
    names = ["folder/", "folder/../", "x.wav"]
    put(s3, ["x.wav"])
    for name in names[:2]:
        s3.put(PREFIX + name, b"")
    ended = plain("run", **way(s3, names, tmp_path), JOB_OUTPUT=str(tmp_path / "out"), **s3.variables)
    assert ended.code == 0, ended.stderr
    assert (ended.status["counts"]["done"], ended.status["counts"]["placeholders"]) == (1, 2)


@pytest.mark.parametrize("names", [["a/x.wav", "b/x.wav"], ["a b.wav", "sub/a b.wav"]], ids=["folders", "blank"])
def test_inputs_that_would_share_a_result_are_refused_by_name(
    names: Sequence[str], plain: Supervisor, s3: S3Server, tmp_path: Path
) -> None:
    put(s3, names)
    event = by_event(s3, names, tmp_path)["JOB_EVENT"]
    ended = plain("run", JOB_EVENT=event, JOB_OUTPUT=str(tmp_path / "out"), **s3.variables)
    assert ended.code == 64
    assert all(name in ended.stderr for name in names)
    assert not [path for path in files_below(tmp_path / "out") if not path.startswith("_status/")]
