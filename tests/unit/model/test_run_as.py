"""JOB_RUN_AS: the guest as another user, who reaches what it is lent and nothing else of ours."""

import os
import shutil
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from supervisor.failures import BadUsage, ItemFailed
from supervisor.machine import users
from supervisor.machine.users import User
from supervisor.model import guest
from supervisor.model.find import Installation
from supervisor.model.guest import Guest
from supervisor.model.process_tree import processes
from supervisor.model.runner import _require_file

NOBODY = User(uid=65534, gid=65534)
AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
# Any Python that another user may run: this one may lie in root's home.
PYTHON = next((p for p in ("/usr/bin/python3", "/usr/local/bin/python3") if Path(p).exists()), None)
WORKER = """
import json, os, sys
requests, replies = os.fdopen(int(sys.argv[1])), int(sys.argv[2])

def tried(do, *arguments):
    try:
        do(*arguments)
        return "done"
    except OSError as error:
        return type(error).__name__

for line in requests:
    request = json.loads(line)
    given = request["with"]
    ours = os.getppid()
    os.write(replies, json.dumps({
        "id": request["id"], "ok": True,
        "ids": [os.getuid(), os.geteuid(), os.getgid(), os.getegid(), os.getgroups()],
        "home": os.environ.get("HOME"),
        "reads": open(given["source"]).read(),
        "writes": tried(lambda: open(os.path.join(given["folder"], "answer"), "w").write("x")),
        "temporary": tried(lambda: open(os.path.join(os.environ["TMPDIR"], "x"), "w")),
        "environ": tried(lambda: open("/proc/%d/environ" % ours).read()),
        "memory": tried(lambda: open("/proc/%d/mem" % ours)),
        "signal": tried(os.kill, ours, 0),
        "lists": tried(os.listdir, given["job"]),
        "other": tried(os.listdir, given["other"]),
    }).encode() + b"\\n")
"""


@pytest.fixture
def job_folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A job's folder as the supervisor makes it, outside of pytest's own, which nobody else may pass."""
    folder = Path(tempfile.mkdtemp(prefix="supervisor-"))
    shared = Path(tempfile.mkdtemp(prefix="worker-"))
    shared.chmod(0o755)
    (shared / "worker.py").write_text(WORKER)
    monkeypatch.setattr(guest, "WORKER", shared / "worker.py")
    yield folder
    shutil.rmtree(folder)
    shutil.rmtree(shared)


KILLED = """
import os, sys, time
from pathlib import Path
from supervisor.machine.users import User
from supervisor.model import guest
from supervisor.model.find import Installation
shared = Path(sys.argv[1])
guest.WORKER = shared / "model" / "worker.py"
installation = Installation(python=Path(sys.argv[2]), programs_folder=shared, programs=(), on_path=True)
one = guest.Guest(installation, {"PATH": os.defpath}, shared, print, user=User(uid=65534, gid=65534))
one.send("program", name="hangs", argv=[], folder=None)
print(one.tree.pid, flush=True)
time.sleep(600)
"""
HANGS = "import ctypes; print('hangs', flush=True); ctypes.PyDLL(None).sleep(600)"


@AS_ROOT
@pytest.mark.skipif(PYTHON is None, reason="no Python that another user may run")
def test_another_users_guest_goes_with_a_supervisor_that_is_killed_outright(job_folder: Path) -> None:
    job_folder.chmod(0o755)
    for room in ("model", "machine"):  # the worker loads some of those beside it
        shutil.copytree(Path(guest.__file__).parents[1] / room, job_folder / room)
    (job_folder / "hangs").write_text(HANGS)
    command = [sys.executable, "-c", KILLED, str(job_folder), str(PYTHON)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as supervisor:
        assert supervisor.stdout
        words = [supervisor.stdout.readline().strip() for _ in range(2)]
        pid = next(int(word) for word in words if word.isdigit())
        session = [p.pid for p in processes() if p.session == pid]
        supervisor.kill()
        assert "hangs" in words
        assert len(session) == 2, "the guest and its watcher"
        deadline = time.monotonic() + 2
        while any(p.session == pid and p.state != "Z" for p in processes()) and time.monotonic() < deadline:
            time.sleep(0.02)
        assert [p for p in processes() if p.session == pid and p.state != "Z"] == []


@AS_ROOT
@pytest.mark.skipif(PYTHON is None, reason="no Python that another user may run")
def test_the_guest_reaches_its_item_and_nothing_else(job_folder: Path) -> None:
    scratch, folder, other = job_folder / "tmp-0", job_folder / "0", job_folder / "1"
    for path in (scratch, other):
        path.mkdir(mode=0o700)
    source = folder / "in" / "a.wav"
    source.parent.mkdir(parents=True)
    source.write_text("RIFF")
    job_folder.chmod(0o711)
    users.give(NOBODY, scratch)
    users.give(NOBODY, folder, source.parent, source)
    installation = Installation(python=Path(PYTHON or ""), programs_folder=Path("/bin"), programs=(), on_path=True)
    guest = Guest(installation, {"PATH": os.defpath, "HOME": "/root"}, scratch, lambda line: None, user=NOBODY)
    try:
        said = guest.ask("look", source=str(source), folder=str(folder), job=str(job_folder), other=str(other))
        users.reclaim(folder)
        later = guest.tree.members()
    finally:
        guest.end()
    del said["id"], said["ok"]
    assert said == {
        "ids": [65534, 65534, 65534, 65534, []],
        "home": "/root",
        "reads": "RIFF",
        "writes": "done",
        "temporary": "done",
        "environ": "PermissionError",
        "memory": "PermissionError",
        "signal": "PermissionError",
        "lists": "PermissionError",
        "other": "PermissionError",
    }
    assert [member.pid for member in later] == [guest.tree.pid]
    assert guest.tree.poll() is not None
    found = folder.stat()
    assert (found.st_uid, stat.S_IMODE(found.st_mode)) == (os.geteuid(), 0o700)


@AS_ROOT
@pytest.mark.parametrize(
    ("run_as", "user"),
    [
        ("4242", User(uid=4242, gid=4242)),
        ("4242:17", User(uid=4242, gid=17)),
        ("65534", User(uid=65534, gid=65534)),
        ("nobody", User(uid=65534, gid=65534)),
        ("root", User(uid=0, gid=0)),
    ],
)
def test_a_user_is_a_number_two_numbers_or_a_name(run_as: str, user: User) -> None:
    assert users.find(run_as) == user


def test_a_name_that_the_image_does_not_know_is_bad_usage() -> None:
    with pytest.raises(BadUsage, match="JOB_RUN_AS is 'no-such-user': the image has no such user") as refused:
        users.find("no-such-user")
    assert "uid:gid" in refused.value.hint


@AS_ROOT
def test_only_root_can_become_another_user() -> None:
    code = "import os; os.setuid(65534); from supervisor.machine import users; users.find('1000')"
    ended = subprocess.run(
        [sys.executable, "-c", f"from supervisor.machine import users; {code}"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "JOB_RUN_AS is '1000', but the supervisor runs as user 65534, who cannot become another" in ended.stderr


@pytest.mark.parametrize("kind", ["symbolic link", "hard link", "folder", "pipe", "nothing"])
def test_only_a_file_of_its_own_is_an_answer(kind: str, tmp_path: Path) -> None:
    secret, written = tmp_path / "secret", tmp_path / "answer"
    secret.write_text("of ours")
    if kind == "symbolic link":
        written.symlink_to(secret)
    elif kind == "hard link":
        written.hardlink_to(secret)
    elif kind == "folder":
        written.mkdir()
    elif kind == "pipe":
        os.mkfifo(written)
    with pytest.raises(ItemFailed, match=r"removed its own answer|something else than a file"):
        _require_file(written, "the module")


def test_a_file_is_an_answer(tmp_path: Path) -> None:
    (tmp_path / "answer").write_text("{}")
    _require_file(tmp_path / "answer", "the module")
