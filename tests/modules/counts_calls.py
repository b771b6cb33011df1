"""Answers how often it was called in this process, and how often it was warmed before."""

from typing import Any

from marshmallow import fields

COUNTS = {"warmed": 0, "calls": 0}


def get_metadata() -> Any:
    return {"name": "counts_calls"}


def get_predict_args() -> Any:
    return {
        "files": fields.Field(required=True, metadata={"type": "file", "location": "form", "description": "A file"}),
    }


def get_train_args() -> Any:
    return {}


def warm() -> Any:
    COUNTS["warmed"] += 1


def predict(**kwargs: Any) -> Any:
    COUNTS["calls"] += 1
    return dict(COUNTS)
