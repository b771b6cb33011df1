"""Any recording that libsndfile decodes, as blocks of 16 kHz mono samples.

Memory does not grow with the length: a block takes at most BLOCK_SAMPLES samples of the file, of all channels
together.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile
import soxr

Samples = npt.NDArray[np.float32]

RATE = 16_000  # Hz, what the model was trained on
BLOCK_SAMPLES = 2**17

# Below, nothing of a voice is left; above is no recorder but a damaged header.
LOWEST_RATE, HIGHEST_RATE = 1_000, 1_000_000

_SIGNATURES = (
    (b"RIFF", "a damaged WAV"),
    (b"fLaC", "a damaged FLAC"),
    (b"OggS", "a damaged OGG, or one whose codec is not known"),
    (b"ID3", "a damaged MP3"),
    (b"\x89PNG", "a PNG picture"),
    (b"\xff\xd8\xff", "a JPEG picture"),
    (b"GIF8", "a GIF picture"),
    (b"%PDF", "a PDF document"),
    (b"PK\x03\x04", "a ZIP archive"),
    (b"\x1f\x8b", "gzip-compressed data"),
    (b"\x1aE\xdf\xa3", "a Matroska or WebM video"),
    (b"\x93NUMPY", "a NumPy array"),
)


class Recording:
    """An open recording: its properties at once, its sound block by block."""

    def __init__(self, sound: soundfile.SoundFile, name: str) -> None:
        self.sample_rate: int = sound.samplerate
        self.channels: int = sound.channels
        self.frames = 0  # as many as were decoded so far: what a header promises may be wrong
        self._sound = sound
        self._name = name

    @property
    def duration(self) -> float:
        """Seconds decoded so far."""
        return self.frames / self.sample_rate

    def blocks(self) -> Iterator[Samples]:
        """Yield the whole recording at 16 kHz, its channels averaged, within [-1, 1].

        Raises ValueError where it cannot be decoded to its end or holds nothing.
        """
        resampler = soxr.ResampleStream(self.sample_rate, RATE, 1, dtype="float32", quality="HQ")
        for block in self._decoded():
            yield _bounded(resampler.resample_chunk(block))
        yield _bounded(resampler.resample_chunk(np.empty(0, np.float32), last=True))
        if not self.frames:
            raise ValueError(f"{self._name}: the recording is empty: it has a header but no samples")

    def _decoded(self) -> Iterator[Samples]:
        frames = max(1, BLOCK_SAMPLES // self.channels)
        while True:
            try:
                block = self._sound.read(frames, dtype="float32", always_2d=True)
            except soundfile.LibsndfileError as error:
                raise ValueError(
                    f"{self._name}: damaged or cut short: the decoder says {error.error_string!r}"
                ) from error
            if not len(block):
                return
            self.frames += len(block)
            # A float file may hold NaN, which would stay in the model's state to the recording's end.
            yield np.nan_to_num(block, nan=0.0, posinf=1.0, neginf=-1.0).mean(axis=1)


@contextmanager
def open_recording(path: Path, name: str) -> Iterator[Recording]:
    """Open the recording at `path`, which messages call `name`. Raises ValueError where it is not one."""
    with path.open("rb") as file:
        head = file.read(4096)
        file.seek(0)
        try:
            # By descriptor: given a path, soundfile would go by its extension, which uploads often lack.
            sound = soundfile.SoundFile(file.fileno(), closefd=False)
        except soundfile.LibsndfileError as error:
            raise ValueError(
                f"{name}: not a recording that can be decoded, it looks like {_looks_like(head)}"
            ) from error
        with sound:
            if not LOWEST_RATE <= sound.samplerate <= HIGHEST_RATE:
                raise ValueError(
                    f"{name}: a sample rate of {sound.samplerate} Hz is not plausible"
                    f" ({LOWEST_RATE} to {HIGHEST_RATE} Hz are)"
                )
            yield Recording(sound, name)


def _bounded(samples: Samples) -> Samples:
    """Clip what overshoots: float files may exceed full scale, and a steep resampling filter rings."""
    return np.clip(samples, -1.0, 1.0)


def _looks_like(head: bytes) -> str:
    if not head:
        return "an empty file (0 bytes)"
    for signature, description in _SIGNATURES:
        if head.startswith(signature):
            return description
    if head[4:8] == b"ftyp":
        return "an MP4, M4A or MOV container"
    if not head.strip(b"\0"):
        return "nothing but zero bytes"
    if _is_text(head):
        return "text"
    return f"data of an unknown kind beginning {head[:8].hex(' ')}"


def _is_text(head: bytes) -> bool:
    text = head[:64].decode("utf-8", "ignore")
    return len(text) > len(head[:64]) // 2 and all(letter.isprintable() or letter.isspace() for letter in text)
