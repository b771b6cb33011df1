"""Renames its upload to give it an extension, as audio-classification-tf does before it decodes."""

import os
from typing import Any

from marshmallow import fields


def get_metadata() -> Any:
    return {"name": "renames_upload"}


def get_predict_args() -> Any:
    return {
        "files": fields.Field(required=True, metadata={"type": "file", "location": "form", "description": "A file"}),
    }


def get_train_args() -> Any:
    return {}


def predict(**kwargs: Any) -> Any:
    renamed = kwargs["files"].filename + ".wav"
    os.rename(kwargs["files"].filename, renamed)
    return {"size": os.path.getsize(renamed)}
