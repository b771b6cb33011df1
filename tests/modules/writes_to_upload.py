"""Changes its upload in place, as modules that convert or resample a file do."""

import os
from typing import Any

from marshmallow import fields


def get_metadata() -> Any:
    return {"name": "writes_to_upload"}


def get_predict_args() -> Any:
    return {
        "files": fields.Field(required=True, metadata={"type": "file", "location": "form", "description": "A file"}),
    }


def get_train_args() -> Any:
    return {}


def predict(**kwargs: Any) -> Any:
    with open(kwargs["files"].filename, "ab") as upload:
        upload.write(b"changed by the module")
    return {"size": os.path.getsize(kwargs["files"].filename)}
