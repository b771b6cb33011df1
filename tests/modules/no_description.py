"""Describes none of its arguments."""

from typing import Any

from marshmallow import fields


def get_metadata() -> Any:
    return {"name": "no_description"}


def get_predict_args() -> Any:
    return {
        "files": fields.Field(required=True, metadata={"type": "file", "location": "form"}),
        "top": fields.Int(load_default=3),
    }


def get_train_args() -> Any:
    return {}


def predict(**kwargs: Any) -> Any:
    return {"top": kwargs["top"]}
