"""Has a file argument that the REST API calls otherwise, as audio-classification-tf has."""

import os
from typing import Any

from marshmallow import fields


def get_metadata() -> Any:
    return {"name": "data_key"}


def get_predict_args() -> Any:
    return {
        "files": fields.Field(
            required=True,
            data_key="data",
            metadata={"type": "file", "location": "form", "description": "A file"},
        ),
    }


def get_train_args() -> Any:
    return {}


def predict(**kwargs: Any) -> Any:
    return {
        name: os.path.basename(value.original_filename) for name, value in kwargs.items() if hasattr(value, "filename")
    }
