"""What the frames of a FLAC say of where they belong, for a header that counts other samples than the file has."""

from __future__ import annotations

from voice_activity.files import FileBytes

LAST_BLOCK = 0x80  # flag of the last block of metadata


def why_fewer(data: FileBytes, promised: int, found: int) -> str:
    """Return why a FLAC of whole frames has fewer samples than its header promises; "" where it must have lost them."""
    if promised == 2 * found:  # a cut would hardly leave the very half, and in whole frames
        return "twice as many as there are (Frontier Labs FL010)"
    if promised == _first_sample(data) + found:
        return "counted from the beginning of the longer recording that this is the last segment of (ffmpeg)"
    return ""


def _first_sample(data: FileBytes) -> int:
    """Return the number of the first sample, as its frame has it."""
    start = data.behind_id3()
    block_size = int.from_bytes(data.at(start + 10, 2), "big")
    position, kind = start + 4, 0
    while not kind & LAST_BLOCK and position < data.size:
        kind, size = data.at(position, 1)[0], int.from_bytes(data.at(position + 1, 3), "big")
        position += 4 + size
    frame = data.at(position, 11)  # two bytes of sync, two of format, then the number: up to seven bytes, as in UTF-8
    if len(frame) < 11 or frame[0] != 0xFF or frame[1] & 0xFC != 0xF8:
        return 0
    number = _number(frame[4:])
    return number if frame[1] & 1 else number * block_size  # of the sample, or of the frame


def _number(coded: bytes) -> int:
    length = 8 - (coded[0] ^ 0xFF).bit_length()  # bytes, as many as ones lead the first
    if length == 0:
        return coded[0]
    number = coded[0] & 0x7F >> length
    for part in coded[1:length]:
        number = number << 6 | part & 0x3F
    return number
