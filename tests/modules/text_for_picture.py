"""Answers with a sentence in the place of the picture that was asked for."""

from typing import Any

from marshmallow import fields, validate


def get_metadata() -> Any:
    return {"name": "text_for_picture"}


def get_predict_args() -> Any:
    return {
        "files": fields.Field(required=True, metadata={"type": "file", "location": "form", "description": "A file"}),
        "accept": fields.Str(
            load_default="application/json",
            validate=validate.OneOf(["application/json", "image/png"]),
            metadata={"location": "headers", "description": "Media type"},
        ),
    }


def get_train_args() -> Any:
    return {}


def predict(**kwargs: Any) -> Any:
    return "Model not found." if kwargs["accept"] == "image/png" else {"model": None}
