"""The published schema is strict, and says what everything is."""

from collections.abc import Iterator
from typing import Any

import pytest
from jsonschema import Draft202012Validator, ValidationError

from supervisor.failures import ItemFailed
from supervisor.status.schema import schema
from tests.unit.status.jobs import done, failed, record, valid


def objects(part: Any, where: str = "#") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every description of an object, with its place."""
    if isinstance(part, dict):
        if part.get("type") == "object":
            yield where, part
        for name, inner in part.items():
            yield from objects(inner, f"{where}/{name}")


def ended() -> dict[str, Any]:
    made = record(2)
    made.add(done(0))
    made.add(failed(1, ItemFailed("null"), ("its log",)))
    made.close(None)
    return valid(made.document())


def test_the_schema_is_one() -> None:
    Draft202012Validator.check_schema(schema())


@pytest.mark.parametrize(
    ("where", "described"), list(objects(schema())), ids=lambda part: part if type(part) is str else ""
)
def test_every_object_is_closed_and_every_member_described(where: str, described: dict[str, Any]) -> None:
    assert "additionalProperties" in described
    for name, member in described.get("properties", {}).items():
        assert member.get("description"), f"{where}: {name}"


@pytest.mark.parametrize(
    "wrong",
    [
        {"state": "DONE"},
        {"version": 1},
        {"state": "RUNNING"},
        {"state": "SUCCEEDED"},
        {"exit_code": 1},
        {"started": "yesterday"},
        {"counts": {"total": 1}},
        {"seconds": {"predict": 1.0}},
        {"seconds": {"total": -1}},
        {"device": {"kind": "tpu"}},
        {"throughput": "fast"},
        {"items": [{"input": "a", "state": "failed", "finished": "2026-01-01T00:00:00.000Z"}]},
        {"items": [{"input": "a", "state": "done", "finished": "2026-01-01T00:00:00.000Z"}]},
        {"error": {"code": 65}},
        {"outcome": "something new"},
    ],
    ids=str,
)
def test_a_document_with_a_mistake_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        valid(ended() | wrong)


@pytest.mark.parametrize("missing", ["version", "state", "job", "counts", "exit_code", "finished", "error", "items"])
def test_a_document_that_lacks_something_is_refused(missing: str) -> None:
    document = ended()
    del document[missing]
    with pytest.raises(ValidationError):
        valid(document)
