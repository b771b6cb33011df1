"""Shares the work with two processes, as PyTorch's data loaders do."""

import multiprocessing
from typing import Any

from marshmallow import fields


def square(value: int) -> int:
    return value * value


def get_metadata() -> Any:
    return {"name": "uses_multiprocessing"}


def get_predict_args() -> Any:
    return {
        "files": fields.Field(required=True, metadata={"type": "file", "location": "form", "description": "A file"}),
    }


def get_train_args() -> Any:
    return {}


def predict(**kwargs: Any) -> Any:
    with multiprocessing.Pool(2) as pool:
        return {"squares": pool.map(square, [1, 2, 3])}
