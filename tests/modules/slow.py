"""Takes `seconds` to answer."""

import time
from typing import Any

from marshmallow import fields


def get_metadata() -> Any:
    return {"name": "slow"}


def get_predict_args() -> Any:
    return {
        "files": fields.Field(required=True, metadata={"type": "file", "location": "form", "description": "A file"}),
        "seconds": fields.Float(load_default=30.0, metadata={"description": "How long"}),
    }


def get_train_args() -> Any:
    return {}


def predict(**kwargs: Any) -> Any:
    time.sleep(kwargs["seconds"])
    return {"slept": kwargs["seconds"]}
