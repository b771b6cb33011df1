"""A module that does what its input's text tells it to: of many such inputs, something happens to each."""

import os
import signal
import time
from pathlib import Path
from typing import Any

from marshmallow import fields

CALLS = {"count": 0}


def get_metadata() -> Any:
    return {"name": "does_as_told"}


def get_predict_args() -> Any:
    return {
        "files": fields.Field(required=True, metadata={"type": "file", "location": "form", "description": "A file"}),
        "seconds": fields.Float(load_default=0.0, metadata={"description": "How long each takes at least"}),
    }


def get_train_args() -> Any:
    return {}


def predict(**kwargs: Any) -> Any:
    CALLS["count"] += 1
    source = Path(kwargs["files"].filename)
    told = source.read_text()
    time.sleep(kwargs["seconds"])
    what, _, more = told.partition(" ")
    if what == "raise":
        raise ValueError(more)
    if what == "crash" or (what == "crash-once" and not Path(more).exists()):
        if more:
            Path(more).touch()
        os.kill(os.getpid(), signal.SIGSEGV)
    if what == "sleep":
        print(told)
        time.sleep(float(more))
    return {"told": told, "name": source.name, "pid": os.getpid(), "calls": CALLS["count"]}
