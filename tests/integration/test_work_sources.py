"""Prefixes and manifests on a real S3 server, as the command line sees them."""

import gzip
import json
from pathlib import Path

from tests.conftest import Ended, S3Server, Supervisor


def planned(ended: Ended) -> list[tuple[str, str]]:
    """(input, result) of each item that a dry run names."""
    assert ended.code == 0, ended.stderr
    pairs = [line.partition(" -> ") for line in ended.stdout.splitlines() if " -> " in line]
    return [(source, result) for source, _, result in pairs]


def test_a_prefix_of_more_than_one_page_is_counted_and_its_placeholders_are_left_out(
    plain: Supervisor, seaweedfs: S3Server
) -> None:
    for number in range(1005):
        seaweedfs.put(f"in/{number % 10}/{number:04}.wav")
    seaweedfs.put("in/5/_$folder$", b"")
    prefix = f"s3://{seaweedfs.bucket}/in/"
    ended = plain(
        "run", "--dry-run", JOB_INPUT=prefix, JOB_OUTPUT="s3://out-b/", AWS_BATCH_JOB_ID="1", **seaweedfs.variables
    )
    shown = planned(ended)
    assert len(shown) == 1000
    assert shown[0] == (f"{prefix}0/0000.wav", "s3://out-b/0/0000.wav.json")
    assert ended.stdout.splitlines()[1000:] == [
        "… and 5 more",
        "1,005 to do (1 folder placeholders left out); status in s3://out-b/_status/1.json",
    ]


def test_hostile_keys_below_a_prefix_are_read_as_they_are(plain: Supervisor, s3: S3Server) -> None:
    for key in ("in/", "in/a b+c%2B.wav", "in/ü🎙.wav", "in/../x.wav", "in//y.wav", "in/x/"):
        s3.put(key, b"" if key.endswith("/") else b"RIFF")
    ended = plain(
        "run", "--dry-run", JOB_INPUT=f"s3://{s3.bucket}/in/", JOB_OUTPUT=f"s3://{s3.bucket}/out/", **s3.variables
    )
    assert sorted(result for _, result in planned(ended)) == sorted(
        f"s3://{s3.bucket}/out/{below}.json" for below in ("a b+c%2B.wav", "ü🎙.wav", "../x.wav", "/y.wav")
    )
    assert "2 folder placeholders left out" in ended.stdout


def test_a_jobs_own_results_below_its_prefix_are_no_inputs(plain: Supervisor, s3: S3Server) -> None:
    for key in ("x", "x-1.wav", "x-1.wav.json", "x.json", "x/y.wav", "x/y.wav.json", "_status/1.json", "out/z.json"):
        s3.put(key)
    bucket = f"s3://{s3.bucket}/"
    beside = plain("run", "--dry-run", JOB_INPUT=bucket, JOB_OUTPUT=bucket, JOB_EXCLUDE="out/*", **s3.variables)
    assert [source for source, _ in planned(beside)] == [f"{bucket}{key}" for key in ("x", "x-1.wav", "x/y.wav")]
    inside = plain("run", "--dry-run", JOB_INPUT=bucket, JOB_OUTPUT=f"{bucket}out/", **s3.variables)
    assert f"{bucket}out/z.json" not in dict(planned(inside))


def test_nothing_below_a_prefix_is_66(plain: Supervisor, s3: S3Server) -> None:
    s3.put("other/a.wav")
    for prefix in (f"s3://{s3.bucket}/in/", "s3://no-such-bucket/in/"):
        ended = plain("run", "--dry-run", JOB_INPUT=prefix, JOB_OUTPUT=f"s3://{s3.bucket}/out/", **s3.variables)
        assert ended.code == 66
        assert prefix in ended.stderr


def test_batchs_children_divide_a_gzipped_manifest(plain: Supervisor, s3: S3Server) -> None:
    uris = [f"s3://{s3.bucket}/in/{number}.wav" for number in range(5)]
    listed = s3.put("list", gzip.compress("\r\n".join(uris).encode()))
    shares = [
        planned(
            plain("run", "--dry-run", JOB_MANIFEST=listed, JOB_OUTPUT=f"s3://{s3.bucket}/out/",
                  AWS_BATCH_JOB_ARRAY_INDEX=str(index), AWS_BATCH_JOB_ARRAY_SIZE="2", **s3.variables)
        )
        for index in range(2)
    ]  # fmt: skip
    assert [[source for source, _ in share] for share in shares] == [uris[:2], uris[2:]]


def test_a_bad_line_is_64_by_its_number(plain: Supervisor, s3: S3Server, tmp_path: Path) -> None:
    listed = s3.put("list", b's3://recordings/a.wav\n{"input": 1}\n')
    ended = plain("run", JOB_MANIFEST=listed, JOB_OUTPUT=f"{tmp_path}/out", **s3.variables)
    assert ended.code == 64
    assert f'{listed}, line 2: "input" is 1' in ended.stderr


def test_a_line_brings_its_own_arguments_and_place(plain: Supervisor, s3: S3Server) -> None:
    lines = [
        {"input": s3.put("in/a.wav"), "output": "first.json", "args": {"threshold": 0.9}},
        {"input": s3.put("in/b.wav")},
    ]
    listed = s3.put("list.jsonl", "\n".join(map(json.dumps, lines)).encode())
    ended = plain("run", JOB_MANIFEST=listed, JOB_OUTPUT=f"s3://{s3.bucket}/out/", JOB_RUNNER="worker",
                  JOB_PREDICT_ARGS='{"threshold": 0.1}', **s3.variables)  # fmt: skip
    assert ended.code == 0, ended.stderr
    assert s3.json("out/first.json")["arguments"]["threshold"] == 0.9
    assert s3.json("out/b.wav.json")["arguments"]["threshold"] == 0.1


def test_a_child_without_an_item_succeeds(plain: Supervisor, s3: S3Server) -> None:
    listed = s3.put("list", s3.put("a.wav").encode())
    ended = plain("run", JOB_MANIFEST=listed, JOB_OUTPUT=f"s3://{s3.bucket}/out/", JOB_ARRAY_INDEX="0",
                  JOB_ARRAY_SIZE="2", **s3.variables)  # fmt: skip
    assert (ended.code, ended.status["counts"]["total"]) == (0, 0)


def test_check_looks_at_the_first_page_and_the_first_input(plain: Supervisor, seaweedfs: S3Server) -> None:
    for number in range(1001):
        seaweedfs.put(f"in/{number:04}.wav")
    seen = {}
    for source in (
        {"JOB_INPUT": f"s3://{seaweedfs.bucket}/in/"},
        {"JOB_MANIFEST": seaweedfs.put("list", f"s3://{seaweedfs.bucket}/in/0007.wav\ns3://x-y/b\n".encode())},
    ):
        ended = plain("check", "--json", **source, **seaweedfs.variables)
        assert ended.code == 0, ended.stdout
        seen[next(iter(source))] = json.loads(ended.stdout)["checks"]["input"]["found"]
    assert seen == {
        "JOB_INPUT": f"1,000+ inputs, the first is s3://{seaweedfs.bucket}/in/0000.wav of 4 bytes",
        "JOB_MANIFEST": f"2 inputs, the first is s3://{seaweedfs.bucket}/in/0007.wav of 4 bytes",
    }
