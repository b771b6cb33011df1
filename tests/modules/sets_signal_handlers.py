"""Takes the signals that a parent may rely on for itself, as servers and job libraries do."""

import signal
from typing import Any

from marshmallow import fields


def get_metadata() -> Any:
    return {"name": "sets_signal_handlers"}


def get_predict_args() -> Any:
    return {
        "files": fields.Field(required=True, metadata={"type": "file", "location": "form", "description": "A file"}),
    }


def get_train_args() -> Any:
    return {}


def predict(**kwargs: Any) -> Any:
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD, signal.SIGPIPE, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)
    return {"ignored": 5}
