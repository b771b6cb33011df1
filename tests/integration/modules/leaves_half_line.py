"""Prints a line without its end for each file, and fails on those whose name says so."""

import os
from typing import Any

from marshmallow import fields


def get_metadata() -> Any:
    return {"name": "leaves_half_line"}


def get_predict_args() -> Any:
    return {
        "files": fields.Field(required=True, metadata={"type": "file", "location": "form", "description": "A file"}),
        "threshold": fields.Float(load_default=0.5, metadata={"description": "Probability"}),
    }


def get_train_args() -> Any:
    return {}


def predict(**kwargs: Any) -> Any:
    name = os.path.basename(kwargs["files"].original_filename)
    print("first line of %s" % name)
    print("last line of %s" % name, end="")
    if name.startswith("bad"):
        raise ValueError("cannot read it")
    return {"name": name}
