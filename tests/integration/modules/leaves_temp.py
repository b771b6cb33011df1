"""Leaves its working files in its temporary folder; answers what it found there of earlier calls."""

import os
import tempfile
from typing import Any

from marshmallow import fields

WORK = os.path.join(tempfile.gettempdir(), "work")


def get_metadata() -> Any:
    return {"name": "leaves_temp"}


def get_predict_args() -> Any:
    return {
        "files": fields.Field(required=True, metadata={"type": "file", "location": "form", "description": "A file"}),
        "kilobytes": fields.Int(load_default=100, metadata={"description": "Size of each working file"}),
        "leak": fields.Bool(load_default=False, metadata={"description": "Whether a file is left open, too"}),
    }


def get_train_args() -> Any:
    return {}


def warm() -> None:
    os.makedirs(WORK, exist_ok=True)


def files_below(folder: str) -> Any:
    for each, _, names in os.walk(folder):
        yield from (os.path.join(each, name) for name in names)


def predict(**kwargs: Any) -> Any:
    name = os.path.basename(kwargs["files"].original_filename)
    found = sum(
        os.path.getsize(os.path.join(folder, n)) for folder, _, names in os.walk(tempfile.gettempdir()) for n in names
    )
    content = os.urandom(kwargs["kilobytes"] * 1000)
    folder = tempfile.mkdtemp()
    descriptor, made = tempfile.mkstemp()
    if not kwargs["leak"]:
        os.close(descriptor)
    for path in (os.path.join(folder, "in-a-new-folder"), os.path.join(WORK, name), made):
        with open(path, "wb") as file:
            file.write(content)
    if name.startswith("bad"):
        raise ValueError("cannot read it")
    return {"found": found}
