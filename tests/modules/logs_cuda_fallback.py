"""Writes what TensorFlow 1.14 writes when it finds no CUDA, and answers from the CPU."""

import os
from typing import Any

from marshmallow import fields

FALLBACK = (
    "2020-03-02 10:00:00.000000: W tensorflow/stream_executor/platform/default/dso_loader.cc:55] "
    "Could not load dynamic library 'libcudart.so.10.0'; dlerror: libcudart.so.10.0: "
    "cannot open shared object file: No such file or directory\n"
)


def get_metadata() -> Any:
    return {"name": "logs_cuda_fallback"}


def get_predict_args() -> Any:
    return {
        "files": fields.Field(required=True, metadata={"type": "file", "location": "form", "description": "A file"}),
    }


def get_train_args() -> Any:
    return {}


def predict(**kwargs: Any) -> Any:
    os.write(2, FALLBACK.encode())
    return {"device": "cpu"}
