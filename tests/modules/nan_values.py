"""Answers with what Python writes as NaN and Infinity and JSON does not have."""

from typing import Any

from marshmallow import fields


def get_metadata() -> Any:
    return {"name": "nan_values"}


def get_predict_args() -> Any:
    return {
        "files": fields.Field(required=True, metadata={"type": "file", "location": "form", "description": "A file"}),
    }


def get_train_args() -> Any:
    return {}


def predict(**kwargs: Any) -> Any:
    return {
        "probability": float("nan"),
        "high": float("inf"),
        "low": float("-inf"),
        "scores": [0.5, float("nan")],
    }
