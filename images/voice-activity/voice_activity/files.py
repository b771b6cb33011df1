"""A file by position, for those who look what is in it, and a stretch of it as a file of its own."""

from __future__ import annotations

import io
import os
from typing import Any

BLOCK = 2**20


class Disagreement(Exception):
    """What a header promises is not what its file holds; the message says both."""


class FileBytes:
    """The bytes of an open file, by position; none of it is kept."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self.size = os.fstat(descriptor).st_size

    def at(self, position: int, count: int) -> bytes:
        """Return the `count` bytes from `position` on; fewer where the file ends."""
        return os.pread(self.descriptor, count, position) if 0 <= position < self.size else b""

    def content_end(self, begin: int) -> int:
        """Return the position from which on there are nothing but zero bytes; at least `begin`."""
        end = self.size
        while end > begin:
            start = max(begin, end - BLOCK)
            content = self.at(start, end - start).rstrip(b"\0")
            if content:
                return start + len(content)
            end = start
        return begin

    def is_zero(self, begin: int) -> bool:
        """Whether there are nothing but zero bytes from `begin` on."""
        return self.content_end(begin) <= begin

    def behind_id3(self) -> int:
        """Return where the ID3v2 tags end that taggers put in front of any kind of recording."""
        position = 0
        while True:
            tag = self.at(position, 10)
            if len(tag) < 10 or tag[:3] != b"ID3":
                return position
            size = 0
            for part in tag[6:10]:
                size = size << 7 | part & 0x7F
            footer = 10 if tag[5] & 0x10 else 0
            position += 10 + size + footer


class Spliced(io.RawIOBase):
    """A header of our own and, behind it, a stretch of a file, as one file; nothing is copied."""

    def __init__(self, header: bytes, descriptor: int, begin: int, length: int) -> None:
        self._header = header
        self._descriptor = descriptor
        self._begin = begin
        self._size = len(header) + length
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._position = max(0, offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence])
        return self._position

    def readinto(self, target: Any) -> int:
        view = memoryview(target)[: max(0, self._size - self._position)]
        head = self._header[self._position : self._position + len(view)]
        if head:
            view[: len(head)] = head
            count = len(head)
        else:
            count = os.preadv(self._descriptor, [view], self._begin + self._position - len(self._header))
        self._position += count
        return count
