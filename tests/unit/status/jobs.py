"""Jobs, items and outcomes as the status room meets them."""

import json
from typing import Any

from jsonschema import Draft202012Validator

from supervisor.failures import Failure
from supervisor.job import JobSpec
from supervisor.machine.scheduler import Identity
from supervisor.status.document import DONE, ITEM_FAILED, Outcome, Record
from supervisor.status.schema import schema
from supervisor.storage import Object
from supervisor.work.plan import Item

OUTPUT = "s3://bucket/results/"


def record(total: int | None, **spec: Any) -> Record:
    """The record of a job with so many items, none of which has ended."""
    made = Record(JobSpec(**{"identity": Identity(id="job-1"), "output": OUTPUT, **spec}))
    made.planned(total, placeholders=0)
    return made


def done(index: int, state: str = DONE) -> Outcome:
    of = item(index)
    found = (Object(uri=of.uri, size=40),)
    return Outcome(item=of, state=state, result=f"{OUTPUT}{index}.wav.json", found=found, seconds={"predict": 0.25})


def failed(index: int, failure: Failure, log_tail: tuple[str, ...] = ()) -> Outcome:
    return Outcome(item=item(index), state=ITEM_FAILED, failure=failure, log_tail=log_tail)


def item(index: int) -> Item:
    return Item(index=index, uri=f"s3://bucket/in/{index}.wav", relative=f"{index}.wav", output=OUTPUT)


def valid(document: dict[str, Any]) -> dict[str, Any]:
    """The document as its reader gets it, once it has been checked against the schema."""
    read: dict[str, Any] = json.loads(json.dumps(document))
    Draft202012Validator(schema(), format_checker=Draft202012Validator.FORMAT_CHECKER).validate(read)
    return read
