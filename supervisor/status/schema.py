"""The schema of the status document, from which docs/status.schema.json and the table in docs/contract.md are made.

Not loaded in a job: tests check what jobs write against it.
"""

from typing import Any

from supervisor.failures import TABLE
from supervisor.status.document import (
    DONE,
    FAILED,
    INTERRUPTED,
    ITEM_FAILED,
    LISTED,
    PARTIAL,
    RUNNING,
    SKIPPED,
    SUCCEEDED,
    VERSION,
)

Schema = dict[str, Any]

STATES = {
    RUNNING: "the job has begun",
    SUCCEEDED: "every item is done or was up to date",
    PARTIAL: "the job came to its end; some items failed, the others are done (exit code 0 within JOB_MAX_FAILURES)",
    FAILED: "the job could not come to its end, or every item failed",
    INTERRUPTED: "stopped by a signal or a Spot notice; run again, it takes up where it was",
}


def schema() -> Schema:
    """The whole of it. Its $defs/item is one line of the items list, its $defs/row one line of the results table."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:deepaas-batch:status:{VERSION}",
        "title": "Status of a deepaas-batch job",
        **_object(MEMBERS, required=_ALWAYS),
        "allOf": _RULES,
        "$defs": {
            "time": _text("UTC, RFC 3339", pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$"),
            "seconds": {"type": "object", "additionalProperties": _amount("seconds")},
            "error": _object(_ERROR, required=("code", "category", "retry", "message", "hint")),
            "item": _object(_ITEM, required=("input", "state", "finished"))
            | {
                "if": {"properties": {"state": {"const": ITEM_FAILED}}},
                "then": {"required": ["error"]},
                "else": {"not": {"required": ["error"]}, "required": ["result"]},
            },
            "row": _object(_ROW, required=("input", "result"))
            | {"oneOf": [{"required": ["answer"]}, {"required": ["answer_left_out"]}]},
        },
    }


def _object(members: Schema, *, required: tuple[str, ...]) -> Schema:
    return {"type": "object", "properties": members, "required": list(required), "additionalProperties": False}


def _text(description: str, **more: Any) -> Schema:
    return {"type": "string", "description": description, **more}


def _count(description: str, minimum: int = 0) -> Schema:
    return {"type": "integer", "minimum": minimum, "description": description}


def _amount(description: str) -> Schema:
    return {"type": "number", "minimum": 0, "description": description}


def _at(definition: str, description: str) -> Schema:
    return {"$ref": f"#/$defs/{definition}", "description": description}


_CODES = [failure.code for failure in TABLE]

_ERROR: Schema = {
    "code": {"enum": _CODES, "description": "exit code that the failure stands for"},
    "category": {"enum": [failure.category for failure in TABLE], "description": "the failure's name in the table"},
    "retry": {"type": "boolean", "description": "whether the same may work the next time"},
    "message": _text("what was wrong, in one line"),
    "hint": _text("what to do about it"),
    "log": {
        "type": "array",
        "items": {"type": "string"},
        "description": "what the model printed last: at most 16 KiB, 2 KiB for an item",
    },
}

_ITEM: Schema = {
    "input": _text("URI of the input, or of the first of several, without user and query"),
    "inputs": {
        "type": "array",
        "minItems": 2,
        "items": _object(
            {
                "field": _text("module's argument that takes it, where the manifest names it"),
                "input": _text("its URI"),
                "version": _text("its version"),
                "etag": _text("its ETag"),
                "bytes": _count("its size"),
            },
            required=("input",),
        ),
        "description": "all inputs, where there are several; etag and bytes of the item are those of all together",
    },
    "version": _text("its version"),
    "etag": _text("its ETag, without quotes"),
    "bytes": _count("its size in bytes"),
    "state": {"enum": [DONE, SKIPPED, ITEM_FAILED], "description": "skipped: its result was up to date"},
    "result": _text("URI of the result"),
    "runner": _text("what made it: deepaas-cli, deepaas-predict or worker"),
    "seconds": _at("seconds", "wall-clock seconds in each stage: download, predict, upload"),
    "finished": _at("time", "when it ended"),
    "retried": {"const": True, "description": "the model crashed on it, and it was tried once more, alone"},
    "voucher": _text("by which the next run knows, without asking, that the result stands"),
    "error": _at("error", "why it failed"),
}

_ROW: Schema = {name: _ITEM[name] for name in ("input", "result", "etag", "bytes", "seconds")} | {
    "answer": {"description": "the module's answer, as in the result"},
    "answer_left_out": _text("why the answer is only in the result: larger than 1 MiB, say"),
}

MEMBERS: Schema = {
    "version": {"const": VERSION, "description": "version of this schema"},
    "state": {"enum": list(STATES), "description": "; ".join(f"{state}: {means}" for state, means in STATES.items())},
    "exit_code": {"enum": [0, *_CODES], "description": "once the job has ended"},
    "job": {
        "description": "which job, as AWS Batch, SLURM or Kubernetes names it",
        **_object(
            {
                "id": _text("job id; local-… where there is no scheduler", minLength=1),
                "attempt": _count("1 for the first", 1),
                "array_index": _count("which child of an array"),
                "array_size": _count("among how many children the work is divided", 1),
                "queue": _text("job queue or partition"),
            },
            required=("id", "attempt"),
        ),
    },
    "started": _at("time", "when the job began"),
    "updated": _at("time", "of when this document tells; rewritten at most every 5 s while the job runs"),
    "finished": _at("time", "when it ended"),
    "counts": {
        "description": "items by state",
        **_object(
            {
                "total": _count("items of this job; seen so far where listing is true"),
                DONE: _count("predicted, and the result stored"),
                SKIPPED: _count("left alone: the result was up to date"),
                ITEM_FAILED: _count("failed"),
                "pending": _count("not ended, or never reached"),
                "placeholders": _count("folder placeholders left out; not in total"),
                "written_by_jobs": _count("inputs that are results of earlier jobs, left out; not in total", 1),
                "listing": {"const": True, "description": "a prefix is still being listed: total grows"},
            },
            required=("total", DONE, SKIPPED, ITEM_FAILED, "pending", "placeholders"),
        ),
    },
    "seconds": {
        "description": "wall-clock seconds: model is loading and checking it; download, predict, upload are sums over "
        "all items, which overlap; total is the whole job",
        "type": "object",
        "properties": {"total": _amount("seconds since the job began")},
        "required": ["total"],
        "additionalProperties": _amount("seconds in this stage"),
    },
    "throughput": _amount("items ended a second, from the job's begin, loading the model included"),
    "module": {
        "description": "the module in the image",
        **_object(
            {"name": _text("its name in DEEPaaS"), "version": _text("its distribution's version")}, required=("name",)
        ),
    },
    "image": {
        "description": "the derived image, as its build recorded it",
        **_object(
            {
                "name": _text("name and digest"),
                "base": _text("catalogue image it was made from, with its digest"),
                "module": _text("its name in images/"),
                "variant": _text("cpu or gpu"),
            },
            required=(),
        ),
    },
    "versions": {
        "description": "what ran",
        **_object(
            {
                "supervisor": _text("ours"),
                "deepaas": _text("the image's DEEPaaS"),
                "python": _text("the image's Python"),
            },
            required=("supervisor",),
        ),
    },
    "device": {
        "description": "what the model ran on",
        **_object(
            {
                "kind": {"enum": ["cpu", "cuda"], "description": "the device asked for, or found"},
                "gpus": {
                    "type": "array",
                    "items": _object(
                        {
                            "name": _text("the driver's name for it"),
                            "memory": _count("bytes"),
                            "uuid": _text("as nvidia-smi writes it"),
                        },
                        required=("name", "memory"),
                    ),
                    "description": "the GPUs that are there",
                },
                "driver": _text("the highest CUDA version that the driver speaks"),
                "note": _text("why there is no CUDA"),
            },
            required=("kind",),
        ),
    },
    "runner": {
        "description": "how DEEPaaS is run",
        **_object(
            {"name": _text("deepaas-cli, deepaas-predict or worker"), "why": _text("in a few words")},
            required=("name", "why"),
        ),
    },
    "usage": {
        "description": "what the model took, all its processes together; a member is missing where it is not known",
        **_object(
            {
                "peak_memory": _count("bytes"),
                "cpu_seconds": _amount("seconds of CPU time, user and system"),
                "gpu_memory": _count("bytes, the most that was seen"),
                "gpu_utilisation": {"type": "number", "minimum": 0, "maximum": 100, "description": "per cent, mean"},
            },
            required=(),
        ),
    },
    "warnings": {
        "type": "array",
        "items": {"type": "string"},
        "minItems": 1,
        "maxItems": 101,
        "description": "what went wrong without ending the job: the first 100",
    },
    "items": {
        "type": "array",
        "items": {"$ref": "#/$defs/item"},
        "maxItems": LISTED,
        "description": f"at most {LISTED} items, failures first, then those that ended last; in the order of the work",
    },
    "items_uri": _text("the list of all items, one a line; written when a job of several items has ended"),
    "results_table": _text("the module's answers, one a line; written when a job with JOB_RESULTS_TABLE has ended"),
    "error": _at("error", "why the job failed: its own failure, else the first of the kind that gave the exit code"),
}

_ALWAYS = ("version", "state", "job", "started", "updated", "counts", "seconds", "versions", "items")


def _when(states: tuple[str, ...], then: Schema) -> Schema:
    return {"if": {"properties": {"state": {"enum": list(states)}}}, "then": then}


_NO_ERROR: Schema = {"not": {"required": ["error"]}}
_RULES: list[Schema] = [
    _when((RUNNING,), {"not": {"anyOf": [{"required": [name]} for name in ("exit_code", "finished", "error")]}}),
    _when((SUCCEEDED, PARTIAL, FAILED, INTERRUPTED), {"required": ["exit_code", "finished"]}),
    _when((SUCCEEDED,), {"properties": {"exit_code": {"const": 0}}, **_NO_ERROR}),
    _when((INTERRUPTED,), {"properties": {"exit_code": {"enum": [75, 143]}}, "required": ["error"]}),
    {
        "if": {"properties": {"exit_code": {"const": 0}}, "required": ["exit_code"]},
        "then": _NO_ERROR,
        "else": {"if": {"required": ["exit_code"]}, "then": {"required": ["error"]}},
    },
]
