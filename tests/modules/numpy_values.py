"""Answers with NumPy's arrays and scalars, as models do."""

from typing import Any

from marshmallow import fields

try:
    from numpy import array, bool_, float32, int64
except ImportError:

    class Stand:
        """In for NumPy's values where it is not installed: their way to plain ones is tolist()."""

        def __init__(self, value: Any) -> None:
            self.value = value

        def tolist(self) -> Any:
            return self.value

    array = bool_ = float32 = int64 = Stand


def get_metadata() -> Any:
    return {"name": "numpy_values"}


def get_predict_args() -> Any:
    return {
        "files": fields.Field(required=True, metadata={"type": "file", "location": "form", "description": "A file"}),
    }


def get_train_args() -> Any:
    return {}


def predict(**kwargs: Any) -> Any:
    return {
        "array": array([[1.5, 2.0], [3.0, 4.0]]),
        "float32": float32(0.5),
        "int64": int64(7),
        "bool": bool_(True),
        "nested": [{"scores": array([0.25, 0.75]), "best": int64(1)}],
    }
