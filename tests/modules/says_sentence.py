"""Answers with a bare sentence where something is wrong, as socib-shoreline-extraction does."""

from typing import Any

from marshmallow import fields


def get_metadata() -> Any:
    return {"name": "says_sentence"}


def get_predict_args() -> Any:
    return {
        "files": fields.Field(required=True, metadata={"type": "file", "location": "form", "description": "A file"}),
        "crop": fields.Str(load_default="", metadata={"description": "Left, top, right, bottom"}),
    }


def get_train_args() -> Any:
    return {}


def predict(**kwargs: Any) -> Any:
    if not kwargs["crop"]:
        return "Invalid crop coordinates: ensure that right > left."
    return {"crop": kwargs["crop"]}
