"""Joins a temporary folder with original_filename, as fasterrcnn_pytorch_api does, and writes there."""

import os
import tempfile
from typing import Any

from marshmallow import fields


def get_metadata() -> Any:
    return {"name": "joins_original_name"}


def get_predict_args() -> Any:
    return {
        "files": fields.Field(required=True, metadata={"type": "file", "location": "form", "description": "A file"}),
    }


def get_train_args() -> Any:
    return {}


def predict(**kwargs: Any) -> Any:
    upload = kwargs["files"]
    copy = os.path.join(tempfile.mkdtemp(), upload.original_filename)
    with open(copy, "wb") as written:
        written.write(b"overwritten by the module")
    return {"wrote": copy}
