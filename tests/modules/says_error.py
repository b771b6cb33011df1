"""Catches its own errors and answers with them, as audio-classification-tf and planktonclas do."""

from typing import Any

from marshmallow import fields


def get_metadata() -> Any:
    return {"name": "says_error"}


def get_predict_args() -> Any:
    return {
        "files": fields.Field(required=True, metadata={"type": "file", "location": "form", "description": "A file"}),
    }


def get_train_args() -> Any:
    return {}


def predict(**kwargs: Any) -> Any:
    return {"status": "error", "message": "the recording cannot be decoded"}
