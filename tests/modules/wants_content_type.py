"""Takes only the content types of PNG and JPEG, as image- and plants-classification-tf do."""

from typing import Any

from marshmallow import fields


def get_metadata() -> Any:
    return {"name": "wants_content_type"}


def get_predict_args() -> Any:
    return {
        "files": fields.Field(required=True, metadata={"type": "file", "location": "form", "description": "A file"}),
    }


def get_train_args() -> Any:
    return {}


def predict(**kwargs: Any) -> Any:
    if kwargs["files"].content_type not in ("image/png", "image/jpeg"):
        raise ValueError("Not an image: {}".format(kwargs["files"].content_type))
    return {"content_type": kwargs["files"].content_type}
