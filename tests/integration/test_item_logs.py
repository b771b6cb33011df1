"""The log that is told with an item's failure holds what the model printed for that item, and nothing of others'."""

import json
from pathlib import Path

import pytest

from tests.conftest import Ended, Supervisor
from tests.integration.odd_modules import image_of


@pytest.fixture
def model(tmp_path: Path) -> Supervisor:
    return image_of(tmp_path, "leaves_half_line")


def run(model: Supervisor, folder: Path, *lines: object, **variables: str) -> Ended:
    """A job of that manifest; files that its lines name are there."""
    for name in ("good.wav", "bad.wav", "bad2.wav"):
        (folder / name).write_bytes(b"RIFF")
    (folder / "list").write_text("\n".join(map(json.dumps, lines)))
    return model("run", JOB_MANIFEST=str(folder / "list"), JOB_OUTPUT=str(folder / "out"), **variables)


def line(folder: Path, name: str, **more: object) -> dict[str, object]:
    return {"input": str(folder / name), **more}


@pytest.mark.parametrize("workers", ["1", "2"])
def test_the_log_of_an_item_is_its_own(workers: str, model: Supervisor, tmp_path: Path) -> None:
    lines = [line(tmp_path, name) for name in ("good.wav", "bad.wav", "bad2.wav")]
    ended = run(model, tmp_path, *lines, JOB_WORKERS=workers, SUPERVISOR_COPIES="many")
    assert ended.code == 65
    _, bad, other = ended.status["items"]
    for item, name in ((bad, "bad.wav"), (other, "bad2.wav")):
        # The worker's traceback follows on the line that the module left open.
        printed = [text.removesuffix("Traceback (most recent call last):") for text in item["error"]["log"]]
        printed = [text for text in printed if " line of " in text]
        assert printed == [f"first line of {name}", f"last line of {name}"]
    assert ended.status["error"]["log"] == bad["error"]["log"]
    # The log itself loses none of it.
    assert sorted(text for text in ended.log if "good" in text) == ["first line of good.wav", "last line of good.wav"]


def test_an_item_that_never_reached_the_model_has_no_log(model: Supervisor, tmp_path: Path) -> None:
    lines = [
        line(tmp_path, "good.wav"),
        line(tmp_path, "good.wav", args={"treshold": 1}, output="b"),
        line(tmp_path, "bad.wav"),
    ]
    ended = run(model, tmp_path, *lines)
    refused = ended.status["items"][1]
    assert "has no argument 'treshold'" in refused["error"]["message"]
    assert "log" not in refused["error"]
