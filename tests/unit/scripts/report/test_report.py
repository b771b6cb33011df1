"""One page about a whole run: what it adds up, what it leaves out, and that it says so."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from statistics import median
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scripts import cli
from scripts.report.labels import EACH, SEGMENT_LABELS, SEGMENT_NUMBER, TOP, Labels, labels
from scripts.report.page import duration, render, short, size
from scripts.report.places import Folder
from scripts.report.reading import LONGEST_LINE, Faults, rows
from scripts.report.run import Merged, merge
from scripts.report.status import Malformed, child, item
from scripts.report.sums import MOST_BINS, Spread, Timeline, normalised
from tests.conftest import S3Server

NOW = 1_796_000_000.0
TEN = "2026-11-24T10:00:{:02d}.000Z"


def document(index: int | None = 0, **changes: Any) -> dict[str, Any]:
    """A status document of job `night`."""
    told: dict[str, Any] = {
        "version": 1,
        "state": "SUCCEEDED",
        "exit_code": 0,
        "job": {"id": "night", "attempt": 1} | ({} if index is None else {"array_index": index}),
        "started": TEN.format(0),
        "updated": TEN.format(50),
        "counts": {"total": 2, "done": 2, "skipped": 0, "failed": 0, "placeholders": 0},
        "seconds": {"model": 2.0, "download": 0.5, "predict": 3.0, "upload": 0.25, "total": 6.0},
        "module": {"name": "birds", "version": "1.2"},
        "items": [],
    }
    return told | changes


def ended(name: str = "s3://b/a.wav", state: str = "done", **members: Any) -> dict[str, Any]:
    return {"input": name, "state": state, "seconds": {"predict": 0.5}, "finished": TEN.format(10)} | members


def write(
    folder: Path, name: str, told: object, items: Iterable[Any] | None = None, answers: Iterable[Any] = ()
) -> None:
    (folder / f"{name}.json").write_text(json.dumps(told))
    if items is not None:
        (folder / f"{name}.items.jsonl").write_text("".join(json.dumps(row) + "\n" for row in items))
    if answers is not None:
        (folder / f"{name}.results.jsonl").write_text("".join(json.dumps({"answer": a}) + "\n" for a in answers))


def merged(folder: Path, job: str | None = None) -> Merged:
    return merge(Folder(folder), str(folder), job)


def page(folder: Path) -> str:
    """The page's text, its white space made one."""
    return " ".join(render(merged(folder), str(folder), NOW).split())


# ---------------------------------------------------------------- children and counts


def test_the_counts_are_the_sums_over_all_children(tmp_path: Path) -> None:
    write(tmp_path, "night-0", document(0, counts={"total": 9, "done": 3, "skipped": 2, "failed": 1}))
    write(tmp_path, "night-1", document(1, counts={"total": 5, "done": 4, "skipped": 0, "failed": 1}))
    run = merged(tmp_path).run
    counted = {name: run.total(name) for name in ("total", "done", "skipped", "failed", "left")}
    assert counted == {"total": 14, "done": 7, "skipped": 2, "failed": 2, "left": 3}


def test_of_two_attempts_at_one_child_the_newest_document_counts(tmp_path: Path) -> None:
    write(tmp_path, "a", document(0, state="FAILED", updated=TEN.format(1)), [ended()])
    write(tmp_path, "b", document(0, updated=TEN.format(2)), [ended(), ended()])
    found = merged(tmp_path)
    assert ([c.name for c in found.run.children], found.older, found.run.listed) == (["b"], 1, 2)


def test_children_that_an_array_lacks_are_named(tmp_path: Path) -> None:
    for index in (0, 2, 6):
        write(tmp_path, f"night-{index}", document(index))
    assert "No status from 4 children (1, 3-5)" in page(tmp_path)


def test_a_job_without_an_array_lacks_no_children(tmp_path: Path) -> None:
    write(tmp_path, "night", document(None))
    assert "No status from" not in page(tmp_path)


def test_children_of_another_job_are_left_out_where_one_is_named(tmp_path: Path) -> None:
    write(tmp_path, "night-0", document(0))
    write(tmp_path, "day-0", document(0, job={"id": "day", "array_index": 0}))
    assert [c.job for c in merged(tmp_path, "day").run.children] == ["day"]


def test_several_jobs_in_one_place_are_added_up_and_it_says_so(tmp_path: Path) -> None:
    write(tmp_path, "night-0", document(0))
    write(tmp_path, "day-0", document(0, job={"id": "day", "array_index": 0}))
    assert "2 jobs are added up here" in page(tmp_path)


def test_a_child_that_says_running_and_nothing_more_is_called_silent(tmp_path: Path) -> None:
    write(tmp_path, "night-0", document(0, state="RUNNING", exit_code=None))
    assert "1 child says RUNNING, yet nothing came for 10 minutes" in page(tmp_path)


def test_children_that_differ_in_their_versions_show_each_with_how_many_have_it(tmp_path: Path) -> None:
    for index, release in enumerate(("2.6.0", "2.6.0", "2.5.2")):
        write(tmp_path, f"night-{index}", document(index, versions={"deepaas": release}))
    assert re.search(
        r"2\.6\.0</bdi> <span class=\"differ\">\(2 children\).*2\.5\.2</bdi> .*\(1 child\)", page(tmp_path)
    )


# ---------------------------------------------------------------- items


def test_a_child_without_a_list_gives_the_items_of_its_document(tmp_path: Path) -> None:
    write(tmp_path, "night-0", document(0, items=[ended(), ended("s3://b/b.wav")]))
    found = merged(tmp_path)
    assert (found.run.listed, found.without_items) == (2, 1)


def test_items_that_are_not_listed_are_said_to_be_missing(tmp_path: Path) -> None:
    write(tmp_path, "night-0", document(0, counts={"total": 900, "done": 900}), [ended()])
    assert "1 items are listed, while the children count 900" in page(tmp_path)


def test_the_slowest_items_come_first_and_are_few(tmp_path: Path) -> None:
    write(tmp_path, "night-0", document(0), (ended(f"{n}", seconds={"predict": n}) for n in range(100)))
    assert [found.input for _, found, _ in merged(tmp_path).run.slowest] == [str(n) for n in range(99, 79, -1)]


def test_an_item_whose_clock_is_years_off_does_not_flatten_the_chart(tmp_path: Path) -> None:
    write(tmp_path, "night-0", document(0), [ended(), ended(finished="2999-01-01T00:00:00Z")])
    run = merged(tmp_path).run
    assert (run.strays, run.timeline.done) == (1, 1)


def test_skipped_items_are_not_counted_as_throughput(tmp_path: Path) -> None:
    write(tmp_path, "night-0", document(0), [ended(), ended(state="skipped"), ended(state="failed")])
    timeline = merged(tmp_path).run.timeline
    assert (timeline.done, timeline.failed) == (1, 1)


# ---------------------------------------------------------------- sums


@given(st.lists(st.floats(0, 1e6).map(lambda x: round(x, 4)), min_size=1).filter(lambda xs: len(xs) % 2 == 1))
def test_the_median_is_that_of_all_times_to_three_figures(times: list[float]) -> None:
    spread = Spread()
    for spent in times:
        spread.add(spent)
    assert spread.percentile(0.5) == float(f"{median(times):.2e}")


def test_95_percent_of_the_times_are_within_the_95th_percentile() -> None:
    spread = Spread()
    for spent in range(1, 101):
        spread.add(spent)
    assert spread.percentile(0.95) == 95


@given(st.lists(st.integers(946_684_800, 32_503_679_999), min_size=1, max_size=200))
def test_no_item_is_lost_when_the_bins_of_the_chart_grow_wider(moments: list[int]) -> None:
    timeline = Timeline()
    for moment in moments:
        timeline.add(moment, "done")
    bins = timeline.bins(150)
    assert sum(found.done for _, found in bins) == len(moments)
    assert len(bins) <= 150


def test_the_bins_of_a_long_run_stay_few() -> None:
    timeline = Timeline()
    for moment in range(0, 400_000, 7):
        timeline.add(1_700_000_000 + moment, "done")
    assert len(timeline._bins) <= MOST_BINS


@pytest.mark.parametrize(
    ("spent", "shown"),
    [(0, "0 s"), (0.00012, "0.120 ms"), (0.0749, "74.9 ms"), (0.9999, "1.00 s"), (2.5, "2.50 s"), (99.96, "1 min 40 s"),
     (3600, "1 h"), (11_520, "3 h 12 min"), (200_000, "2 d 7 h"), (None, "")],
)  # fmt: skip
def test_seconds_are_written_as_people_read_them(spent: float | None, shown: str) -> None:
    assert duration(spent) == shown


@pytest.mark.parametrize(
    ("octets", "shown"), [(0, "0 B"), (999, "999 B"), (32_768, "32.8 kB"), (2_147_483_648, "2.15 GB")]
)
def test_sizes_are_written_as_people_read_them(octets: int, shown: str) -> None:
    assert size(octets) == shown


# ---------------------------------------------------------------- failures by cause


@pytest.mark.parametrize(
    "message",
    [
        "input s3://b/x/{name}: chunk {n} of 99 is not a WAV file",
        "{name}: chunk {n} of 99 is not a WAV file",
        "cannot open '/tmp/job-{n}/{name}': chunk {n} of 99 at 0x{n:08x}",
    ],
)
def test_messages_that_differ_in_names_and_numbers_alone_are_one_cause(message: str) -> None:
    spelled = {normalised(message.format(name=f"rec-{n}.wav", n=n), f"s3://b/x/rec-{n}.wav") for n in (3, 41, 5926)}
    assert len(spelled) == 1


def test_messages_that_differ_in_words_are_two_causes() -> None:
    assert normalised("no such object", "x.wav") != normalised("the object is archived", "x.wav")


def test_a_cause_has_its_count_an_example_and_the_hint(tmp_path: Path) -> None:
    failures = [
        ended(
            f"s3://b/{n}.wav",
            "failed",
            error={"category": "input-missing", "message": f"{n}.wav: gone", "hint": "look"},
        )
        for n in range(100, 103)
    ]
    write(tmp_path, "night-0", document(0), failures)
    (cause,) = merged(tmp_path).run.causes.worst()
    assert (cause.items, cause.category, cause.example, cause.hint) == (3, "input-missing", "s3://b/100.wav", "look")


def test_a_child_that_failed_before_any_item_is_among_the_causes(tmp_path: Path) -> None:
    error = {"category": "image-unfit", "message": "no DEEPaaS", "hint": "run check"}
    write(tmp_path, "night-0", document(0, state="FAILED", counts={"total": 2}, error=error))
    (cause,) = merged(tmp_path).run.causes.worst()
    assert (cause.items, cause.children, cause.category) == (0, 1, "image-unfit")


def test_messages_that_are_all_different_do_not_fill_the_memory(tmp_path: Path) -> None:
    words = ("".join(chr(97 + n // 26**k % 26) for k in range(4)) for n in range(3_000))
    failures = (ended(state="failed", error={"category": "item-failed", "message": w, "hint": ""}) for w in words)
    write(tmp_path, "night-0", document(0), failures)
    causes = merged(tmp_path).run.causes.worst()
    assert (sum(cause.items for cause in causes), len(causes)) == (3_000, 1_001)


# ---------------------------------------------------------------- labels


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        ({"labels": ["a", "b"], "probabilities": [0.2, 0.8]}, [(TOP, "b")]),
        ([{"labels": ["a", "b"], "probabilities": [0.9, 0.1]}], [(TOP, "a")]),
        ({"status": "OK", "predictions": [{"labels": ["a", "b"], "probabilities": [0.2, 0.8]}]}, [(TOP, "b")]),
        ({"status": "OK", "predictions": {"labels": ["a"], "probabilities": [1]}}, [(TOP, "a")]),
        ({"predictions": [{"label": "cat", "score": 1}, {"class": "dog"}]}, [(EACH, "cat"), (EACH, "dog")]),
        ({"predictions": [{"name": "person", "class": 0}]}, [(EACH, "person")]),
        ({"predictions": [{"class": 3}]}, [(EACH, "3")]),
        ({"predictions": "cat"}, [(EACH, "cat")]),
        ({"predictions": [{"boxes": [], "labels": ["a", "b"], "scores": [0.2, 0.8]}]}, [(EACH, "a"), (EACH, "b")]),
        ({"segments": [{"start": 0}, {"start": 1}]}, [(SEGMENT_NUMBER, "2")]),
        ({"segments": []}, [(SEGMENT_NUMBER, "0")]),
        ({"segments": [{}] * 51}, [(SEGMENT_NUMBER, "more than 50")]),
        ({"segments": [{"label": "music"}, {"label": "hum"}]}, [(SEGMENT_LABELS, "music"), (SEGMENT_LABELS, "hum")]),
        ({"name": "x.wav", "energy": 3.2}, []),
        ({"labels": [], "probabilities": []}, []),
        ({"labels": ["a"], "probabilities": ["high"]}, [(EACH, "a")]),
        ({"predictions": [1, None, [2]]}, []),
        (None, []),
        ("text", []),
        (3.2, []),
    ],
)  # fmt: skip
def test_labels_are_found_in_the_shapes_that_modules_answer_with(answer: Any, found: list[tuple[str, str]]) -> None:
    assert list(labels(answer)) == found


def test_labels_that_are_all_different_do_not_fill_the_memory() -> None:
    found = Labels()
    for n in range(6_000):
        found.add({"predictions": str(n)})
    assert (len(found.by_rule[EACH]), found.others[EACH]) == (5_000, 1_000)


def test_the_page_says_by_which_rule_labels_were_found_and_how_many_answers_have_none(tmp_path: Path) -> None:
    write(tmp_path, "night-0", document(0), [], [{"labels": ["a"], "probabilities": [1]}, {"energy": 1}])
    text = page(tmp_path)
    assert f"Rule: {TOP}" in text
    assert "2 answers read, 1 of them with nothing that is known for a label" in text


# ---------------------------------------------------------------- what cannot be read


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        (b"{not json}\n", "line"),
        (b"[" * 100_000 + b"\n", "line"),
        (b'"\xff\xfe"\n', "line"),
        (b'{"input": "s3://b/c', "cut"),
        (b"x" * (LONGEST_LINE + 1) + b"\n", "line"),
        (b"\n", None),
    ],
    ids=["not JSON", "nested too deep", "not UTF-8", "cut off", "too long", "blank"],
)
def test_a_line_that_cannot_be_read_is_counted_and_the_rest_is_read(line: bytes, kind: str | None) -> None:
    faults = Faults()
    read = list(rows("x", io.BytesIO(b'{"a": 1}\n' + line), faults))
    assert [row for _, row in read] == [{"a": 1}]
    assert list(faults.kinds.elements()) == ([kind] if kind else [])


def test_the_line_after_one_that_is_too_long_is_read() -> None:
    assert list(rows("x", io.BytesIO(b"x" * (2 * LONGEST_LINE + 9) + b"\n2\n"), Faults())) == [(2, 2)]


def test_what_could_not_be_used_is_named_with_its_line(tmp_path: Path) -> None:
    write(tmp_path, "night-0", document(0), [ended(), {"input": 3}])
    (tmp_path / "other.json").write_text("{}")
    text = page(tmp_path)
    assert "night-0.items.jsonl, line 2: names no input" in text
    assert "other.json: is not a status document" in text


def test_a_list_of_items_whose_document_is_missing_is_told(tmp_path: Path) -> None:
    write(tmp_path, "night-0", document(0), [])
    (tmp_path / "night-1.items.jsonl").write_text("{}\n")
    assert "1 list of items without a status document left out: night-1.items.jsonl" in page(tmp_path)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


def odd(told: Mapping[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    """`told` with some of its members replaced by anything, down to the second level."""
    names = list(told)
    deeper = {name: odd(told[name]) | json_values for name in names if isinstance(told[name], dict)}
    return st.fixed_dictionaries({name: st.just(told[name]) | deeper.get(name, json_values) for name in names})


@given(odd(document(0, error={"category": "x", "message": "y", "hint": "z"}, device={"kind": "cpu", "gpus": []})))
def test_a_document_of_any_shape_is_read_or_refused(told: Any) -> None:
    with suppress(Malformed):
        child("night-0", told)


@given(odd(ended(error={"category": "x", "message": "y", "hint": "z"}, bytes=3)))
def test_an_item_of_any_shape_is_read_or_refused(told: Any) -> None:
    with suppress(Malformed):
        item(told)


@given(json_values)
def test_an_answer_of_any_shape_is_looked_through(answer: Any) -> None:
    Labels().add(answer)


# ---------------------------------------------------------------- the page


def test_the_page_asks_for_nothing_from_elsewhere(tmp_path: Path) -> None:
    write(tmp_path, "night-0", document(0), [ended()])
    assert not re.findall(r"(?:src|href|url)\s*[=(]\s*[\"']?(?!data:,)[^\"'\s>]+", page(tmp_path))


@pytest.mark.parametrize("name", ["<u>", "\"'><img src=x>", "{{ 7*7 }}", "\ud800", "\u202egnp.exe", "\n\t\0\x1b[31m"])
def test_a_hostile_name_appears_as_text(tmp_path: Path, name: str) -> None:
    write(tmp_path, "night-0", document(0, module={"name": name}), [ended(name)])
    text = page(tmp_path)
    assert not any(bad in text for bad in ("<u>", "<img", "\u202e", "\x1b", "\0"))
    text.encode()


def test_a_long_name_loses_its_middle() -> None:
    shown = short("s3://bucket/" + "long/" * 200 + "x.wav")
    assert len(shown) < 100
    assert shown.startswith("s3://bucket/")
    assert shown.endswith("x.wav")


def test_a_digest_is_shortened_as_docker_does_it() -> None:
    assert short("birds:cpu@sha256:" + "ab" * 32) == "birds:cpu@sha256:abababababab…"


# ---------------------------------------------------------------- the command


def test_the_command_writes_the_page_and_says_in_a_line_what_is_in_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path, "night-0", document(0), [ended(), ended()])
    assert cli.main(["report", str(tmp_path), "--output", str(tmp_path / "page.html")]) == 0
    assert "page.html: 1 child, 2 items (2 done, 0 skipped, 0 failed, 0 left)" in capsys.readouterr().out
    assert (tmp_path / "page.html").read_text().startswith("<!doctype html>")


def test_status_in_a_bucket_is_read(s3: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in s3.variables.items():
        monkeypatch.setenv(name, value)
    for index in range(20):
        s3.put(f"results/_status/night-{index}.json", json.dumps(document(index)).encode())
        s3.put(f"results/_status/night-{index}.items.jsonl", json.dumps(ended()).encode() + b"\n")
    s3.put("results/_status/deeper/night-99.json", json.dumps(document(99)).encode())
    assert cli.main(["report", f"s3://{s3.bucket}/results/_status", "--output", str(tmp_path / "page.html")]) == 0
    assert "Batch run of 20 children" in (tmp_path / "page.html").read_text()


@pytest.mark.parametrize(
    ("status", "code", "words"),
    [
        ("{folder}/none", 66, "no such folder"),
        ("{folder}/file.txt", 66, "is a file"),
        ("{folder}", 66, "no status documents found (1 files looked at)"),
        ("", 64, "STATUS names nothing"),
        ("https://example.org/x", 64, "https:// cannot be read"),
        ("s3://", 64, "names no bucket"),
    ],
)
def test_a_place_without_status_is_one_line_that_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], status: str, code: int, words: str
) -> None:
    (tmp_path / "file.txt").touch()
    assert cli.main(["report", status.format(folder=tmp_path), "--output", str(tmp_path / "page.html")]) == code
    told = capsys.readouterr().err
    assert words in told
    assert told.count("\n") == 1


def test_a_bucket_that_is_not_there_is_one_line_that_says_so(
    s3: S3Server, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in s3.variables.items():
        monkeypatch.setenv(name, value)
    assert cli.main(["report", "s3://no-such-bucket/x/"]) == 66
    assert "there is no bucket no-such-bucket" in capsys.readouterr().err


@pytest.mark.parametrize("output", ["none/page.html", ".", "night-0.json/page.html"])
def test_a_page_that_cannot_be_written_is_one_line_that_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], output: str
) -> None:
    write(tmp_path, "night-0", document(0))
    before = sorted(tmp_path.iterdir())
    assert cli.main(["report", str(tmp_path), "--output", str(tmp_path / output)]) == 73
    assert capsys.readouterr().err.count("\n") == 1
    assert sorted(tmp_path.iterdir()) == before


# Asked of the process itself: what wait4 tells begins with the memory of the process that forked.
_PEAK = """
import re, sys
from scripts import cli
assert cli.main(['report', *sys.argv[1:]]) == 0
print(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1], file=sys.stderr)
"""


@pytest.mark.slow
def test_a_hundred_thousand_items_take_the_memory_of_a_thousand(tmp_path: Path) -> None:
    peaks = []
    for number in (1_000, 100_000):
        folder = tmp_path / str(number)
        folder.mkdir()
        rows = (ended(f"s3://b/{n}.wav", seconds={"predict": 0.01 + n / 1e6}, bytes=n) for n in range(number))
        answers = ({"labels": [f"label {n}"], "probabilities": [1]} for n in range(number))
        write(folder, "night-0", document(0, counts={"total": number, "done": number}), rows, answers)
        ran = subprocess.run(
            [sys.executable, "-c", _PEAK, folder, "--output", folder / "page.html"], capture_output=True, check=True
        )
        peaks.append(int(ran.stderr))
    assert peaks[1] - peaks[0] < 8 * 1024  # KiB; the same items, held, are ten times that
