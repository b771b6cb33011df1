"""Leaves a thread behind that keeps the interpreter from ending for ten minutes."""

import threading
import time
from typing import Any

from marshmallow import fields


def get_metadata() -> Any:
    return {"name": "leaves_threads"}


def get_predict_args() -> Any:
    return {
        "files": fields.Field(required=True, metadata={"type": "file", "location": "form", "description": "A file"}),
    }


def get_train_args() -> Any:
    return {}


def predict(**kwargs: Any) -> Any:
    threading.Thread(target=time.sleep, args=(600,)).start()
    return {"threads": threading.active_count()}
