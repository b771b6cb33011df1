"""Prints bytes that are no UTF-8, as a C library with a Latin-1 message does."""

import os
from typing import Any

from marshmallow import fields


def get_metadata() -> Any:
    return {"name": "prints_bad_bytes"}


def get_predict_args() -> Any:
    return {
        "files": fields.Field(required=True, metadata={"type": "file", "location": "form", "description": "A file"}),
    }


def get_train_args() -> Any:
    return {}


def predict(**kwargs: Any) -> Any:
    for descriptor in (1, 2):
        os.write(descriptor, b"not UTF-8: \xff\xfe\x80 \x00\x1b[31m\r\n")
    return {"printed": True}
