"""Ignores SIGTERM, as do its child and grandchild, while it sleeps; their numbers go to the file `pids`."""

import os
import signal
import subprocess
import time
from typing import Any

from marshmallow import fields


def get_metadata() -> Any:
    return {"name": "ignores_term"}


def get_predict_args() -> Any:
    return {
        "files": fields.Field(required=True, metadata={"type": "file", "location": "form", "description": "A file"}),
        "seconds": fields.Float(load_default=600.0, metadata={"description": "How long"}),
        "pids": fields.Str(load_default="", metadata={"description": "File for the process numbers"}),
    }


def get_train_args() -> Any:
    return {}


def predict(**kwargs: Any) -> Any:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    child = subprocess.Popen(["sh", "-c", "sleep 600 & echo $!; wait"], stdout=subprocess.PIPE)
    grandchild = int(child.stdout.readline()) if child.stdout else 0
    if kwargs["pids"]:
        with open(kwargs["pids"] + ".part", "w") as out:
            out.write(f"{os.getpid()} {child.pid} {grandchild}")
        os.rename(kwargs["pids"] + ".part", kwargs["pids"])
    deadline = time.monotonic() + kwargs["seconds"]
    while time.monotonic() < deadline:
        time.sleep(0.1)
    return {"slept": kwargs["seconds"]}
