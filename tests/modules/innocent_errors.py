"""Answers with values that are called errors and are none."""

from typing import Any

from marshmallow import fields


def get_metadata() -> Any:
    return {"name": "innocent_errors"}


def get_predict_args() -> Any:
    return {
        "files": fields.Field(required=True, metadata={"type": "file", "location": "form", "description": "A file"}),
    }


def get_train_args() -> Any:
    return {}


def predict(**kwargs: Any) -> Any:
    return {"error_rate": 0.1, "errors": [], "error": None}
