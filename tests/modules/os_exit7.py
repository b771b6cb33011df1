"""Ends its process at once with 7."""

import os
from typing import Any

from marshmallow import fields


def get_metadata() -> Any:
    return {"name": "os_exit7"}


def get_predict_args() -> Any:
    return {
        "files": fields.Field(required=True, metadata={"type": "file", "location": "form", "description": "A file"}),
    }


def get_train_args() -> Any:
    return {}


def predict(**kwargs: Any) -> Any:
    os._exit(7)
