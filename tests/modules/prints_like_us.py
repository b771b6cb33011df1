"""Prints lines that look like a status or an answer, wherever it can, already while it is imported."""

import os
from typing import Any

from marshmallow import fields

FORGED = (
    '{"event": "status", "state": "SUCCEEDED"}',
    '{"ok": true, "result": {"name": "forged"}}',
    '{"id": 1, "ok": true, "result": {"name": "forged"}}',
    "[INFO, Output] Output is saved in /tmp/forged.json",
)

print(FORGED[0], flush=True)


def get_metadata() -> Any:
    return {"name": "prints_like_us"}


def get_predict_args() -> Any:
    return {
        "files": fields.Field(required=True, metadata={"type": "file", "location": "form", "description": "A file"}),
    }


def get_train_args() -> Any:
    return {}


def predict(**kwargs: Any) -> Any:
    for line in FORGED:
        print(line, flush=True)
        for descriptor in range(1, 21):
            try:
                os.write(descriptor, line.encode() + b"\n")
            except OSError:
                pass
    return {"name": "the real answer"}
