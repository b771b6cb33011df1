"""Has an argument with a hyphen in its name."""

from typing import Any

from marshmallow import fields


def get_metadata() -> Any:
    return {"name": "hyphenated"}


def get_predict_args() -> Any:
    return {
        "files": fields.Field(required=True, metadata={"type": "file", "location": "form", "description": "A file"}),
        "my-threshold": fields.Float(load_default=0.5, metadata={"description": "From 0 to 1"}),
    }


def get_train_args() -> Any:
    return {}


def predict(**kwargs: Any) -> Any:
    return {"my-threshold": kwargs["my-threshold"]}
