"""What a file is by its first bytes. Where the standard library writes a format the file is a real one."""

import bz2
import gzip
import io
import json
import lzma
import sqlite3
import tarfile
import wave
import zipfile
from collections.abc import Callable
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from supervisor.model.first_bytes import EXTENSIONS, HEAD, media_type_of, recognised
from tests.conftest import REPOSITORY

WORD = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
SHEET = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
SLIDES = "application/vnd.openxmlformats-officedocument.presentationml.presentation"
ODT = "application/vnd.oasis.opendocument.text"


def packed(*names: str, size: int = 10) -> bytes:
    """A ZIP of members of random content."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name in names:
            content = "application/vnd.oasis.opendocument.text" if name == "mimetype" else "x" * size
            archive.writestr(name, content)
    return file.getvalue()


def tarred() -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("a"))
    return file.getvalue()


def recorded() -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as recording:
        recording.setparams((1, 2, 16000, 0, "NONE", ""))
        recording.writeframes(b"\0\0" * 100)
    return file.getvalue()


def database(path: Path) -> bytes:
    with sqlite3.connect(path / "x") as made:
        made.execute("create table t (a)")
    made.close()
    return (path / "x").read_bytes()


def columns(path: Path) -> bytes:
    pyarrow.parquet.write_table(pyarrow.table({"a": [1]}), path / "p")
    return (path / "p").read_bytes()


Content = bytes | Callable[[Path], bytes]
FILES: list[tuple[str, Content]] = [
    ("image/png", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"),
    ("image/jpeg", b"\xff\xd8\xff\xe0\0\x10JFIF\0"),
    ("image/jpeg", b"\xff\xd8\xff\xe1\x12\x34Exif\0"),
    ("image/gif", b"GIF89a\1\0\1\0"),
    ("image/tiff", b"II*\0\x08\0\0\0"),
    ("image/tiff", b"MM\0*\0\0\0\x08"),
    ("image/tiff", b"II+\0\x08\0\0\0"),
    ("image/bmp", b"BM\x3a\0\0\0\0\0\0\0\x36\0\0\0"),
    ("image/webp", b"RIFF\x24\0\0\0WEBPVP8 "),
    ("image/heic", b"\0\0\0\x18ftypheic\0\0\0\0"),
    ("image/avif", b"\0\0\0\x18ftypavif\0\0\0\0"),
    ("image/svg+xml", b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg"/>'),
    ("audio/x-wav", recorded()),
    ("audio/x-wav", b"RF64\xff\xff\xff\xffWAVEds64"),
    ("audio/flac", b"fLaC\0\0\0\x22"),
    ("audio/ogg", b"OggS\0\2" + b"\0" * 22 + b"\1vorbis"),
    ("audio/ogg", b"OggS\0\2" + b"\0" * 22 + b"OpusHead"),
    ("video/ogg", b"OggS\0\2" + b"\0" * 22 + b"\x80theora"),
    ("audio/mpeg", b"ID3\4\0\0\0\0\0\x23"),
    ("audio/mpeg", b"\xff\xfb\x90\x64" + b"\0" * 100),
    ("audio/mpeg", b"\xff\xf3\x40\xc0" + b"\0" * 100),
    ("audio/aac", b"\xff\xf1\x50\x80" + b"\0" * 100),
    ("audio/mp4", b"\0\0\0\x20ftypM4A \0\0\0\0"),
    ("audio/x-aiff", b"FORM\0\0\0\x2eAIFFCOMM"),
    ("video/mp4", b"\0\0\0\x20ftypisom\0\0\2\0"),
    ("video/quicktime", b"\0\0\0\x14ftypqt  \0\0\0\0"),
    ("video/x-msvideo", b"RIFF\x24\0\0\0AVI LIST"),
    ("video/webm", b"\x1aE\xdf\xa3\x9fB\x86\x81\1B\xf7\x81\1B\xf2\x81\4B\xf3\x81\x08B\x82\x84webm"),
    ("video/x-matroska", b"\x1aE\xdf\xa3\x9fB\x86\x81\1B\xf7\x81\1B\xf2\x81\4B\xf3\x81\x08B\x82\x88matroska"),
    ("application/pdf", b"%PDF-1.7\n%\xe2\xe3"),
    ("application/zip", packed("a.txt", "b.png")),
    ("application/zip", packed()),
    ("application/zip", packed("words.txt", "word/notes.txt")),
    (WORD, packed("[Content_Types].xml", "_rels/.rels", "word/document.xml")),
    (SHEET, packed("xl/worksheets/sheet1.xml", "xl/workbook.xml", "[Content_Types].xml", size=200_000)),
    (SLIDES, packed("[Content_Types].xml", "ppt/presentation.xml")),
    (ODT, packed("mimetype", "content.xml")),
    ("application/x-npz", packed("arr_0.npy", "arr_1.npy")),
    ("application/x-npy", b"\x93NUMPY\1\0v\0{'descr': '<f8'"),
    ("application/gzip", gzip.compress(b"x", mtime=0)),
    ("application/x-bzip2", bz2.compress(b"x")),
    ("application/x-xz", lzma.compress(b"x")),
    ("application/x-tar", tarred()),
    ("application/x-hdf5", b"\x89HDF\r\n\x1a\n\0\0\0\0"),
    ("application/x-hdf5", b"\0" * 512 + b"\x89HDF\r\n\x1a\n\0\0\0\0"),
    ("application/x-netcdf", b"CDF\1\0\0\0\0"),
    ("application/dicom", b"\0" * 128 + b"DICM\2\0\0\0"),
    ("application/vnd.apache.parquet", columns),
    ("application/vnd.sqlite3", database),
    ("application/json", b'{"a": [1, 2, {"b": null}]}'),
    ("application/json", b"\xef\xbb\xbf [1, 2]\n"),
    ("application/json", json.dumps({"a": "ü" * HEAD}, ensure_ascii=False).encode()),
    ("application/json", json.dumps([0.5] * HEAD).encode()),
    ("application/json", b"[]"),
    ("application/x-ndjson", b'{"a": 1}\n{"a": 2}\n'),
    ("application/x-ndjson", b'{"a": 1}\n' * HEAD),
    ("text/csv", b"start,end\n0.1,0.9\n"),
    ("text/csv", b"a;b;c\r\n1;2;3\r\n4;5;6"),
    ("text/csv", b"a,b\n1,2\n" * HEAD),
    ("text/tab-separated-values", b"a\tb\n1\t2\n"),
    ("text/html", b"<!DOCTYPE html><html></html>"),
    ("application/xml", b'<?xml version="1.0"?><a/>'),
    ("text/plain", b"a sentence, with a comma\nand another line"),
    ("text/plain", b"{not JSON at all}"),
    ("text/plain", b"[a list of words]"),
    ("text/plain", b"FORMULA"),
    ("text/plain", b"ftyp is a word"),
    ("text/plain", "ü".encode() * HEAD),  # cut in the middle of a character
    ("text/plain", "größer".encode("utf-16")),
]


@pytest.mark.parametrize(("media_type", "content"), FILES, ids=[media_type for media_type, _ in FILES])
def test_a_file_is_known_by_its_first_bytes(media_type: str, content: Content, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(content if isinstance(content, bytes) else content(tmp_path))
    assert media_type_of(str(path)) == media_type
    assert EXTENSIONS[media_type].startswith(".")


@pytest.mark.parametrize(
    "content",
    [b"", b" \n\t", b"\0", b"\0\1\2\3" * 100, b"\xfc\xfe\xfd\xfc\0" * 3, "größer".encode("latin-1"), b"\xff" * 4,
     b"BM is a bitmap?\0", b"\xff\xe0\0\0", b"RIFF\0\0\0\0junk"],
)  # fmt: skip
def test_a_file_that_does_not_say_what_it_is_is_left_alone(content: bytes) -> None:
    assert recognised(content) is None


def test_the_bundled_recording_is_one() -> None:
    assert media_type_of(str(REPOSITORY / "images" / "voice-activity" / "recording.wav")) == "audio/x-wav"
