"""Answers OK with an error in place of the one file's prediction, as image-classification-tf does."""

from typing import Any

from marshmallow import fields


def get_metadata() -> Any:
    return {"name": "per_file_error"}


def get_predict_args() -> Any:
    return {
        "files": fields.Field(required=True, metadata={"type": "file", "location": "form", "description": "A file"}),
    }


def get_train_args() -> Any:
    return {}


def predict(**kwargs: Any) -> Any:
    return {"status": "OK", "predictions": [{"error": "the image cannot be decoded"}]}
