"""Cannot load its weights: only warm() shows it."""

from typing import Any

from marshmallow import fields


def get_metadata() -> Any:
    return {"name": "warm_raises"}


def get_predict_args() -> Any:
    return {
        "files": fields.Field(required=True, metadata={"type": "file", "location": "form", "description": "A file"}),
    }


def get_train_args() -> Any:
    return {}


def warm() -> Any:
    raise OSError("weights.h5: no such file")


def predict(**kwargs: Any) -> Any:
    return {"warmed": False}
