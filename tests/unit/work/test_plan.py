"""Which inputs a job has, and where their results go."""

import json
import os
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from supervisor import job as job_module
from supervisor import storage
from supervisor.failures import BadUsage, InputMissing
from supervisor.job import JobSpec
from supervisor.machine.scheduler import Identity, Slice
from supervisor.storage import Object
from supervisor.storage.uri import local_path
from supervisor.work.plan import plan_work

OUT = "s3://results/out/"


def job(
    *,
    input: str | None = None,
    event: str | None = None,
    manifest: str | None = None,
    output: str = OUT,
    root: str | None = None,
    status: str | None = None,
    **more: Any,
) -> JobSpec:
    return JobSpec(
        input=input,
        event=event,
        manifest=manifest,
        output=output,
        input_root=root,
        status=status,
        identity=Identity(id="1"),
        **more,
    )


def event(*keys: str, bucket: str = "recordings") -> str:
    """An S3 notification of these keys."""
    return notification(*({"key": quote_plus(key)} for key in keys), bucket=bucket)


def notification(*objects: dict[str, Any], bucket: str = "recordings") -> str:
    return json.dumps({"Records": [{"s3": {"bucket": {"name": bucket}, "object": each}} for each in objects]})


def results(spec: JobSpec) -> list[str]:
    return [item.result_uri() for item in plan_work(spec)]


def uris(spec: JobSpec) -> list[str]:
    return [item.uri for item in plan_work(spec)]


# names of results


@pytest.mark.parametrize(
    ("uri", "name"),
    [
        ("s3://recordings/a.wav", "a.wav.json"),
        ("s3://recordings/deep/er/a.wav", "a.wav.json"),
        ("s3://recordings/a b+c%20.wav", "a b+c%20.wav.json"),
        ("s3://recordings/no_extension", "no_extension.json"),
        ("s3://recordings/new\nline.wav", "new\nline.wav.json"),
        ("s3://recordings/🎙.wav", "🎙.wav.json"),
        ("https://example.org/x/a%20b.wav?X-Amz-Signature=hunter2", "a b.wav.json"),
        ("https://example.org/a.wav?path=x/", "a.wav.json"),
        ("file:///data/a%25b%20c.wav", "a%b c.wav.json"),
        ("/data/a%20b.wav", "a%20b.wav.json"),
        ("a.wav", "a.wav.json"),
    ],
)
def test_a_result_is_named_after_its_inputs_base_name(uri: str, name: str) -> None:
    assert results(job(input=uri)) == [OUT + name]


def test_names_that_differ_in_their_extension_alone_do_not_collide() -> None:
    assert results(job(event=event("x.wav", "x.mp3"))) == [OUT + "x.wav.json", OUT + "x.mp3.json"]


@pytest.mark.parametrize(
    ("uri", "root", "relative"),
    [
        ("s3://recordings/in/2024/a.wav", "s3://recordings/in/", "2024/a.wav"),
        ("s3://recordings/in/2024/a.wav", "s3://recordings/", "in/2024/a.wav"),
        ("s3://recordings/in/../a.wav", "s3://recordings/in/", "../a.wav"),
        ("/data/in/2024/a.wav", "/data/in/", "2024/a.wav"),
        ("/data/in/2024/a.wav", "file:///data/in/", "2024/a.wav"),
        ("file:///data/in/a%20b.wav", "/data/in/", "a b.wav"),
        ("/a.wav", "/", "a.wav"),
        ("https://example.org/in/x/a%20b.wav?sig=hunter2", "https://example.org/in/", "x/a b.wav"),
    ],
)
def test_a_result_keeps_the_path_below_the_input_root(uri: str, root: str, relative: str) -> None:
    assert results(job(input=uri, root=root)) == [f"{OUT}{relative}.json"]


@pytest.mark.parametrize(
    ("uri", "root"),
    [
        ("s3://recordings/other/a.wav", "s3://recordings/in/"),
        ("s3://recordings/in2/a.wav", "s3://recordings/in/"),
        ("s3://recordings/in/a.wav", "s3://others/in/"),
        ("s3://recordings/in/a.wav", "/in/"),
        ("/data/a.wav", "/data/a.wav/"),
        ("/data/a.wav", "file://elsewhere/data/"),
        ("/data/a.wav", "~nobody-of-that-name/"),
        ("https://example.org/a.wav?token=hunter2", "https://example.com/?token=hunter2/"),
        ("https://user:hunter2@[/a.wav", "https://example.com/"),
        ("https://user:hunter2@exa\u2100mple.org/a.wav", "https://example.com/"),
    ],
)
def test_an_input_that_is_not_below_the_input_root_is_refused(uri: str, root: str) -> None:
    with pytest.raises(BadUsage) as refused:
        plan_work(job(input=uri, root=root))
    assert "hunter2" not in refused.value.message


# refused before anything runs


def test_two_items_that_would_share_a_result_are_refused_by_name() -> None:
    with pytest.raises(BadUsage, match="would share the result") as refused:
        plan_work(job(event=event("in/1/a.wav", "in/2/a.wav")))
    assert refused.value.code == 64
    for told in ("s3://recordings/in/1/a.wav", "s3://recordings/in/2/a.wav", "a.wav.json"):
        assert told in refused.value.message
    assert "JOB_INPUT_ROOT" in refused.value.hint


def test_an_input_root_keeps_them_apart() -> None:
    assert len(results(job(event=event("in/1/a.wav", "in/2/a.wav"), root="s3://recordings/in/"))) == 2


@pytest.mark.parametrize(
    "keys",
    [("../a", "%2E%2E/a"), ("a//b", "a/%2F/b", "a/b", "a/%2Fb"), ("./a", "%2E/a", "%252E/a"), ("\0", "%00", "%2500")],
)
def test_keys_that_a_file_system_would_take_for_one_are_kept_apart(keys: tuple[str, ...]) -> None:
    names = results(job(event=event(*keys), root="s3://recordings/", output="/o/"))
    assert len({os.path.normpath(name) for name in names}) == len(keys)


@pytest.mark.parametrize("name", ["100%.wav", "a%20b.wav", "%2Fa.wav", "..a", "%2E%2Ea"])
def test_a_local_result_keeps_its_inputs_name_where_it_can(name: str) -> None:
    assert results(job(event=event(name), output="/o/")) == [f"/o/{name}.json"]


@pytest.mark.parametrize(
    ("status", "key"),
    [
        (None, "_status/1"),
        (OUT + "a.wav.json", "a.wav"),
        ("S3://results/out/a.wav.json", "a.wav"),
        (OUT + "a.wav.json", "a.wav.items"),
        (OUT + "a.wav.zip", "a.wav"),
        (OUT + "a.json", "a-3"),
        (OUT, "1"),
        (OUT, "1-12"),
    ],
)
def test_a_result_never_takes_the_place_of_a_status_document(status: str | None, key: str) -> None:
    with pytest.raises(BadUsage, match="the place of the status document"):
        plan_work(job(input=f"s3://recordings/{key}", root="s3://recordings/", status=status))


def test_a_result_never_takes_the_place_of_the_table_of_results() -> None:
    with pytest.raises(BadUsage, match="the place of the status document"):
        plan_work(job(input="s3://recordings/1-2.results", root="s3://recordings/", results_table=OUT))
    assert results(job(input="s3://recordings/2.results", results_table=OUT)) == [OUT + "2.results.json"]


def test_what_lies_below_a_web_address_cannot_be_listed() -> None:
    with pytest.raises(BadUsage, match="names no file") as refused:
        plan_work(job(input="https://example.org/in/?token=hunter2"))
    assert "hunter2" not in refused.value.message


@pytest.mark.parametrize("source", [{"input": "s3://recordings/a.wav"}, {"event": event("a.wav")}])
@pytest.mark.parametrize(
    ("globs", "name"), [({"include": ("*",)}, "JOB_INCLUDE"), ({"exclude": ("x",)}, "JOB_EXCLUDE")]
)
def test_globs_are_refused_where_there_is_no_prefix(source: dict[str, str], globs: dict[str, Any], name: str) -> None:
    with pytest.raises(BadUsage, match=name):
        plan_work(job(**source, **globs))


@pytest.mark.parametrize(
    "uri",
    ["s3://", "s3://x/", "s3://x", "s3://recordings", "s3:///a.wav", "file://elsewhere/in/", "s3://UPPER CASE/a", "ftp://user:hunter2@host/a.wav",
     "gs://bucket/a", "https://example.org", "https://[/a"],
)  # fmt: skip
def test_an_input_that_names_nothing_readable_is_refused(uri: str) -> None:
    with pytest.raises(BadUsage) as refused:
        plan_work(job(input=uri))
    assert "hunter2" not in refused.value.message


@pytest.mark.parametrize(
    "output", ["https://example.org/out/", "ftp://user:hunter2@host/", "s3:///out/", "s3://x/", "gs://bucket/out/"]
)
def test_an_output_that_cannot_be_written_to_is_refused_before_anything_runs(output: str) -> None:
    with pytest.raises(BadUsage, match="JOB_OUTPUT") as refused:
        plan_work(job(input="s3://recordings/a.wav", output=output))
    assert "hunter2" not in refused.value.message


# events


def test_placeholders_of_an_event_are_left_out_and_counted() -> None:
    plan = plan_work(job(event=event("in/", "in/a.wav")))
    assert (plan.total, plan.placeholders) == (1, 1)
    assert [item.uri for item in plan] == ["s3://recordings/in/a.wav"]


def test_items_are_numbered_in_the_events_order() -> None:
    plan = plan_work(job(event=event("b.wav", "in/", "a.wav")))
    assert [(item.index, item.relative) for item in plan] == [(0, "b.wav"), (1, "a.wav")]


def test_a_key_that_ends_in_a_slash_and_has_bytes_has_a_result() -> None:
    keys = notification({"key": "in/x.wav/", "size": 5}, {"key": "in/y/", "size": 0}, {"key": "/", "size": 1})
    plan = plan_work(job(event=keys))
    assert [(item.uri, item.result_uri(), item.file_name) for item in plan] == [
        ("s3://recordings/in/x.wav/", OUT + "x.wav/.json", "x.wav"),
        ("s3://recordings//", OUT + "/.json", "input"),
    ]
    assert (plan.total, plan.placeholders) == (2, 1)
    assert results(job(event=keys, root="s3://recordings/")) == [OUT + "in/x.wav/.json", OUT + "/.json"]


def test_of_two_versions_of_a_key_the_newest_is_taken_with_a_word() -> None:
    keys = notification({"key": "a", "versionId": "v2", "sequencer": "0B"}, {"key": "b"},
                        {"key": "a", "versionId": "v1", "sequencer": "0A"})  # fmt: skip
    plan = plan_work(job(event=keys))
    assert sorted((item.uri, item.version) for item in plan) == [
        ("s3://recordings/a", "v2"),
        ("s3://recordings/b", None),
    ]
    assert [item.index for item in plan] == [0, 1]
    (warning,) = plan.warnings
    assert "2 versions of s3://recordings/a" in warning


def test_an_object_of_an_event_that_is_where_anothers_result_goes_is_left_out_with_a_word() -> None:
    plan = plan_work(job(event=event("a.wav", "a.wav.json", "b.json"), output="s3://recordings/"))
    assert [item.uri for item in plan] == ["s3://recordings/a.wav", "s3://recordings/b.json"]
    assert "s3://recordings/a.wav.json is left out" in "".join(plan.warnings)


# what is shown


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("https://h/a.wav?X-Amz-Signature=hunter2", "https://h/a.wav?…"),
        ("https://user:hunter2@h:8443/a.wav", "https://h:8443/a.wav"),
        ("http://[::1]:80/a.wav#frag", "http://[::1]:80/a.wav"),
        ("s3://recordings/a?b", "s3://recordings/a?b"),
    ],
)
def test_an_input_is_shown_without_its_secrets(uri: str, shown: str) -> None:
    (item,) = plan_work(job(input=uri))
    assert item.shown == shown


# hostile names


@pytest.mark.parametrize(
    ("uri", "name"),
    [
        ("s3://recordings/x/..", "%2E%2E"),
        ("s3://recordings/.", "%2E"),
        ("https://h/a%2Fb%2F..%2Fc.wav", "a%2Fb%2F..%2Fc.wav"),
        ("https://h/a%00b.wav", "a%00b.wav"),
        ("s3://recordings/~root", "~root"),
    ],
)
def test_the_models_copy_has_a_name_that_stays_in_its_folder(uri: str, name: str) -> None:
    (item,) = plan_work(job(input=uri))
    assert item.file_name == name


def test_a_name_too_long_for_a_file_keeps_its_extension_and_tells_apart() -> None:
    first, second = plan_work(job(event=event("é" * 500 + "1.wav", "é" * 500 + "2.wav")))
    for item in (first, second):
        assert len(os.fsencode(item.file_name)) <= 255
        assert item.file_name.endswith(".wav")
    assert first.file_name != second.file_name


# S3's keys, with all that file systems and shells trip over.
KEYS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=40) | (
    st.lists(
        st.sampled_from(
            ["", ".", "..", "~", "~root", "a", "%2E%2E", "%", "+", " ", "\0", "\n", "🎙", "x" * 255, "file:", "s3:"]
        ),
        min_size=1,
        max_size=6,
    ).map("/".join).filter(len)
)  # fmt: skip


@settings(max_examples=500, deadline=None)
@given(KEYS, st.sampled_from(["/results/out/", "./", "out/", "~/out/", "file:///results/o%20ut/", "~/"]), st.booleans())
@example("~root/.ssh/x", "./", True)
@example("../../etc/passwd", "/results/out/", True)
@example("/etc/passwd", "/results/out/", True)
def test_no_key_leads_out_of_the_output_folder(key: str, output: str, rooted: bool) -> None:
    spec = job(event=event(key), output=output, root="s3://recordings/" if rooted else None)
    try:
        plan = plan_work(spec)
    except BadUsage:
        return
    folder = Path(os.path.normpath(local_path(output)))
    for item in plan:
        result = local_path(item.result_uri())
        assert result == Path(os.path.normpath(result))
        assert result.is_relative_to(folder)
        assert result != folder
        assert "\0" not in str(result)


@settings(max_examples=300, deadline=None)
@given(KEYS)
def test_any_base_name_fits_a_file_name(key: str) -> None:
    for item in plan_work(job(event=event("x" + key), root="s3://recordings/")):
        name = item.file_name
        assert "/" not in name
        assert "\0" not in name
        assert name not in ("", ".", "..")
        assert len(os.fsencode(name)) <= 255


@settings(max_examples=300, deadline=None)
@given(KEYS)
def test_an_s3_result_keeps_its_key_as_it_is(key: str) -> None:
    plan = plan_work(job(event=event(key), root="s3://recordings/"))
    assert [item.result_uri() for item in plan] == [] if key.endswith("/") else [f"{OUT}{key}.json"]


ADDRESSES = st.text(max_size=30) | st.sampled_from(["s3", "https", "file", "http", "ftp", ""]).flatmap(
    lambda scheme: st.binary(max_size=30).map(lambda raw: f"{scheme}://{os.fsdecode(raw)}")
)


@settings(max_examples=500, deadline=None)
@given(ADDRESSES, st.none() | ADDRESSES.map(lambda uri: uri + "/"), ADDRESSES.map(lambda uri: uri + "/"))
@example("https://user:pw@[::/x", None, "/o/")
@example("~nobody/x", "~nobody/", "/o/")
def test_any_address_is_an_item_or_bad_usage(uri: str, root: str | None, output: str) -> None:
    try:
        plan = plan_work(job(input=uri, root=root, output=output))
    except BadUsage:
        return
    if plan.total is None:
        assert uri.endswith("/")
        return
    (item,) = plan
    assert item.file_name
    assert item.result_uri().startswith(output)


def test_a_file_uri_for_results_is_encoded(tmp_path: Path) -> None:
    output = f"file://{quote(str(tmp_path))}/"
    (item,) = plan_work(job(event=event("100%.wav"), output=output))
    assert local_path(item.result_uri()) == tmp_path / "100%.wav.json"


@settings(max_examples=1000, deadline=None)
@given(KEYS, KEYS, st.sampled_from(["/results/out/", "file:///results/"]))
@example("a//b", "a/%2F/b", "/results/")
@example("%252F/a", "/a", "/results/")
def test_no_two_keys_share_a_local_result(one: str, other: str, output: str) -> None:
    try:
        places = [results(job(event=event(key), root="s3://recordings/", output=output)) for key in (one, other)]
    except BadUsage:
        return
    assert (places[0] == places[1]) == (one == other or places == [[], []])


# everything below a prefix


def write(folder: Path, *names: str, body: bytes = b"RIFF") -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(body)


def below(folder: Path, **more: Any) -> list[str]:
    """The results of a job on everything below a folder, each by its path below JOB_OUTPUT."""
    output = more.setdefault("output", "/o/")
    return [result.removeprefix(output) for result in results(job(input=f"{folder}/", **more))]


def test_a_prefix_is_everything_below_it_and_results_keep_its_paths(tmp_path: Path) -> None:
    write(tmp_path, "a.wav", "deep/er/b.wav")
    assert below(tmp_path) == ["a.wav.json", "deep/er/b.wav.json"]


def test_an_input_root_above_the_prefix_wins(tmp_path: Path) -> None:
    write(tmp_path, "in/a.wav")
    assert below(tmp_path / "in", root=f"{tmp_path}/") == ["in/a.wav.json"]


@pytest.mark.parametrize("root", ["in/deeper/", "elsewhere/"])
def test_a_prefix_that_is_not_below_the_input_root_is_refused_before_it_is_listed(root: str, tmp_path: Path) -> None:
    with pytest.raises(BadUsage, match="not below JOB_INPUT_ROOT"):
        plan_work(job(input=f"{tmp_path}/in/", root=f"{tmp_path}/{root}"))


def test_a_file_uri_names_a_prefix_too(tmp_path: Path) -> None:
    write(tmp_path, "a b%.wav")
    assert results(job(input=f"file://{quote(str(tmp_path))}/", output="/o/")) == ["/o/a b%.wav.json"]


def test_an_item_knows_what_the_listing_said(tmp_path: Path) -> None:
    write(tmp_path, "a.wav", body=b"12345")
    (item,) = plan_work(job(input=f"{tmp_path}/"))
    assert item.found is not None
    assert (item.found.uri, item.found.size) == (item.uri, 5)


def test_the_size_of_a_prefix_is_not_known_before_it_is_listed(tmp_path: Path) -> None:
    assert plan_work(job(input=f"{tmp_path}/")).total is None


@pytest.mark.parametrize("name", ["", "absent/"])
def test_a_prefix_with_nothing_below_it_is_missing(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputMissing):
        uris(job(input=f"{tmp_path}/{name}"))


def test_a_prefix_all_of_which_is_filtered_out_is_no_work(tmp_path: Path) -> None:
    write(tmp_path, "a.wav")
    assert below(tmp_path, include=("*.mp3",)) == []


@pytest.mark.parametrize(
    ("include", "exclude", "taken"),
    [
        (("*.wav",), (), ["a.wav", "day/b.wav", "day/old/c.wav"]),
        (("day/*.wav",), (), ["day/b.wav", "day/old/c.wav"]),
        (("**/*.wav",), (), ["a.wav", "day/b.wav", "day/old/c.wav"]),
        (("b.*", "*.mp3"), (), ["day/b.wav", "day/d.mp3"]),
        (("[ab].wav",), (), ["a.wav", "day/b.wav"]),
        ((), ("*.wav",), ["day/d.mp3"]),
        ((), ("*/old/*", "d.mp3"), ["a.wav", "day/b.wav"]),
        (("*.wav",), ("a.*",), ["day/b.wav", "day/old/c.wav"]),
        (("*.WAV",), (), []),
    ],
)
def test_globs_choose_by_path_and_by_base_name(
    include: tuple[str, ...], exclude: tuple[str, ...], taken: list[str], tmp_path: Path
) -> None:
    write(tmp_path, "a.wav", "day/b.wav", "day/d.mp3", "day/old/c.wav")
    assert below(tmp_path, include=include, exclude=exclude) == [f"{name}.json" for name in taken]


def test_what_jobs_have_written_below_the_prefix_is_no_input(tmp_path: Path) -> None:
    write(tmp_path, "a.wav", "_status/1.json", "out/a.wav.json", "out/_status/2.json", "tables/1.jsonl",
          "old/_status/3.json", "status.json", "status-7.json", "status.items.jsonl", ".b.wav.json.provenance",
          ".0123.partial")  # fmt: skip
    assert below(
        tmp_path,
        output=f"{tmp_path}/out/",
        status=f"{tmp_path}/status.json",
        results_table=f"{tmp_path}/tables/",
    ) == ["a.wav.json"]


def test_where_results_lie_beside_their_inputs_they_are_none(tmp_path: Path) -> None:
    inputs = ["x", "x-2.wav", "y/a.wav", "y/alone.json", "z.json.wav"]
    write(tmp_path, *inputs, "x-2.wav.json", "x.json", "x.json.json", "y/a.wav.json")
    assert below(tmp_path, output=f"{tmp_path}/") == [f"{name}.json" for name in inputs]


@pytest.mark.parametrize(
    ("accept", "suffix"),
    [("application/zip", ".zip"), ("image/tiff", ".tif"), ("image/tiff", ".tiff"), ("image/jpeg; q=1", ".jpeg")],
)
def test_results_of_the_kind_that_is_asked_for_are_none_either(accept: str, suffix: str, tmp_path: Path) -> None:
    write(tmp_path, "a.wav", f"a.wav{suffix}", f"a.wav{suffix}.json", "b.wav", "b.wav.json")
    assert below(tmp_path, output=f"{tmp_path}/", predict_args={"accept": accept}) == ["a.wav.json", "b.wav.json"]


def test_an_input_that_is_another_and_an_extension_is_no_result_for_that(tmp_path: Path) -> None:
    write(tmp_path, "x", "x.wav", "x.wav.png", "x.y/z.wav")
    for args in ({}, {"accept": "application/zip"}):
        items = list(plan_work(job(input=f"{tmp_path}/", output=f"{tmp_path}/", predict_args=args)))
        assert [item.relative for item in items] == ["x", "x.wav", "x.wav.png", "x.y/z.wav"]
        assert [item.doubtful for item in items] == [False, True, True, False]


def spellings(folder: Path) -> list[str]:
    """Ways to name a folder, each ending in a slash."""
    plain = str(folder)
    link = folder.parent / f"{folder.name}-link"
    if not link.is_symlink():
        link.symlink_to(folder)
    return [f"{plain}/", f"{folder.parent}//{folder.name}/", f"{folder.parent}/./{folder.name}/",
            f"{plain}/../{folder.name}/", f"file://{plain}/", f"FILE://{plain}/", f"file://localhost{plain}/",
            f"file://{quote(str(folder.parent))}/%{ord(folder.name[0]):02X}{folder.name[1:]}/", f"{link}/",
            f"file://{link}/"]  # fmt: skip


@pytest.mark.parametrize("way", range(10))
def test_what_jobs_have_written_is_known_in_every_spelling(way: int, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    write(folder, "a.wav", "a.wav.json", "out/a.wav.json", "tables/1.jsonl", "st/7.json", "status-2.json")
    name = spellings(folder)[way]
    known = {"status": f"{name}status.json", "results_table": f"{name}tables/"}
    for one, other in ((name, f"{folder}/"), (f"{folder}/", name)):
        assert len(results(read(JOB_INPUT=one, JOB_OUTPUT=f"{other}out/", **env(known)))) == 3
        beside = results(read(JOB_INPUT=one, JOB_OUTPUT=other, JOB_EXCLUDE="out/*", **env(known)))
        assert {Path(result).name for result in beside} == {"a.wav.json", "7.json.json"}


def env(members: dict[str, str]) -> dict[str, str]:
    return {f"JOB_{name.upper()}": value for name, value in members.items()}


def read(**variables: str) -> JobSpec:
    return job_module.read(variables, {})


@pytest.mark.parametrize("scheme", ["s3", "S3"])
def test_the_scheme_of_s3_is_known_in_capitals(scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = ["in/a.wav", "in/out/a.wav.json", "in/st/1.json"]
    listing = [Object(uri=f"s3://recordings/{key}", size=1) for key in keys]
    monkeypatch.setattr(storage, "of_input", lambda _: SimpleNamespace(list=lambda uri: iter(listing)))
    spec = read(JOB_INPUT=f"{scheme}://recordings/in/", JOB_OUTPUT="s3://recordings/in/out",
                JOB_STATUS=f"{scheme}://recordings/in/st/")  # fmt: skip
    assert results(spec) == ["s3://recordings/in/out/a.wav.json"]


def test_status_documents_of_other_jobs_in_a_folder_of_their_own_are_no_inputs(tmp_path: Path) -> None:
    write(tmp_path, "a.wav", "st/other.json", "st/other.items.jsonl")
    assert below(tmp_path, status=f"{tmp_path}/st/") == ["a.wav.json"]


def test_a_folder_of_status_documents_among_the_inputs_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadUsage, match="JOB_STATUS is JOB_INPUT's own prefix"):
        plan_work(job(input=f"{tmp_path}/", status=f"{tmp_path}/"))


def test_what_a_job_is_working_on_is_no_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    write(tmp_path, "a.wav", "tmp/b.wav", "tmp/supervisor-x1/0/a.wav", "tmp/supervisor-lists-y2/0.jsonl")
    assert below(tmp_path) == ["a.wav.json", "tmp/b.wav.json"]


def test_inputs_that_a_file_system_takes_for_one_by_their_results_are_refused(tmp_path: Path) -> None:
    """A link stands for a file system without case: a name and its twin are one."""
    (tmp_path / "out").mkdir()
    (tmp_path / "OUT").symlink_to("out")
    with pytest.raises(BadUsage, match="would share the result"):
        plan_work(job(event=event("a.wav", "A.wav"), output=f"{tmp_path}/out/"))
    write(tmp_path, "in/a.wav", "in/A.wav")
    with pytest.raises(BadUsage, match="differ in case alone"):
        below(tmp_path / "in", output=f"{tmp_path}/out/")
    assert len(below(tmp_path / "in")) == 2


def test_results_among_the_inputs_are_refused(tmp_path: Path) -> None:
    write(tmp_path, "in/in/a.wav")
    with pytest.raises(BadUsage, match="would lie among the inputs"):
        below(tmp_path / "in", output=f"{tmp_path}/")


def test_a_table_of_results_among_the_inputs_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadUsage, match="JOB_RESULTS_TABLE"):
        plan_work(job(input=f"{tmp_path}/", results_table=f"{tmp_path}/"))


@pytest.mark.parametrize("count", [1, 2, 3, 40])
def test_an_arrays_children_divide_a_prefix_whatever_comes_between(count: int, tmp_path: Path) -> None:
    write(tmp_path, *(f"{number}.wav" for number in range(20)))
    before = uris(job(input=f"{tmp_path}/"))
    taken: list[str] = []
    for index in range(count):
        taken += uris(job(input=f"{tmp_path}/", slice=Slice(index=index, count=count)))
        write(tmp_path, f"0-new-{index}.wav")
    assert [uri for uri in sorted(taken) if "-new-" not in uri] == sorted(before)


def test_a_child_left_without_an_item_has_no_work(tmp_path: Path) -> None:
    write(tmp_path, "a.wav")
    shares = [uris(job(input=f"{tmp_path}/", slice=Slice(index=index, count=2))) for index in range(2)]
    assert sorted(map(len, shares)) == [0, 1]
