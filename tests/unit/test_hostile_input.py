"""Fuzzed: whatever an upload's name, an event or a variable holds, there is work to do or a Failure that says why not;
no result outside the job's output, no local copy outside the job's folder, no two inputs with one result.

A few thousand cases in `make test`; the whole, more than 20,000, in `make test-all`.
"""

import contextlib
import copy
import gzip
import json
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from supervisor import cli, job
from supervisor.failures import BadUsage, Failure
from supervisor.job import VARIABLES, JobSpec
from supervisor.storage.uri import local_path, scheme, shown
from supervisor.work import events
from supervisor.work.naming import Naming
from supervisor.work.plan import Item, plan_work

QUICK, WHOLE = 250, 2_500  # cases for each property, of which there are eleven
BUCKET = "recordings"

Property = Callable[..., None]


def fuzzed(*strategies: SearchStrategy[Any], **named: SearchStrategy[Any]) -> Callable[[Property], Property]:
    """A test of a property: quick in `make test`, the whole where slow tests run."""

    def decorate(holds: Property) -> Property:
        @pytest.mark.parametrize(
            "cases", [pytest.param(QUICK, id="quick"), pytest.param(WHOLE, id="whole", marks=pytest.mark.slow)]
        )
        def test(cases: int) -> None:
            slow_machine = [HealthCheck.too_slow, HealthCheck.data_too_large]
            settings(max_examples=cases, deadline=None, suppress_health_check=slow_machine)(
                given(*strategies, **named)(holds)
            )()

        test.__doc__ = holds.__doc__
        return test

    return decorate


# What comes in.

ANY_TEXT = st.text(st.characters(exclude_categories=()))  # lone surrogates too
# As os.environ has them: of the surrogates those that stand for bytes that are no UTF-8.
ANY_VARIABLE = st.text(st.characters() | st.characters(min_codepoint=0xDC80, max_codepoint=0xDCFF, categories=["Cs"]))
SEGMENTS = st.sampled_from(
    ["", ".", "..", "...", "~", "~root", "-rf", "--input", "%2E%2E", "%2F", "%00", "%252F", "etc", "passwd", "a b",
     "a+b", "100%", "x.wav", "x.wav.json", "x.wav.json.json", ".x.wav.json.provenance", "_status", "1.json",
     "new\nline", "tab\t", "nul\0", "bell\a", "\x1b[31m", "\u202e", "🎙",
     "é", "e\u0301", "a\\b", "C:", "?a=1", "#x", "*", "s3:"]
) | st.text(max_size=12)  # fmt: skip
KEYS = st.one_of(
    st.lists(SEGMENTS, min_size=1, max_size=6).map("/".join),
    st.text(min_size=1),
    st.tuples(
        st.sampled_from(["../", "./", "/", "//", "a/../../", "../../etc/", "%2E%2E/", "~/"]), SEGMENTS
    ).map("".join),
    # S3's own bound: 1,024 bytes of UTF-8.
    st.tuples(st.sampled_from("aé🎙"), st.integers(1, 1024)).map(
        lambda t: (t[0] * t[1]).encode()[:1024].decode(errors="ignore")
    ),
    st.tuples(st.sampled_from("a/."), st.integers(1, 1024), st.sampled_from(["", ".wav", "/x.wav"])).map(
        lambda t: t[0] * (t[1] - len(t[2])) + t[2]
    ),
).filter(lambda key: 0 < len(key.encode()) <= 1024)  # fmt: skip
OUTPUTS = st.sampled_from(
    ["s3://results/", "s3://results/out/", "/out/", "/", "out/", "./", "../", "file:///out/", "file:///a%20b/"]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | ANY_TEXT | st.sampled_from([10**400, -1, 1e308]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(ANY_TEXT, inner, max_size=3),
    max_leaves=8,
)

S3_EVENT: dict[str, Any] = {
    "eventVersion": "2.1",
    "eventSource": "aws:s3",
    "awsRegion": "eu-west-1",
    "eventTime": "2026-11-24T10:00:00.000Z",
    "eventName": "ObjectCreated:CompleteMultipartUpload",
    "userIdentity": {"principalId": "AWS:AIDAJDPLRKLG7UEXAMPLE"},
    "requestParameters": {"sourceIPAddress": "192.0.2.1"},
    "responseElements": {"x-amz-request-id": "C3D13FE58DE4C810", "x-amz-id-2": "FMyUVURIY8/IgAtTv8xRjskZQpcIZ9KG"},
    "s3": {
        "s3SchemaVersion": "1.0",
        "configurationId": "uploads",
        "bucket": {
            "name": BUCKET,
            "ownerIdentity": {"principalId": "A3NL1KOZZKExample"},
            "arn": f"arn:aws:s3:::{BUCKET}",
        },
        "object": {
            "key": "incoming/a+b%2Bc.wav",
            "size": 320_044,
            "eTag": "d41d8cd98f00b204e9800998ecf8427e-2",
            "versionId": "096fKKXTRTtl3on89fVO.nfljtsv6qko",
            "sequencer": "0055AED6DCD90281E5",
        },
    },
}
EVENTBRIDGE: dict[str, Any] = {
    "version": "0",
    "id": "17793124-05d4-b198-2fde-7ededc63b103",
    "detail-type": "Object Created",
    "source": "aws.s3",
    "account": "111122223333",
    "time": "2026-11-24T10:00:00Z",
    "region": "eu-west-1",
    "resources": [f"arn:aws:s3:::{BUCKET}"],
    "detail": {
        "version": "0",
        "bucket": {"name": BUCKET},
        "object": {
            "key": "incoming/a b+c.wav",
            "size": 320_044,
            "etag": "b1946ac92492d2347c6235b4d2611184",
            "version-id": "IYV3p45BT0ac8hjHg1houSdS1a.Mro8e",
            "sequencer": "617f08299329d189",
        },
        "request-id": "N4N7GDK58NMKJ12R",
        "requester": "123456789012",
        "source-ip-address": "192.0.2.1",
        "reason": "PutObject",
    },
}


def _in_sns(event: object) -> dict[str, Any]:
    return {
        "Type": "Notification",
        "MessageId": "22b80b92-fdea-4c2c-8f9d-bdfb0c7bf324",
        "TopicArn": "arn:aws:sns:eu-west-1:123456789012:uploads",
        "Subject": "Amazon S3 Notification",
        "Message": json.dumps(event),
        "Timestamp": "2026-11-24T10:00:00.000Z",
    }


def _in_sqs(event: object) -> dict[str, Any]:
    return {
        "Records": [
            {
                "messageId": "059f36b4-87a3-44ab-83d2-661975830a7d",
                "receiptHandle": "AQEBwJnKyrHigUMZj6rYigCgxlaS3SLy0a",
                "body": json.dumps(event),
                "attributes": {"ApproximateReceiveCount": "1"},
                "eventSource": "aws:sqs",
                "eventSourceARN": "arn:aws:sqs:eu-west-1:123456789012:uploads",
            }
        ]
    }


REAL_EVENTS = [
    wrapped
    for event in ({"Records": [S3_EVENT, copy.deepcopy(S3_EVENT)]}, EVENTBRIDGE)
    for wrapped in (event, [event], _in_sns(event), _in_sqs(event), _in_sqs(_in_sns(event)),
                    {"Records": [{"EventSource": "aws:sns", "Sns": _in_sns(event)}]})
]  # fmt: skip


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every (container, key or index) below a JSON value."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in pairs:
        yield value, key
        yield from _places(inner)


@st.composite
def mutated_events(draw: st.DrawFn) -> str:
    """A real event in which some members are lost, replaced, repeated or wrapped."""
    event: Any = copy.deepcopy(draw(st.sampled_from(REAL_EVENTS)))
    for _ in range(draw(st.integers(1, 4))):
        places = list(_places(event))
        if not places:
            break
        container, key = places[draw(st.integers(0, len(places) - 1))]
        match draw(st.sampled_from(["drop", "replace", "list", "text", "key"])):
            case "drop":
                del container[key]
            case "replace":
                container[key] = draw(JSON)
            case "list":
                container[key] = [copy.deepcopy(container[key])] * draw(st.integers(0, 3))
            case "text":
                container[key] = json.dumps(container[key])
            case "key":
                container[key] = draw(KEYS)
    return json.dumps(event, ensure_ascii=draw(st.booleans()))


@st.composite
def damaged_texts(draw: st.DrawFn) -> str:
    """A real event's text: cut, spliced, with doubled members, deeper than any parser, or with numbers of any size."""
    text = json.dumps(draw(st.sampled_from(REAL_EVENTS)))
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(text)))
        end = draw(st.integers(start, min(len(text), start + 40)))
        piece = draw(
            st.sampled_from(
                ["", "null", "NaN", "-Infinity", "1e999", "9" * 5000, '"Records":[],', '"key":"x",', '"s3":{},',
                 "\ud800", "\\ud800", "\\u0000", "\0", "{", "[", "}", '"', "\\", "\ufeff", "[" * 50, "[" * 5000,
                 '{"Records":[' * 50, '{"body":"{' * 9]
            )
            | ANY_TEXT
        )  # fmt: skip
        text = text[:start] + piece + text[end:]
    return text


@st.composite
def deep_texts(draw: st.DrawFn) -> str:
    """An event inside as many envelopes as one likes, closed or not."""
    opening, closing = draw(
        st.sampled_from([("[", "]"), ('{"Records":[', "]}"), ('{"Messages":[', "]}"), ('{"Sns":', "}"), ('{"a":', "}")])
    )
    depth = draw(st.integers(0, 12) | st.integers(900, 1_100) | st.integers(5_000, 10_000))
    return (
        opening * depth + json.dumps(draw(st.sampled_from(REAL_EVENTS))) + closing * draw(st.sampled_from([depth, 0]))
    )


def event_of(keys: list[str], form: str) -> str:
    if form == "notification":
        records: list[Any] = [
            {"eventName": "ObjectCreated:Put", "s3": {"bucket": {"name": BUCKET}, "object": {"key": quote_plus(key)}}}
            for key in keys
        ]
        return json.dumps({"Records": records})
    return json.dumps(
        [{"detail-type": "Object Created", "detail": {"bucket": {"name": BUCKET}, "object": {"key": k}}} for k in keys]
    )


def read(**variables: str) -> JobSpec:
    return job.read({"AWS_BATCH_JOB_ID": "job", **variables}, {})


# What must hold.


def planned(spec: JobSpec) -> list[Item]:
    """The job's items, each of them checked."""
    items = list(plan_work(spec))
    for item in items:
        assert is_inside(spec.output or "", item.result_uri())
        _has_a_file_name(item)
    assert len({place(item) for item in items}) == len(items)
    return items


def is_inside(output: str, result: str) -> bool:
    if scheme(output) == "s3":
        return result.startswith(output) and result != output  # S3's keys are texts: nothing in them climbs
    folder, path = (os.path.normpath(local_path(uri)) for uri in (output, result))
    return (
        scheme(result) == scheme(output) and os.path.commonpath([folder, path]) == folder != path and "\0" not in path
    )


def place(item: Item) -> str:
    uri = item.result_uri()
    return uri if scheme(uri) == "s3" else os.path.normpath(local_path(uri))


def _has_a_file_name(item: Item) -> None:
    name = item.file_name
    assert name not in ("", ".", "..")
    assert not {"/", "\0"} & set(name)
    assert len(os.fsencode(name)) <= 255


def _refused_in_one_line(failure: Failure) -> None:
    for told in (failure.message, failure.hint):
        assert told
        assert told.isprintable()


def _whole_places(lines: list[bytes]) -> Iterator[str]:
    """The URIs and absolute paths that a manifest's own author gives to results; all else lies below JOB_OUTPUT."""
    for line in lines:
        with contextlib.suppress(ValueError, RecursionError, AttributeError):
            output = json.loads(line).get("output")
            if isinstance(output, str) and (output.startswith("/") or scheme(output)):
                yield output


# The properties.


@fuzzed(JSON)
def test_any_json_is_objects_or_bad_usage(value: object) -> None:
    _is_read(json.dumps(value))


@fuzzed(mutated_events())
def test_a_mutated_event_is_objects_or_bad_usage(text: str) -> None:
    _is_read(text)


@fuzzed(damaged_texts() | deep_texts())
def test_a_damaged_event_is_objects_or_bad_usage(text: str) -> None:
    _is_read(text)


def _is_read(text: str) -> None:
    try:
        objects = events.parse(text)
    except BadUsage as failure:
        return _refused_in_one_line(failure)
    assert objects
    for each in objects:
        assert "/" not in each.bucket
        assert each.key.encode()
    return None


@fuzzed(mutated_events(), OUTPUTS)
def test_a_mutated_event_is_work_inside_the_output_or_a_failure(text: str, output: str) -> None:
    try:
        planned(read(JOB_EVENT=text, JOB_OUTPUT=output))
    except Failure as failure:
        _refused_in_one_line(failure)


@fuzzed(
    st.lists(KEYS, min_size=1, max_size=4),
    OUTPUTS,
    st.sampled_from([None, f"s3://{BUCKET}/", f"s3://{BUCKET}/.."]),
    st.sampled_from(["notification", "eventbridge"]),
)
def test_keys_have_each_a_result_of_its_own_inside_the_output(
    keys: list[str], output: str, root: str | None, form: str
) -> None:
    variables = {"JOB_EVENT": event_of(keys, form), "JOB_OUTPUT": output} | ({"JOB_INPUT_ROOT": root} if root else {})
    try:
        items = planned(read(**variables))
    except BadUsage as failure:
        return _refused_in_one_line(failure)
    assert [item.uri for item in items] == [f"s3://{BUCKET}/{k}" for k in dict.fromkeys(keys) if not k.endswith("/")]
    return None


@fuzzed(st.lists(KEYS, min_size=2, max_size=6, unique=True), OUTPUTS)
def test_the_keys_of_a_listing_have_each_a_result_of_its_own_inside_the_output(keys: list[str], output: str) -> None:
    """Nobody looks at a listing as a whole: two keys with one result would not be noticed."""
    naming = Naming(read(JOB_INPUT=f"s3://{BUCKET}/in/", JOB_OUTPUT=output))
    results = set()
    for key in keys:
        target = naming.below(f"s3://{BUCKET}/in/{key}", key)
        result = target.folder + target.relative + ".json"
        assert is_inside(output, result)
        results.add(result if scheme(output) == "s3" else os.path.normpath(local_path(result)))
    assert len(results) == len(keys)


MANIFEST_LINES = st.one_of(
    KEYS.map(lambda key: f"s3://{BUCKET}/{key}".encode()),
    st.fixed_dictionaries(
        {"input": KEYS.map(f"s3://{BUCKET}/".__add__)},
        optional={"output": KEYS, "args": st.dictionaries(ANY_TEXT, JSON)},
    ).map(lambda line: json.dumps(line).encode()),
    st.dictionaries(st.sampled_from(["input", "output", "args", "inptu"]) | ANY_TEXT, JSON).map(
        lambda line: json.dumps(line).encode()
    ),
    damaged_texts().map(lambda text: text.encode(errors="surrogatepass")),
    st.binary(),
    st.sampled_from([b"", b"#", b"\xef\xbb\xbf", b"\xff\xfe", b"\x1f\x8b", b"{", b"[]", b"\r", b"\0", b"{" * 70_000]),
)


@fuzzed(st.lists(MANIFEST_LINES, max_size=5), OUTPUTS, st.booleans(), st.sampled_from(["", "1", "7"]))
def test_any_manifest_is_work_or_a_failure(lines: list[bytes], output: str, zipped: bool, index: str) -> None:
    text = b"\n".join(lines)
    with tempfile.NamedTemporaryFile() as manifest:
        manifest.write(gzip.compress(text) if zipped else text)
        manifest.flush()
        array = {"JOB_ARRAY_INDEX": index, "JOB_ARRAY_SIZE": "3"} if index else {}
        try:
            for item in plan_work(read(JOB_MANIFEST=manifest.name, JOB_OUTPUT=output, **array)):
                _has_a_file_name(item)
                result = item.result_uri()
                assert is_inside(output, result) or result.startswith(tuple(_whole_places(lines)))
        except Failure as failure:
            _refused_in_one_line(failure)


@fuzzed(KEYS)
def test_a_models_copy_can_be_made_under_the_name_that_it_gets(key: str) -> None:
    assume(not key.endswith("/"))
    (item,) = planned(read(JOB_EVENT=event_of([key], "eventbridge"), JOB_OUTPUT="/out/"))
    with tempfile.TemporaryDirectory() as folder:
        copied = Path(folder, item.file_name)
        copied.touch()
        assert [each.name for each in Path(folder).iterdir()] == [copied.name]
    _, dot, extension = key.rpartition("/")[2].rpartition(".")
    if dot and extension in ("wav", "json"):
        assert item.file_name.endswith(f".{extension}")


@fuzzed(
    st.sampled_from(["", "s3://", "s3://recordings/", "S3://", "http://", "https://user:pass@host/", "file://", "file:///",
                     "ftp://", "~", "~root/", "./", "://", "data:"]),
    ANY_VARIABLE | KEYS,
    OUTPUTS,
    st.sampled_from(["", "s3://recordings/", "/", "file:///", "https://host/", "~/", "x"]),
)  # fmt: skip
def test_any_input_is_work_inside_the_output_or_a_failure(head: str, tail: str, output: str, root: str) -> None:
    assert shown(head + tail) is not None
    try:
        spec = read(JOB_INPUT=head + tail, JOB_OUTPUT=output, JOB_INPUT_ROOT=root)
        if scheme(spec.input or "") in ("", "file") and (spec.input or "").endswith("/"):
            return  # a folder of this machine would be walked
        planned(spec)
    except Failure as failure:
        _refused_in_one_line(failure)


ARRAY_VARIABLES = [
    "AWS_BATCH_JOB_ID", "AWS_BATCH_JOB_ATTEMPT", "AWS_BATCH_JOB_ARRAY_INDEX", "AWS_BATCH_JOB_ARRAY_SIZE",
    "JOB_ARRAY_INDEX", "JOB_ARRAY_SIZE", "JOB_COMPLETION_INDEX", "SLURM_JOB_ID", "SLURM_ARRAY_JOB_ID",
    "SLURM_ARRAY_TASK_ID", "SLURM_ARRAY_TASK_MIN", "SLURM_ARRAY_TASK_COUNT", "SLURM_RESTART_COUNT",
]  # fmt: skip
VALUES = st.one_of(
    ANY_TEXT,
    JSON.map(json.dumps),
    st.integers().map(str),
    st.floats().map(str),
    st.sampled_from(["²", "٣", "1_000", " 1", "1e9", "0x10", "9" * 5000, "inf", "nan", "whsec_", "whsec_=", "{}", "[]",
                     "[" * 100_000, '{"a":NaN}', '{"a":1e999}', "https://[", "http://", "root", "0:0", "-1:5", "~", "*",
                     "[!", "**/**", "\\", "/", "s3://", "s3://b/", "cpu", "auto", "worker", "never"]),
)  # fmt: skip


@fuzzed(
    st.dictionaries(st.sampled_from([v.name for v in VARIABLES] + ARRAY_VARIABLES), VALUES, max_size=8)
    | st.dictionaries(st.text().map("JOB_".__add__), VALUES, max_size=3)
)
def test_any_environment_is_a_job_or_a_failure(environ: dict[str, str]) -> None:
    told = job.salvage(environ, {})  # of a job that is refused, too
    assert told.output is None or told.output.endswith("/")
    try:
        spec = job.read(environ, {})
        spec.require_complete()
    except Failure as failure:
        return _refused_in_one_line(failure)
    assert spec.output is not None
    assert spec.output.endswith("/")
    assert "/" not in spec.identity.name
    return None


@fuzzed(
    st.lists(
        st.sampled_from(
            [v.flag for v in VARIABLES if not v.secret] + ["run", "check", "--dry-run", "--json", "--", "-"]
        )
        | VALUES.filter(lambda text: text not in ("-h", "--help", "--version")),
        max_size=6,
    )
)
def test_any_command_line_is_read_or_refused(words: list[str]) -> None:
    try:
        arguments = cli._parse(words)
        job.read({}, vars(arguments))
    except Failure as failure:
        _refused_in_one_line(failure)
