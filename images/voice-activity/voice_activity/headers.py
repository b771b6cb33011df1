"""Where in a container the encoded sound lies, and how much of it the header promises.

One function a container. Each also gives a header of its own that promises a given length: with that, what is wrong in
the file's own header (a size, a broken list of peaks, padding that was left out) no longer keeps its sound from the
decoder.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

from voice_activity.chunks import BIG_ENDIAN, CAF, RIFF, W64, Chunk, ChunkForm
from voice_activity.files import Disagreement, FileBytes

WRAP = 2**32  # where a size of 32 bits begins anew
# What programs write that cannot go back to their header: 0x80000000 (arecord), 0x7FFFFFFF (lame, opusdec), 0x7FFFF000
# (sox, espeak-ng), 0x7F000000 (sox, AIFF); and 0xFFFFFFFF (ffmpeg), with which the whole would be larger than WRAP.
PLACEHOLDERS = {0x80000000, 0x7FFFFFFF, 0x7FFFF000, 0x7F000000}
UNKNOWN = 0xFFFFFFFF
LARGEST = 2**62  # of a size of 64 bits; those above it, and the negative ones, mean that it is not known

TOO_LARGE = "it holds more than 4 GiB of sound, which its kind of header cannot say; store it as WAV (RF64) or FLAC"

UNCOMPRESSED = (1, 3, 0xFFFE)  # of WAV: integers, floats, extensible
AU_WIDTHS = {1: 1, 2: 1, 3: 2, 4: 3, 5: 4, 6: 4, 7: 8, 27: 1}  # encoding: bytes a sample
LONGEST_FORMAT = 4096  # bytes of a chunk that describes the samples; real ones have at most some 60


@dataclass(frozen=True)
class Sound:
    """Where in a file the encoded sound lies, as its header has it."""

    origin: int  # where its container begins
    begin: int
    promised: int | None  # bytes; None where the header leaves it open
    header: Callable[[int], bytes]  # for so many bytes of this sound, and nothing else
    is_metadata_behind: Callable[[int], bool]  # whether nothing but metadata follows so many bytes of it
    bytes_per_second: float | None = None
    has_placeholder: bool = False  # `promised` is what is written while the length is not known


def _riff(data: FileBytes, start: int) -> Sound | None:
    """WAV and its larger kin RF64 and BW64, which have the true size in a chunk of its own; RIFX is big-endian."""
    form = BIG_ENDIAN if data.at(start, 4) == b"RIFX" else RIFF
    found = form.first_of_each(data, start + 12, b"fmt ", b"data")
    if not found or data.at(start + 8, 4) != b"WAVE":
        return None
    sound, wide = found[b"data"], found.get(b"ds64")
    wave = _wave(data, form, found[b"fmt "], start, sound.begin)
    if wave and wide and sound.size in (0, UNKNOWN):
        return replace(wave, promised=_known(int.from_bytes(data.at(wide.begin + 8, 8), "little")))
    has_placeholder = _is_placeholder(sound.size, sound.begin - start)
    return wave and replace(wave, promised=sound.size, has_placeholder=has_placeholder)


def _w64(data: FileBytes, start: int) -> Sound | None:
    found = W64.first_of_each(data, start + 40, b"fmt ", b"data")
    wave = found and _wave(data, W64, found[b"fmt "], start, found[b"data"].begin)
    return replace(wave, promised=_known(found[b"data"].size + W64.counted, W64.counted)) if wave else None


def _wave(data: FileBytes, form: ChunkForm, description: Chunk, start: int, begin: int) -> Sound | None:
    described = _described(data, description, 14)
    if not described:
        return None
    order = ">" if form is BIG_ENDIAN else "<"
    kind, _channels, rate, average, frame = struct.unpack_from(order + "HHIIH", described)
    return Sound(
        origin=start,
        begin=begin,
        promised=None,
        header=partial(_wave_header, described, order),
        is_metadata_behind=partial(form.leads_to_end, data, begin),
        bytes_per_second=frame * rate if kind in UNCOMPRESSED else average,
    )


def _wave_header(described: bytes, order: str, length: int) -> bytes:
    described = b"fmt " + struct.pack(order + "I", len(described)) + described + b"\0" * (len(described) % 2)
    if length + len(described) + 12 < WRAP:
        every, sound = (struct.pack(order + "I", size) for size in (length + len(described) + 12, length))
        return (b"RIFF" if order == "<" else b"RIFX") + every + b"WAVE" + described + b"data" + sound
    if order == ">":
        raise Disagreement(TOO_LARGE)
    wide = struct.pack("<4sIQQQI", b"ds64", 28, length + len(described) + 48, length, 0, 0)
    unknown = struct.pack("<I", UNKNOWN)
    return b"RF64" + unknown + b"WAVE" + wide + described + b"data" + unknown


def _aiff(data: FileBytes, start: int) -> Sound | None:
    kind = data.at(start + 8, 4)
    found = BIG_ENDIAN.first_of_each(data, start + 12, b"COMM", b"SSND")
    described = found and _described(data, found[b"COMM"], 18)
    if not described or kind not in (b"AIFF", b"AIFC"):
        return None
    # Before the sound: how far behind this it begins, and a size of blocks.
    offset = 8 + int.from_bytes(data.at(found[b"SSND"].begin, 4), "big")
    begin, promised = found[b"SSND"].begin + offset, max(0, found[b"SSND"].size - offset)
    channels, _frames, bits, exponent, mantissa = struct.unpack_from(">HIHHQ", described)
    rate = mantissa >> 16446 - exponent if 16383 <= exponent <= 16446 else 0  # of an 80-bit float
    return Sound(
        origin=start,
        begin=begin,
        promised=promised,
        header=partial(_aiff_header, kind, described),
        is_metadata_behind=partial(BIG_ENDIAN.leads_to_end, data, begin),
        bytes_per_second=channels * -(-bits // 8) * rate if kind == b"AIFF" else None,
        has_placeholder=_is_placeholder(promised, begin - start),
    )


def _aiff_header(kind: bytes, described: bytes, length: int) -> bytes:
    described = b"COMM" + struct.pack(">I", len(described)) + described + b"\0" * (len(described) % 2)
    every = 4 + len(described) + 16 + length
    if every >= WRAP:
        raise Disagreement(TOO_LARGE)
    return b"FORM" + struct.pack(">I", every) + kind + described + b"SSND" + struct.pack(">IQ", length + 8, 0)


def _caf(data: FileBytes, start: int) -> Sound | None:
    found = CAF.first_of_each(data, start + 8, b"desc", b"data")
    described = found and _described(data, found[b"desc"], 32)
    if not described:
        return None
    rate, kind, _flags, packet, frames = struct.unpack_from(">d4sIII", described)
    if kind not in (b"lpcm", b"alaw", b"ulaw"):
        return None  # others need more chunks to be decoded
    edits = 4  # bytes before the sound: how often it was edited
    begin = found[b"data"].begin + edits
    return Sound(
        origin=start,
        begin=begin,
        promised=_known(found[b"data"].size, edits),
        header=partial(_caf_header, described),
        is_metadata_behind=partial(CAF.leads_to_end, data, begin),
        bytes_per_second=rate * packet / frames if frames else None,
    )


def _caf_header(described: bytes, length: int) -> bytes:
    description = CAF.head.pack(b"desc", len(described)) + described
    return b"caff\0\1\0\0" + description + CAF.head.pack(b"data", length + 4) + bytes(4)


def _au(data: FileBytes, start: int) -> Sound | None:
    form = struct.Struct(">4s5I" if data.at(start, 4) == b".snd" else "<4s5I")
    head = data.at(start, form.size)
    if len(head) < form.size:
        return None
    magic, offset, promised, encoding, rate, channels = form.unpack(head)
    if offset < form.size:
        return None
    return Sound(
        origin=start,
        begin=start + offset,
        promised=promised,
        header=lambda _length: form.pack(magic, form.size, UNKNOWN, encoding, rate, channels),
        is_metadata_behind=lambda _length: False,
        bytes_per_second=AU_WIDTHS.get(encoding, 0) * channels * rate,
        has_placeholder=_is_placeholder(promised, offset),
    )


def _described(data: FileBytes, description: Chunk, least: int) -> bytes:
    """Return what a chunk says of the samples; nothing where it is too short, too long or not all there."""
    described = data.at(description.begin, min(description.size, LONGEST_FORMAT + 1))
    return described if least <= len(described) == description.size else b""


def _is_placeholder(promised: int, begin: int) -> bool:
    """Whether a size of 32 bits, of sound that begins at `begin` in its container, cannot be meant."""
    every = promised + begin - 8  # what the size of the whole would be
    return every >= UNKNOWN or not PLACEHOLDERS.isdisjoint((promised, every))


def _known(size: int, counted: int = 0) -> int | None:
    """Return a size of 64 bits without what it counts beside the sound; None where it is not known."""
    return max(0, size - counted) if 0 <= size < LARGEST else None


READERS: dict[bytes, Callable[[FileBytes, int], Sound | None]] = {
    b"RIFF": _riff,
    b"RIFX": _riff,
    b"RF64": _riff,
    b"BW64": _riff,
    b"riff": _w64,
    b"FORM": _aiff,
    b"caff": _caf,
    b".snd": _au,
    b"dns.": _au,
}
