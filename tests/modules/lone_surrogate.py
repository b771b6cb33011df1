"""Answers with a text that UTF-8 cannot hold, as os.fsdecode makes of a file's name in Latin-1."""

from typing import Any

from marshmallow import fields


def get_metadata() -> Any:
    return {"name": "lone_surrogate"}


def get_predict_args() -> Any:
    return {
        "files": fields.Field(required=True, metadata={"type": "file", "location": "form", "description": "A file"}),
    }


def get_train_args() -> Any:
    return {}


def predict(**kwargs: Any) -> Any:
    return {"name": "caf\udce9.wav"}
