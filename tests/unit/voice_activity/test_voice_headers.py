"""A header that disagrees with its file: the sound is read whole, or the file refused with what disagrees; never half.

Each kind was found in the field: sizes that wrapped at 4 GiB (python-soundfile 228), that were never filled in
(Frontier Labs FL012, ffmpeg into a pipe), that are of an earlier moment, that count their own header (FL005), that a
copy which broke off no longer keeps; and metadata, padding or a second recording behind the sound.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pytest
import soundfile
from voice_activity import audio, containers
from voice_activity.files import FileBytes

Hear = Callable[..., dict[str, Any]]
Build = Callable[..., bytes]
Put = Callable[[bytes], Path]
Samples: TypeAlias = npt.NDArray[np.float32]

RATE = 16_000
SECOND = 2 * RATE  # bytes of sound
W64_TAIL = bytes.fromhex("f3acd3118cd100c04f8edb8a")
W64_RIFF = b"riff" + bytes.fromhex("2e91cf11a5d628db04c10000")


@pytest.fixture(scope="module")
def sound(recording: Path) -> bytes:
    """Return the recording's samples, 16-bit little-endian: 9.3 s, one channel."""
    samples: bytes = soundfile.read(recording, dtype="int16")[0].tobytes()
    return samples


@pytest.fixture(scope="module")
def good(recording: Path) -> Samples:
    """Return what the model hears of the recording: whoever gets the same samples finds the same speech."""
    return decoded(recording)


@pytest.fixture(scope="module")
def answer(hear: Hear, recording: Path) -> dict[str, Any]:
    return hear(recording)


@pytest.fixture
def put(tmp_path: Path) -> Put:
    def write(content: bytes) -> Path:
        file = tmp_path / "night.wav"
        file.write_bytes(content)
        return file

    return write


def decoded(file: Path) -> Samples:
    with audio.open_recording(file, file.name) as opened:
        return np.concatenate(list(opened.blocks()))


def refusal(file: Path) -> str:
    with pytest.raises(ValueError, match=r"^night\.wav: ") as caught:
        decoded(file)
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


def swapped(sound: bytes) -> bytes:
    big_endian: bytes = np.frombuffer(sound, "<i2").astype(">i2").tobytes()
    return big_endian


def described(order: str = "<") -> bytes:
    return struct.pack(order + "HHIIHH", 1, 1, RATE, SECOND, 2, 16)


def chunk(name: bytes, content: bytes, order: str = "<") -> bytes:
    return name + struct.pack(order + "I", len(content)) + content + b"\0" * (len(content) % 2)


def wav(sound: bytes, size: int, behind: bytes = b"", before: bytes = b"") -> bytes:
    body = b"WAVE" + chunk(b"fmt ", described()) + before + b"data" + struct.pack("<I", size) + sound + behind
    return b"RIFF" + struct.pack("<I", len(body)) + body


def rifx(sound: bytes, size: int, behind: bytes = b"") -> bytes:
    form = chunk(b"fmt ", described(">"), ">")
    body = b"WAVE" + form + b"data" + struct.pack(">I", size) + swapped(sound) + behind
    return b"RIFX" + struct.pack(">I", len(body)) + body


def rf64(sound: bytes, size: int, behind: bytes = b"", magic: bytes = b"RF64") -> bytes:
    wide = chunk(b"ds64", struct.pack("<QQQI", size + 72, size, size // 2, 0))
    head = magic + b"\xff\xff\xff\xffWAVE" + wide + chunk(b"fmt ", described())
    return head + b"data\xff\xff\xff\xff" + sound + behind


def bw64(sound: bytes, size: int, behind: bytes = b"") -> bytes:
    return rf64(sound, size, behind, b"BW64")


def w64(sound: bytes, size: int, behind: bytes = b"") -> bytes:
    form = b"fmt " + W64_TAIL + struct.pack("<q", 24 + 16) + described()
    body = b"wave" + W64_TAIL + form + b"data" + W64_TAIL + struct.pack("<q", size + 24) + sound + behind
    return W64_RIFF + struct.pack("<q", 24 + len(body)) + body


def aiff(sound: bytes, size: int, behind: bytes = b"") -> bytes:
    rate = struct.pack(">HQ", 16_383 + 13, RATE << 50)  # an 80-bit float
    form = chunk(b"COMM", struct.pack(">HIH", 1, size // 2, 16) + rate, ">")
    body = b"AIFF" + form + b"SSND" + struct.pack(">IQ", size + 8, 0) + swapped(sound) + behind
    return b"FORM" + struct.pack(">I", len(body)) + body


def caf(sound: bytes, size: int, behind: bytes = b"") -> bytes:
    form = struct.pack(">d4sIIIII", RATE, b"lpcm", 0, 2, 1, 1, 16)
    head = b"caff\0\1\0\0desc" + struct.pack(">q", len(form)) + form
    return head + b"data" + struct.pack(">q", size + 4 if size >= 0 else size) + bytes(4) + swapped(sound) + behind


def au(sound: bytes, size: int, behind: bytes = b"") -> bytes:
    return b".snd" + struct.pack(">IIIII", 24, size, 3, RATE, 1) + swapped(sound) + behind


BUILDERS = [wav, rifx, rf64, bw64, w64, aiff, caf, au]
every_container = pytest.mark.parametrize("build", BUILDERS, ids=lambda build: build.__name__.upper())


def metadata(build: Build, name: bytes, size: int) -> bytes:
    """Return a chunk as `build`'s container has it, padded as it has it."""
    content = b"t" * size
    if build is w64:
        return name + W64_TAIL + struct.pack("<q", 24 + size) + content + bytes(-size % 8)
    if build is caf:
        return name + struct.pack(">q", size) + content
    return chunk(name, content, ">" if build in (rifx, aiff) else "<")


@every_container
def test_a_header_that_is_right_is_believed_without_a_word(
    put: Put, sound: bytes, good: Samples, build: Build, caplog: pytest.LogCaptureFixture
) -> None:
    assert np.array_equal(decoded(put(build(sound, len(sound)))), good)
    assert not caplog.records


@every_container
def test_a_header_that_was_never_finalised_hides_nothing_and_the_log_says_so(
    put: Put, sound: bytes, good: Samples, build: Build, caplog: pytest.LogCaptureFixture
) -> None:
    assert np.array_equal(decoded(put(build(sound, 0))), good)
    assert "night.wav: its header was never finalised: all 298,776 bytes (9.34 s) were read" in caplog.text


@every_container
def test_the_same_speech_is_found_behind_a_header_that_was_never_finalised(
    hear: Hear, put: Put, sound: bytes, build: Build, answer: dict[str, Any]
) -> None:
    assert hear(put(build(sound, 0))) == answer


@every_container
def test_a_file_that_was_cut_short_is_refused_with_what_is_promised_and_what_is_there(
    put: Put, sound: bytes, build: Build
) -> None:
    message = refusal(put(build(sound[: len(sound) // 2], len(sound))))
    assert "cut short: its header promises 298,776 bytes (9.34 s) of sound" in message
    assert "the file holds 149,388 bytes (4.67 s)" in message


@every_container
def test_a_size_of_an_earlier_moment_is_refused_rather_than_the_rest_left_out(
    put: Put, sound: bytes, build: Build
) -> None:
    message = refusal(put(build(sound, SECOND)))
    assert "its header promises 32,000 bytes (1.00 s) of sound, and 266,776 bytes (8.34 s) follow" in message


@every_container
@pytest.mark.parametrize("off", [44, -44, 512, -512])
def test_a_size_that_is_off_by_a_header_or_a_sector_is_believed(
    put: Put, sound: bytes, good: Samples, build: Build, off: int
) -> None:
    samples = decoded(put(build(sound, len(sound) + off)))
    assert abs(len(samples) - len(good)) <= 256
    assert np.array_equal(samples[:149_000], good[:149_000])


@every_container
def test_zero_bytes_behind_the_sound_are_padding(put: Put, sound: bytes, good: Samples, build: Build) -> None:
    assert np.array_equal(decoded(put(build(sound, len(sound), bytes(100_000)))), good)


@every_container
def test_a_second_recording_behind_the_first_is_not_left_out_in_silence(put: Put, sound: bytes, build: Build) -> None:
    one = build(sound, len(sound))
    assert "298,776 bytes (9.34 s) of sound, and" in refusal(put(one + one))


@every_container
def test_a_file_made_in_full_beforehand_ends_where_its_sound_does(
    put: Put, sound: bytes, good: Samples, build: Build, caplog: pytest.LogCaptureFixture
) -> None:
    assert np.array_equal(decoded(put(build(sound, 0, bytes(400_000)))), good)
    assert "without 400,000 zero bytes at the end" in caplog.text


@every_container
@pytest.mark.parametrize("size", [0, 400_000])
def test_a_header_of_no_sound_with_none_behind_it_is_an_empty_recording(put: Put, build: Build, size: int) -> None:
    assert "the recording is empty" in refusal(put(build(b"", 0, bytes(size))))


with_chunks = pytest.mark.parametrize("build", BUILDERS[:-1], ids=lambda build: build.__name__.upper())


@with_chunks
@pytest.mark.parametrize(
    ("name", "size"), [(b"LIST", 200), (b"guan", 60_001), (b"Zoom", 393_164)], ids=["LIST", "guano", "of a recorder's"]
)
def test_metadata_behind_the_sound_is_no_sound(
    put: Put, sound: bytes, good: Samples, build: Build, name: bytes, size: int
) -> None:
    behind = metadata(build, name, size) + metadata(build, b"LIST", 100)
    assert np.array_equal(decoded(put(build(sound, len(sound), behind))), good)


@with_chunks
def test_metadata_behind_a_header_of_no_sound_is_no_sound_either(put: Put, build: Build) -> None:
    assert "the recording is empty" in refusal(put(build(b"", 0, metadata(build, b"guan", 20_000))))


@with_chunks
def test_metadata_that_was_cut_short_costs_no_sound(put: Put, sound: bytes, good: Samples, build: Build) -> None:
    behind = metadata(build, b"LIST", 60_000)[:-9_000]
    assert np.array_equal(decoded(put(build(sound, len(sound), behind))), good)


@pytest.mark.parametrize(
    ("build", "size"),
    [
        (wav, 0xFFFFFFFF),  # ffmpeg
        (wav, 0x80000000),  # arecord
        (wav, 0x7FFFFFFF),  # lame --decode
        (wav, 0x7FFFFFFF - 36),  # opusdec: the size of the whole is meant
        (wav, 0x7FFFF000),  # sox, espeak-ng
        (wav, 0xFFFFFFFF - 36),
        (rf64, 2**63),
        (w64, -25),  # ffmpeg: -1, less what W64 counts
        (w64, 2**63 - 25),
        (aiff, 0x7F000000),  # sox
        (aiff, 0xFFFFFFFF - 8),
        (caf, -1),  # Core Audio, ffmpeg
        (au, 0xFFFFFFFF),
    ],
)
def test_a_size_that_means_that_it_is_not_known_is_read_to_the_files_end_without_a_word(
    put: Put, sound: bytes, good: Samples, build: Build, size: int, caplog: pytest.LogCaptureFixture
) -> None:
    assert np.array_equal(decoded(put(build(sound, size))), good)
    assert not caplog.records


@pytest.mark.parametrize("build", [wav, rifx, aiff, au])
@pytest.mark.parametrize("behind", [b"", metadata(wav, b"guan", 200)], ids=["", "guano"])
def test_a_size_that_wrapped_is_read_whole_where_the_file_says_that_it_wrapped(
    put: Put,
    sound: bytes,
    good: Samples,
    build: Build,
    behind: bytes,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    # As of 4 GiB, in small: the size is what a shorter counter leaves of it.
    monkeypatch.setattr(containers, "WRAP", 2**17)
    assert np.array_equal(decoded(put(build(sound, len(sound) % 2**17, behind))), good)
    assert "its size wrapped at 4 GiB: all 298,776 bytes (9.34 s) were read" in caplog.text


@pytest.mark.parametrize("size", [5 * 2**30 % 2**32, 0xFFFFFFFF, 0], ids=["wrapped", "not known", "never finalised"])
def test_more_than_4_gib_of_sound_are_all_promised_to_the_decoder(tmp_path: Path, size: int) -> None:
    file = tmp_path / "long.wav"
    with file.open("wb") as out:
        out.write(wav(b"", size))
        out.truncate(44 + 5 * 2**30 - 1)
        out.seek(0, os.SEEK_END)
        out.write(b"\1")
    with file.open("rb") as opened:
        source = containers.settle(FileBytes(opened.fileno()))
        with soundfile.SoundFile(source.file) as decoder:
            assert decoder.frames == 5 * 2**30 // 2


def test_more_sound_than_a_big_endian_header_can_say_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "night.wav"
    with file.open("wb") as out:
        out.write(aiff(b"", 0))
        out.truncate(5 * 2**30)
        out.seek(0, os.SEEK_END)
        out.write(b"\1")
    assert "it holds more than 4 GiB of sound" in refusal(file)


def test_a_size_that_counts_nothing_but_the_header_was_never_finalised(put: Put, sound: bytes, good: Samples) -> None:
    assert np.array_equal(decoded(put(wav(sound, 44, bytes(200_000)))), good)  # Frontier Labs FL003
    assert "the recording is empty" in refusal(put(wav(bytes(200_000), 44)))


def test_a_header_alone_that_promises_sound_is_refused(put: Put) -> None:
    assert "promises 32,000 bytes (1.00 s) of sound, the file holds 0 bytes" in refusal(put(wav(b"", SECOND)))


@pytest.mark.parametrize(
    "build", [w64, caf], ids=lambda build: build.__name__.upper()
)  # sox, into a pipe: its library cannot go back, and writes the header once more
def test_a_header_of_no_sound_before_another_header_counts_for_nothing(
    put: Put, sound: bytes, good: Samples, build: Build
) -> None:
    assert np.array_equal(decoded(put(build(b"", 0) + build(sound, len(sound)))), good)


def test_a_size_of_the_whole_that_is_wrong_matters_to_nobody(put: Put, sound: bytes, good: Samples) -> None:
    content = wav(sound, len(sound))
    for size in (0, 100_000, 0xFFFFFFFF):
        assert np.array_equal(decoded(put(content[:4] + struct.pack("<I", size) + content[8:])), good)


@pytest.mark.parametrize(
    "before",
    [
        chunk(b"PEAK", bytes.fromhex("01000000fa9d3c67830d873f31808e00") + bytes(99)),  # libsndfile 1046
        chunk(b"fact", struct.pack(">I", 9)) + chunk(b"LIST", b"adtl" + bytes(393_160)),  # a Zoom's: libsndfile 374
        chunk(b"wamd", bytes(149)) + chunk(b"guan", b"GUANO|Version: 1.0\nMake: Wildlife Acoustics\n"),
        b"inst" + struct.pack("<I", 7) + b"1234567",  # without its padding: NAudio 220
        chunk(b"id3 ", b"ID3\3\0\0\0\0\7\x76" + bytes(1_014)),
        chunk(b"cue ", struct.pack("<I", 2**31)) + chunk(b"smpl", b"xy") + chunk(b"acid", b""),
    ],
    ids=["PEAK", "zeros", "recorder's", "unpadded", "id3", "nonsense"],
)
def test_no_metadata_stands_between_the_sound_and_the_decoder(
    put: Put, sound: bytes, good: Samples, before: bytes
) -> None:
    assert np.array_equal(decoded(put(wav(sound, len(sound), before=before))), good)


def test_a_format_that_stands_behind_its_sound_is_found_there(put: Put, sound: bytes, good: Samples) -> None:
    body = b"WAVE" + chunk(b"data", sound) + chunk(b"fmt ", described())
    assert np.array_equal(decoded(put(b"RIFF" + struct.pack("<I", len(body)) + body)), good)


@every_container
def test_a_tag_in_front_moves_nothing(put: Put, sound: bytes, good: Samples, build: Build) -> None:
    tag = b"ID3\3\0\0\0\0\7\x76" + bytes(1_014 - 1)  # the size of an ID3 counts in sevens: 1,014; odd, to be unkind
    tag = tag[:9] + b"\x75" + tag[10:]
    assert np.array_equal(decoded(put(tag + build(sound, len(sound)))), good)
    assert "cut short" in refusal(put(tag + build(sound[:SECOND], len(sound))))


@pytest.mark.parametrize("encoding", ["PCM_U8", "PCM_24", "FLOAT", "DOUBLE", "ALAW", "ULAW", "IMA_ADPCM", "GSM610"])
def test_the_same_holds_for_every_encoding_in_a_wav(recording: Path, tmp_path: Path, encoding: str) -> None:
    file = tmp_path / "night.wav"
    soundfile.write(file, soundfile.read(recording)[0], RATE, format="WAV", subtype=encoding)
    expected, content = decoded(file), file.read_bytes()
    at = content.index(b"data") + 4
    file.write_bytes(content[:at] + bytes(4) + content[at + 4 :])
    # A block of GSM takes the padding behind the sound for a part of it.
    assert np.array_equal(decoded(file)[:149_000], expected[:149_000])
    file.write_bytes(content[: len(content) * 2 // 3])
    assert "cut short" in refusal(file)


@every_container
def test_no_damage_to_any_header_gets_anything_but_an_answer_or_a_refusal(put: Put, sound: bytes, build: Build) -> None:
    random = np.random.default_rng(11)
    good = np.frombuffer(build(sound[:8_000], 8_000, metadata(build, b"LIST", 99)), np.uint8)
    for _ in range(60):
        content = good.copy()
        content[random.integers(0, 110, 4)] = random.integers(0, 256, 4)
        file = put(content[: random.integers(8, len(content))].tobytes())
        try:
            assert len(decoded(file))
        except ValueError as refused:
            assert str(refused).startswith("night.wav: ")  # noqa: PT017 - either ending is right, and no other
