"""Has arguments of every marshmallow type that JSON or a form carries; answers with type and text of each."""

from typing import Any

from marshmallow import Schema, fields, validate


class Box(Schema):  # type: ignore[misc]
    x = fields.Int(required=True)
    y = fields.Int(load_default=0)


def get_metadata() -> Any:
    return {"name": "every_type"}


def get_predict_args() -> Any:
    return {
        "files": fields.Field(required=True, metadata={"type": "file", "location": "form", "description": "A file"}),
        "name": fields.Str(required=True, metadata={"description": "Required"}),
        "count": fields.Int(
            required=True,
            validate=validate.Range(min=1, max=10),
            metadata={"description": "Required, 1 to 10"},
        ),
        "ratio": fields.Float(
            load_default=0.5, validate=validate.Range(min=0, max=1), metadata={"description": "0 to 1"}
        ),
        "flag": fields.Bool(load_default=True, metadata={"description": "On unless told"}),
        "thresholds": fields.List(fields.Float(), load_default=[0.1, 0.2], metadata={"description": "Numbers"}),
        "labels": fields.List(fields.Str(), metadata={"description": "Texts, no default"}),
        "options": fields.Dict(load_default={"a": 1}, metadata={"description": "Anything"}),
        "day": fields.Date(metadata={"description": "A day"}),
        "moment": fields.DateTime(metadata={"description": "A day and time"}),
        "at": fields.Time(metadata={"description": "A time of day"}),
        "token": fields.UUID(metadata={"description": "A UUID"}),
        "link": fields.Url(metadata={"description": "A URL"}),
        "contact": fields.Email(metadata={"description": "An address"}),
        "price": fields.Decimal(metadata={"description": "A decimal number"}),
        "box": fields.Nested(Box, metadata={"description": "A box"}),
        "anything": fields.Raw(metadata={"description": "Whatever comes"}),
        "choice": fields.Str(
            load_default="fast",
            validate=validate.OneOf(["fast", "good"]),
            metadata={"description": "One of two"},
        ),
        "code": fields.Str(validate=validate.Length(min=2, max=4), metadata={"description": "Two to four letters"}),
        "maybe": fields.Str(load_default=None, allow_none=True, metadata={"description": "None unless told"}),
        "number": fields.Int(metadata={"description": "No default"}),
    }


def get_train_args() -> Any:
    return {}


def predict(**kwargs: Any) -> Any:
    upload = kwargs.pop("files")
    given = {name: [type(value).__name__, str(value)] for name, value in sorted(kwargs.items())}
    return {
        "upload": type(upload).__name__,
        "given": given,
        "absent": sorted(set(get_predict_args()) - set(kwargs) - {"files"}),
    }
