"""Has no file argument, as mods has none."""

from typing import Any

from marshmallow import fields


def get_metadata() -> Any:
    return {"name": "no_file"}


def get_predict_args() -> Any:
    return {
        "text": fields.Str(load_default="nothing", metadata={"description": "A text"}),
    }


def get_train_args() -> Any:
    return {}


def predict(**kwargs: Any) -> Any:
    return {"text": kwargs["text"]}
