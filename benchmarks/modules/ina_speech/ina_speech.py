"""inaSpeechSegmenter's two TensorFlow networks behind DEEPaaS: heavy to load, heavy to run, as the catalogue's are."""

import functools
from typing import Any

import imageio_ffmpeg
from inaSpeechSegmenter import Segmenter
from marshmallow import fields


def get_metadata() -> Any:
    return {"name": "ina_speech"}


def get_predict_args() -> Any:
    return {
        "files": fields.Field(
            required=True, metadata={"type": "file", "location": "form", "description": "A recording"}
        ),
    }


def get_train_args() -> Any:
    return {}


@functools.cache
def segmenter() -> Any:
    return Segmenter(ffmpeg=imageio_ffmpeg.get_ffmpeg_exe())


def warm() -> Any:
    segmenter()


def predict(**kwargs: Any) -> Any:
    segments = segmenter()(kwargs["files"].filename)
    return {"segments": [{"label": label, "start": float(start), "end": float(end)} for label, start, end in segments]}
