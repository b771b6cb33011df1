"""Takes a file in either of two fields, as planktonclas takes an image or a zip, and answers which."""

from typing import Any

from marshmallow import fields


def get_metadata() -> Any:
    return {"name": "two_kinds"}


def get_predict_args() -> Any:
    return {
        kind: fields.Field(required=False, metadata={"type": "file", "location": "form", "description": "A %s" % kind})
        for kind in ("image", "zip")
    }


def get_train_args() -> Any:
    return {}


def predict(**kwargs: Any) -> Any:
    return {"given": sorted(kwargs)}
