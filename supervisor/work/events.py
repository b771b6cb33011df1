"""The shapes in which an S3 event arrives, read into the objects that were created.

Understood, each alone or in a list, and nested as AWS nests them: an S3 notification, EventBridge's
"Object Created", either one in an SQS message (as Lambda hands it over or as ReceiveMessage returns it), in
an SNS message, or in an SNS message in an SQS message. Source: the S3 user guide's "Event message structure"
and "Using EventBridge", and the SNS and SQS message formats.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import unquote, unquote_plus

from supervisor.failures import BadUsage

# SNS inside SQS inside a list is 4; anything much deeper is not an event.
_DEEPEST = 8
# What MinIO before 2020 says of every object, although it keeps no versions.
_NO_VERSION = "1"


@dataclass(frozen=True, kw_only=True)
class CreatedObject:
    """An object that an event says was created. `key` is the plain key, decoded.

    size: bytes, None where the event does not say; order: grows with each event of one key, as text; "" where the event
    does not say.
    """

    bucket: str
    key: str
    version: str | None = None
    size: int | None = field(default=None, compare=False)
    order: str = field(default="", compare=False)

    @property
    def uri(self) -> str:
        return f"s3://{self.bucket}/{self.key}"

    @property
    def is_placeholder(self) -> bool:
        """The zero-byte object that consoles make for a "folder": nothing to predict on."""
        return self.key.endswith("/") and not self.size


def parse(text: str) -> tuple[CreatedObject, ...]:
    """The created objects of one JOB_EVENT, in the event's order, each named once.

    Raises BadUsage where the text is not an event, or an event that creates nothing.
    """
    objects: dict[CreatedObject, CreatedObject] = {}
    ignored: list[str] = []
    for found in _walk(_json(text, "JOB_EVENT"), 0):
        match found:
            case CreatedObject():
                other = objects.get(found)
                objects[found] = found if other is None else _later(found, other)
            case str():
                ignored.append(found)
    if objects:
        return tuple(objects.values())
    if ignored:
        raise BadUsage(
            f"JOB_EVENT creates no object: it says {', '.join(dict.fromkeys(ignored))}",
            "start jobs on ObjectCreated events only",
        )
    raise BadUsage(
        "JOB_EVENT holds no record",
        "pass the S3 notification or the EventBridge event whole, also when SQS or SNS wraps it",
    )


def newest(objects: Iterable[CreatedObject]) -> tuple[CreatedObject, ...]:
    """One object for each key, in the event's order: of several versions of one key the one that was created last."""
    last: dict[str, CreatedObject] = {}
    for each in objects:
        other = last.pop(each.uri, None)
        last[each.uri] = each if other is None else _later(each, other)
    return tuple(last.values())


def _later(one: CreatedObject, other: CreatedObject) -> CreatedObject:
    """Which of two of one key was created later. one: what comes later in the event, and is it where one of them has no
    order. The shorter order is padded with zeros on its right, as S3's user guide has it."""
    digits = max(len(one.order), len(other.order))
    is_older = one.order and other.order and one.order.ljust(digits, "0") < other.order.ljust(digits, "0")
    return other if is_older else one


def _json(text: str, what: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise BadUsage(f"{what} is not JSON: {error}", "pass the event as it arrived") from None
    except RecursionError:
        raise BadUsage(f"{what} is nested too deeply to be an S3 event") from None


def _walk(event: object, depth: int) -> Iterator[CreatedObject | str]:
    """Yields the created objects, and the names of events that create none."""
    if depth > _DEEPEST:
        raise BadUsage("JOB_EVENT is nested too deeply to be an S3 event")
    if isinstance(event, list):
        for one in event:
            yield from _walk(one, depth + 1)
        return
    if not isinstance(event, dict):
        raise BadUsage(f"JOB_EVENT is a JSON {type(event).__name__}, not an event")
    if event.get("Event") == "s3:TestEvent":
        yield "s3:TestEvent"
    elif "detail-type" in event and "detail" in event:
        yield _from_eventbridge(event)
    elif isinstance(event.get("s3"), dict):
        yield _from_notification(event)
    elif (wrapped := _unwrap(event)) is not None:
        yield from _walk(wrapped, depth + 1)
    else:
        raise BadUsage(
            f"JOB_EVENT is not an S3 event: it has the members {_some_names(event)}",
            "pass an S3 notification (Records) or an EventBridge event (detail)",
        )


def _unwrap(event: Mapping[str, Any]) -> Any:
    """What an envelope carries: a list of records or messages, or the JSON text in a message."""
    for member in ("Records", "Messages"):
        if isinstance(event.get(member), list):
            return event[member]
    sns = event.get("Sns")
    if isinstance(sns, dict):
        return sns
    for member in ("body", "Body", "Message"):
        if isinstance(event.get(member), str):
            return _json(event[member], f"the {member} in JOB_EVENT")
    return None


def _from_notification(record: Mapping[str, Any]) -> CreatedObject | str:
    name = str(record.get("eventName", "ObjectCreated"))
    if not name.removeprefix("s3:").startswith("ObjectCreated"):
        return name
    # Notifications encode the key as a form does: a space is "+", a plus sign "%2B".
    created = _created(record["s3"], lambda key: unquote_plus(key, errors="strict"), "versionId")
    is_minios = str(record.get("eventSource", "")).startswith("minio:")
    return replace(created, version=None) if is_minios and created.version == _NO_VERSION else created


def _from_eventbridge(event: Mapping[str, Any]) -> CreatedObject | str:
    name = str(event["detail-type"])
    if name != "Object Created":
        return name
    if not isinstance(event["detail"], dict):
        raise BadUsage("JOB_EVENT's detail is not an object")
    # EventBridge carries the key as it is: "+" and "%" are themselves.
    return _created(event["detail"], lambda key: key, "version-id")


def _created(where: Mapping[str, Any], decode: Callable[[str], str], version_member: str) -> CreatedObject:
    bucket, entry = where.get("bucket"), where.get("object")
    name = bucket.get("name") if isinstance(bucket, dict) else None
    key = entry.get("key") if isinstance(entry, dict) else None
    if not (isinstance(name, str) and name and isinstance(key, str) and key):
        raise BadUsage("a record in JOB_EVENT lacks bucket.name or object.key")
    if "/" in name:  # in s3://bucket/key it would name another object
        raise BadUsage(f"{name!r} in JOB_EVENT is not the name of a bucket")
    try:
        key = decode(key)
        key.encode()
    except UnicodeError:
        raise BadUsage(f"the key {unquote(key)!r} in JOB_EVENT is not UTF-8") from None
    facts = entry if isinstance(entry, dict) else {}
    version, size, order = facts.get(version_member), facts.get("size"), facts.get("sequencer")
    return CreatedObject(
        bucket=name,
        key=key,
        version=version if isinstance(version, str) and version else None,
        size=size if isinstance(size, int) and not isinstance(size, bool) else None,
        order=order.upper() if isinstance(order, str) else "",
    )


def _some_names(event: Mapping[str, Any]) -> str:
    names = ", ".join(sorted(map(str, event))[:5])
    return names or "(none)"
