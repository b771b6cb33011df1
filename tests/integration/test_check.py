"""`supervisor check`: what it says, and what it leaves alone."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Ended, Supervisor
from tests.integration.odd_modules import bare, module


def checks(ended: Ended) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(ended.stdout)["checks"]
    return found


def test_descriptions_are_text(tmp_path: Path) -> None:
    module(
        tmp_path,
        "describes_in_html",
        "def predict(**kwargs):\n    return {}\n"
        "plain_args = get_predict_args\n"
        "def get_predict_args():\n"
        "    help = 'Which <b>model</b>:<ul>\\n  <li>fast</li>\\n  <li>good &amp; slow</li></ul>' + '<p>x</p>' * 900\n"
        "    return dict(plain_args(), mode=fields.Str(load_default='fast', metadata={'description': help}))\n",
    )
    ended = bare(tmp_path)("check", "--json")
    assert ended.code == 0, ended.stdout
    [mode] = [each for each in checks(ended)["module"]["arguments"] if each["name"] == "mode"]
    assert mode["help"].startswith("Which model: fast good & slow x x x")
    assert len(mode["help"]) <= 500
    assert "mode (String, default 'fast'): Which model: fast good & slow x x" in bare(tmp_path)("check").stdout


def test_the_model_is_loaded_where_it_is_asked_for(tmp_path: Path) -> None:
    body = "def warm():\n    open(os.environ['HOME'] + '/warmed', 'w')\n\n\ndef predict(**kwargs):\n    return {}\n"
    module(tmp_path, "warms", "import os\n" + body)
    assert bare(tmp_path)("check").code == 0
    assert not (tmp_path / "warmed").exists()
    ended = bare(tmp_path)("check", "--load", "--json")
    assert ended.code == 0, ended.stdout
    assert (tmp_path / "warmed").exists()
    assert [*checks(ended)][2:6] == ["module", "arguments", "runner", "load"]
    assert checks(ended)["load"]["seconds"] >= 0


@pytest.mark.parametrize(
    ("fails", "hint"),
    [
        ("open('/srv/weights.h5')", "the module wants /srv/weights.h5: build the image with it, or mount it there"),
        ("os.environ['MODEL_DIR']", "the module wants the variable MODEL_DIR: set it in the job's environment"),
        ("os.environ['HF_TOKEN']", "HF_TOKEN is kept from the model as a secret: JOB_GUEST_ENV=HF_TOKEN gives it"),
        ("import no_such_package", "the image lacks the Python package no_such_package: install it with"),
        ("raise RuntimeError('cannot tell')", "see in the module's log above"),
    ],
)
@pytest.mark.parametrize("where", ["warm", "import"])
def test_a_hint_names_what_is_missing(where: str, fails: str, hint: str, tmp_path: Path) -> None:
    body = f"def warm():\n    {fails}\n\n\n" if where == "warm" else f"{fails}\n\n\n"
    module(tmp_path, "lacks", "import os\n" + body + "def predict(**kwargs):\n    return {}\n")
    ended = bare(tmp_path)("check", "--load", HF_TOKEN="hunter2")
    assert ended.code == 78
    assert hint in ended.stdout
    assert "supervisor check" not in ended.stdout
    (tmp_path / "a.wav").write_bytes(b"RIFF")
    job = {"JOB_INPUT": str(tmp_path / "a.wav"), "JOB_OUTPUT": str(tmp_path / "out"), "HF_TOKEN": "hunter2"}
    ended = bare(tmp_path)("run", **job)
    assert ended.code == 78
    assert hint in ended.stderr


def test_a_hint_names_what_a_prediction_lacks(tmp_path: Path) -> None:
    module(tmp_path, "lacks", "def predict(**kwargs):\n    open('/srv/weights.h5')\n")
    (tmp_path / "a.wav").write_bytes(b"RIFF")
    ended = bare(tmp_path)("run", JOB_INPUT=str(tmp_path / "a.wav"), JOB_OUTPUT=str(tmp_path / "out"))
    assert ended.code == 65
    assert "the module wants /srv/weights.h5: build the image with it" in ended.stderr


def test_an_input_that_the_module_removed_is_nothing_that_the_image_lacks(tmp_path: Path) -> None:
    body = "def predict(**kwargs):\n    path = kwargs['files'].filename\n    os.remove(path)\n    open(path)\n"
    module(tmp_path, "removes", "import os\n" + body)
    (tmp_path / "a.wav").write_bytes(b"RIFF")
    ended = bare(tmp_path)("run", JOB_INPUT=str(tmp_path / "a.wav"), JOB_OUTPUT=str(tmp_path / "out"))
    assert ended.code == 65
    assert "look at the module's log above and at the input file" in ended.stderr


def test_secrets_that_the_model_does_not_get_are_named_and_not_shown(plain: Supervisor) -> None:
    ended = plain("check", HF_TOKEN="hunter2", NPM_TOKEN="hunter3", JOB_GUEST_ENV="NPM_TOKEN,PGPASSWORD")
    assert ended.code == 0, ended.stderr
    assert "it does not get HF_TOKEN; JOB_GUEST_ENV names what it needs" in ended.stdout
    assert "JOB_GUEST_ENV names PGPASSWORD, which the environment lacks" in ended.stdout
    assert "hunter" not in ended.stdout


def test_credentials_within_the_models_reach_are_said_plainly(plain: Supervisor, tmp_path: Path) -> None:
    (tmp_path / ".aws").mkdir()
    (tmp_path / ".aws" / "credentials").write_text("[default]")
    ended = plain("check", "--json")
    assert ended.code == 0
    assert f"{tmp_path}/.aws/credentials" in checks(ended)["secrets"]["files"]
    text = plain("check").stdout
    assert f"it runs as the supervisor's user, who can read {tmp_path}/.aws/credentials" in text
    assert "JOB_RUN_AS makes it another" in text
