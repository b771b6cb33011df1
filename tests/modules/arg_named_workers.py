"""Calls an argument as DEEPaaS calls a number of its own, and gives it a text: its command line aborts."""

from typing import Any

from marshmallow import fields


def get_metadata() -> Any:
    return {"name": "arg_named_workers"}


def get_predict_args() -> Any:
    return {
        "files": fields.Field(required=True, metadata={"type": "file", "location": "form", "description": "A file"}),
        "workers": fields.Str(load_default="auto", metadata={"description": "How many"}),
    }


def get_train_args() -> Any:
    return {}


def predict(**kwargs: Any) -> Any:
    return {"workers": kwargs["workers"]}
