"""Raises, as most modules do on input they cannot read."""

from typing import Any

from marshmallow import fields


def get_metadata() -> Any:
    return {"name": "raises"}


def get_predict_args() -> Any:
    return {
        "files": fields.Field(required=True, metadata={"type": "file", "location": "form", "description": "A file"}),
    }


def get_train_args() -> Any:
    return {}


def predict(**kwargs: Any) -> Any:
    raise ValueError("the recording is silent: 0 of 16000 samples")
