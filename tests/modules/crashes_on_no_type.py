"""Takes the content type apart without a look whether there is one."""

from typing import Any

from marshmallow import fields


def get_metadata() -> Any:
    return {"name": "crashes_on_no_type"}


def get_predict_args() -> Any:
    return {
        "files": fields.Field(required=True, metadata={"type": "file", "location": "form", "description": "A file"}),
    }


def get_train_args() -> Any:
    return {}


def predict(**kwargs: Any) -> Any:
    major, minor = kwargs["files"].content_type.split("/")
    return {"major": major, "minor": minor}
