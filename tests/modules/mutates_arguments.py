"""Changes the lists and dictionaries it is given, defaults too, as code that pops its options does."""

from typing import Any

from marshmallow import fields

SIZES = [1, 2, 3]
OPTIONS = {"a": 1}


def get_metadata() -> Any:
    return {"name": "mutates_arguments"}


def get_predict_args() -> Any:
    return {
        "files": fields.Field(required=True, metadata={"type": "file", "location": "form", "description": "A file"}),
        "sizes": fields.List(fields.Int(), load_default=SIZES, metadata={"description": "Sizes"}),
        "options": fields.Dict(load_default=OPTIONS, metadata={"description": "Options"}),
    }


def get_train_args() -> Any:
    return {}


def predict(**kwargs: Any) -> Any:
    answer = {"sizes": list(kwargs["sizes"]), "options": dict(kwargs["options"])}
    kwargs["sizes"].append(len(kwargs["sizes"]))
    kwargs["options"].clear()
    return answer
