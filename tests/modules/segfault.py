"""Crashes its process, as a native library may."""

import ctypes
from typing import Any

from marshmallow import fields


def get_metadata() -> Any:
    return {"name": "segfault"}


def get_predict_args() -> Any:
    return {
        "files": fields.Field(required=True, metadata={"type": "file", "location": "form", "description": "A file"}),
    }


def get_train_args() -> Any:
    return {}


def predict(**kwargs: Any) -> Any:
    return ctypes.string_at(0)
