"""Removes its upload before it answers, as audio- and image-classification-tf and posenet-tf do."""

import os
from typing import Any

from marshmallow import fields


def get_metadata() -> Any:
    return {"name": "removes_upload"}


def get_predict_args() -> Any:
    return {
        "files": fields.Field(required=True, metadata={"type": "file", "location": "form", "description": "A file"}),
    }


def get_train_args() -> Any:
    return {}


def predict(**kwargs: Any) -> Any:
    os.remove(kwargs["files"].filename)
    return {"name": os.path.basename(kwargs["files"].original_filename)}
