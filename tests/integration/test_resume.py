"""What stands is left alone, whatever kind of file it is; what a job has written is no input of any."""

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus

import pytest

from benchmarks.listing_server import ListingServer, MadeUp, Stored, of_bytes
from tests.conftest import CREDENTIALS, Ended, S3Server, Supervisor
from tests.integration.odd_modules import bare, module
from tests.modules.install import install

# Answers with a file of the kind that `label` names, a zip unless told; JSON where that is what it names.
FILES = """
import tempfile, time
def predict(**kwargs):
    kind = kwargs["label"].replace("speech", "zip")
    with open(kwargs["files"].filename, "rb") as upload:
        content = upload.read()
    if content.startswith(b"wait for "):
        open(content[9:].decode() + ".begun", "w").close()
        while not os.path.exists(content[9:].decode()):
            time.sleep(0.02)
    if kind == "json":
        return {"size": len(content), "top": kwargs["top"]}
    answer = open(os.path.join(tempfile.mkdtemp(), "answer." + kind), "w+b")
    answer.write(b"\\0%d bytes, top %d" % (len(content), kwargs["top"]))  # a text would be none of these files
    answer.flush()
    return answer
"""


@pytest.fixture
def files(tmp_path: Path) -> Supervisor:
    """An image whose module answers with files."""
    module(tmp_path, "files", FILES)
    return bare(tmp_path)


def counts(ended: Ended) -> tuple[int, int, int]:
    """(done, skipped, total)"""
    assert ended.code == 0, ended.stderr
    told = ended.status["counts"]
    return told["done"], told["skipped"], told["total"]


def args(kind: str, **more: Any) -> dict[str, str]:
    return {"JOB_PREDICT_ARGS": json.dumps({"label": kind, **more})}


def job(server: S3Server, **variables: str) -> dict[str, str]:
    return {"JOB_INPUT": f"s3://{server.bucket}/in/", "JOB_OUTPUT": f"s3://{server.bucket}/out/", **server.variables,
            **variables}  # fmt: skip


def below(server: S3Server, prefix: str) -> list[str]:
    keys = server.keys()
    return [key.removeprefix(prefix) for key in keys if key.startswith(prefix) and "/_status/" not in key]


# every extension


@pytest.mark.parametrize("kind", ["zip", "tiff", "tif", "jpeg", "csv", "mp4", "gz", "unknown", "json"])
def test_a_result_of_any_kind_is_up_to_date(kind: str, files: Supervisor, s3: S3Server, tmp_path: Path) -> None:
    s3.put("in/a.wav")
    s3.put("in/b.wav")
    for output in (f"s3://{s3.bucket}/out/", f"{tmp_path}/out/", f"file://{tmp_path}/o%20ut/"):
        variables = job(s3, JOB_OUTPUT=output, **args(kind))
        assert counts(files("run", **variables)) == (2, 0, 2)
        again = files("run", **variables)
        assert counts(again) == (0, 2, 2)
        assert counts(files("run", **variables | args(kind, top=7))) == (2, 0, 2)
        assert {item["result"] for item in again.status["items"]} == {
            output + name for name in (below(s3, "out/") if output.startswith("s3") else files_in(tmp_path, output))
        }


def files_in(folder: Path, output: str) -> list[str]:
    there = folder / ("out" if output.endswith("/out/") else "o ut")
    return [path.name for path in there.glob("[!._]*")]


def test_a_result_whose_place_a_line_names_is_up_to_date(files: Supervisor, s3: S3Server, tmp_path: Path) -> None:
    manifest = tmp_path / "list.jsonl"
    lines = [{"input": s3.put("a.wav"), "output": "x/y"}, {"input": s3.put("b.wav"), "output": "z/"}]
    manifest.write_text("\n".join(map(json.dumps, lines)))
    variables = {"JOB_MANIFEST": str(manifest), "JOB_OUTPUT": f"s3://{s3.bucket}/out/", **s3.variables}
    assert counts(files("run", **variables)) == (2, 0, 2)
    assert counts(files("run", **variables)) == (0, 2, 2)
    assert below(s3, "out/") == ["x/y", "z/b.wav.zip"]


def test_many_results_of_other_kinds_take_no_question_each(files: Supervisor, s3: S3Server) -> None:
    for number in range(60):
        s3.put(f"in/{number:02}.wav")
    assert counts(files("run", **job(s3, AWS_BATCH_JOB_ID="first"))) == (60, 0, 60)
    again = files("run", **job(s3, AWS_BATCH_JOB_ID="second"))
    assert counts(again) == (0, 60, 60)
    items = [json.loads(line) for line in s3.get("out/_status/second.items.jsonl").splitlines()]
    first = [json.loads(line) for line in s3.get("out/_status/first.items.jsonl").splitlines()]
    assert [item["voucher"] for item in items] == [item["voucher"] for item in first]


# never


@pytest.mark.parametrize("place", ["s3", "local"])
def test_never_leaves_a_result_of_any_kind(place: str, files: Supervisor, s3: S3Server, tmp_path: Path) -> None:
    s3.put("in/a.wav")
    output = f"s3://{s3.bucket}/out/" if place == "s3" else f"{tmp_path}/out/"
    assert counts(files("run", **job(s3, JOB_OUTPUT=output))) == (1, 0, 1)
    later = files("run", **job(s3, JOB_OUTPUT=output, JOB_OVERWRITE="never", **args("zip", top=9)))
    assert counts(later) == (0, 1, 1)
    kept = s3.get("out/a.wav.zip") if place == "s3" else (tmp_path / "out" / "a.wav.zip").read_bytes()
    assert b"top 3" in kept


@pytest.mark.parametrize("place", ["s3", "local"])
def test_never_overwrites_nothing_that_comes_while_the_model_predicts(
    place: str, files: Supervisor, seaweedfs: S3Server, tmp_path: Path
) -> None:
    seaweedfs.put("in/a.wav", f"wait for {tmp_path}/go".encode())
    output = f"s3://{seaweedfs.bucket}/out/" if place == "s3" else f"{tmp_path}/out/"
    with files.start("run", **job(seaweedfs, JOB_OUTPUT=output, JOB_OVERWRITE="never", JOB_STATUS=f"{tmp_path}/s.json",
                                  JOB_RESULTS_TABLE=f"{tmp_path}/table", **args("json"))) as process:  # fmt: skip
        await_file(tmp_path / "go.begun", process)
        if place == "s3":
            seaweedfs.put("out/a.wav.json", b'"theirs"')
        else:
            (tmp_path / "out").mkdir(exist_ok=True)
            (tmp_path / "out" / "a.wav.json").write_text('"theirs"')
        (tmp_path / "go").touch()
        stdout, stderr = process.communicate(timeout=60)
    ended = Ended(code=process.returncode, stdout=stdout, stderr=stderr)
    assert counts(ended) == (0, 1, 1)
    assert ended.status["items"][0]["result"] == f"{output}a.wav.json"
    there = seaweedfs.get("out/a.wav.json") if place == "s3" else (tmp_path / "out" / "a.wav.json").read_bytes()
    assert there == b'"theirs"'
    (row,) = (json.loads(line) for line in next((tmp_path / "table").glob("*.jsonl")).read_text().splitlines())
    assert row["answer"] == "theirs"


def await_file(path: Path, process: "subprocess.Popen[str]") -> None:
    from tests.integration.odd_modules import await_file as wait

    wait(path, process)


# this module, in this image


def test_two_modules_in_one_image_are_two_models(tmp_path: Path, s3: S3Server) -> None:
    install(("plain", "no_metadata"), tmp_path / "site")
    image = bare(tmp_path)
    s3.put("in/a.wav")
    variables = job(s3, SUPERVISOR_IMAGE="r/two@sha256:1")
    told = {
        name: [counts(image("run", **variables, DEEPAAS_V2_MODEL=name)) for _ in range(2)]
        for name in ("plain", "no_metadata")
    }
    assert told == {"plain": [(1, 0, 1), (0, 1, 1)], "no_metadata": [(1, 0, 1), (0, 1, 1)]}


def test_an_image_that_no_digest_pins_is_known_by_its_module_too(tmp_path: Path, s3: S3Server) -> None:
    s3.put("in/a.wav")
    install("plain", tmp_path / "site")
    variables = job(s3, SUPERVISOR_BASE="deephdc/plain:latest")
    assert counts(bare(tmp_path)("run", **variables)) == (1, 0, 1)
    assert counts(bare(tmp_path)("run", **variables)) == (0, 1, 1)
    metadata = tmp_path / "site" / "plain-1.0.dist-info" / "METADATA"
    metadata.write_text(metadata.read_text().replace("Version: 1.0", "Version: 1.1"))
    assert counts(bare(tmp_path)("run", **variables)) == (1, 0, 1)


def test_files_of_one_name_size_and_date_are_two_inputs(plain: Supervisor, tmp_path: Path) -> None:
    import os

    for name in ("one", "two"):
        path = tmp_path / name / "a.wav"
        path.parent.mkdir()
        path.write_text(name)
        os.utime(path, (1_000_000_000, 1_000_000_000))
    told = [
        plain("run", "--input", f"{tmp_path}/{name}/a.wav", "--output", f"{tmp_path}/out") for name in ("one", "two")
    ]
    assert [counts(ended) for ended in told] == [(1, 0, 1), (1, 0, 1)]
    again = plain("run", "--input", f"file://{tmp_path}/./two/a.wav", "--output", f"{tmp_path}/out")
    assert counts(again) == (0, 1, 1)


# always


@pytest.mark.parametrize("place", ["s3", "local"])
def test_always_keeps_what_an_earlier_attempt_of_this_job_has_done(
    place: str, files: Supervisor, s3: S3Server, tmp_path: Path
) -> None:
    for number in range(5):
        s3.put(f"in/{number}.wav")
    output = f"s3://{s3.bucket}/out/" if place == "s3" else f"{tmp_path}/out/"
    before = job(s3, JOB_OUTPUT=output, AWS_BATCH_JOB_ID="before")
    assert counts(files("run", **before)) == (5, 0, 5)
    always = before | {"JOB_OVERWRITE": "always", "AWS_BATCH_JOB_ID": "now"}
    some = {"JOB_INCLUDE": "[012].wav", "AWS_BATCH_JOB_ATTEMPT": "1"}
    assert counts(files("run", **always, **some)) == (3, 0, 3)
    s3.put("in/1.wav", b"changed")
    assert counts(files("run", **always, AWS_BATCH_JOB_ATTEMPT="2")) == (3, 2, 5)
    assert counts(files("run", **always, AWS_BATCH_JOB_ATTEMPT="3")) == (0, 5, 5)
    assert counts(files("run", **always | {"AWS_BATCH_JOB_ID": "next", "AWS_BATCH_JOB_ATTEMPT": "2"})) == (5, 0, 5)


def test_always_knows_what_many_items_have_by_this_jobs_own_list(files: Supervisor, s3: S3Server) -> None:
    for number in range(40):
        s3.put(f"in/{number:02}.wav")
    always = job(s3, JOB_OVERWRITE="always", AWS_BATCH_JOB_ID="now")
    assert counts(files("run", **always | {"AWS_BATCH_JOB_ID": "before"})) == (40, 0, 40)
    assert counts(files("run", **always, JOB_INCLUDE="[012]?.wav", AWS_BATCH_JOB_ATTEMPT="1")) == (30, 0, 30)
    assert counts(files("run", **always, AWS_BATCH_JOB_ATTEMPT="2")) == (10, 30, 40)


# results are no inputs


@pytest.mark.parametrize("place", ["s3", "local"])
def test_results_of_another_output_below_the_prefix_are_no_inputs(
    place: str, files: Supervisor, s3: S3Server, tmp_path: Path
) -> None:
    top = f"s3://{s3.bucket}/in/" if place == "s3" else f"{tmp_path}/in/"
    for name in ("a.wav", "b/c.wav"):
        if place == "s3":
            s3.put(f"in/{name}")
        else:
            (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "in" / name).write_text(name)
    for output in ("one", "two"):
        ended = files("run", JOB_INPUT=top, JOB_OUTPUT=f"{top}{output}/", **s3.variables, **args("json"))
        assert counts(ended) == (2, 0, 2)
    assert ended.status["counts"]["written_by_jobs"] == 2
    assert "no input" in "".join(ended.status["warnings"])


@pytest.mark.parametrize("place", ["s3", "local"])
def test_results_that_a_manifest_put_among_the_inputs_are_no_inputs(
    place: str, files: Supervisor, s3: S3Server, tmp_path: Path
) -> None:
    top = f"s3://{s3.bucket}/in/" if place == "s3" else f"{tmp_path}/in/"
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.wav").write_text("a")
    s3.put("in/a.wav")
    (tmp_path / "list").write_text(json.dumps({"input": f"{top}a.wav", "output": f"{top}results/a"}))
    assert counts(files("run", JOB_MANIFEST=f"{tmp_path}/list", JOB_OUTPUT=f"{tmp_path}/o", **s3.variables)) == (
        1,
        0,
        1,
    )
    assert counts(files("run", JOB_INPUT=top, JOB_OUTPUT=f"{tmp_path}/o2", **s3.variables)) == (1, 0, 1)


def test_results_are_the_inputs_of_the_next_model_where_they_are_named(plain: Supervisor, s3: S3Server) -> None:
    s3.put("in/a.wav")
    assert counts(plain("run", **job(s3))) == (1, 0, 1)
    following = job(s3, JOB_INPUT=f"s3://{s3.bucket}/out/", JOB_OUTPUT=f"s3://{s3.bucket}/out2/")
    assert counts(plain("run", **following)) == (1, 0, 1)
    assert below(s3, "out2/") == ["a.wav.json.json"]


def test_a_result_that_an_event_names_is_no_input_of_the_model_that_made_it(plain: Supervisor, s3: S3Server) -> None:
    """Else each result would start a job whose result starts another."""
    s3.put("in/a.wav")
    here = {"JOB_OUTPUT": f"s3://{s3.bucket}/in/", **s3.variables}
    records = [{"s3": {"bucket": {"name": s3.bucket}, "object": {"key": quote_plus(key)}}} for key in
               ("in/a.wav", "in/a.wav.json")]  # fmt: skip
    events = [json.dumps({"Records": [record]}) for record in records]
    assert counts(plain("run", JOB_EVENT=events[0], **here)) == (1, 0, 1)
    assert counts(plain("run", JOB_EVENT=events[1], **here)) == (0, 0, 0)
    assert counts(plain("run", JOB_EVENT=events[1], SUPERVISOR_IMAGE="another@sha256:1", **here)) == (1, 0, 1)


def test_status_documents_of_other_jobs_are_no_inputs_wherever_they_lie(plain: Supervisor, s3: S3Server) -> None:
    s3.put("in/a.wav")
    s3.put("in/b.wav")
    for name in ("one", "two"):
        ended = plain("run", **job(s3, JOB_STATUS=f"s3://{s3.bucket}/in/{name}.json",
                                   JOB_RESULTS_TABLE=f"s3://{s3.bucket}/in/table-{name}"))  # fmt: skip
    assert counts(ended) == (0, 2, 2)


@pytest.mark.parametrize("server", ["s3", "seaweedfs"])
def test_files_beside_their_inputs_are_no_inputs(
    server: str, files: Supervisor, request: pytest.FixtureRequest
) -> None:
    where: S3Server = request.getfixturevalue(server)
    names = ["a.wav", "a.wav-2", "a/b.wav", "a-b.wav", "c", "c.wav"]
    for name in names:
        where.put(f"in/{name}", name.encode())
    beside = job(where, JOB_OUTPUT=f"s3://{where.bucket}/in/")
    assert counts(files("run", **beside)) == (6, 0, 6)
    for _ in range(2):
        assert counts(files("run", **beside)) == (0, 6, 6)
    assert sorted(below(where, "in/")) == sorted([*names, *(f"{name}.zip" for name in names)])


def test_a_result_takes_the_place_of_no_input(files: Supervisor, s3: S3Server) -> None:
    s3.put("in/a", b"one")
    s3.put("in/a.mp3", b"precious")
    ended = files("run", **job(s3, JOB_OUTPUT=f"s3://{s3.bucket}/in/", JOB_MAX_FAILURES="1", **args("mp3")))
    told = {item["input"].rpartition("/")[2]: item for item in ended.status["items"]}
    assert [told[name]["state"] for name in ("a", "a.mp3")] == ["failed", "done"]
    assert "which no job has written" in told["a"]["error"]["message"]
    assert s3.get("in/a.mp3") == b"precious"


@pytest.mark.parametrize("how", ["a list", "a list that puts it there", "an event", "one input"])
def test_a_result_takes_the_place_of_no_input_however_inputs_are_named(
    how: str, files: Supervisor, s3: S3Server, tmp_path: Path
) -> None:
    inputs = {name: s3.put(f"in/{name}", name.encode()) for name in ("a", "a.mp3")}
    lines = [{"input": uri} for uri in inputs.values()]
    if how == "a list that puts it there":
        lines[0], lines[1] = {"input": s3.put("elsewhere/a", b"a")}, {**lines[1], "output": "sub/"}
    (tmp_path / "list").write_text("\n".join(map(json.dumps, lines)))
    records = [{"s3": {"bucket": {"name": s3.bucket}, "object": {"key": f"in/{name}"}}} for name in inputs]
    named = {
        "an event": {"JOB_EVENT": json.dumps({"Records": records})},
        "one input": {"JOB_INPUT": inputs["a"]},
    }.get(how, {"JOB_MANIFEST": f"{tmp_path}/list"})
    variables = {"JOB_OUTPUT": f"s3://{s3.bucket}/in/", **s3.variables, **args("mp3"), **named}
    ended = files("run", **variables, JOB_MAX_FAILURES="1")
    assert ended.status["items"][0]["state"] == "failed"
    assert "which no job has written" in ended.status["items"][0]["error"]["message"]
    assert s3.get("in/a.mp3") == b"a.mp3"


@pytest.mark.parametrize("overwrite", ["changed", "always"])
def test_a_result_among_inputs_that_a_job_has_written_is_made_anew(
    overwrite: str, files: Supervisor, s3: S3Server
) -> None:
    variables = {"JOB_INPUT": s3.put("in/a"), "JOB_OUTPUT": f"s3://{s3.bucket}/in/", **s3.variables}
    assert counts(files("run", **variables, **args("mp3"))) == (1, 0, 1)
    assert counts(files("run", **variables, JOB_OVERWRITE=overwrite, **args("mp3", top=7))) == (1, 0, 1)
    assert b"top 7" in s3.get("in/a.mp3")


def test_a_place_in_another_spelling_is_the_same_place(files: Supervisor, s3: S3Server, tmp_path: Path) -> None:
    s3.put("in/a.wav")
    spelled = job(s3, JOB_INPUT=f"S3://{s3.bucket}/in/", JOB_OUTPUT=f"S3://{s3.bucket}/in/out/")
    assert counts(files("run", **spelled)) == (1, 0, 1)
    assert counts(files("run", **spelled)) == (0, 1, 1)
    assert counts(files("run", **job(s3, JOB_OUTPUT=f"s3://{s3.bucket}/in/out/"))) == (0, 1, 1)
    assert counts(files("run", **job(s3, JOB_OUTPUT=f"S3://{s3.bucket}/in/"))) == (1, 0, 1)
    assert counts(files("run", **job(s3, JOB_OUTPUT=f"s3://{s3.bucket}/in/"))) == (0, 1, 1)
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.wav").write_bytes(b"a")
    (tmp_path / "link").symlink_to(tmp_path / "in")
    for top, out in (("in", "in/out"), ("link", "in/out"), ("in", "link/out"), ("link", "link/./out")):
        local = {"JOB_INPUT": f"FILE://localhost{tmp_path}/{top}/", "JOB_OUTPUT": f"{tmp_path}/{out}/"}
        assert counts(files("run", **local))[2] == 1


# servers that list in another order


@contextmanager
def unordered(keys: dict[str, bytes]) -> Iterator[tuple[ListingServer, dict[str, str]]]:
    """A server that lists its keys backwards, as S3 Express does in any order; and what a job needs to reach it."""

    class Backwards(ListingServer):
        def page(self, prefix: str, after: str) -> list[tuple[str, Stored]]:
            return sorted(super().page(prefix, after), reverse=True)

    with Backwards([MadeUp(count=0, key=str, stored=lambda _: of_bytes(b""))]) as server:
        for key, body in keys.items():
            server.put(key, of_bytes(body))
        yield server, {**CREDENTIALS, "AWS_ENDPOINT_URL": server.endpoint}


@pytest.mark.parametrize("kind", ["json", "zip"])
@pytest.mark.parametrize("output", ["in/", "in/out/", "out/"])
def test_results_are_no_inputs_whatever_order_a_server_lists_in(kind: str, output: str, files: Supervisor) -> None:
    keys = {f"in/{number:02}.wav": b"%d" % number for number in range(30)}
    with unordered(keys) as (server, variables):
        run = {"JOB_INPUT": "s3://bucket/in/", "JOB_OUTPUT": f"s3://bucket/{output}", **variables, **args(kind)}
        assert counts(files("run", **run)) == (30, 0, 30)
        assert counts(files("run", **run)) == (0, 30, 30)
        assert counts(files("run", **run)) == (0, 30, 30)
        assert len([key for key, _ in server.page("", "") if "_status" not in key]) == 60
