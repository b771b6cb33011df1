"""The chunks that most containers are made of: a name, a size, the content."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from voice_activity.files import FileBytes

MOST_CHUNKS = 10_000  # in one file; real ones have some dozens, and a damaged one is not to be walked for hours

# Chunks that may end behind the file's end: sound lies before them, so that none of it is missing.
METADATA = {b"LIST", b"id3 ", b"ID3 ", b"guan", b"wamd", b"bext", b"iXML", b"_PMX", b"cue ", b"smpl", b"PEAK", b"JUNK"}
SOUND = {b"data", b"SSND"}
# What a recording of its own begins with, as that of a second one behind the first.
BEGINNINGS = {b"RIFF", b"RIFX", b"RF64", b"BW64", b"riff", b"FORM", b"caff", b".snd", b"fLaC", b"OggS"}


@dataclass(frozen=True)
class Chunk:
    name: bytes  # four letters; of a name in 16 bytes the first four
    begin: int  # of its content
    size: int


@dataclass(frozen=True)
class ChunkForm:
    """How a container writes its chunks: name and size, then the content, then padding."""

    head: struct.Struct
    counted: int  # bytes of the head that its size counts too
    alignment: int

    def chunks(self, data: FileBytes, position: int) -> Iterator[Chunk]:
        """Yield the chunks from `position` on, for as long as the file has heads and no size is negative."""
        for _ in range(MOST_CHUNKS):
            head = data.at(position, self.head.size)
            if len(head) < self.head.size:
                return
            name, size = self.head.unpack(head)
            chunk = Chunk(name[:4], position + self.head.size, size - self.counted)
            yield chunk
            if chunk.size < 0:
                return
            position = self._behind(data, chunk)

    def first_of_each(self, data: FileBytes, position: int, *wanted: bytes) -> dict[bytes, Chunk]:
        """Return the first chunk of each name, read no further than all that are wanted; none where one is missing."""
        found: dict[bytes, Chunk] = {}
        for chunk in self.chunks(data, position):
            found.setdefault(chunk.name, chunk)
            if found.keys() >= set(wanted):
                return found
        return {}

    def leads_to_end(self, data: FileBytes, begin: int, length: int) -> bool:
        """Whether chunks, and none of them sound, lead from behind `length` bytes of sound to the file's end."""
        end = begin + length
        return any(self._leads_to_end(data, position) for position in {end, end + -length % self.alignment})

    def _leads_to_end(self, data: FileBytes, position: int) -> bool:
        for chunk in self.chunks(data, position):
            if chunk.name in SOUND | BEGINNINGS or chunk.size < 0 or not _is_name(chunk.name):
                return False
            position = chunk.begin + chunk.size
            if position > data.size:
                return chunk.name in METADATA
        return data.size - position < self.head.size

    def _behind(self, data: FileBytes, chunk: Chunk) -> int:
        end = chunk.begin + chunk.size
        padded = end + -chunk.size % self.alignment
        # Some writers forget the padding (NAudio 220, libsndfile 887).
        return end if _is_name(data.at(end, 4)) and not _is_name(data.at(padded, 4)) else padded


RIFF = ChunkForm(struct.Struct("<4sI"), 0, 2)
BIG_ENDIAN = ChunkForm(struct.Struct(">4sI"), 0, 2)
W64 = ChunkForm(struct.Struct("<16sq"), 24, 8)
CAF = ChunkForm(struct.Struct(">4sq"), 0, 1)


def _is_name(name: bytes) -> bool:
    return len(name) == 4 and all(0x20 <= letter < 0x7F for letter in name)
