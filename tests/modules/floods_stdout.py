"""Prints 10 MB in lines and 3 MB more without a line's end."""

import sys
from typing import Any

from marshmallow import fields


def get_metadata() -> Any:
    return {"name": "floods_stdout"}


def get_predict_args() -> Any:
    return {
        "files": fields.Field(required=True, metadata={"type": "file", "location": "form", "description": "A file"}),
    }


def get_train_args() -> Any:
    return {}


def predict(**kwargs: Any) -> Any:
    for _ in range(100000):
        print("x" * 99)
    sys.stdout.write("y" * 3000000)
    sys.stdout.flush()
    return {"printed": 13000000}
