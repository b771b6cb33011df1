"""Answers with a picture's file to which nothing was written."""

import os
import tempfile
from typing import Any

from marshmallow import fields, validate


def get_metadata() -> Any:
    return {"name": "empty_file"}


def get_predict_args() -> Any:
    return {
        "files": fields.Field(required=True, metadata={"type": "file", "location": "form", "description": "A file"}),
        "accept": fields.Str(
            load_default="image/png",
            validate=validate.OneOf(["image/png"]),
            metadata={"location": "headers", "description": "Media type"},
        ),
    }


def get_train_args() -> Any:
    return {}


def predict(**kwargs: Any) -> Any:
    path = os.path.join(tempfile.mkdtemp(), "picture.png")
    open(path, "wb").close()
    return open(path, "rb")
