"""A request of RegisterJobDefinition, or a revision as Batch describes it, taken apart into items and put together.

    {"timeout": {"attemptDurationSeconds": 60}, "containerProperties": {"environment": [{"name": "A", "value": "1"}]}}

is ("timeout", "attemptDurationSeconds"): 60, and ("containerProperties", "environment", "A"): {"name": "A", …}.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

ItemPath = tuple[str, ...]
# Lists whose entries have a name of their own, under this key.
NAMED = {"environment": "name", "secrets": "name", "ulimits": "name", "volumes": "name", "resourceRequirements": "type"}


def items(value: Mapping[str, Any], path: ItemPath = ()) -> Iterator[tuple[ItemPath, Any]]:
    """Every item that says something: Batch fills in empty lists and objects, and false, where it was given nothing."""
    for key, part in value.items():
        here = (*path, key)
        if isinstance(part, Mapping):
            yield from items(part, here)
        elif key in NAMED and isinstance(part, list):
            yield from (((*here, str(each.get(NAMED[key], number))), each) for number, each in enumerate(part))
        elif part not in (None, "", [], False):
            yield here, part


def put(request: dict[str, Any], path: ItemPath, item: Any) -> None:
    """Puts one item back where it was."""
    *folders, name = path
    if folders and folders[-1] in NAMED:
        *folders, list_ = folders
        for each in folders:
            request = request.setdefault(each, {})
        request.setdefault(list_, []).append(item)
        return
    for each in folders:
        request = request.setdefault(each, {})
    request[name] = item
