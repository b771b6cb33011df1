"""Makes its answer by way of one fixed scratch file, as multi_plankton_separation and semseg_vaihingen do."""

import os
import random
import time
from typing import Any

from marshmallow import fields

SCRATCH = os.path.join(os.path.dirname(os.path.abspath(__file__)), "scratch_of_fixed_scratch.txt")


def get_metadata() -> Any:
    return {"name": "fixed_scratch"}


def get_predict_args() -> Any:
    return {
        "files": fields.Field(required=True, metadata={"type": "file", "location": "form", "description": "A file"})
    }


def get_train_args() -> Any:
    return {}


def predict(**kwargs: Any) -> Any:
    with open(kwargs["files"].filename, "rb") as upload, open(SCRATCH, "wb") as scratch:
        scratch.write(upload.read())
    time.sleep(random.random() / 200)  # as another program takes to work on it
    with open(SCRATCH, "rb") as scratch:
        return {"made_of": scratch.read().decode()}
