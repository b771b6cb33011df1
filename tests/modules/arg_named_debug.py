"""Calls an argument as DEEPaaS calls a switch of its own, which it then sets."""

from typing import Any

from marshmallow import fields


def get_metadata() -> Any:
    return {"name": "arg_named_debug"}


def get_predict_args() -> Any:
    return {
        "files": fields.Field(required=True, metadata={"type": "file", "location": "form", "description": "A file"}),
        "debug": fields.Bool(load_default=False, metadata={"description": "Say more"}),
    }


def get_train_args() -> Any:
    return {}


def predict(**kwargs: Any) -> Any:
    return {"debug": kwargs["debug"]}
