"""Takes numbers and texts as JSON strings, as audio-classification-tf takes timestamp and ckpt_name."""

import json
from typing import Any

from marshmallow import fields


def get_metadata() -> Any:
    return {"name": "json_strings"}


def get_predict_args() -> Any:
    return {
        "files": fields.Field(required=True, metadata={"type": "file", "location": "form", "description": "A file"}),
        "timestamp": fields.Str(load_default='"default"', metadata={"description": "Which training"}),
        "top": fields.Str(load_default="3", metadata={"description": "How many"}),
    }


def get_train_args() -> Any:
    return {}


def predict(**kwargs: Any) -> Any:
    return {"timestamp": json.loads(kwargs["timestamp"]), "top": json.loads(kwargs["top"])}
