"""Calls its one file argument `input`, as fasterrcnn_pytorch_api does."""

import os
from typing import Any

from marshmallow import fields


def get_metadata() -> Any:
    return {"name": "one_named_input"}


def get_predict_args() -> Any:
    return {
        "input": fields.Field(required=True, metadata={"type": "file", "location": "form", "description": "A file"}),
    }


def get_train_args() -> Any:
    return {}


def predict(**kwargs: Any) -> Any:
    return {
        name: os.path.basename(value.original_filename) for name, value in kwargs.items() if hasattr(value, "filename")
    }
