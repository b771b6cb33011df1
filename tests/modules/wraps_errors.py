"""Wraps its errors as the AI4OS template does, HTTPBadRequest(reason=e), on which aiohttp fails in its turn."""

from typing import Any

from aiohttp.web import HTTPBadRequest
from marshmallow import fields


def get_metadata() -> Any:
    return {"name": "wraps_errors"}


def get_predict_args() -> Any:
    return {
        "files": fields.Field(required=True, metadata={"type": "file", "location": "form", "description": "A file"})
    }


def get_train_args() -> Any:
    return {}


def predict(**kwargs: Any) -> Any:
    try:
        raise OSError("models/weights.h5: no such file")
    except Exception as e:
        raise HTTPBadRequest(reason=e)  # noqa: B904
