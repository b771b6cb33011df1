"""Has an `accept` with one choice, as most of the catalogue's JSON modules do."""

from typing import Any

from marshmallow import fields, validate


def get_metadata() -> Any:
    return {"name": "accept_json_only"}


def get_predict_args() -> Any:
    return {
        "files": fields.Field(required=True, metadata={"type": "file", "location": "form", "description": "A file"}),
        "accept": fields.Str(
            load_default="application/json",
            validate=validate.OneOf(["application/json"]),
            metadata={"location": "headers", "description": "Media type"},
        ),
    }


def get_train_args() -> Any:
    return {}


def predict(**kwargs: Any) -> Any:
    return {"accept": kwargs["accept"]}
