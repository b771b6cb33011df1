"""Which local files are inputs: none of the kernel's, and none that holds credentials of the supervisor's."""

import os
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from supervisor.storage import Changed, Invalid, Missing, Object, of, of_input
from supervisor.storage.local_inputs import LocalInputs

ENVIRON = "/proc/self/environ"
Way = Callable[[Path], str]


def link(target: str) -> Way:
    def way(folder: Path) -> str:
        (folder / "link").symlink_to(target)
        return str(folder / "link")

    return way


def link_to_link(folder: Path) -> str:
    (folder / "first").symlink_to("/proc/self")
    (folder / "second").symlink_to("first/environ")
    return str(folder / "second")


WAYS: dict[str, Way] = {
    "the path": lambda folder: ENVIRON,
    "a file: URI": lambda folder: f"file://{ENVIRON}",
    "an encoded file: URI": lambda folder: "FILE://localhost/%70roc/self/environ",
    "dots": lambda folder: f"{folder}/../../../../../../../..{ENVIRON}",
    "a relative path": lambda folder: os.path.relpath(ENVIRON),
    "slashes": lambda folder: f"//{ENVIRON}",
    "its own root": lambda folder: f"/proc/self/root{ENVIRON}",
    "a link": link(ENVIRON),
    "a link to a link": link_to_link,
    "a link through the root of a process": link(f"/proc/self/root{ENVIRON}"),
    "another process": lambda folder: f"/proc/{os.getppid()}/environ",
    "a thread": lambda folder: "/proc/thread-self/environ",
    "what is not there": lambda folder: "/proc/nothing",
    "a setting": lambda folder: "/sys/kernel/mm/transparent_hugepage/enabled",
    "a device": lambda folder: "/dev/zero",
    "a link to a device": link("/dev/urandom"),
    "stdin": lambda folder: "/dev/stdin",
    "a descriptor": lambda folder: "/dev/fd/0",
    "shared memory": lambda folder: "/dev/shm/anything",
}


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_what_the_kernel_shows_is_no_input(way: Way, tmp_path: Path) -> None:
    uri = way(tmp_path)
    with pytest.raises(Invalid, match=r"lies in /(proc|sys|dev), where there are no inputs"):
        of_input(uri).stat(uri)


@pytest.mark.parametrize("by", ["root", "cwd", "fd"])
def test_a_way_through_proc_leads_to_no_input_either(by: str, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"x")
    with (tmp_path / "secret").open() as file, pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        target = {"root": f"root{tmp_path}/secret", "cwd": "cwd/secret", "fd": f"fd/{file.fileno()}"}[by]
        (tmp_path / "link").symlink_to(f"/proc/self/{target}")
        with pytest.raises(Invalid, match="lies in /proc"):
            of_input("x").stat(str(tmp_path / "link"))


@pytest.mark.parametrize("prefix", ["/proc/", "/proc/self/", "/sys/", "/dev/", "/proc/self/root/etc/", "link/"])
def test_nothing_of_the_kernels_is_listed(prefix: str, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/proc/self")
    uri = str(tmp_path / prefix) + "/"
    with pytest.raises(Invalid, match=r"lies in /(proc|sys|dev)"):
        list(of_input(uri).list(uri))


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Callable[..., Path]]:
    """Mounts something on a new folder. Without the right to, the test is left out."""
    folders: list[Path] = []

    def mount(*options: str) -> Path:
        folder = tmp_path / f"mounted-{len(folders)}"
        folder.mkdir()
        done = subprocess.run(["mount", *options, folder], capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"nothing can be mounted here: {done.stderr.strip()}")
        folders.append(folder)
        return folder

    yield mount
    for folder in folders:
        subprocess.run(["umount", folder], check=True)


@pytest.mark.parametrize(
    ("options", "file"),
    [
        (("--bind", "/proc"), "self/environ"),
        (("-t", "proc", "proc"), "self/environ"),
        (("--bind", "/proc/sys"), "kernel/ostype"),
    ],
)
def test_the_kernels_file_systems_are_known_wherever_they_are_mounted(
    options: tuple[str, ...], file: str, mounted: Callable[..., Path]
) -> None:
    uri = str(mounted(*options) / file)
    with pytest.raises(Invalid, match=r"a file system of the kernel's \(proc\)"):
        of_input(uri).stat(uri)


def test_a_file_that_gave_way_to_a_link_is_not_read(tmp_path: Path) -> None:
    store, path = LocalInputs(), tmp_path / "x.wav"
    path.write_bytes(b"RIFF")
    found = store.stat(str(path))
    path.unlink()
    path.symlink_to(ENVIRON)
    with pytest.raises(Invalid, match="lies in /proc"):
        store.download(found, tmp_path / "copy")
    assert not (tmp_path / "copy").exists()


def test_what_is_read_is_what_was_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The path leads elsewhere between the look and the reading, as a race that is won."""
    store, path = LocalInputs(), tmp_path / "x.wav"
    path.write_bytes(b"RIFF")
    found = store.stat(str(path))
    copyfileobj = "supervisor.storage.local.shutil.copyfileobj"
    opened = []

    def swap(reader: object, *_: object) -> None:
        path.unlink()
        path.symlink_to(ENVIRON)
        opened.append(reader.read())  # type: ignore[attr-defined]

    monkeypatch.setattr(copyfileobj, swap)
    store.download(found, tmp_path / "copy")
    assert opened == [b"RIFF"]


def test_a_fifo_in_the_place_of_a_file_makes_nobody_wait(tmp_path: Path) -> None:
    store, path = LocalInputs(), tmp_path / "x.wav"
    path.write_bytes(b"RIFF")
    found = store.stat(str(path))
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(Invalid, match="is a FIFO, not a regular file"):
        store.download(found, tmp_path / "copy")


def test_what_is_no_regular_file_is_no_input(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))
        for name, kind in (("fifo", "a FIFO"), ("socket", "a socket")):
            with pytest.raises(Invalid, match=f"is {kind}, not a regular file"):
                of_input("x").stat(str(tmp_path / name))
    with pytest.raises(Missing, match="is a folder, not a file"):
        of_input("x").stat(str(tmp_path))


def test_a_fifo_beside_a_file_where_a_note_would_be_makes_nobody_wait(tmp_path: Path) -> None:
    (tmp_path / "x.wav").write_bytes(b"RIFF")
    os.mkfifo(tmp_path / ".x.wav.provenance")
    assert of_input("x").stat(str(tmp_path / "x.wav")).metadata == {}


def test_files_of_credentials_are_no_inputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    token, home = tmp_path / "mounted" / "token", tmp_path / "home"
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(token))
    for path in (token, home / ".aws" / "credentials", home / ".aws" / "sso" / "cache" / "x.json"):
        path.parent.mkdir(parents=True)
        path.write_text("secret")
    (tmp_path / "link").symlink_to(token)
    store = LocalInputs()
    for path in (token, home / ".aws" / "credentials", home / ".aws" / "sso" / "cache" / "x.json", tmp_path / "link"):
        with pytest.raises(Invalid, match="where there are no inputs"):
            store.stat(str(path))
    (home / "x.wav").write_bytes(b"RIFF")
    assert store.stat(str(home / "x.wav")).size == 4


@pytest.mark.parametrize("scheme", ["", "file://"])
def test_a_hard_link_to_credentials_is_no_input_either(
    scheme: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And so a mount of them elsewhere, which has the same device and inode."""
    home, inputs = tmp_path / "home", tmp_path / "in"
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setattr("supervisor.storage.local_inputs.time.monotonic", iter(range(100)).__next__)
    inputs.mkdir()
    store = LocalInputs()
    for path in (home / ".aws" / "credentials", home / ".netrc"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("secret")  # after the storage was made, as tokens are written anew
        link = inputs / f"{path.name}.wav"
        link.hardlink_to(path)
        with pytest.raises(Invalid, match="credentials by another name, where there are no inputs"):
            store.stat(f"{scheme}{link}")
        with pytest.raises(Invalid, match="credentials by another name"):
            store.download(Object(uri=str(link), size=6, etag="x"), tmp_path / "copy")
    (inputs / "x.wav").write_bytes(b"RIFF")
    (inputs / "y.wav").hardlink_to(inputs / "x.wav")
    assert store.stat(str(inputs / "y.wav")).size == 4


def test_names_that_only_look_like_the_kernels_are_inputs(tmp_path: Path) -> None:
    path = tmp_path / "proc" / "dev" / "sys.wav"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"RIFF")
    (tmp_path / "link").symlink_to(path)
    store = LocalInputs()
    for uri in (str(path), path.as_uri(), str(tmp_path / "link"), f"{tmp_path}/proc/../link"):
        found = store.stat(uri)
        store.download(found, tmp_path / "copy")
        assert (tmp_path / "copy").read_bytes() == b"RIFF"
        (tmp_path / "copy").unlink()
    assert len(list(store.list(f"{tmp_path}/proc/"))) == 1


def test_links_that_go_in_circles_are_told(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(Invalid, match="Too many levels of symbolic links"):
        of_input("x").stat(str(tmp_path / "a"))


def test_results_may_lie_in_shared_memory() -> None:
    """Only inputs are kept away from it: SLURM's users keep their scratch there."""
    path = Path("/dev/shm") / f"deepaas-batch-test-{os.getpid()}"
    path.write_bytes(b"{}")
    try:
        assert of(str(path)).stat(str(path)).size == 2
    finally:
        path.unlink()


def test_a_file_that_is_written_while_it_is_read_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, path = LocalInputs(), tmp_path / "x.wav"
    path.write_bytes(b"RIFF")
    found = store.stat(str(path))
    path.write_bytes(b"RIFF and more")
    with pytest.raises(Changed):
        store.download(found, tmp_path / "copy")
