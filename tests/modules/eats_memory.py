"""Takes `megabytes` of memory bit by bit and touches all of it."""

from typing import Any

from marshmallow import fields


def get_metadata() -> Any:
    return {"name": "eats_memory"}


def get_predict_args() -> Any:
    return {
        "files": fields.Field(required=True, metadata={"type": "file", "location": "form", "description": "A file"}),
        "megabytes": fields.Int(load_default=256, metadata={"description": "How much"}),
    }


def get_train_args() -> Any:
    return {}


def predict(**kwargs: Any) -> Any:
    held = [b"x" * 1000000 for _ in range(kwargs["megabytes"])]
    return {"megabytes": len(held)}
