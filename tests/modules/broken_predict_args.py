"""Cannot say which arguments it has."""

from typing import Any


def get_metadata() -> Any:
    return {"name": "broken_predict_args"}


def get_predict_args() -> Any:
    raise RuntimeError("the list of trained models cannot be read")


def get_train_args() -> Any:
    return {}


def predict(**kwargs: Any) -> Any:
    return {}
