"""Takes a file or a URL and wants exactly one, as audio-classification-tf and image-classification-tf do."""

import os
from typing import Any

from marshmallow import fields


def get_metadata() -> Any:
    return {"name": "urls_too"}


def get_predict_args() -> Any:
    return {
        "files": fields.Field(
            load_default=None, metadata={"type": "file", "location": "form", "description": "A file"}
        ),
        "urls": fields.Url(load_default=None, metadata={"description": "A URL"}),
    }


def get_train_args() -> Any:
    return {}


def predict(**kwargs: Any) -> Any:
    if bool(kwargs["files"]) == bool(kwargs["urls"]):
        raise ValueError("give either files or urls")
    return {"name": kwargs["urls"] or os.path.basename(kwargs["files"].original_filename)}
