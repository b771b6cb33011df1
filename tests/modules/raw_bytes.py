"""Answers with a picture as bytes, as DEEPaaS' own test model does."""

import struct
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
    return {"name": "raw_bytes"}


def get_predict_args() -> Any:
    return {
        "files": fields.Field(required=True, metadata={"type": "file", "location": "form", "description": "A file"}),
        "accept": fields.Str(
            load_default="application/json",
            validate=validate.OneOf(["application/json", "image/png"]),
            metadata={"location": "headers", "description": "Media type"},
        ),
    }


def get_train_args() -> Any:
    return {}


def predict(**kwargs: Any) -> Any:
    if kwargs["accept"] == "image/png":
        return png()
    return {"accept": kwargs["accept"]}
