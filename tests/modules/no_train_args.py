"""Cannot be trained and has no get_train_args()."""

import os
from typing import Any

from marshmallow import fields


def get_metadata() -> Any:
    return {"name": "no_train_args"}


def get_predict_args() -> Any:
    return {
        "files": fields.Field(required=True, metadata={"type": "file", "location": "form", "description": "A file"}),
    }


def predict(**kwargs: Any) -> Any:
    return {"name": os.path.basename(kwargs["files"].original_filename)}
