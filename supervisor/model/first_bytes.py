"""What a file is, by its first bytes: the formats that the catalogue's modules take and answer, and text.

Where a library would bring hundreds of formats into every image, these are enough. The worker loads this file under
Python 3.6 or newer. Sources of the signatures: the formats' own specifications, and the IANA's register of media types.
"""

import json
import os
import re
from typing import Dict, List, Optional, Pattern, Tuple

# Bytes looked at, at either end.
HEAD = 16 * 1024

# The extension of a file of each media type, as results are named.
EXTENSIONS: Dict[str, str] = {
    "application/dicom": ".dcm",
    "application/epub+zip": ".epub",
    "application/gzip": ".gz",
    "application/json": ".json",
    "application/pdf": ".pdf",
    "application/vnd.apache.parquet": ".parquet",
    "application/vnd.oasis.opendocument.presentation": ".odp",
    "application/vnd.oasis.opendocument.spreadsheet": ".ods",
    "application/vnd.oasis.opendocument.text": ".odt",
    "application/vnd.openxmlformats-officedocument.presentationml.presentation": ".pptx",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": ".xlsx",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": ".docx",
    "application/vnd.sqlite3": ".sqlite",
    "application/x-7z-compressed": ".7z",
    "application/x-bzip2": ".bz2",
    "application/x-hdf5": ".h5",
    "application/x-ndjson": ".jsonl",
    "application/x-netcdf": ".nc",
    "application/x-npy": ".npy",
    "application/x-npz": ".npz",
    "application/x-tar": ".tar",
    "application/x-xz": ".xz",
    "application/xml": ".xml",
    "application/zip": ".zip",
    "application/zstd": ".zst",
    "audio/aac": ".aac",
    "audio/flac": ".flac",
    "audio/mp4": ".m4a",
    "audio/mpeg": ".mp3",
    "audio/ogg": ".ogg",
    "audio/wav": ".wav",
    "audio/x-aiff": ".aiff",
    "audio/x-wav": ".wav",
    "image/avif": ".avif",
    "image/bmp": ".bmp",
    "image/gif": ".gif",
    "image/heic": ".heic",
    "image/jp2": ".jp2",
    "image/jpeg": ".jpg",
    "image/png": ".png",
    "image/svg+xml": ".svg",
    "image/tiff": ".tif",
    "image/webp": ".webp",
    "text/csv": ".csv",
    "text/html": ".html",
    "text/plain": ".txt",
    "text/tab-separated-values": ".tsv",
    "video/mp4": ".mp4",
    "video/ogg": ".ogv",
    "video/quicktime": ".mov",
    "video/webm": ".webm",
    "video/x-matroska": ".mkv",
    "video/x-msvideo": ".avi",
}
# What servers and stores say where nobody has told them: no reason not to look.
SAYS_NOTHING = frozenset(
    ["application/octet-stream", "application/x-www-form-urlencoded", "binary/octet-stream", "text/plain"]
)

# (offset, bytes there, media type); the first that fits.
_SIGNATURES: Tuple[Tuple[int, bytes, str], ...] = (
    (0, b"\x89PNG\r\n\x1a\n", "image/png"),
    (0, b"\xff\xd8\xff", "image/jpeg"),
    (0, b"GIF87a", "image/gif"),
    (0, b"GIF89a", "image/gif"),
    (0, b"II*\0", "image/tiff"),
    (0, b"MM\0*", "image/tiff"),
    (0, b"II+\0", "image/tiff"),  # BigTIFF
    (0, b"MM\0+", "image/tiff"),
    (0, b"\0\0\0\x0cjP  \r\n\x87\n", "image/jp2"),
    (0, b"fLaC", "audio/flac"),
    (0, b"ID3", "audio/mpeg"),
    (0, b"%PDF-", "application/pdf"),
    (0, b"\x1f\x8b", "application/gzip"),
    (0, b"BZh", "application/x-bzip2"),
    (0, b"\xfd7zXZ\0", "application/x-xz"),
    (0, b"\x28\xb5\x2f\xfd", "application/zstd"),
    (0, b"7z\xbc\xaf\x27\x1c", "application/x-7z-compressed"),
    *((offset, b"\x89HDF\r\n\x1a\n", "application/x-hdf5") for offset in (0, 512, 1024, 2048, 4096, 8192)),
    (0, b"CDF\1", "application/x-netcdf"),
    (0, b"CDF\2", "application/x-netcdf"),
    (0, b"CDF\5", "application/x-netcdf"),
    (0, b"\x93NUMPY", "application/x-npy"),
    (0, b"PAR1", "application/vnd.apache.parquet"),
    (0, b"SQLite format 3\0", "application/vnd.sqlite3"),
    (128, b"DICM", "application/dicom"),
    (257, b"ustar", "application/x-tar"),
)
# Of a RIFF or IFF, by the word at 8.
_CHUNKS = {b"WAVE": "audio/x-wav", b"WEBP": "image/webp", b"AVI ": "video/x-msvideo", b"AIFF": "audio/x-aiff",
           b"AIFC": "audio/x-aiff"}  # fmt: skip
# Of an ISO base media file, by its brand.
_BRANDS = {b"M4A ": "audio/mp4", b"M4B ": "audio/mp4", b"qt  ": "video/quicktime", b"avif": "image/avif",
           b"heic": "image/heic", b"heix": "image/heic", b"mif1": "image/heic", b"jp2 ": "image/jp2"}  # fmt: skip
# What is packed in a ZIP, by the names of its members: a member's header, its entry in the table at the end.
_MEMBER = re.compile(rb"PK\x03\x04.{22}(..)..", re.DOTALL)
_ENTRY = re.compile(rb"PK\x01\x02.{24}(..).{16}", re.DOTALL)
_OF_OFFICE = frozenset([b"[Content_Types].xml", b"_rels/.rels", b"docProps/app.xml", b"docProps/core.xml"])
_OFFICE = {
    b"word/": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    b"xl/": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    b"ppt/": "application/vnd.openxmlformats-officedocument.presentationml.presentation",
}
_NO_TEXT = re.compile("[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f]")
_LINES = 5  # of a table that are looked at
_DECODER = json.JSONDecoder()


def media_type_of(path: str) -> Optional[str]:
    """The media type of a local file; None where its first bytes say nothing. Raises OSError."""
    with open(path, "rb") as file:
        head = file.read(HEAD)
        file.seek(max(0, os.fstat(file.fileno()).st_size - HEAD))
        tail = file.read(HEAD)
    return recognised(head, tail, len(head) == HEAD)


def recognised(head: bytes, tail: bytes = b"", more: bool = False) -> Optional[str]:
    """The same of the first and last bytes; more: whether there are others behind the first."""
    for offset, signature, media_type in _SIGNATURES:
        if head.startswith(signature, offset):
            return media_type
    if head[:4] in (b"RIFF", b"RIFX", b"RF64", b"BW64", b"FORM") and head[8:12] in _CHUNKS:
        return _CHUNKS[head[8:12]]
    if head[4:8] == b"ftyp":
        return _BRANDS.get(head[8:12], "video/mp4")
    if head[:4] in (b"PK\3\4", b"PK\5\6"):
        return _packed(head, tail)
    if head[:4] == b"OggS":
        return "video/ogg" if b"theora" in head[:256] else "audio/ogg"
    if head[:4] == b"\x1aE\xdf\xa3":
        return "video/webm" if b"webm" in head[:64] else "video/x-matroska"
    if head[:2] == b"BM" and head[6:10] == b"\0\0\0\0":
        return "image/bmp"
    return _frames(head) or _text(head, more)


def _packed(head: bytes, tail: bytes) -> str:
    """Writers put the members in any order: the table at the end names those that the first bytes do not reach."""
    first = _names(head, _MEMBER)
    if first[:1] == [b"mimetype"]:  # stored as it is: OpenDocument, EPUB
        said = re.match(rb"application/[a-z.+-]+", head.partition(b"mimetype")[2])
        if said and said.group().decode() in EXTENSIONS:
            return said.group().decode()
    names = first + _names(tail, _ENTRY)
    if any(name in _OF_OFFICE for name in names):
        for folder, media_type in _OFFICE.items():
            if any(name.startswith(folder) for name in names):
                return media_type
    return "application/x-npz" if names and all(name.endswith(b".npy") for name in names) else "application/zip"


def _names(part: bytes, header: Pattern[bytes]) -> List[bytes]:
    found = ((each.end(), int.from_bytes(each.group(1), "little")) for each in header.finditer(part))
    return [part[start : start + length] for start, length in found]


def _frames(head: bytes) -> Optional[str]:
    """MPEG audio of layer 2 or 3 without a tag: a frame begins with eleven ones, and no field of its header has a value
    that means nothing."""
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return None
    version, layer, rate = head[1] >> 3 & 3, head[1] >> 1 & 3, head[2] >> 2 & 3
    if layer == 0 and head[1] & 0xF0 == 0xF0:
        return "audio/aac"
    return "audio/mpeg" if version != 1 and layer in (1, 2) and rate != 3 and head[2] >> 4 not in (0, 15) else None


def _text(head: bytes, more: bool) -> Optional[str]:
    text = _decoded(head, more)
    if text is None or not text.strip() or _NO_TEXT.search(text):
        return None
    start = text.lstrip()
    if start[0] in "{[":
        return _json(start, more)
    if start[0] == "<":
        return _markup(start)
    lines = [line for line in text.splitlines()[: _LINES + 1] if line.strip()]
    if more or len(lines) > _LINES:
        lines.pop()  # perhaps cut off
    for separator, media_type in ((",", "text/csv"), (";", "text/csv"), ("\t", "text/tab-separated-values")):
        if len(lines) > 1 and lines[0].count(separator) > 0 and len({line.count(separator) for line in lines}) == 1:
            return media_type
    return "text/plain"


def _decoded(head: bytes, more: bool) -> Optional[str]:
    for mark, encoding in ((b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16")):
        if head.startswith(mark):
            return head[: len(head) // 2 * 2].decode(encoding, "ignore")
    for cut in range(4 if more else 1):  # in the middle of a character
        try:
            return head[: len(head) - cut].decode("utf-8-sig")
        except UnicodeDecodeError:
            continue
    return None


def _json(text: str, more: bool) -> str:
    """JSON, or JSON Lines, or a text that only begins like them. What is cut off is believed."""
    try:
        _, end = _DECODER.raw_decode(text)
    except (ValueError, RecursionError):
        return "application/json" if more and re.match(r"""\{\s*("|\})|\[\s*[\[{"\d\]tfn-]""", text) else "text/plain"
    rest = text[end:].lstrip()
    if not rest:
        return "application/json"
    return "application/x-ndjson" if rest[0] in "{[" else "text/plain"


def _markup(text: str) -> str:
    start = text[:1024].lower()
    if "<svg" in start:
        return "image/svg+xml"
    if start.startswith(("<!doctype html", "<html")):
        return "text/html"
    return "application/xml" if start.startswith("<?xml") else "text/plain"
