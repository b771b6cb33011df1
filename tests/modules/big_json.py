"""Answers with `n` bytes of JSON, 50 MB unless told."""

from typing import Any

from marshmallow import fields


def get_metadata() -> Any:
    return {"name": "big_json"}


def get_predict_args() -> Any:
    return {
        "files": fields.Field(required=True, metadata={"type": "file", "location": "form", "description": "A file"}),
        "n": fields.Int(load_default=50000000, metadata={"description": "Bytes of JSON, about"}),
    }


def get_train_args() -> Any:
    return {}


def predict(**kwargs: Any) -> Any:
    return {"rows": ["x" * 996] * (kwargs["n"] // 1000)}
