"""The frames of an MP3, counted: the count in its header may be missing, never filled in or another recording's.

Without one, the decoder guesses the length from the first frame's bit rate, and ends there: where a variable bit rate
begins with much and goes on with little, the recording loses its end.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass

from voice_activity.files import Disagreement, FileBytes

SYNC_SEARCH = 2**16  # bytes in which the first frame must begin
BLOCK = 2**20

BITRATES = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)  # kbit/s, MPEG 1
BITRATES_LOW = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)  # MPEG 2 and 2.5, which take lower rates
RATES = {3: (44_100, 48_000, 32_000), 2: (22_050, 24_000, 16_000), 0: (11_025, 12_000, 8_000)}  # by version's bits
SYNC = re.compile(rb"\xff[\xe2\xe3\xf2\xf3\xfa\xfb]")  # how a frame of layer III begins


@dataclass(frozen=True)
class Stream:
    """A run of frames, from `begin` to `end`; `header` is a frame that counts them, where the file's own does not."""

    begin: int
    end: int
    header: bytes = b""
    note: str = ""


def find_stream(data: FileBytes, start: int) -> Stream | None:
    """Return the frames of layer III near `start`; None where there are none. Raises Disagreement."""
    window = _Window(data)
    begin = _next_frame(window, start, min(data.size, start + SYNC_SEARCH))
    if begin is None:
        return None
    first = window.header(begin)
    count, end, missing = _count_frames(window, begin, first)
    tag = _Tag.of(data, begin, first)
    if tag is None:
        if missing:
            raise Disagreement(_cut_short(f"its last frame lacks {missing:,} bytes"))
        return Stream(begin, end, _tag_frame(first, count))
    count -= 1  # the tag's frame holds no sound
    slack = max(2, tag.promised // 100)
    if tag.promised and tag.promised - count > slack:
        promised, there = _seconds(tag.promised, first), _seconds(count, first)
        raise Disagreement(_cut_short(f"its header promises {promised}, the file holds {there}"))
    if missing and not tag.promised:
        raise Disagreement(_cut_short(f"its last frame lacks {missing:,} bytes"))
    if count - tag.promised <= slack:
        return Stream(begin, end)
    promised = f"promises {_seconds(tag.promised, first)}" if tag.promised else "was never finalised"
    note = f"its header {promised}: all {_seconds(count, first)} were read"
    return Stream(begin + len(tag.frame), end, tag.with_count(count, end - begin), note)


def _cut_short(fact: str) -> str:
    return f"cut short: {fact}; copy it again, or repair it to hear what is there"


def _seconds(frames: int, header: int) -> str:
    return f"{frames:,} frames ({frames * _samples(header) / _rate(header):.2f} s)"


class _Window:
    """A block of the file, moved along: a frame is looked at every few hundred bytes."""

    def __init__(self, data: FileBytes) -> None:
        self.size = data.size
        self._data = data
        self._begin = 0
        self._block = b""

    def at(self, position: int, count: int) -> bytes:
        offset = position - self._begin
        if offset < 0 or offset + count > len(self._block):
            self._begin, self._block, offset = position, self._data.at(position, max(BLOCK, count)), 0
        return self._block[offset : offset + count]

    def header(self, position: int) -> int:
        return int.from_bytes(self.at(position, 4), "big")


def _kind(header: int) -> tuple[int, bool]:
    """Return what does not change within a stream: version, layer and sample rate, and whether it is mono."""
    return header & 0xFFFE0C00, header >> 6 & 3 == 3


def _rate(header: int) -> int:
    return RATES[header >> 19 & 3][header >> 10 & 3]


def _samples(header: int) -> int:
    return 1152 if header >> 19 & 3 == 3 else 576


def _frame_size(header: int) -> int:
    """Return the bytes of the frame with that header; 0 where it is none of layer III with a known bit rate."""
    version, bitrate = header >> 19 & 3, header >> 12 & 15
    if header >> 21 != 0x7FF or version == 1 or header >> 17 & 3 != 1 or bitrate in (0, 15) or header >> 10 & 3 == 3:
        return 0
    kilobits = (BITRATES if version == 3 else BITRATES_LOW)[bitrate]
    return _samples(header) // 8 * kilobits * 1000 // _rate(header) + (header >> 9 & 1)


def _next_frame(window: _Window, position: int, limit: int) -> int | None:
    """Return where the first frame begins that two of its kind follow, unless the file ends before they could."""
    while position < limit:
        found = SYNC.search(window.at(position, min(BLOCK, limit - position)))
        if not found:
            position += BLOCK - 1  # a sync may lie across
            continue
        position += found.start()
        if _is_run(window, position):
            return position
        position += 1
    return None


def _is_run(window: _Window, position: int) -> bool:
    first = window.header(position)
    for _ in range(3):
        header = window.header(position)
        size = _frame_size(header)
        if not size or _kind(header) != _kind(first):
            return False
        position += size
        if position >= window.size:
            return position == window.size
    return True


def _count_frames(window: _Window, position: int, first: int) -> tuple[int, int, int]:
    """Return how many whole frames there are, where the last one ends, and how many bytes a cut one lacks."""
    count, end = 0, position
    while position + 4 <= window.size:
        header = window.header(position)
        size = _frame_size(header) if _kind(header) == _kind(first) else 0
        if position + size > window.size:
            return count, end, position + size - window.size
        if size:
            position += size
            count, end = count + 1, position
            continue
        found = _next_frame(window, position, window.size)
        if found is None:
            break
        if _kind(window.header(found)) != _kind(first):
            raise Disagreement(
                f"frames of another kind follow {_seconds(count, first)} of MP3: several recordings one behind the"
                " other, of which the decoder hears the first alone; take them apart"
            )
        position = found
    return count, end, 0


def _tag_offset(header: int) -> int:
    """Return where in a frame the tag lies: behind its header, its checksum and what describes its granules."""
    mono, checked = header >> 6 & 3 == 3, not header >> 16 & 1
    side = (17 if mono else 32) if header >> 19 & 3 == 3 else (9 if mono else 17)
    return 4 + 2 * checked + side


def _tag_frame(first: int, count: int) -> bytes:
    """Return a frame without sound, of the stream's kind, that says how many follow."""
    header = first & ~0xF200 | 9 << 12 | 1 << 16  # a bit rate that has room for it, no padding, no checksum
    head = struct.pack(">I", header)
    tag = head + bytes(_tag_offset(header) - 4) + b"Xing" + struct.pack(">II", 1, count)
    return tag + bytes(_frame_size(header) - len(tag))


@dataclass(frozen=True)
class _Tag:
    """What the first frame says of the others, where an encoder left it for that (Xing; Info at a constant rate)."""

    frame: bytes
    offset: int
    flags: int
    promised: int  # frames; 0 where it was never filled in

    @classmethod
    def of(cls, data: FileBytes, begin: int, first: int) -> _Tag | None:
        frame = data.at(begin, _frame_size(first))
        offset = _tag_offset(first)
        if frame[offset : offset + 4] not in (b"Xing", b"Info") or len(frame) < offset + 16:
            return None
        flags, promised = struct.unpack_from(">II", frame, offset + 4)
        return cls(frame, offset, flags, promised if flags & 1 else 0)

    def with_count(self, count: int, size: int) -> bytes:
        """Return the frame with that count of frames and of bytes; an encoder's delay in it stays."""
        if not self.flags & 1:
            return _tag_frame(struct.unpack_from(">I", self.frame)[0], count)
        tag = bytearray(self.frame)
        struct.pack_into(">I", tag, self.offset + 8, count)
        if self.flags & 2:
            struct.pack_into(">I", tag, self.offset + 12, size)
        return bytes(tag)
