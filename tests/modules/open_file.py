"""Answers with an open file of the type that `accept` names, as posenet-tf and obj_detect_pytorch do."""

import os
import struct
import tempfile
import zipfile
import zlib
from typing import Any

from marshmallow import fields, validate


def png() -> bytes:
    """One grey pixel."""
    chunks = (
        (b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0)),
        (b"IDAT", zlib.compress(b"\x00\x80")),
        (b"IEND", b""),
    )
    body = [
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(body)


def get_metadata() -> Any:
    return {"name": "open_file"}


def get_predict_args() -> Any:
    return {
        "files": fields.Field(required=True, metadata={"type": "file", "location": "form", "description": "A file"}),
        "accept": fields.Str(
            load_default="application/json",
            validate=validate.OneOf(["application/json", "application/zip", "image/png"]),
            metadata={"location": "headers", "description": "Media type"},
        ),
    }


def get_train_args() -> Any:
    return {}


def predict(**kwargs: Any) -> Any:
    if kwargs["accept"] == "application/json":
        return {"size": os.path.getsize(kwargs["files"].filename)}
    folder = tempfile.mkdtemp()
    if kwargs["accept"] == "image/png":
        with open(os.path.join(folder, "answer.png"), "wb") as image:
            image.write(png())
        return open(image.name, "rb")
    with zipfile.ZipFile(os.path.join(folder, "answer.zip"), "w") as archive:
        archive.write(kwargs["files"].filename, "upload")
        archive.writestr("answer.json", "{}")
    return open(os.path.join(folder, "answer.zip"), "rb")
