"""Has several file arguments with hyphens in their names, as demo_app has, none of them required."""

import os
from typing import Any

from marshmallow import fields


def get_metadata() -> Any:
    return {"name": "many_files"}


def get_predict_args() -> Any:
    return {
        "demo-image": fields.Field(
            required=False, metadata={"type": "file", "location": "form", "description": "A file"}
        ),
        "demo-audio": fields.Field(
            required=False, metadata={"type": "file", "location": "form", "description": "A file"}
        ),
    }


def get_train_args() -> Any:
    return {}


def predict(**kwargs: Any) -> Any:
    return {
        name: os.path.basename(value.original_filename) for name, value in kwargs.items() if hasattr(value, "filename")
    }
