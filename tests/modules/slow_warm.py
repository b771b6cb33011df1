"""Takes three seconds to load, as TensorFlow's models do at the least."""

import time
from typing import Any

from marshmallow import fields

LOADED: Any = []


def get_metadata() -> Any:
    return {"name": "slow_warm"}


def get_predict_args() -> Any:
    return {
        "files": fields.Field(required=True, metadata={"type": "file", "location": "form", "description": "A file"}),
    }


def get_train_args() -> Any:
    return {}


def warm() -> Any:
    time.sleep(3)
    LOADED.append(True)


def predict(**kwargs: Any) -> Any:
    return {"warmed": LOADED}
