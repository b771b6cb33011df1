"""Takes only a path that ends in .wav, as modules that choose the decoder by it do."""

import os
from typing import Any

from marshmallow import fields


def get_metadata() -> Any:
    return {"name": "checks_extension"}


def get_predict_args() -> Any:
    return {
        "files": fields.Field(required=True, metadata={"type": "file", "location": "form", "description": "A file"}),
    }


def get_train_args() -> Any:
    return {}


def predict(**kwargs: Any) -> Any:
    if not kwargs["files"].filename.endswith(".wav"):
        raise ValueError("Only WAV files are taken, not " + kwargs["files"].filename)
    return {"name": os.path.basename(kwargs["files"].original_filename)}
