"""Has an `accept` without default and uses it, as satsr does: the REST API gives the first choice."""

from typing import Any

from marshmallow import fields, validate


def get_metadata() -> Any:
    return {"name": "accept_without_default"}


def get_predict_args() -> Any:
    return {
        "files": fields.Field(required=True, metadata={"type": "file", "location": "form", "description": "A file"}),
        "accept": fields.Str(
            validate=validate.OneOf(["application/json", "image/tiff"]),
            metadata={"location": "headers", "description": "Media type"},
        ),
    }


def get_train_args() -> Any:
    return {}


def predict(**kwargs: Any) -> Any:
    if kwargs["accept"] == "application/json":
        return {"accept": kwargs["accept"]}
    raise ValueError("cannot answer with " + kwargs["accept"])
