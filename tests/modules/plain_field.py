"""Has, besides the file, an argument of the base class Field that is no file."""

from typing import Any

from marshmallow import fields


def get_metadata() -> Any:
    return {"name": "plain_field"}


def get_predict_args() -> Any:
    return {
        "files": fields.Field(required=True, metadata={"type": "file", "location": "form", "description": "A file"}),
        "note": fields.Field(load_default="none", metadata={"description": "Whatever comes"}),
    }


def get_train_args() -> Any:
    return {}


def predict(**kwargs: Any) -> Any:
    return {"note": kwargs["note"], "upload": type(kwargs["files"]).__name__}
