"""Where credentials lie in files, and who can read them."""

import os
from pathlib import Path

import pytest

from supervisor.machine import credential_files
from supervisor.machine.users import User

NOBODY = User(uid=65534, gid=65534)
root_only = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user for a moment")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of credentials, on a way that others may go."""
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_uid == os.getuid() and folder != Path("/"):
            folder.chmod(folder.stat().st_mode | 0o011)
    home = tmp_path / "home"
    write(home / ".aws" / "credentials", mode=0o600)
    monkeypatch.setenv("HOME", str(home))
    return home


def write(path: Path, mode: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("secret")
    path.chmod(mode)
    return path


def readable(environ: dict[str, str], user: User | None, below: Path) -> list[str]:
    """Relative to a folder: what else lies on this machine is its own affair."""
    found = credential_files.readable(environ, user)
    return [str(path.relative_to(below)) for path in found if path.is_relative_to(below)]


def test_we_can_read_our_own(home: Path, tmp_path: Path) -> None:
    token = write(tmp_path / "pods" / "token", mode=0o600)
    environ = {"AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": str(token), "AWS_CONFIG_FILE": str(tmp_path / "nothing")}
    assert readable(environ, None, tmp_path) == ["pods/token", "home/.aws/credentials"]


@root_only
def test_another_user_can_not(home: Path, tmp_path: Path) -> None:
    token = write(tmp_path / "pods" / "token", mode=0o600)
    assert readable({"AWS_WEB_IDENTITY_TOKEN_FILE": str(token)}, NOBODY, tmp_path) == []
    assert os.geteuid() == 0
    assert readable({}, None, tmp_path) == ["home/.aws/credentials"]


@root_only
def test_another_user_can_where_the_mode_says_everybody(tmp_path: Path) -> None:
    """As Kubernetes projects a token for a pod that names no user."""
    token = write(tmp_path / "pods" / "token", mode=0o644)
    assert readable({"AWS_WEB_IDENTITY_TOKEN_FILE": str(token)}, NOBODY, tmp_path) == ["pods/token"]


@root_only
def test_a_folder_that_is_closed_keeps_what_is_in_it(home: Path, tmp_path: Path) -> None:
    write(home / ".aws" / "sso" / "cache" / "x.json", mode=0o644)
    (home / ".aws").chmod(0o700)
    assert readable({}, NOBODY, tmp_path) == []


def test_a_file_under_two_names_is_one(home: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(home / ".aws" / "credentials")
    assert readable({"AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "link")}, None, tmp_path) == ["link"]
