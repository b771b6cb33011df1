"""`supervisor check`: what it says, and what it leaves alone."""

import json
from pathlib import Path
from typing import Any

from tests.conftest import Ended, Supervisor


def checks(ended: Ended) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(ended.stdout)["checks"]
    return found


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
