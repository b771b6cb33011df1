"""Leaves a daemon behind, forked twice; its number is the answer."""

import os
from typing import Any

from marshmallow import fields


def get_metadata() -> Any:
    return {"name": "forks_daemon"}


def get_predict_args() -> Any:
    return {
        "files": fields.Field(required=True, metadata={"type": "file", "location": "form", "description": "A file"}),
    }


def get_train_args() -> Any:
    return {}


def predict(**kwargs: Any) -> Any:
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.setsid()
        daemon = os.fork()
        if daemon == 0:
            os.close(reader)
            os.close(writer)
            os.execvp("sleep", ["sleep", "600"])
        os.write(writer, str(daemon).encode())
        os._exit(0)
    os.waitpid(child, 0)
    return {"daemon": int(os.read(reader, 20))}
