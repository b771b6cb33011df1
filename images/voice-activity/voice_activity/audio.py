"""Any recording that libsndfile decodes, as blocks of 16 kHz mono samples.

Memory does not grow with the length: a block takes at most BLOCK_SAMPLES samples of the file, of all channels
together.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile
import soxr

from voice_activity import flac
from voice_activity.containers import SLACK_MOST, settle
from voice_activity.files import Disagreement, FileBytes

_log = logging.getLogger(__name__)

Samples = npt.NDArray[np.float32]

RATE = 16_000  # Hz, what the model was trained on
BLOCK_SAMPLES = 2**17

# Below, nothing of a voice is left; above is no recorder but a damaged header.
LOWEST_RATE, HIGHEST_RATE = 1_000, 1_000_000

LENGTH_UNKNOWN = 2**62  # samples; libsndfile says 2**63 - 1
# Seconds that may be missing at the end: an encoder's delay and padding, a single packet that was lost.
MAY_LACK = 0.25

_SIGNATURES = (
    (b"RIFF", "a damaged WAV, or one whose codec is not known"),
    (b"fLaC", "a damaged FLAC"),
    (b"OggS", "a damaged OGG, or one whose codec is not known"),
    (b"ID3", "a damaged MP3"),
    (b"caff", "a damaged CAF, or one whose codec is not known"),
    (b"FORM", "a damaged AIFF, or one whose codec is not known"),
    (b"WAAC", "a WAC of Wildlife Acoustics"),
    (b"wvpk", "a WavPack"),
    (b"MAC ", "a Monkey's Audio"),
    (b"\xff\xf1", "an AAC without a container"),
    (b"\xff\xf9", "an AAC without a container"),
    (b"\x89PNG", "a PNG picture"),
    (b"\xff\xd8\xff", "a JPEG picture"),
    (b"GIF8", "a GIF picture"),
    (b"%PDF", "a PDF document"),
    (b"PK\x03\x04", "a ZIP archive"),
    (b"\x1f\x8b", "gzip-compressed data"),
    (b"\x1aE\xdf\xa3", "a Matroska or WebM video"),
    (b"\x93NUMPY", "a NumPy array"),
)


class _Forward(soundfile.SoundFile):  # type: ignore[misc]
    """Reads from begin to end and never seeks.

    soundfile seeks to where it stands after every block. In a FLAC of unknown length that fails, in a damaged file it
    lets time jump over what is missing, and on a FLAC cut short it can hang (python-soundfile 385).
    """

    def seekable(self) -> bool:
        return False


class Recording:
    """An open recording: its properties at once, its sound block by block."""

    def __init__(self, sound: _Forward, data: FileBytes, name: str) -> None:
        self.sample_rate: int = sound.samplerate
        self.channels: int = sound.channels
        self.frames = 0  # as many as were decoded so far: what a header promises may be wrong
        self._sound = sound
        self._data = data
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
        self._check_end()
        yield _bounded(resampler.resample_chunk(np.empty(0, np.float32), last=True))

    def _decoded(self) -> Iterator[Samples]:
        promised = self._sound.frames
        while self.frames < promised:
            # No more than is promised: the decoder takes what lies behind it, a tag or padding, for damage.
            frames = min(max(1, BLOCK_SAMPLES // self.channels), promised - self.frames)
            try:
                block = self._sound.read(frames, dtype="float32", always_2d=True)
            except soundfile.LibsndfileError as error:
                raise ValueError(
                    f"{self._name}: damaged or cut short{self._of_promised()}: the decoder says {error.error_string!r}"
                ) from None
            if not len(block):
                return
            self.frames += len(block)
            # A float file may hold NaN, which would stay in the model's state to the recording's end.
            yield np.nan_to_num(block, nan=0.0, posinf=1.0, neginf=-1.0).mean(axis=1)

    def _of_promised(self) -> str:
        promised = self._sound.frames
        known = promised < LENGTH_UNKNOWN
        return f", before the end of the {promised / self.sample_rate:.2f} s promised" if known else ""

    def _check_end(self) -> None:
        """Hold what was decoded against what was promised, once there is no more."""
        if not self.frames:
            raise ValueError(f"{self._name}: the recording is empty: it has a header but no samples")
        promised, is_flac = self._sound.frames, self._sound.format == "FLAC"
        if promised < LENGTH_UNKNOWN and promised - self.frames > MAY_LACK * self.sample_rate:
            reason = is_flac and flac.why_fewer(self._data, promised, self.frames)
            if not reason:
                raise ValueError(
                    f"{self._name}: damaged or cut short: {promised / self.sample_rate:.2f} s of sound are promised,"
                    f" {self.duration:.2f} s can be decoded"
                )
            self.note(f"its header promises {promised:,} samples, {reason}: all {self.frames:,} were read")
        decoded = os.lseek(self._data.descriptor, 0, os.SEEK_CUR)
        if is_flac and self._data.size - decoded > SLACK_MOST and not self._data.is_zero(decoded):
            raise ValueError(
                f"{self._name}: its header promises {promised:,} samples ({self.duration:.2f} s), and"
                f" {self._data.size - decoded:,} bytes follow them: a count that is out of date, or a second recording;"
                " repair its header to hear all of it"
            )

    def note(self, note: str) -> None:
        """Tell in the log what was put right: the sound is whole, so the answer has nothing to say of it."""
        _log.warning("%s: %s", self._name, note)


@contextmanager
def open_recording(path: Path, name: str) -> Iterator[Recording]:
    """Open the recording at `path`, which messages call `name`. Raises ValueError where it is not one."""
    with path.open("rb") as file:
        data = FileBytes(file.fileno())
        try:
            source = settle(data)
            # By descriptor: given a path, soundfile would go by its extension, which uploads often lack.
            sound = _Forward(source.file, closefd=False)
        except Disagreement as error:
            raise ValueError(f"{name}: {error}") from None
        except soundfile.LibsndfileError as error:
            raise ValueError(
                f"{name}: not a recording that can be decoded, it looks like {_looks_like(data.at(0, 4096))};"
                f" the decoder says {error.error_string!r}"
            ) from None
        with sound:
            if not LOWEST_RATE <= sound.samplerate <= HIGHEST_RATE:
                raise ValueError(
                    f"{name}: a sample rate of {sound.samplerate} Hz is not plausible"
                    f" ({LOWEST_RATE} to {HIGHEST_RATE} Hz are)"
                )
            recording = Recording(sound, data, name)
            if source.note:
                recording.note(source.note)
            yield recording


def _bounded(samples: Samples) -> Samples:
    """Clip what overshoots: float files may exceed full scale, and a steep resampling filter rings."""
    return np.clip(samples, -1.0, 1.0)


def _looks_like(head: bytes) -> str:
    if not head:
        return "an empty file (0 bytes)"
    if head[8:12] == b"AVI ":
        return "an AVI video"
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
