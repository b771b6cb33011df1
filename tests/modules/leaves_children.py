"""Leaves two processes behind, one of them in a session of its own; their numbers are the answer."""

import subprocess
from typing import Any

from marshmallow import fields


def get_metadata() -> Any:
    return {"name": "leaves_children"}


def get_predict_args() -> Any:
    return {
        "files": fields.Field(required=True, metadata={"type": "file", "location": "form", "description": "A file"}),
    }


def get_train_args() -> Any:
    return {}


def predict(**kwargs: Any) -> Any:
    same = subprocess.Popen(["sleep", "600"])
    own = subprocess.Popen(["sleep", "600"], start_new_session=True)
    return {"same_session": same.pid, "own_session": own.pid}
