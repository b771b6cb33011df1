"""Needs two files for one prediction."""

import os
from typing import Any

from marshmallow import fields


def get_metadata() -> Any:
    return {"name": "two_files"}


def get_predict_args() -> Any:
    return {
        "image": fields.Field(required=True, metadata={"type": "file", "location": "form", "description": "A file"}),
        "mask": fields.Field(required=True, metadata={"type": "file", "location": "form", "description": "A file"}),
    }


def get_train_args() -> Any:
    return {}


def predict(**kwargs: Any) -> Any:
    return {
        name: os.path.basename(value.original_filename) for name, value in kwargs.items() if hasattr(value, "filename")
    }
