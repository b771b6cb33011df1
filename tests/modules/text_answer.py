"""Answers with a text where `accept` asks for CSV."""

from typing import Any

from marshmallow import fields, validate


def get_metadata() -> Any:
    return {"name": "text_answer"}


def get_predict_args() -> Any:
    return {
        "files": fields.Field(required=True, metadata={"type": "file", "location": "form", "description": "A file"}),
        "accept": fields.Str(
            load_default="application/json",
            validate=validate.OneOf(["application/json", "text/csv"]),
            metadata={"location": "headers", "description": "Media type"},
        ),
    }


def get_train_args() -> Any:
    return {}


def predict(**kwargs: Any) -> Any:
    if kwargs["accept"] == "text/csv":
        return "start,end\n0.1,0.9\n"
    return {"segments": [[0.1, 0.9]]}
