"""Answers with bytes inside, text and not."""

from typing import Any

from marshmallow import fields


def get_metadata() -> Any:
    return {"name": "bytes_inside"}


def get_predict_args() -> Any:
    return {
        "files": fields.Field(required=True, metadata={"type": "file", "location": "form", "description": "A file"}),
    }


def get_train_args() -> Any:
    return {}


def predict(**kwargs: Any) -> Any:
    return {"label": b"speech", "raw": b"\xff\x00"}
