"""What a person asks of `deepaas-batch run`, before any engine is asked."""

from __future__ import annotations

from pathlib import Path

import pytest

from scripts import cli
from scripts.images import catalogue
from scripts.images.arguments import job_variables

pytestmark = pytest.mark.usefixtures("catalogue_read_once")

MODULES = catalogue.load()


def test_arguments_win_over_the_catalogues_defaults() -> None:
    variables = job_variables(MODULES["yolov8"], {"accept": "image/png", "conf": 0.5})

    assert variables["JOB_PREDICT_ARGS"] == '{"accept": "image/png", "conf": 0.5}'


def test_nothing_is_said_to_a_module_that_needs_nothing() -> None:
    assert job_variables(MODULES["voice-activity"], {}) == {}


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["voice-activity", "none.wav"], 66, "there is no none.wav"),
        (["voice-activity", "."], 66, "is not a file"),
        (["voice-activty", "a.wav"], 64, "did you mean voice-activity?"),
        (["voice-activity", "a.wav", "--variant", "tpu"], 64, "use cpu or gpu"),
        (["voice-activity", "a.wav", "--args", "threshold=0.6"], 64, "the arguments are not JSON"),
        (["voice-activity", "a.wav", "--registry", "A"], 64, "the registry 'A'"),
        (["voice-activity", "a.wav", "--out", "a.wav/out"], 73, "a.wav/out cannot be made"),
    ],
)
def test_a_mistake_is_one_line_with_the_code_of_its_kind(
    arguments: list[str],
    code: int,
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.wav").write_bytes(b"RIFF")

    assert cli.main(["run", "--out", str(tmp_path / "out"), *arguments]) == code
    [line] = capsys.readouterr().err.splitlines()
    assert said in line
