"""What is no recording is refused in one line that names the file and what is wrong with it."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

Hear = Callable[..., dict[str, Any]]


def refusal(hear: Hear, folder: Path, content: bytes) -> str:
    file = folder / "field day.wav"
    file.write_bytes(content)
    with pytest.raises(ValueError, match=r"^field day\.wav: ") as caught:
        hear(file)
    message = str(caught.value)
    assert len(message.splitlines()) == 1
    return message


def wav(rate: int = 16_000, seconds: float = 1.0) -> bytes:
    """Write a WAV with any sample rate in its header, also one that no library would write."""
    buffer = io.BytesIO()
    soundfile.write(buffer, np.zeros(int(16_000 * seconds), np.int16), 16_000, format="WAV")
    content = bytearray(buffer.getvalue())
    content[24:28] = struct.pack("<I", rate)
    return bytes(content)


@pytest.mark.parametrize(
    ("content", "looks_like"),
    [
        (b"", "an empty file (0 bytes)"),
        (b"time,label\n0,speech\n", "text"),
        ("<p>Zugriff verweigert: ungültig</p>".encode(), "text"),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), "a PNG picture"),
        (b"PK\x03\x04" + bytes(100), "a ZIP archive"),
        (b"\0\0\0\x20ftypM4A " + bytes(100), "an MP4, M4A or MOV container"),
        (bytes(5_000), "nothing but zero bytes"),
        (b"\xde\xad\xbe\xef" * 50, "data of an unknown kind beginning de ad be ef"),
        (wav()[:20], "a damaged WAV"),
        (b"RIFF\x80\0\0\0AVI LIST" + bytes(100), "an AVI video"),
        (b"WAAC" + bytes(100), "a WAC of Wildlife Acoustics"),
        (b"fLaC" + bytes(10), "a damaged FLAC"),
    ],
    ids=lambda value: value if isinstance(value, str) else "bytes",
)
def test_something_else_is_named_for_what_it_looks_like(
    hear: Hear, tmp_path: Path, content: bytes, looks_like: str
) -> None:
    message = refusal(hear, tmp_path, content)
    assert "not a recording that can be decoded" in message
    assert looks_like in message
    assert "; the decoder says " in message


def test_the_decoders_own_reason_is_in_the_message(hear: Hear, tmp_path: Path) -> None:
    content = bytearray(wav())
    content[22:24] = bytes(2)
    assert "the decoder says 'Channel count is zero.'" in refusal(hear, tmp_path, bytes(content))
    content[20:24] = b"\x99\x99\1\0"
    assert "one whose codec is not known; the decoder says " in refusal(hear, tmp_path, bytes(content))


def test_a_recording_without_samples_is_refused(hear: Hear, tmp_path: Path) -> None:
    assert "no samples" in refusal(hear, tmp_path, wav(seconds=0))


@pytest.mark.parametrize("rate", [1, 999, 1_000_001, 2**31 - 1])
def test_an_impossible_sample_rate_is_refused(hear: Hear, tmp_path: Path, rate: int) -> None:
    assert f"a sample rate of {rate} Hz is not plausible" in refusal(hear, tmp_path, wav(rate))


def test_a_flac_that_was_cut_short_is_refused_rather_than_half_heard(
    hear: Hear, recording: Path, tmp_path: Path
) -> None:
    whole = io.BytesIO()
    soundfile.write(whole, *soundfile.read(recording), format="FLAC")
    assert "damaged or cut short" in refusal(hear, tmp_path, whole.getvalue()[:60_000])


def test_no_damage_to_a_header_gets_anything_but_an_answer_or_a_refusal(
    hear: Hear, recording: Path, tmp_path: Path
) -> None:
    random = np.random.default_rng(7)
    file = tmp_path / "damaged"
    for _ in range(100):
        content = np.frombuffer(recording.read_bytes()[:8_000], np.uint8).copy()
        content[random.integers(0, 44, 4)] = random.integers(0, 256, 4)
        file.write_bytes(content.tobytes())
        try:
            assert hear(file)["duration"] > 0
        except ValueError as refused:
            assert str(refused).startswith("damaged: ")  # noqa: PT017 - either ending is right, and no other
