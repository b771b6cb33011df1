"""Takes a picture, a recording and a video in one call, as demo_app does, and answers what came of each."""

import os
from typing import Any

from marshmallow import fields

KINDS = ("demo_image", "demo_audio", "demo_video")


def get_metadata() -> Any:
    return {"name": "three_files"}


def get_predict_args() -> Any:
    files = {
        kind: fields.Field(required=True, metadata={"type": "file", "location": "form", "description": "A %s" % kind})
        for kind in KINDS
    }
    return dict(files, threshold=fields.Float(load_default=0.5, metadata={"description": "Probability"}))


def get_train_args() -> Any:
    return {}


def predict(**kwargs: Any) -> Any:
    answer = {}
    for kind in KINDS:
        upload = kwargs[kind]
        with open(upload.filename, "rb") as file:
            names = [os.path.basename(path) for path in (upload.original_filename, upload.filename)]
            answer[kind] = [*names, upload.content_type, file.read().decode()]
    crashed = os.path.join(os.environ["HOME"], "crashed")
    if answer["demo_audio"][3] == "crash" and not os.path.exists(crashed):
        with open(crashed, "w"):
            os._exit(1)
    return dict(answer, folders=len({os.path.dirname(kwargs[kind].filename) for kind in KINDS}))
