"""Events in every form in which they arrive, and in forms in which they never should."""

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import quote_plus

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from supervisor.failures import BadUsage
from supervisor.status.document import without_none
from supervisor.work.events import CreatedObject, newest, parse

BUCKET = "recordings"


def notification(
    *keys: str,
    name: str = "ObjectCreated:Put",
    version: str | None = None,
    size: int | None = 1024,
    order: str | None = None,
) -> dict[str, Any]:
    """What S3 sends: keys encoded as a form's fields are."""
    entry = without_none({"size": size, "eTag": "d41d8cd98f00b204e9800998ecf8427e", "versionId": version,
                          "sequencer": order})  # fmt: skip
    return {"Records": [_record({"key": quote_plus(key), **entry}, name) for key in keys]}


def _record(entry: dict[str, Any], name: str) -> dict[str, Any]:
    return {
        "eventVersion": "2.1",
        "eventSource": "aws:s3",
        "awsRegion": "eu-west-1",
        "eventName": name,
        "s3": {
            "s3SchemaVersion": "1.0",
            "bucket": {"name": BUCKET, "arn": f"arn:aws:s3:::{BUCKET}"},
            "object": entry,
        },
    }


def eventbridge(
    key: str, version: str | None = None, kind: str = "Object Created", order: str | None = None
) -> dict[str, Any]:
    """What EventBridge sends: the key as it is."""
    entry = {"key": key, "size": 5, "etag": "b1946ac92492d2347c6235b4d2611184", "version-id": version,
             "sequencer": order}  # fmt: skip
    return {
        "version": "0",
        "detail-type": kind,
        "source": "aws.s3",
        "detail": {
            "version": "0",
            "bucket": {"name": BUCKET},
            "object": without_none(entry),
            "reason": "PutObject",
        },
    }


def in_sqs(*events: object) -> dict[str, Any]:
    """As Lambda and Pipes hand messages over."""
    return {"Records": [{"eventSource": "aws:sqs", "body": json.dumps(event)} for event in events]}


def received(*events: object) -> dict[str, Any]:
    """As ReceiveMessage answers."""
    return {"Messages": [{"MessageId": "1", "Body": json.dumps(event)} for event in events]}


def raw_sqs(event: object) -> dict[str, Any]:
    return {"MessageId": "1", "ReceiptHandle": "x", "Body": json.dumps(event)}


def piped(event: object) -> list[Any]:
    """As EventBridge Pipes hands a batch of SQS messages over."""
    return [{"messageId": "1", "eventSource": "aws:sqs", "body": json.dumps(event)}]


def in_sns(event: object) -> dict[str, Any]:
    """As Lambda hands a topic's message over."""
    return {"Records": [{"EventSource": "aws:sns", "Sns": {"Type": "Notification", "Message": json.dumps(event)}}]}


def raw_sns(event: object) -> dict[str, Any]:
    """As a topic posts it to a web address or puts it into a queue."""
    return {"Type": "Notification", "TopicArn": "arn:aws:sns:eu-west-1:1:t", "Message": json.dumps(event)}


def sns_in_sqs(event: object) -> dict[str, Any]:
    return in_sqs(raw_sns(event))


def sns_in_received(event: object) -> dict[str, Any]:
    return received(raw_sns(event))


def in_list(event: object) -> list[Any]:
    return [event]


def bare(event: object) -> object:
    return event


def created(key: str, version: str | None = None) -> CreatedObject:
    return CreatedObject(bucket=BUCKET, key=key, version=version)


def parsed(event: object) -> tuple[CreatedObject, ...]:
    return parse(json.dumps(event))


WRAPPINGS = [bare, in_list, in_sqs, received, raw_sqs, piped, in_sns, raw_sns, sns_in_sqs, sns_in_received]
KEYS = [
    "a.wav",
    "a b.wav",
    "a+b.wav",
    "100%.wav",
    "a%2Bb.wav",
    "%41.wav",
    "über/日本.wav",
    "🎙 1.wav",
    "a//b",
    "/abs",
    "../x",
]


@pytest.mark.parametrize("wrapping", WRAPPINGS)
@pytest.mark.parametrize("form", [notification, eventbridge])
def test_an_event_is_read_in_every_wrapping(
    form: Callable[..., dict[str, Any]], wrapping: Callable[[object], object]
) -> None:
    assert parsed(wrapping(form("incoming/a.wav", version="v1"))) == (created("incoming/a.wav", "v1"),)


def minios(version: str) -> dict[str, Any]:
    """A notification as MinIO of 2019 sent it: its own members beside S3's."""
    entry = {"key": "a%2Fx.wav", "size": 298820, "eTag": "ffb5", "contentType": "audio/wav", "versionId": version}
    record = {
        "eventVersion": "2.0",
        "eventSource": "minio:s3",
        "eventName": "s3:ObjectCreated:Put",
        "s3": {"s3SchemaVersion": "1.0", "bucket": {"name": BUCKET}, "object": {**entry, "sequencer": "15CF"}},
    }
    return {"EventName": "s3:ObjectCreated:Put", "Key": f"{BUCKET}/a/x.wav", "Records": [record]}


@pytest.mark.parametrize(("version", "read_as"), [("1", None), ("", None), ("null", "null"), ("b-1", "b-1")])
def test_what_minio_says_of_objects_without_versions_is_no_version(version: str, read_as: str | None) -> None:
    assert parsed(minios(version)) == (created("a/x.wav", read_as),)


@pytest.mark.parametrize("key", KEYS)
def test_a_notifications_key_is_decoded_as_a_form_field(key: str) -> None:
    assert parsed(notification(key)) == (created(key),)


@pytest.mark.parametrize("key", KEYS)
def test_eventbridges_key_is_taken_as_it_is(key: str) -> None:
    assert parsed(eventbridge(key)) == (created(key),)


def test_a_notifications_plus_sign_is_a_space_and_an_encoded_one_a_plus() -> None:
    event = notification("x")
    event["Records"][0]["s3"]["object"]["key"] = "a+b%2Bc%25d%C3%BC"
    assert parsed(event) == (created("a b+c%dü"),)


def test_minios_form_is_read() -> None:
    event = notification("a b.wav", name="s3:ObjectCreated:Put")
    event["Records"][0]["eventSource"] = "minio:s3"
    event |= {"EventName": "s3:ObjectCreated:Put", "Key": f"{BUCKET}/a b.wav"}
    assert parsed(event) == (created("a b.wav"),)


@pytest.mark.parametrize(
    "name",
    ["ObjectCreated:Put", "ObjectCreated:CompleteMultipartUpload", "ObjectCreated:Copy", "s3:ObjectCreated:Post"],
)
def test_every_way_to_create_an_object_counts(name: str) -> None:
    assert parsed(notification("a.wav", name=name)) == (created("a.wav"),)


def test_all_records_count_in_their_order() -> None:
    event = in_sqs(notification("b", "a"), raw_sns(notification("d")), eventbridge("c"))
    assert [o.key for o in parsed(event)] == ["b", "a", "d", "c"]


def test_an_object_named_twice_is_one() -> None:
    assert parsed(in_sqs(notification("a", "b", version="1"), notification("a", version="1"))) == (
        created("a", "1"),
        created("b", "1"),
    )


def test_two_versions_of_a_key_are_two_objects() -> None:
    assert len(parsed([notification("a", version="1"), notification("a", version="2")])) == 2


def test_a_folders_placeholder_is_known_as_one() -> None:
    folder, file = parsed(notification("incoming/", "incoming/a.wav", size=0))
    assert (folder.is_placeholder, file.is_placeholder) == (True, False)


@pytest.mark.parametrize("size", [0, None])
def test_a_key_that_ends_in_a_slash_and_has_no_bytes_is_a_placeholder(size: int | None) -> None:
    (folder,) = parsed(notification("incoming/", size=size))
    assert folder.is_placeholder


@pytest.mark.parametrize("form", [notification, eventbridge])
def test_a_key_that_ends_in_a_slash_and_has_bytes_is_an_input(form: Callable[..., dict[str, Any]]) -> None:
    (object,) = parsed(form("incoming/a.wav/"))
    assert not object.is_placeholder


@pytest.mark.parametrize(
    ("orders", "version"),
    [
        (("0055AED6DCD90281E5", "0055AED6DCD90281E6"), "2"),
        (("0055AED6DCD90281E6", "0055AED6DCD90281E5"), "1"),
        (("0055AED6DC", "0055AED6DCD90281E5"), "2"),
        (("0055AED6DD", "0055AED6DCD90281E5"), "1"),
        (("0055aed6dd", "0055AED6DCD90281E5"), "1"),
        ((None, "0055AED6DCD90281E5"), "2"),
        ((None, None), "2"),
    ],
)
@pytest.mark.parametrize("form", [notification, eventbridge])
def test_of_several_versions_of_a_key_the_one_created_last_is_the_newest(
    orders: tuple[str | None, str | None], version: str, form: Callable[..., dict[str, Any]]
) -> None:
    objects = parsed([form("a", version=str(number), order=order) for number, order in enumerate(orders, start=1)])
    assert [each.version for each in newest(objects)] == [version]


def test_the_newest_of_each_key_are_in_the_events_order() -> None:
    objects = parsed([notification(key, version=version) for key, version in ("a1", "b1", "a2", "c1")])
    assert [(each.key, each.version) for each in newest(objects)] == [("b", "1"), ("a", "2"), ("c", "1")]


@pytest.mark.parametrize(
    "other",
    [
        notification("gone", name="ObjectRemoved:Delete"),
        notification("gone", name="s3:ObjectRemoved:DeleteMarkerCreated"),
        eventbridge("gone", kind="Object Deleted"),
        {"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": BUCKET},
    ],
)
def test_what_creates_nothing_is_left_out_beside_what_does(other: object) -> None:
    assert parsed([other, notification("a.wav")]) == (created("a.wav"),)


@pytest.mark.parametrize(
    ("event", "told"),
    [
        (notification("gone", name="ObjectRemoved:Delete"), "ObjectRemoved:Delete"),
        (eventbridge("gone", kind="Object Deleted"), "Object Deleted"),
        ({"Service": "Amazon S3", "Event": "s3:TestEvent"}, "s3:TestEvent"),
    ],
)
def test_an_event_that_creates_nothing_is_refused_by_its_name(event: object, told: str) -> None:
    with pytest.raises(BadUsage, match="creates no object") as refused:
        parsed(event)
    assert told in refused.value.message


def _with(place: str, value: object) -> dict[str, Any]:
    event = notification("a")
    target = event["Records"][0]["s3"]
    *folders, last = place.split(".")
    for folder in folders:
        target = target[folder]
    target[last] = value
    return event


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "not JSON"),
        ("{", "not JSON"),
        ("s3://recordings/a.wav", "not JSON"),
        ("null", "NoneType"),
        ("5", "int"),
        ('"{}"', "str"),
        ("{}", r"members \(none\)"),
        ('{"foo": 1}', "members foo"),
        ('{"Records": []}', "no record"),
        ("[]", "no record"),
        ('{"Records": [7]}', "JSON int"),
        ('{"Message": "hello"}', "Message in JOB_EVENT is not JSON"),
        ('{"Body": ""}', "Body in JOB_EVENT is not JSON"),
        (json.dumps(_with("bucket", None)), r"lacks bucket.name or object.key"),
        (json.dumps(_with("bucket.name", "")), r"lacks bucket.name or object.key"),
        (json.dumps(_with("bucket.name", "other/place")), "not the name of a bucket"),
        (json.dumps(_with("object", [])), r"lacks bucket.name or object.key"),
        (json.dumps(_with("object.key", 7)), r"lacks bucket.name or object.key"),
        (json.dumps(_with("object.key", "%FF.wav")), "not UTF-8"),
        (json.dumps(_with("object.key", "\ud800")), "not UTF-8"),
        (json.dumps({"detail-type": "Object Created", "detail": "x"}), "detail is not an object"),
        ("[" * 100_000, "deeply|not JSON"),
        ("[" * 12 + "]" * 12, "deeply"),
        ("9" * 5000, "not JSON"),
    ],
)
def test_what_is_no_event_is_refused_with_the_reason(text: str, told: str) -> None:
    with pytest.raises(BadUsage, match=told) as refused:
        parse(text)
    assert refused.value.code == 64
    assert "\n" not in refused.value.message


WORDS = st.sampled_from(
    ["Records", "Messages", "Sns", "Message", "body", "Body", "s3", "bucket", "object", "name", "key", "detail",
     "detail-type", "Object Created", "eventName", "ObjectCreated:Put", "Event", "s3:TestEvent", "versionId"]
)  # fmt: skip
TEXTS = WORDS | st.text(st.characters(exclude_categories=()), max_size=8)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(TEXTS, inner, max_size=5)
        | inner.map(json.dumps)
        | inner.map(lambda value: {"Records": [{"s3": value}]})
        | inner.map(lambda value: {"Records": [{"s3": {"bucket": {"name": value}, "object": {"key": value}}}]})
        | inner.map(lambda value: {"detail-type": "Object Created", "detail": value})
    ),
    max_leaves=25,
)


def _parses_or_refuses(text: str) -> None:
    try:
        found = parse(text)
    except BadUsage:
        return
    assert found
    assert all(o.bucket and o.key and "/" not in o.bucket for o in found)


@settings(max_examples=500, deadline=None)
@given(JSON)
def test_any_json_is_objects_or_bad_usage(value: object) -> None:
    _parses_or_refuses(json.dumps(value))


@settings(max_examples=300, deadline=None)
@given(st.text(st.characters(exclude_categories=())))
def test_any_text_is_objects_or_bad_usage(text: str) -> None:
    _parses_or_refuses(text)


@settings(max_examples=300, deadline=None)
@given(
    st.text(min_size=1),
    st.sampled_from(WRAPPINGS),
    st.sampled_from([notification, eventbridge]),
)
def test_any_key_survives_every_form_and_wrapping(
    key: str, wrapping: Callable[[object], object], form: Callable[..., dict[str, Any]]
) -> None:
    assert parsed(wrapping(form(key))) == (created(key),)
