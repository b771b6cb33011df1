"""Leaves through sys.exit(0), as scripts that were turned into modules do."""

import sys
from typing import Any

from marshmallow import fields


def get_metadata() -> Any:
    return {"name": "raises_system_exit0"}


def get_predict_args() -> Any:
    return {
        "files": fields.Field(required=True, metadata={"type": "file", "location": "form", "description": "A file"}),
    }


def get_train_args() -> Any:
    return {}


def predict(**kwargs: Any) -> Any:
    sys.exit(0)
