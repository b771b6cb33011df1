"""Local files: whole or not at all, and never those of the user."""

import errno
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from supervisor.storage import Changed, Denied, Exists, Full, Invalid, Missing, StorageError, of, on_output
from supervisor.storage.local import Local, extensions, folds_case

NOBODY = 65534


@pytest.fixture
def local() -> Local:
    return Local()


def made(path: Path, content: bytes = b"content") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def upload(local: Local, source: Path | bytes, uri: object, **metadata: str) -> None:
    local.upload(source, str(uri), media_type="application/json", metadata=metadata)


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_bytes_that_are_in_memory_come_back_as_they_went(local: Local, tmp_path: Path) -> None:
    upload(local, b"content", tmp_path / "out" / "result", **{"input-etag": "abc"})
    found = local.stat(str(tmp_path / "out" / "result"))
    assert (found.size, found.metadata) == (7, {"input-etag": "abc"})
    assert (tmp_path / "out" / "result").read_bytes() == b"content"


@pytest.mark.parametrize("size", [0, 1, 3 * 1024 * 1024 + 7])
def test_bytes_come_back_as_they_went(size: int, local: Local, tmp_path: Path) -> None:
    content = os.urandom(size)
    upload(local, made(tmp_path / "source", content), tmp_path / "out" / "result")
    found = local.stat(str(tmp_path / "out" / "result"))
    assert found.size == size
    local.download(found, tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == content


@pytest.mark.parametrize("name", ["a b.json", "100%.json", "%41.json", "ü🎙.json", "new\nline.json", "\udcff.json"])
def test_a_file_uri_and_a_path_name_the_same_file(name: str, local: Local, tmp_path: Path) -> None:
    upload(local, made(tmp_path / "source"), tmp_path / name)
    assert local.stat((tmp_path / name).as_uri()).size == len(b"content")
    assert local.stat((tmp_path / name).as_uri().replace("file://", "FILE://localhost")).size == len(b"content")


def test_provenance_is_kept_beside_the_result(local: Local, tmp_path: Path) -> None:
    result = tmp_path / "a.json"
    upload(local, made(tmp_path / "source"), result, **{"input-etag": "abc"})
    assert local.stat(str(result)).metadata == {"input-etag": "abc"}
    assert files(tmp_path) == [".a.json.provenance", "a.json", "source"]


@pytest.mark.parametrize("other", [b"edited by hand", b"CONTENT"], ids=["another size", "the same size"])
def test_a_result_of_other_bytes_has_lost_its_provenance(other: bytes, local: Local, tmp_path: Path) -> None:
    result = tmp_path / "a.json"
    upload(local, made(tmp_path / "source"), result, **{"input-etag": "abc"})
    was = result.stat()
    result.write_bytes(other)
    os.utime(result, ns=(was.st_atime_ns, was.st_mtime_ns))
    assert local.stat(str(result)).metadata == {}


def test_a_copy_of_a_result_and_its_note_has_its_provenance(local: Local, tmp_path: Path) -> None:
    upload(local, b"content", tmp_path / "out" / "a.json", **{"input-etag": "abc"})
    shutil.copytree(tmp_path / "out", tmp_path / "copy")
    assert local.stat(f"{tmp_path}/copy/a.json").metadata == {"input-etag": "abc"}


def test_a_download_tells_the_provenance_and_so_does_a_link(local: Local, tmp_path: Path) -> None:
    upload(local, b"content", tmp_path / "out" / "a.json", **{"input-etag": "abc"})
    (tmp_path / "link").symlink_to("out/a.json")
    made(tmp_path / "plain")
    for name, metadata in (("out/a.json", {"input-etag": "abc"}), ("link", {"input-etag": "abc"}), ("plain", {})):
        copy = tmp_path / f"copy-of-{Path(name).name}"
        assert local.download(local.stat(f"{tmp_path}/{name}"), copy).metadata == metadata


@pytest.mark.parametrize("where", [os, Path], ids=["before its result is there", "before its note is"])
def test_of_two_writers_at_once_none_vouches_for_the_others_bytes(
    where: Any, local: Local, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result, move = tmp_path / "a.json", where.replace

    def after_another(partial: Path, target: Path) -> object:
        monkeypatch.undo()
        upload(local, b"theirs!", result, writer="the other")
        return move(partial, target)

    monkeypatch.setattr(where, "replace", after_another)
    upload(local, b"content", result, writer="this")
    told = {b"content": "this", b"theirs!": "the other"}[result.read_bytes()]
    assert local.stat(str(result)).metadata in ({}, {"writer": told})


def test_many_writers_at_once_leave_a_result_whose_note_is_its_own(local: Local, tmp_path: Path) -> None:
    result = tmp_path / "a.json"
    for turn in range(20):
        bodies = [f"{turn:03}-{number}".encode() for number in range(4)]
        threads = [Thread(target=upload, args=(local, body, result), kwargs={"of": body.decode()}) for body in bodies]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert local.stat(str(result)).metadata in ({}, {"of": result.read_text()})
    assert files(tmp_path) == [".a.json.provenance", "a.json"]


def test_a_writer_that_is_killed_before_its_note_is_there_leaves_one_that_vouches_for_nothing(
    local: Local, tmp_path: Path
) -> None:
    result = tmp_path / "a.json"
    upload(local, b"old one", result, writer="the first")
    code = "os.fsync = lambda fd: None; Path.replace = lambda *_: os._exit(9); upload(*sys.argv[1:])"
    told(in_process(code, made(tmp_path / "source", b"new one"), result))
    assert result.read_bytes() == b"new one"
    assert local.stat(str(result)).metadata == {}


@pytest.mark.parametrize("note", [b"", b"[]", b"{}", b"\xff", b'{"sha256": 7, "metadata": 3}', b"[" * 100_000])
def test_a_spoilt_note_is_no_provenance(note: bytes, local: Local, tmp_path: Path) -> None:
    result = made(tmp_path / "a.json")
    made(tmp_path / ".a.json.provenance", note)
    assert local.stat(str(result)).metadata == {}


def test_a_long_name_has_its_provenance_too(local: Local, tmp_path: Path) -> None:
    result = tmp_path / ("é" * 125 + ".json")
    upload(local, made(tmp_path / "source"), result, runner="worker")
    assert local.stat(str(result)).metadata == {"runner": "worker"}


def test_a_file_that_changed_since_it_was_looked_at_is_noticed(local: Local, tmp_path: Path) -> None:
    source = made(tmp_path / "a.wav")
    found = local.stat(str(source))
    source.write_bytes(b"CONTENT")
    with pytest.raises(Changed, match="changed while it was being read"):
        local.download(found, tmp_path / "copy")


# what a folder holds


def test_the_extensions_in_a_folder_are_those_of_its_names(tmp_path: Path) -> None:
    for name in ("a.wav.json", "b.zip", "no", "c.d/e.tif", ".hidden", "dot."):
        made(tmp_path / name)
    assert extensions(f"{tmp_path}/") == {".json", ".zip", ".d", ".hidden", "."}
    assert extensions(f"{tmp_path}/absent/") == extensions(f"{tmp_path}/no/") == frozenset()


def test_a_file_system_without_case_is_known_by_a_name_and_its_twin(tmp_path: Path) -> None:
    """Links stand for one: no other is at hand."""
    folder = tmp_path / "out"
    assert not folds_case(f"{folder}/")
    made(folder / "a.json")
    assert not folds_case(f"{folder}/")
    os.link(folder / "a.json", folder / "A.JSON")
    assert folds_case(f"{folder}/")
    assert folds_case(f"file://{folder}/not/there/yet/")


# what is not there, or in the way


@pytest.mark.parametrize(
    ("make", "kind", "told"),
    [
        (lambda place: None, Missing, "no such file"),
        (lambda place: place.mkdir(), Missing, "is a folder"),
        (os.mkfifo, Invalid, "not a regular file"),
        (lambda place: place.symlink_to(place), Invalid, "symbolic links"),
        (lambda place: place.symlink_to("nowhere"), Missing, "no such file"),
    ],
    ids=["nothing", "folder", "pipe", "loop", "dangling"],
)
def test_an_input_that_is_no_file_is_refused(
    make: Callable[[Path], object], kind: type[StorageError], told: str, local: Local, tmp_path: Path
) -> None:
    make(tmp_path / "a.wav")
    with pytest.raises(kind, match=told):
        local.stat(str(tmp_path / "a.wav"))


@pytest.mark.parametrize("uri", ["file://elsewhere/a.wav", "~nobody-of-that-name/a.wav", "/a\0b", "/" + "x" * 300])
def test_a_path_that_cannot_be_is_invalid(uri: str, local: Local) -> None:
    with pytest.raises(Invalid):
        local.stat(uri)


def test_a_tilde_is_the_home_folder_at_the_start_alone(
    local: Local, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    upload(local, made(tmp_path / "source"), "~/a")
    upload(local, tmp_path / "source", "./~/b")
    upload(local, tmp_path / "source", "./~root/c")
    assert files(tmp_path) == ["home/a", "source", "~/b", "~root/c"]


@pytest.mark.parametrize("place", ["in-the-way/a.json", "in-the-way/deeper/a.json"])
def test_a_file_in_the_way_of_a_folder_makes_the_output_unwritable(place: str, local: Local, tmp_path: Path) -> None:
    made(tmp_path / "in-the-way")
    with pytest.raises(Missing) as refused:
        upload(local, made(tmp_path / "source"), tmp_path / place)
    assert on_output(refused.value).code == 73


def test_a_folder_in_the_way_of_a_result_makes_the_output_unwritable(local: Local, tmp_path: Path) -> None:
    (tmp_path / "a.json").mkdir()
    with pytest.raises(Missing):
        upload(local, made(tmp_path / "source"), tmp_path / "a.json")
    assert files(tmp_path) == ["source"]


def test_a_link_is_replaced_and_what_it_points_to_left_alone(local: Local, tmp_path: Path) -> None:
    other = made(tmp_path / "other", b"precious")
    (tmp_path / "a.json").symlink_to(other)
    upload(local, made(tmp_path / "source"), tmp_path / "a.json")
    assert other.read_bytes() == b"precious"
    assert (tmp_path / "a.json").read_bytes() == b"content"


def test_an_input_behind_a_link_is_read(local: Local, tmp_path: Path) -> None:
    (tmp_path / "a.wav").symlink_to(made(tmp_path / "real.wav"))
    local.download(local.stat(str(tmp_path / "a.wav")), tmp_path / "copy")
    assert not (tmp_path / "copy").is_symlink()


# whole or not at all, in processes of their own


def in_process(code: str, *arguments: object, user: int | None = None) -> "subprocess.Popen[str]":
    """Python code with Local at hand; as `user` where we are root, who may do all."""
    start = f"""
import os, resource, sys
from pathlib import Path
from supervisor import storage
from supervisor.storage.local import Local
{f"os.setuid({user})" if user and os.getuid() == 0 else ""}
def upload(source, target):
    Local().upload(Path(source), target, media_type="application/json", metadata={{"a": "b"}})
"""
    return subprocess.Popen(
        [sys.executable, "-c", start + code, *map(str, arguments)], stdout=subprocess.PIPE, text=True
    )


def told(process: "subprocess.Popen[str]") -> str:
    with process:
        stdout, _ = process.communicate(timeout=60)
    return stdout.strip()


_KIND = """
try:
    {call}
except storage.StorageError as error:
    print(type(error).__name__, error)
"""


def test_a_full_disk_leaves_the_old_result_as_it_was(local: Local, tmp_path: Path) -> None:
    result = made(tmp_path / "out" / "a.json", b"the old result")
    code = "resource.setrlimit(resource.RLIMIT_FSIZE, (65536, 65536))" + _KIND.format(call="upload(*sys.argv[1:])")
    said = told(in_process(code, made(tmp_path / "source", b"x" * 200_000), result))
    assert said.startswith(Full.__name__)
    assert files(tmp_path / "out") == ["a.json"]
    assert result.read_bytes() == b"the old result"


def test_a_copy_that_does_not_fit_is_a_full_disk(tmp_path: Path) -> None:
    code = "resource.setrlimit(resource.RLIMIT_FSIZE, (65536, 65536))" + _KIND.format(
        call="Local().download(Local().stat(sys.argv[1]), Path(sys.argv[2]))"
    )
    said = told(in_process(code, made(tmp_path / "source", b"x" * 200_000), tmp_path / "copy"))
    assert said.startswith(Full.__name__)


def test_a_killed_upload_leaves_no_result(tmp_path: Path) -> None:
    # A pipe for a source holds the upload in the middle for as long as it takes.
    os.mkfifo(tmp_path / "source")
    out = tmp_path / "out"
    process = in_process("upload(*sys.argv[1:])", tmp_path / "source", out / "a.json")
    with (tmp_path / "source").open("wb") as writer:
        writer.write(b"x" * 4 * 1024 * 1024)
        writer.flush()
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert [name for name in files(out) if not name.endswith(".partial")] == []


@pytest.fixture
def closed(tmp_path: Path) -> Path:
    """A folder that others may look into and not write to."""
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_uid == os.getuid() and folder.is_relative_to(tempfile.gettempdir()):
            folder.chmod(folder.stat().st_mode | 0o055)
    folder = tmp_path / "closed"
    folder.mkdir(mode=0o555)
    return folder


def test_a_folder_that_may_not_be_written_to_is_denied(closed: Path, tmp_path: Path) -> None:
    source = made(tmp_path / "source")
    source.chmod(0o644)
    said = told(in_process(_KIND.format(call="upload(*sys.argv[1:])"), source, closed / "a.json", user=NOBODY))
    assert said == f"{Denied.__name__} {closed}/a.json: Permission denied"
    said = told(in_process(_KIND.format(call="upload(*sys.argv[1:])"), source, closed / "x" / "a.json", user=NOBODY))
    assert said.startswith(Denied.__name__)


def test_probing_tells_and_leaves_nothing(closed: Path, local: Local, tmp_path: Path) -> None:
    said = told(in_process(_KIND.format(call="Local().probe(sys.argv[1])"), closed / "deeper", user=NOBODY))
    assert said.startswith(Denied.__name__)
    local.probe(str(tmp_path / "not" / "there" / "yet"))
    made(tmp_path / "file")
    with pytest.raises(Missing, match="not a folder"):
        local.probe(str(tmp_path / "file" / "below"))
    assert files(tmp_path) == ["file"]
    assert not (tmp_path / "not").exists()


def test_a_file_that_may_not_be_read_is_denied(closed: Path, tmp_path: Path) -> None:
    source = made(tmp_path / "source")
    source.chmod(0)
    code = _KIND.format(call="Local().download(Local().stat(sys.argv[1]), Path('/dev/shm/nothing-comes-here'))")
    assert told(in_process(code, source, user=NOBODY)).startswith(Denied.__name__)


# which storage serves what


@pytest.mark.parametrize("uri", ["ftp://host/a", "gs://bucket/a", "s4://bucket/a"])
def test_an_unknown_scheme_is_invalid_and_names_those_known(uri: str) -> None:
    with pytest.raises(Invalid, match="is not one of s3://, https://, file://"):
        of(uri)


@pytest.mark.parametrize("uri", ["/a/b", "a", "file:///a", "FILE:///a", "a:b", "./s3:/x"])
def test_paths_are_local(uri: str) -> None:
    assert isinstance(of(uri), Local)


def listed(local: Local, uri: str) -> list[str]:
    return [found.uri.removeprefix(uri) for found in local.list(uri)]


def test_a_folder_is_listed_in_the_order_of_s3s_keys(local: Local, tmp_path: Path) -> None:
    for name in ("a/b", "a-b", "a.txt", "a0", "b", "a/c/d", "ü", "z"):
        made(tmp_path / name)
    assert listed(local, f"{tmp_path}/") == ["a-b", "a.txt", "a/b", "a/c/d", "a0", "b", "z", "ü"]


def test_a_listed_file_is_as_stat_sees_it(local: Local, tmp_path: Path) -> None:
    made(tmp_path / "in" / "a.wav")
    (found,) = local.list(f"{tmp_path}/in/")
    assert found == local.stat(f"{tmp_path}/in/a.wav")


@pytest.mark.parametrize("name", ["100% #?.wav", "ü🎙.wav", "new\nline", "\udcff.wav"])
def test_a_file_listed_below_a_file_uri_can_be_read(name: str, local: Local, tmp_path: Path) -> None:
    made(tmp_path / "in" / name)
    (found,) = local.list((tmp_path / "in").as_uri() + "/")
    local.download(found, tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == b"content"


def test_links_to_files_are_listed_and_links_to_folders_not_followed(local: Local, tmp_path: Path) -> None:
    folder, file = tmp_path / "in", made(tmp_path / "elsewhere" / "a.wav")
    folder.mkdir()
    (folder / "file").symlink_to(file)
    (folder / "folder").symlink_to(tmp_path)
    (folder / "nothing").symlink_to(tmp_path / "nothing")
    os.mkfifo(folder / "pipe")
    assert listed(local, f"{folder}/") == ["file"]


def test_what_upload_leaves_beside_results_is_not_listed(local: Local, tmp_path: Path) -> None:
    upload(local, made(tmp_path / "source"), tmp_path / "out" / "a.json", **{"input-etag": "abc"})
    upload(local, made(tmp_path / "source"), tmp_path / "out" / ("x" * 250), **{"input-etag": "abc"})
    made(tmp_path / "out" / ".0123456789abcdef.partial")
    made(tmp_path / "out" / "mine.provenance")
    made(tmp_path / "out" / ".mine.partial")
    assert listed(local, f"{tmp_path}/out/") == [".mine.partial", "a.json", "mine.provenance", "x" * 250]


def test_a_folder_deeper_than_pythons_stack_is_listed(local: Local, tmp_path: Path) -> None:
    folders = [Path(str(tmp_path) + "/d" * depth) for depth in range(1, sys.getrecursionlimit() + 200)]
    for folder in folders:
        folder.mkdir()
    file = made(folders[-1] / "a.wav")
    assert listed(local, f"{folders[0]}/") == [str(file.relative_to(folders[0]))]
    file.unlink()
    for folder in reversed(folders):  # no library removes so deep a tree
        folder.rmdir()


def test_a_missing_folder_cannot_be_listed(local: Local, tmp_path: Path) -> None:
    with pytest.raises(Missing, match="no such file"):
        next(local.list(f"{tmp_path}/nothing/"))
    with pytest.raises(Missing, match="Not a directory"):
        next(local.list(f"{made(tmp_path / 'file')}/"))


@pytest.mark.parametrize("scheme", ["", "file://"])
def test_a_listing_begins_after_a_name(scheme: str, local: Local, tmp_path: Path) -> None:
    names = ["a b/x", "a/b/c", "a/b/d", "a/b.wav", "a.wav", "a0", "b/100%", "b/x", "c", "ü/x"]
    for name in names:
        made(tmp_path / name)
    uri = f"{tmp_path.as_uri()}/" if scheme else f"{tmp_path}/"
    listed = [found.uri for found in local.list(uri)]
    assert len(listed) == len(names)
    for number, last in enumerate(listed):
        assert [found.uri for found in local.list(uri, after=last)] == listed[number + 1 :]
    assert [found.uri for found in local.list(uri, after=f"{uri}a/zzz")] == listed[listed.index(f"{uri}a0") :]


def test_a_listing_that_begins_late_does_not_look_into_the_folders_before(
    local: Local, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in ("a", "b", "c"):
        for name in ("1", "2"):
            made(tmp_path / folder / name)
    looked_into: list[str] = []
    scandir = os.scandir

    def look(folder: int) -> object:
        looked_into.append(Path(f"/proc/self/fd/{folder}").readlink().name)
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", look)
    assert [Path(found.uri).name for found in local.list(f"{tmp_path}/", after=f"{tmp_path}/b/1")] == ["2", "1", "2"]
    assert looked_into == [tmp_path.name, "b", "c"]


def test_a_listing_cannot_begin_after_what_lies_elsewhere(local: Local, tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="is not below"):
        list(local.list(f"{tmp_path}/", after="/elsewhere/a"))


def create(local: Local, source: Path | bytes, uri: object, **metadata: str) -> str | None:
    return local.create(source, str(uri), media_type="application/json", metadata=metadata)


def test_a_file_is_created_where_there_is_none_and_left_alone_where_there_is(local: Local, tmp_path: Path) -> None:
    target = tmp_path / "out" / "a.json"
    tag = create(local, b"mine", target, **{"input-etag": "0"})
    found = local.stat(str(target))
    assert (found.size, found.etag, found.metadata) == (4, tag, {"input-etag": "0"})
    for source in (b"theirs", b"mine", made(tmp_path / "source")):
        with pytest.raises(Exists) as told:
            create(local, source, target)
        assert on_output(told.value).code == 73
    assert target.read_bytes() == b"mine"
    assert files(tmp_path / "out") == [".a.json.provenance", "a.json"]


@pytest.mark.parametrize("link", [True, False], ids=["hard links", "none"])
def test_of_many_that_create_a_file_one_succeeds(
    link: bool, local: Local, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    if not link:
        monkeypatch.setattr(os, "link", refused)  # as FAT does

    def attempt(number: int) -> bool:
        try:
            create(local, str(number).encode(), tmp_path / "a.json")
        except Exists:
            return False
        return True

    with ThreadPoolExecutor(8 if link else 1) as pool:
        won = [number for number, is_mine in enumerate(pool.map(attempt, range(50))) if is_mine]
    assert len(won) == 1
    assert (tmp_path / "a.json").read_text() == str(won[0])
    assert files(tmp_path) == ["a.json"]


def test_a_link_to_nowhere_is_in_the_way_of_a_new_file(local: Local, tmp_path: Path) -> None:
    (tmp_path / "a.json").symlink_to(tmp_path / "nowhere")
    with pytest.raises(Exists):
        create(local, b"mine", tmp_path / "a.json")
    assert not (tmp_path / "nowhere").exists()


def test_a_folder_in_the_way_of_a_new_file_makes_the_output_unwritable(local: Local, tmp_path: Path) -> None:
    (tmp_path / "a.json").mkdir()
    made(tmp_path / "file")
    for target in (tmp_path / "a.json", tmp_path / "file" / "a.json"):
        with pytest.raises(Missing) as told:
            create(local, b"mine", target)
        assert on_output(told.value).code == 73


@pytest.mark.parametrize("kind", ["a FIFO", "a socket", "a device"])
@pytest.mark.parametrize("linked", [False, True])
def test_no_file_takes_the_place_of_what_is_none(
    kind: str, linked: bool, local: Local, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """JOB_STATUS=/dev/null would make a file of the machine's /dev/null, and /dev/stdout is a link to a device."""
    place = tmp_path / "place"
    match kind:
        case "a FIFO":
            os.mkfifo(place)
        case "a socket":
            with socket.socket(socket.AF_UNIX) as listening:
                monkeypatch.chdir(tmp_path)  # for its path may have 108 bytes
                listening.bind(place.name)
        case _:
            place = Path("/dev/null")
    target = tmp_path / "target"
    if linked or kind == "a device":
        target.symlink_to(place)
    else:
        place.rename(target)
    before = target.lstat()
    with pytest.raises(Invalid, match=f"target: is {kind}"):
        upload(local, b"{}", target, input="x")
    assert target.lstat() == before
    assert [each.name for each in tmp_path.iterdir() if each != place] == ["target"]
