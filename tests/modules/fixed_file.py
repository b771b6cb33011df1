"""Writes its answer to one fixed file and answers with that, as obj_detect_pytorch and fast-neural-transfer do."""

import os
import random
import time
from typing import Any

from marshmallow import fields, validate

RESULT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "result_of_fixed_file.bin")


def get_metadata() -> Any:
    return {"name": "fixed_file"}


def get_predict_args() -> Any:
    return {
        "files": fields.Field(required=True, metadata={"type": "file", "location": "form", "description": "A file"}),
        "accept": fields.Str(
            load_default="application/octet-stream",
            validate=validate.OneOf(["application/octet-stream"]),
            metadata={"location": "headers", "description": "Media type"},
        ),
    }


def get_train_args() -> Any:
    return {}


def predict(**kwargs: Any) -> Any:
    with open(kwargs["files"].filename, "rb") as upload, open(RESULT, "wb") as result:
        result.write(b"made of " + upload.read())
    time.sleep(random.random() / 200)  # as it takes to draw a picture
    return open(RESULT, "rb")
