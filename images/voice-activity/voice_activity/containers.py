"""What a header promises, held against what its file holds.

libsndfile believes headers: sound behind a size that wrapped at 4 GiB is left out, a size that was never filled in
makes a recording empty, and sound that is missing at the end goes unnoticed. `settle` looks first. It hands the decoder
the file as it is, or the file's sound behind a header that fits, or refuses the file with the figures that disagree.
"""

from __future__ import annotations

from dataclasses import dataclass

from voice_activity import mpeg, ogg
from voice_activity.files import Disagreement, FileBytes, Spliced
from voice_activity.headers import READERS, WRAP, Sound

# How far a size may be off and still be believed: one that counts its own header (Frontier Labs FL005: 44 bytes), a tag
# of 128 bytes behind the sound, a last sector that was not written.
SLACK_SHARE, SLACK_LEAST, SLACK_MOST = 100, 512, 4096


@dataclass(frozen=True)
class Source:
    """What the decoder is to read: a descriptor or a file object; `note` says what about the file was put right."""

    file: int | Spliced
    note: str = ""


def settle(data: FileBytes) -> Source:
    """Return what the decoder is to read of a recording. Raises Disagreement."""
    return _settle(data, data.behind_id3())


def _settle(data: FileBytes, start: int) -> Source:
    magic = data.at(start, 4)
    if magic in READERS:
        sound = READERS[magic](data, start)
        return _held_against_file(data, sound) if sound else Source(data.descriptor)
    if magic == b"OggS":
        return Source(data.descriptor, ogg.check(data, start))
    stream = mpeg.find_stream(data, start)
    if stream is None:
        return Source(data.descriptor)
    return Source(Spliced(stream.header, data.descriptor, stream.begin, stream.end - stream.begin), stream.note)


def _held_against_file(data: FileBytes, sound: Sound) -> Source:
    """Take for sound what the header promises, or another length where it surely is that; refuse what may be either."""
    whole = data.size - sound.begin
    promised = sound.promised
    if promised is None:
        return _spliced(data, sound, whole)
    if promised == 0 and data.at(sound.begin, 4) in READERS:
        return _settle(data, sound.begin)  # sox into a pipe, CAF and W64: a first header, then one that knows more
    slack = min(SLACK_MOST, max(SLACK_LEAST, max(promised, whole) // SLACK_SHARE))
    behind = whole - promised
    if abs(behind) <= slack:
        return _spliced(data, sound, min(promised, whole))
    if promised in (0, sound.begin - sound.origin) and not sound.is_metadata_behind(promised):
        return _never_finalised(data, sound, slack)
    wrapped = promised + behind // WRAP * WRAP
    if wrapped > promised and _ends_at(data, sound, wrapped, slack):
        return _spliced(data, sound, wrapped, f"its size wrapped at 4 GiB: all {_amount(sound, wrapped)} were read")
    if behind > 0 and _ends_at(data, sound, promised, slack):
        return _spliced(data, sound, promised)
    if sound.has_placeholder:
        return _spliced(data, sound, whole)
    if behind < 0:
        raise Disagreement(
            f"cut short: its header promises {_amount(sound, promised)} of sound, the file holds"
            f" {_amount(sound, whole)}; copy it again, or repair it to hear what is there"
        )
    raise Disagreement(
        f"its header promises {_amount(sound, promised)} of sound, and {_amount(sound, behind)} follow that are no"
        " metadata: a size that wrapped or is out of date, or a second recording; repair its header to hear all of it"
    )


def _never_finalised(data: FileBytes, sound: Sound, slack: int) -> Source:
    """Take all that follows for sound, but not the zero bytes of a file that was made in full beforehand (FL003)."""
    whole = data.size - sound.begin
    length = data.content_end(sound.begin) - sound.begin
    if whole - length <= slack:
        length = whole
    zeros = f", without {whole - length:,} zero bytes at the end" if length < whole else ""
    note = f"its header was never finalised: all {_amount(sound, length)} were read{zeros}"
    return _spliced(data, sound, length, note if length else "")


def _ends_at(data: FileBytes, sound: Sound, length: int, slack: int) -> bool:
    """Whether the sound may well end after `length` bytes: what follows is little, metadata or a file's padding."""
    end = sound.begin + length
    return data.size - end <= slack or sound.is_metadata_behind(length) or data.is_zero(end)


def _spliced(data: FileBytes, sound: Sound, length: int, note: str = "") -> Source:
    return Source(Spliced(sound.header(length), data.descriptor, sound.begin, length), note)


def _amount(sound: Sound, count: int) -> str:
    seconds = f" ({count / sound.bytes_per_second:.2f} s)" if sound.bytes_per_second else ""
    return f"{count:,} bytes{seconds}"
