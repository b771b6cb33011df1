"""Lists of inputs: what a line may say, and where its result goes."""

import gzip
import json
import tempfile
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from supervisor.failures import BadUsage, InputMissing
from supervisor.job import JobSpec
from supervisor.machine.scheduler import Identity, Slice
from supervisor.work import plan as plan_module
from supervisor.work.manifest import Manifest
from supervisor.work.plan import Item, Work, plan_work

OUT = "s3://results/out/"


@pytest.fixture
def listed(tmp_path: Path) -> Path:
    return tmp_path / "list"


def plan(listed: Path, content: str | bytes | list[Any], **more: Any) -> Work:
    """The work of a job whose manifest holds this: text as it is, a list as JSON Lines."""
    if isinstance(content, list):
        content = "\n".join(map(json.dumps, content))
    listed.write_bytes(content.encode() if isinstance(content, str) else content)
    more.setdefault("output", OUT)
    return plan_work(JobSpec(manifest=str(listed), identity=Identity(id="1"), **more))


def uris(items: Work) -> list[str]:
    return [item.uri for item in items]


def one(items: Work) -> Item:
    (item,) = items
    return item


# plain lines


@pytest.mark.parametrize(
    "content",
    [
        "s3://recs/a.wav\ns3://recs/c#1.wav\n",
        "s3://recs/a.wav\ns3://recs/c#1.wav",
        "s3://recs/a.wav\r\ns3://recs/c#1.wav\r\n",
        "\ufeffs3://recs/a.wav\ns3://recs/c#1.wav\n",
        "# recordings\n\ns3://recs/a.wav\n  \n\t# more\ns3://recs/c#1.wav\n\n",
        "  s3://recs/a.wav \n\ts3://recs/c#1.wav",
        '{"input": "s3://recs/a.wav"}\ns3://recs/c#1.wav\n',
    ],
)
def test_a_line_is_an_input(content: str, listed: Path) -> None:
    items = plan(listed, content)
    assert items.total == 2
    assert uris(items) == ["s3://recs/a.wav", "s3://recs/c#1.wav"]


def test_only_a_line_feed_ends_a_line(listed: Path) -> None:
    key = "s3://recs/a\u2028b\x0bc\x85d.wav"
    assert uris(plan(listed, key)) == [key]


def test_items_are_numbered_from_0_and_named_by_their_base_name(listed: Path) -> None:
    items = plan(listed, "s3://recs/x/a.wav\nhttps://h/y/b.wav?sig=1\n/z/c.wav\nd.wav\n")
    assert [(item.index, item.result_uri()) for item in items] == [
        (index, f"{OUT}{name}.wav.json") for index, name in enumerate("abcd")
    ]


def test_results_keep_the_path_below_the_input_root(listed: Path) -> None:
    assert one(plan(listed, "s3://recs/x/a.wav", input_root="s3://recs/")).result_uri() == f"{OUT}x/a.wav.json"


def test_gzip_is_known_by_its_first_bytes(listed: Path) -> None:
    assert uris(plan(listed, gzip.compress(b"s3://recs/a.wav\n", mtime=0) + gzip.compress(b"s3://recs/b.wav\n"))) == [
        "s3://recs/a.wav",
        "s3://recs/b.wav",
    ]


def test_nothing_of_the_manifest_is_left_on_the_disk(
    listed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    items = plan(listed, "s3://recs/a.wav\n")
    assert list(tmp_path.iterdir()) == [listed]
    assert uris(items) == ["s3://recs/a.wav"]


def test_a_manifest_that_changes_once_it_is_read_changes_nothing(listed: Path) -> None:
    items = plan(listed, "s3://recs/a.wav\n")
    listed.write_text("s3://recs/b.wav\n")
    assert uris(items) == ["s3://recs/a.wav"]


# JSON Lines


def test_arguments_of_a_line_go_over_the_jobs(listed: Path) -> None:
    lines = [{"input": "s3://recs/a.wav", "args": {"x": 2, "z": None}}, {"input": "s3://recs/b.wav"}]
    first, second = plan(listed, lines, predict_args={"x": 1, "y": 1})
    assert first.arguments == {"x": 2, "y": 1, "z": None}
    assert second.arguments is None


def test_files_of_a_line_are_inputs_of_one_item_named_after_the_first(listed: Path) -> None:
    item = one(plan(listed, [{"files": {"image": "s3://recs/a.png", "audio": "https://h/a.wav?sig=1"}}]))
    assert [(each.field, each.shown, each.file_name) for each in item.inputs] == [
        ("image", "s3://recs/a.png", "a.png"),
        ("audio", "https://h/a.wav?…", "a.wav"),
    ]
    assert (item.uri, item.fields, item.result_uri()) == ("s3://recs/a.png", ("image", "audio"), f"{OUT}a.png.json")


def test_an_input_beside_files_names_the_result_and_may_name_its_field(listed: Path) -> None:
    files = {"image": "s3://recs/a.png"}
    lines = [
        {"files": files, "input": "s3://recs/a.wav"},
        {"files": files, "field": "audio", "input": "s3://recs/b.wav"},
    ]
    first, second = plan(listed, lines)
    assert (first.fields, first.result_uri()) == ((None, "image"), f"{OUT}a.wav.json")
    assert (second.fields, second.result_uri()) == (("audio", "image"), f"{OUT}b.wav.json")


def test_two_lines_with_one_first_file_would_share_a_result(listed: Path) -> None:
    lines = [{"files": {"image": "s3://recs/a.png", "audio": f"s3://recs/{name}.wav"}} for name in "ab"]
    with pytest.raises(BadUsage, match=r"lines 1 and 2: .* would share the result") as refused:
        plan(listed, lines)
    assert '"output"' in refused.value.hint


@pytest.mark.parametrize(
    ("output", "result"),
    [
        ("x/y.json", OUT + "x/y.json"),
        ("x y%.json", OUT + "x y%.json"),
        ("x/", OUT + "x/a.wav.json"),
        ("s3://other/y", "s3://other/y"),
        ("s3://other/x/", "s3://other/x/a.wav.json"),
        ("s3://other/", "s3://other/a.wav.json"),
        ("/data/y.json", "/data/y.json"),
        ("/data/", "/data/a.wav.json"),
        ("file:///data/a%20b/", "file:///data/a%20b/a.wav.json"),
    ],
)
def test_a_line_says_where_its_result_goes(output: str, result: str, listed: Path) -> None:
    item = one(plan(listed, [{"input": "s3://recs/in/a.wav", "output": output}], input_root="s3://recs/"))
    assert item.result_uri() == result


def test_an_exact_place_is_kept_for_any_kind_of_answer_and_a_folder_is_not(listed: Path) -> None:
    lines = [{"input": "s3://recs/a.wav", "output": "x"}, {"input": "s3://recs/b.wav", "output": "y/"}]
    exact, folder = plan(listed, lines)
    assert exact.result_uri(".zip") == OUT + "x"
    assert folder.result_uri(".zip") == OUT + "y/b.wav.zip"


@pytest.mark.parametrize(
    ("output", "result"), [("x%/y.json", "file:///o%20ut/x%25/y.json"), ("y/", "file:///o%20ut/y/100%25.wav.json")]
)
def test_a_place_below_a_file_uri_is_encoded(output: str, result: str, listed: Path) -> None:
    lines = [{"input": "s3://recs/100%.wav", "output": output}]
    assert one(plan(listed, lines, output="file:///o%20ut/")).result_uri() == result


# bad lines


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ('{"input": "s3://recs/b.wav"', "not JSON"),
        ('{"input": "s3://recs/b.wav"} {"input": "s3://recs/c.wav"}', "more after the object"),
        ('{"input": "s3://recs/b.wav", "args": {"x": NaN}}', "NaN is not JSON"),
        ("{" * 5000, "not JSON"),
        ('{"inptu": "s3://recs/b.wav"}', "did you mean input?"),
        ('{"input": "s3://recs/b.wav", "outptu": "x"}', "did you mean output?"),
        ('{"output": "x"}', '"input" is null'),
        ('{"input": 3}', '"input" is 3'),
        ('{"input": " "}', '"input" is " "'),
        ('{"input": "s3://recs/\\u0000"}', '"input" is'),
        ('{"input": "s3://recs/b.wav", "output": null}', '"output" is null'),
        ('{"input": "s3://recs/b.wav", "output": ""}', '"output" is ""'),
        (r'{"input": "\ud800.wav"}', r'"input" is "\ud800.wav", not a URI or path'),
        (r'{"input": "b.wav", "output": "x/\udfff"}', r'"output" is "x/\udfff", not a URI or path'),
        ('{"input": "s3://recs/b.wav", "args": [1]}', '"args" is a JSON list'),
        ('{"input": "s3://recs/b.wav", "output": "../x"}', "no plain path below JOB_OUTPUT"),
        ('{"input": "s3://recs/b.wav", "output": "x/../../y"}', "no plain path below JOB_OUTPUT"),
        ('{"input": "s3://recs/b.wav", "output": "x//y"}', "no plain path below JOB_OUTPUT"),
        ('{"input": "s3://recs/b.wav", "output": "https://h/x"}', "cannot be written to"),
        ('{"input": "s3://recs/b.wav", "output": "s3://bucket"}', "names a bucket"),
        ('{"input": "s3://recs/b.wav", "output": "s3:///x"}', "names no bucket"),
        ('{"input": "s3://recs/b.wav", "output": "_status/x.json"}', "the place of the status document"),
        ('{"input": "s3://recs/b.wav", "output": "s3://recs/b.wav"}', "in its own place"),
        ('{"files": {}}', '"files" is {}, not an object of fields and URIs'),
        ('{"files": ["s3://recs/b.wav"]}', "not an object of fields and URIs"),
        ('{"files": {"image": 3}}', '"image" of "files" is 3, not a URI or path'),
        ('{"files": {"image": ["s3://recs/b.png"]}}', "not a URI or path"),
        ('{"files": {" ": "s3://recs/b.wav"}}', 'a field of "files" is " ", not the name'),
        ('{"field": "image"}', '"input" is null'),
        ('{"input": "s3://recs/b.wav", "field": null}', '"field" is null, not the name of an argument'),
        ('{"field": "image", "files": {"audio": "s3://recs/b.wav"}}', '"field" says which argument takes "input"'),
        (
            '{"input": "s3://recs/b", "field": "x", "files": {"x": "s3://recs/c"}}',
            'two files are given for the field "x"',
        ),
        ('{"files": {"image": "s3://recs/b.png", "audio": "s3://recs/in/"}}', "names no file"),
        ('{"files": {"image": "s3://recs/b.png", "audio": "ftp://u:hunter2@h/b"}}', "ftp:// cannot be read"),
        ('{"files": {"a": "s3://recs/b", "b": "s3://recs/c"}, "output": "s3://recs/c"}', "in its own place"),
        ("s3://recs/prefix/", "names no file"),
        ("ftp://user:hunter2@h/b.wav", "ftp:// cannot be read"),
        ("s3:///b.wav", "names no bucket"),
        ("a\0b", "a zero byte"),
        ("x" * 70_000, "longer than 65,536 bytes"),
    ],
)
def test_a_bad_line_is_refused_by_its_number_before_anything_runs(line: str, told: str, listed: Path) -> None:
    for before in ("s3://recs/a.wav\n# a remark\n\n", '{"input": "s3://recs/a.wav"}\n\n\n'):
        with pytest.raises(BadUsage) as refused:
            plan(listed, f"{before}{line}\ns3://recs/z.wav\n")
        assert refused.value.message.startswith(f"{listed}, line 4: ")
        assert told in refused.value.message
        assert "hunter2" not in refused.value.message


@pytest.mark.parametrize("output", [".a.wav.json.provenance", "/o/x/.a.provenance", "x/.0123456789abcdef.partial"])
def test_a_place_that_the_note_of_a_local_result_may_need_is_refused(output: str, listed: Path) -> None:
    lines = [{"input": "/in/a.wav"}, {"input": "/in/b.wav", "output": output}]
    with pytest.raises(BadUsage, match=r"line 2: .*notes"):
        plan(listed, lines, output="/o/")


def test_a_bad_line_of_another_slice_is_refused_too(listed: Path) -> None:
    with pytest.raises(BadUsage, match="line 4"):
        plan(listed, "a.wav\nb.wav\nc.wav\n{\n", slice=Slice(index=0, count=4))


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"s3://recs/\xff.wav", "line 1: not UTF-8"),
        ("s3://recs/a.wav".encode("utf-16"), "is UTF-16"),
        (gzip.compress(b"s3://recs/a.wav", mtime=0)[:-4], "not a whole gzip file"),
        (b"\x1f\x8bnonsense that is no gzip", "not a whole gzip file"),
        (gzip.compress(b"x" * 10_000_000, mtime=0), "line 1: longer than"),
    ],
)
def test_what_is_no_manifest_is_refused(content: bytes, told: str, listed: Path) -> None:
    with pytest.raises(BadUsage, match=told):
        plan(listed, content)


@pytest.mark.parametrize("content", ["", "\n# nothing\n"])
def test_a_manifest_that_lists_nothing_is_a_missing_input(content: str, listed: Path) -> None:
    with pytest.raises(InputMissing, match="lists no input"):
        plan(listed, content)


def test_a_manifest_that_is_not_there_is_a_missing_input(tmp_path: Path) -> None:
    with pytest.raises(InputMissing, match="absent"):
        plan_work(JobSpec(manifest=str(tmp_path / "absent"), output=OUT, identity=Identity(id="1")))


@settings(max_examples=500, deadline=None)
@given(st.binary(max_size=200) | st.text(st.sampled_from('{}[]":,\n\r #/.\0s3nputoarg1'), max_size=80).map(str.encode))
def test_any_bytes_are_work_or_bad_usage(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    try:
        items = plan(tmp_path_factory.getbasetemp() / "any", content)
        assert items.total == len(list(items)) > 0
    except (BadUsage, InputMissing):
        pass


# shared results


@pytest.mark.parametrize("slice", [None, Slice(index=0, count=3), Slice(index=2, count=3)])
def test_lines_that_would_share_a_result_are_refused_whichever_slice_they_are_in(
    slice: Slice | None, listed: Path
) -> None:
    with pytest.raises(BadUsage) as refused:
        plan(listed, "s3://recs/1/a.wav\n#\ns3://recs/b.wav\ns3://recs/2/a.wav\n", slice=slice)
    for told in ("lines 1 and 4", "s3://recs/1/a.wav", "s3://recs/2/a.wav", OUT + "a.wav.json"):
        assert told in refused.value.message
    assert "JOB_INPUT_ROOT" in refused.value.hint


@pytest.mark.parametrize(
    ("output", "places"),
    [
        ("/o/", ("a.wav.json", None)),
        ("/o/", ("/o/a.wav.json", None)),
        ("/o/", ("file:///o/x%20y", "x y")),
        ("/o/", ("/o/x/../y", "y")),
        ("file:///o%20ut/", ("/o ut/a.wav.json", None)),
        (OUT, (OUT + "x.json", "x.json")),
        (OUT, ("x/", "x/a.wav.json")),
    ],
)
def test_one_place_spelt_in_two_ways_is_shared(output: str, places: tuple[str | None, ...], listed: Path) -> None:
    lines = [{"input": f"/{n}/a.wav"} | ({"output": place} if place else {}) for n, place in enumerate(places)]
    with pytest.raises(BadUsage, match=r"lines 1 and 2.*would share the result"):
        plan(listed, lines, output=output)


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        ([("/1/1.wav", None), ("/2/a.wav", "1.wav.zip")], "/o/1.wav.zip"),
        ([("/2/a.wav", "1.wav.zip"), ("/1/1.wav", None)], "/o/1.wav.zip"),
        ([("/2/a.wav", "x/1.wav.tiff"), ("/1/1.wav", "x/")], "/o/x/1.wav.tiff"),
        ([("/1/1.wav", None), ("/2/a.wav", "file:///o/1%2Ewav%2ejpg")], "/o/1.wav.jpg"),
        ([("/1/1.wav", "/o/"), ("/2/a.wav", "FILE://localhost/o/./1.wav.jpg")], "/o/1.wav.jpg"),
        ([("/2/a.wav", "x.zip"), ("/2/b.wav", "file:///o//x.zip")], "/o/x.zip"),
    ],
)
@pytest.mark.parametrize("slice", [None, Slice(index=1, count=2)])
def test_a_place_is_shared_where_some_answers_extension_would_make_it_one(
    lines: list[tuple[str, str | None]], told: str, slice: Slice | None, listed: Path
) -> None:
    content = [{"input": uri} | ({"output": output} if output else {}) for uri, output in lines]
    with pytest.raises(BadUsage, match=r"lines 1 and 2.*would share the result") as refused:
        plan(listed, content, output="/o/", slice=slice)
    assert told in refused.value.message


@pytest.mark.parametrize(
    "outputs", [("x.json", "x.zip"), ("x", "x.zip"), ("x/1.wav.zip", None), ("1.wav.d/zip", None), ("1.wav", None)]
)
def test_places_that_no_extension_can_make_one_are_kept_apart(outputs: tuple[str, str | None], listed: Path) -> None:
    lines = [{"input": f"/{n}/1.wav"} | ({"output": place} if place else {}) for n, place in enumerate(outputs)]
    assert plan(listed, lines).total == 2


def test_a_folder_reached_by_a_link_is_the_same_place(listed: Path, tmp_path: Path) -> None:
    (tmp_path / "real" / "sub").mkdir(parents=True)
    (tmp_path / "link").symlink_to("real")
    (tmp_path / "real" / "twin").symlink_to("sub")
    for one, other in (("link/", "real/"), ("link/a.wav.json", "real/"), ("real/sub/x", "link/twin/x")):
        lines = [{"input": f"/{n}/a.wav", "output": f"{tmp_path}/{place}"} for n, place in enumerate((one, other))]
        with pytest.raises(BadUsage, match="would share the result"):
            plan(listed, lines)
    shared = "\n".join(f"/in/{folder}/a.wav" for folder in ("sub", "twin"))
    with pytest.raises(BadUsage, match="would share the result"):
        plan(listed, shared, input_root="/in/", output=f"{tmp_path}/real/")


@pytest.mark.parametrize(
    ("lines", "output"),
    [
        ([("s3://recs/a.wav", None), ("s3://recs/a.wav.json", None)], "s3://recs/"),
        ([("s3://recs/a.wav", None), ("s3://recs/b.wav", "S3://recs/a.wav")], "s3://other/"),
        ([("/in/a.wav", None), ("file:///in/a%2Ewav.json", None)], "/in/"),
        ([("/in/a.wav", None), ("/in/b.wav", "/in/./a.wav")], "/o/"),
    ],
)
def test_a_line_whose_input_would_be_overwritten_by_a_result_is_refused(
    lines: list[tuple[str, str | None]], output: str, listed: Path
) -> None:
    content = [{"input": uri} | ({"output": place} if place else {}) for uri, place in lines]
    with pytest.raises(BadUsage, match=r"line [12]: an input lies where the result of line [12] goes"):
        plan(listed, content, output=output)


def test_inputs_below_the_output_that_no_result_overwrites_are_taken(listed: Path) -> None:
    assert plan(listed, "s3://recs/a.wav\ns3://recs/a\ns3://recs/a.json.wav", output="s3://recs/").total == 3


def test_an_output_of_its_own_keeps_them_apart(listed: Path) -> None:
    assert plan(listed, [{"input": "/1/a.wav"}, {"input": "/2/a.wav", "output": "2/"}]).total == 2


def test_two_places_that_share_a_hash_are_not_taken_for_one(listed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan_module, "hash", lambda place: 7, raising=False)
    assert uris(plan(listed, "a.wav\nb.wav\n")) == ["a.wav", "b.wav"]


# slices


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 20), st.integers(1, 25), st.booleans())
def test_the_children_do_every_line_once_and_in_order(
    tmp_path_factory: pytest.TempPathFactory, size: int, count: int, zipped: bool
) -> None:
    content = "".join(f"# {n}\nin/{n}.wav\n" for n in range(size)).encode()
    listed = tmp_path_factory.getbasetemp() / "sliced"
    children = [
        plan(listed, gzip.compress(content, mtime=0) if zipped else content, slice=Slice(index=index, count=count))
        for index in range(count)
    ]
    shares = [uris(child) for child in children]
    assert [child.total for child in children] == list(map(len, shares))
    assert list(chain.from_iterable(shares)) == [f"in/{n}.wav" for n in range(size)]


@pytest.mark.parametrize("start", [0, 1, 999, 1000, 1001, 2500, 3500, 3501])
@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_reading_from_anywhere_gives_the_same_lines(start: int, pack: Any, listed: Path) -> None:
    listed.write_bytes(pack("".join(f"{'#' * (n % 3)}\n{n}.wav\n" for n in range(3501)).encode()))
    source = Manifest(str(listed))
    whole = list(source.lines())
    assert whole[0].number == 2
    assert list(source.lines(start)) == whole[start:]
