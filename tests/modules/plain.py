"""Answers what it was given; the settings are of the four kinds that most modules have."""

import hashlib
import os
from typing import Any

from marshmallow import fields


def get_metadata() -> Any:
    return {"name": "plain"}


def get_predict_args() -> Any:
    return {
        "files": fields.Field(required=True, metadata={"type": "file", "location": "form", "description": "A file"}),
        "label": fields.Str(load_default="speech", metadata={"description": "What to look for"}),
        "top": fields.Int(load_default=3, metadata={"description": "How many"}),
        "threshold": fields.Float(load_default=0.5, metadata={"description": "From 0 to 1, 100% sure"}),
        "detailed": fields.Bool(load_default=False, metadata={"description": "More of it"}),
    }


def get_train_args() -> Any:
    return {}


def predict(**kwargs: Any) -> Any:
    with open(kwargs["files"].filename, "rb") as upload:
        content = upload.read()
    return {
        "name": os.path.basename(kwargs["files"].original_filename),
        "size": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
        "arguments": {name: value for name, value in kwargs.items() if name != "files"},
    }
