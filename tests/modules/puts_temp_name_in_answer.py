"""Puts the name of its temporary file into the answer, as audio-classification-tf does with the title."""

import os
from typing import Any

from marshmallow import fields


def get_metadata() -> Any:
    return {"name": "puts_temp_name_in_answer"}


def get_predict_args() -> Any:
    return {
        "files": fields.Field(required=True, metadata={"type": "file", "location": "form", "description": "A file"}),
    }


def get_train_args() -> Any:
    return {}


def predict(**kwargs: Any) -> Any:
    return {"title": os.path.basename(kwargs["files"].filename)}
