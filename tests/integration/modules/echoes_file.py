"""Answers with the very bytes of its file, or with what it was told of them where no type is asked for."""

import io
from typing import Any

from marshmallow import fields


def get_metadata() -> Any:
    return {"name": "echoes_file"}


def get_predict_args() -> Any:
    return {
        "files": fields.Field(required=True, metadata={"type": "file", "location": "form", "description": "A file"}),
        "accept": fields.Str(load_default="application/json", metadata={"description": "Media type of the answer"}),
        "name": fields.Str(load_default="", metadata={"description": "Of the file that is answered"}),
        "echo": fields.Bool(load_default=True, metadata={"description": "Whether bytes are answered"}),
    }


def get_train_args() -> Any:
    return {}


class Named(io.BytesIO):
    name = ""


def predict(**kwargs: Any) -> Any:
    if not kwargs["echo"]:
        return {"content_type": kwargs["files"].content_type}
    with open(kwargs["files"].filename, "rb") as file:
        content = file.read()
    if not kwargs["name"]:
        return content
    answer = Named(content)
    answer.name = kwargs["name"]
    return answer
