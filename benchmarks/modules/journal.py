"""Answers with its input's hash after a while, and writes down every call before it answers."""

import hashlib
import os
import time
from pathlib import Path
from typing import Any

from marshmallow import fields


def get_metadata() -> Any:
    return {"name": "journal"}


def get_predict_args() -> Any:
    return {
        "files": fields.Field(required=True, metadata={"type": "file", "location": "form", "description": "A file"}),
        "seconds": fields.Float(load_default=0.0, metadata={"description": "How long each takes"}),
    }


def get_train_args() -> Any:
    return {}


def predict(**kwargs: Any) -> Any:
    upload = Path(kwargs["files"].filename)
    with Path(os.environ["JOURNAL"]).open("a") as journal:
        journal.write(upload.name + "\n")
    time.sleep(kwargs["seconds"])
    return {"name": upload.name, "sha256": hashlib.sha256(upload.read_bytes()).hexdigest()}
