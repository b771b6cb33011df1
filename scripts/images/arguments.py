"""A module's arguments: as a person gives them, and as its job is told them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from scripts.images.catalogue import Module
from supervisor.failures import BadUsage

_ARGS = "use an object: --args '{\"threshold\": 0.6}'"


def job_variables(module: Module, arguments: Mapping[str, Any]) -> dict[str, str]:
    """What a job of this module is told beside its input and output; `arguments` win over the catalogue's defaults.

    The input's field is named where the supervisor would not find it by itself.
    """
    variables = {}
    if module.input.field != "files" or module.input.other_fields:
        variables["JOB_INPUT_FIELD"] = module.input.field
    if all_arguments := {**(module.default_args or {}), **arguments}:
        variables["JOB_PREDICT_ARGS"] = json.dumps(all_arguments)
    return variables


def predict_args(text: str | None) -> dict[str, Any]:
    """The module's arguments as an object. Raises BadUsage."""
    try:
        arguments = json.loads(text or "{}")
    except ValueError as error:
        raise BadUsage(f"the arguments are not JSON: {error}", _ARGS) from None
    if not isinstance(arguments, dict):
        raise BadUsage(f"the arguments are {text}, not a JSON object", _ARGS)
    return arguments
