"""Answers with JSON already encoded into a text, as fasterrcnn_pytorch_api does."""

import json
from typing import Any

from marshmallow import fields


def get_metadata() -> Any:
    return {"name": "encoded_twice"}


def get_predict_args() -> Any:
    return {
        "files": fields.Field(required=True, metadata={"type": "file", "location": "form", "description": "A file"}),
    }


def get_train_args() -> Any:
    return {}


def predict(**kwargs: Any) -> Any:
    return json.dumps({"label": "speech"})
