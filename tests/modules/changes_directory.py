"""Changes to a folder of its own, which it then removes."""

import os
import tempfile
from typing import Any

from marshmallow import fields


def get_metadata() -> Any:
    return {"name": "changes_directory"}


def get_predict_args() -> Any:
    return {
        "files": fields.Field(required=True, metadata={"type": "file", "location": "form", "description": "A file"}),
    }


def get_train_args() -> Any:
    return {}


def predict(**kwargs: Any) -> Any:
    folder = tempfile.mkdtemp()
    os.chdir(folder)
    os.rmdir(folder)
    return {"folder": folder}
