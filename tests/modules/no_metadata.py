"""Has no get_metadata()."""

import os
from typing import Any

from marshmallow import fields


def get_predict_args() -> Any:
    return {
        "files": fields.Field(required=True, metadata={"type": "file", "location": "form", "description": "A file"}),
    }


def get_train_args() -> Any:
    return {}


def predict(**kwargs: Any) -> Any:
    return {"name": os.path.basename(kwargs["files"].original_filename)}
