"""Closes its stdout and stderr."""

import os
from typing import Any

from marshmallow import fields


def get_metadata() -> Any:
    return {"name": "closes_stdio"}


def get_predict_args() -> Any:
    return {
        "files": fields.Field(required=True, metadata={"type": "file", "location": "form", "description": "A file"}),
    }


def get_train_args() -> Any:
    return {}


def predict(**kwargs: Any) -> Any:
    os.closerange(1, 3)
    return {"closed": True}
