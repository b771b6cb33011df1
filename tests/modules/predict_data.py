"""Has predict_data() and predict_url(), as audio-classification-tf has; deepaas-predict calls them."""

import os
from typing import Any

from marshmallow import fields


def get_metadata() -> Any:
    return {"name": "predict_data"}


def get_predict_args() -> Any:
    return {
        "files": fields.Field(
            load_default=None, metadata={"type": "file", "location": "form", "description": "A file"}
        ),
        "urls": fields.Url(load_default=None, metadata={"description": "A URL"}),
    }


def get_train_args() -> Any:
    return {}


def predict(**kwargs: Any) -> Any:
    if kwargs["files"]:
        return predict_data({"files": [kwargs["files"]]})
    return predict_url({"urls": [kwargs["urls"]]})


def predict_data(arguments: Any) -> Any:
    upload = arguments["files"][0]
    answer = {
        "path": upload.filename,
        "content_type": upload.content_type,
        "size": os.path.getsize(upload.filename),
    }
    os.remove(upload.filename)
    return answer


def predict_url(arguments: Any) -> Any:
    return {"url": arguments["urls"][0]}
