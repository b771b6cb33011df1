"""The module as DEEPaaS meets it, whichever release is installed."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from deepaas.model import loading
from marshmallow import fields, missing

Hear = Callable[..., dict[str, Any]]

DEEPAAS_CLI = Path(sys.executable).with_name("deepaas-cli")
with_cli = pytest.mark.skipif(not DEEPAAS_CLI.exists(), reason="DEEPaaS before 1.3 has no deepaas-cli")


@pytest.fixture
def module() -> ModuleType:
    loaded: ModuleType = loading.get_available_models("v2")["voice_activity"]
    return loaded


def deepaas_cli(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([DEEPAAS_CLI, *arguments], cwd=folder, capture_output=True, text=True, check=False)


def test_its_metadata_has_what_deepaas_publishes(module: ModuleType) -> None:
    about = module.get_metadata()
    assert {"id", "name", "description", "license", "version", "url"} <= about.keys()
    assert json.loads(json.dumps(about)) == about


def test_the_recording_is_its_only_file_argument(module: ModuleType) -> None:
    arguments = module.get_predict_args()
    files = [name for name, field in arguments.items() if field.metadata.get("type") == "file"]
    assert files == ["files"]
    assert type(arguments["files"]) is fields.Field  # deepaas-cli asks for just this class
    assert arguments["files"].metadata["location"] == "form"
    assert arguments["files"].required


def test_every_argument_explains_itself(module: ModuleType) -> None:
    assert all(field.metadata["description"] for field in module.get_predict_args().values())


def test_every_argument_but_the_file_has_a_default(module: ModuleType) -> None:
    defaults = {
        name: field.deserialize(missing) for name, field in module.get_predict_args().items() if name != "files"
    }
    assert defaults == {"threshold": 0.5, "min_speech_ms": 250, "min_silence_ms": 100}


def test_it_takes_no_training_arguments(module: ModuleType) -> None:
    assert module.get_train_args() == {}


def test_it_can_be_warmed_again_and_again(module: ModuleType) -> None:
    module.warm()
    module.warm()


def test_arguments_may_come_as_text(hear: Hear, recording: Path) -> None:
    as_text = hear(recording, threshold="0.6", min_speech_ms="300")
    assert as_text == hear(recording, threshold=0.6, min_speech_ms=300)


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("threshold", 1.01),
        ("threshold", -0.1),
        ("threshold", "high"),
        ("threshold", float("nan")),
        ("threshold", None),
        ("min_speech_ms", -1),
        ("min_silence_ms", 60_001),
        ("treshold", 0.5),
    ],
)
def test_a_bad_argument_is_refused_by_name(hear: Hear, recording: Path, argument: str, value: object) -> None:
    with pytest.raises(ValueError, match=f"^{argument}: ") as caught:
        hear(recording, **{argument: value})
    assert len(str(caught.value).splitlines()) == 1


def test_a_call_without_a_recording_is_refused(module: ModuleType) -> None:
    with pytest.raises(ValueError, match=r"^files: "):
        module.predict(threshold=0.5)


@with_cli
def test_the_command_line_gives_the_same_answer(hear: Hear, recording: Path, tmp_path: Path) -> None:
    answer = tmp_path / "answer.json"
    # Its exit code says nothing: releases before 2.5.2 exit 1 on success.
    deepaas_cli(
        f"--deepaas_method_output={answer}",
        "predict",
        f"--files={recording}",
        "--threshold=0.6",
        "--min_silence_ms=2000",
        folder=tmp_path,
    )
    assert json.loads(answer.read_text()) == hear(recording, threshold=0.6, min_silence_ms=2_000)


@with_cli
def test_the_command_line_names_a_bad_recording_and_gives_no_answer(tmp_path: Path) -> None:
    notes, answer = tmp_path / "notes.wav", tmp_path / "answer.json"
    notes.write_text("no sound in here")
    ended = deepaas_cli(f"--deepaas_method_output={answer}", "predict", f"--files={notes}", folder=tmp_path)
    said = ended.stdout + ended.stderr
    assert "notes.wav: not a recording that can be decoded, it looks like text" in said
    assert "direct cause" not in said  # one error: a log that shows the decoder's first would be read for its first
    assert not answer.exists()


@with_cli
def test_the_command_line_says_in_its_log_what_was_put_right(hear: Hear, recording: Path, tmp_path: Path) -> None:
    content = bytearray(recording.read_bytes())
    content[40:44] = bytes(4)
    cut, answer = tmp_path / "power cut.wav", tmp_path / "answer.json"
    cut.write_bytes(content)
    ended = deepaas_cli(f"--deepaas_method_output={answer}", "predict", f"--files={cut}", folder=tmp_path)
    assert "power cut.wav: its header was never finalised: all 298,776 bytes" in ended.stdout + ended.stderr
    assert json.loads(answer.read_text()) == hear(recording)
