"""Answers with keys that are no strings."""

from typing import Any

from marshmallow import fields


def get_metadata() -> Any:
    return {"name": "odd_keys"}


def get_predict_args() -> Any:
    return {
        "files": fields.Field(required=True, metadata={"type": "file", "location": "form", "description": "A file"}),
    }


def get_train_args() -> Any:
    return {}


def predict(**kwargs: Any) -> Any:
    return {1: "int", None: "none", (1, 2): "tuple"}
