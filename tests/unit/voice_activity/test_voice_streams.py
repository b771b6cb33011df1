"""FLAC, OGG and MP3 with a count that is missing or wrong, an end that is missing, damage, or more behind the end.

Recorders and ffmpeg write FLAC without a count of samples, and segments that carry the count of the whole; an MP3
written into a pipe has no count of frames, and the decoder guesses it; a page of OGG that is damaged is left out, and
what follows moves forward in time.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pytest
import soundfile
from voice_activity import audio

Hear = Callable[..., dict[str, Any]]
Put = Callable[[bytes], Path]
Samples: TypeAlias = npt.NDArray[np.float32]

RATE = 16_000


@pytest.fixture(scope="module")
def speech(recording: Path) -> Samples:
    samples: Samples = soundfile.read(recording, dtype="float32")[0]
    return samples


@pytest.fixture
def put(tmp_path: Path) -> Put:
    def write(content: bytes) -> Path:
        file = tmp_path / "night"
        file.write_bytes(content)
        return file

    return write


def encoded(samples: Samples, container: str, encoding: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    with soundfile.SoundFile(buffer, "w", RATE, 1, format=container, subtype=encoding, **options) as out:
        for begin in range(0, len(samples), 4_096):
            out.write(samples[begin : begin + 4_096])
    return buffer.getvalue()


def decoded(file: Path) -> Samples:
    with audio.open_recording(file, file.name) as opened:
        return np.concatenate(list(opened.blocks()))


def refusal(file: Path) -> str:
    with pytest.raises(ValueError, match=r"^night: ") as caught:
        decoded(file)
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


# FLAC


@pytest.fixture(scope="module")
def flac(speech: Samples) -> bytes:
    return encoded(speech, "FLAC", "PCM_16")


def counting(flac: bytes, samples: int) -> bytes:
    """Return a FLAC whose header promises so many samples, in the 36 bits that it has for them."""
    fields = int.from_bytes(flac[18:26], "big") >> 36 << 36 | samples
    return flac[:18] + fields.to_bytes(8, "big") + flac[26:]


def frames(flac: bytes) -> list[int]:
    """Return where the frames begin: a sync of this stream's kind whose head's checksum is right."""

    def checked(head: bytes) -> int:
        remainder = 0
        for byte in head:
            remainder ^= byte
            for _ in range(8):
                remainder = (remainder << 1 ^ 0x07 if remainder & 0x80 else remainder << 1) & 0xFF
        return remainder

    found = []
    position = flac.find(b"\xff\xf8")
    while position >= 0:
        if any(checked(flac[position : position + length]) == 0 for length in (6, 7, 8)):
            found.append(position)
        position = flac.find(b"\xff\xf8", position + 1)
    return found


@pytest.fixture(scope="module")
def block(flac: bytes) -> int:
    size: int = struct.unpack(">H", flac[8:10])[0]  # samples a frame
    assert len(frames(flac)) == -(-149_388 // size)
    return size


def test_a_flac_that_does_not_know_its_length_is_read_to_its_end(
    hear: Hear, put: Put, flac: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    expected = hear(put(flac))
    assert hear(put(counting(flac, 0))) == expected
    assert not caplog.records


def test_a_segment_of_a_longer_flac_is_read_whole(put: Put, flac: bytes, speech: Samples, block: int) -> None:
    at = frames(flac)
    segment = counting(flac[: at[0]] + flac[at[2] : at[5]], 0)
    np.testing.assert_array_equal(decoded(put(segment)), speech[2 * block : 5 * block])


def test_the_last_segment_counts_the_whole_recording_and_is_read_whole_all_the_same(
    put: Put, flac: bytes, speech: Samples, block: int, caplog: pytest.LogCaptureFixture
) -> None:
    at = frames(flac)
    segment = flac[: at[0]] + flac[at[-3] :]
    np.testing.assert_array_equal(decoded(put(segment)), speech[(len(at) - 3) * block :])
    assert "night: its header promises 149,388 samples, counted from the beginning of the longer" in caplog.text


def test_a_flac_that_promises_twice_its_samples_is_read_whole(
    put: Put, flac: bytes, speech: Samples, caplog: pytest.LogCaptureFixture
) -> None:
    np.testing.assert_array_equal(decoded(put(counting(flac, 2 * 149_388))), speech)  # Frontier Labs FL010
    assert "twice as many as there are" in caplog.text


def test_a_flac_without_its_last_frames_is_refused_even_where_the_cut_is_clean(
    put: Put, flac: bytes, block: int
) -> None:
    at = frames(flac)
    message = refusal(put(flac[: at[-2]]))
    assert "damaged or cut short: 9.34 s of sound are promised" in message
    assert f"{(len(at) - 2) * block / RATE:.2f} s can be decoded" in message


@pytest.mark.parametrize("samples", [149_388, 0])
def test_a_flac_that_ends_amid_a_frame_is_refused_with_the_decoders_reason(put: Put, flac: bytes, samples: int) -> None:
    message = refusal(put(counting(flac, samples)[: len(flac) // 2]))
    assert "damaged or cut short" in message
    assert "the decoder says 'Error : flac decoder lost sync.'" in message
    assert ("9.34 s promised" in message) == bool(samples)


def test_a_flac_with_damage_in_its_midst_is_refused(put: Put, flac: bytes) -> None:
    half = len(flac) // 2
    assert "the decoder says" in refusal(put(flac[:half] + b"\x12\x34\x56\x78" + flac[half + 4 :]))


@pytest.mark.parametrize(
    "behind", [b"TAG" + bytes(125), bytes(100_000), b"\x91\x12\x83" * 900], ids=["tag", "zeros", "some bytes"]
)
def test_what_lies_behind_a_flac_is_no_damage(put: Put, flac: bytes, speech: Samples, behind: bytes) -> None:
    np.testing.assert_array_equal(decoded(put(flac + behind)), speech)


@pytest.mark.parametrize("second", ["another", "more of it"])
def test_sound_behind_the_end_that_a_flac_promises_is_not_left_out_in_silence(
    put: Put, flac: bytes, second: str
) -> None:
    content = flac + flac if second == "another" else counting(flac, 74_694)
    message = refusal(put(content))
    assert "its header promises " in message
    assert "bytes follow" in message


# OGG


@pytest.fixture(scope="module", params=["VORBIS", "OPUS"])
def ogg(request: pytest.FixtureRequest, speech: Samples) -> bytes:
    return encoded(speech, "OGG", request.param)


def pages(ogg: bytes) -> Iterator[tuple[int, int]]:
    """Yield where each page begins and ends."""
    begin = 0
    while begin < len(ogg):
        segments = ogg[begin + 26]
        end = begin + 27 + segments + sum(ogg[begin + 27 : begin + 27 + segments])
        yield begin, end
        begin = end


def test_an_ogg_that_is_whole_is_read_without_a_word(put: Put, ogg: bytes, caplog: pytest.LogCaptureFixture) -> None:
    assert len(decoded(put(ogg))) == 149_388
    assert not caplog.records


def test_an_ogg_that_ends_amid_a_page_is_refused(put: Put, ogg: bytes) -> None:
    assert "cut short: its last page lacks " in refusal(put(ogg[: len(ogg) // 2]))


def test_an_ogg_that_was_never_ended_is_read_to_its_last_page_and_the_log_says_so(
    put: Put, ogg: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    begin = [*pages(ogg)][-1][0]  # a recorder that lost its power, ffmpeg's segments
    expected = decoded(put(ogg))
    samples = decoded(put(ogg[:begin]))
    assert 100_000 < len(samples) < len(expected)
    np.testing.assert_allclose(samples[:90_000], expected[:90_000], atol=1e-3)
    assert "night: no page of it is marked as the last" in caplog.text


def test_an_ogg_with_a_damaged_page_is_refused_rather_than_moved_in_time(put: Put, ogg: bytes) -> None:
    begin, end = [*pages(ogg)][-3]
    content = bytearray(ogg)
    content[(begin + end) // 2] ^= 0xFF
    message = refusal(put(bytes(content)))
    assert "damaged or cut short: 9.34 s of sound are promised, " in message
    assert "s can be decoded" in message


def test_an_ogg_without_one_of_its_pages_is_refused(put: Put, ogg: bytes) -> None:
    begin, end = [*pages(ogg)][-3]
    assert "damaged or cut short" in refusal(put(ogg[:begin] + ogg[end:]))


def test_recordings_one_behind_the_other_in_an_ogg_are_refused_rather_than_the_first_alone_heard(
    put: Put, ogg: bytes
) -> None:
    assert "several recordings one behind the other" in refusal(put(ogg + ogg))


@pytest.mark.parametrize("behind", [bytes(100_000), b"\x91\x12\x83" * 900], ids=["zeros", "some bytes"])
def test_what_lies_behind_an_ogg_changes_nothing(put: Put, ogg: bytes, behind: bytes) -> None:
    np.testing.assert_array_equal(decoded(put(ogg + behind)), decoded(put(ogg)))


def test_what_lies_behind_an_ogg_that_was_never_ended_is_damage(put: Put, ogg: bytes) -> None:
    begin = [*pages(ogg)][-1][0]
    assert "are no page" in refusal(put(ogg[:begin] + b"\x91\x12\x83" * 3_000))


# MP3


@pytest.fixture(scope="module")
def long_speech(speech: Samples) -> Samples:
    """Return noise that takes many bits, silence that takes few, then speech: a guess by the first frame misses it."""
    noise = np.random.default_rng(3).uniform(-0.5, 0.5, RATE).astype(np.float32)
    return np.concatenate((noise, np.zeros(10 * RATE, np.float32), speech))


@pytest.fixture(scope="module", params=["CONSTANT", "VARIABLE"])
def mp3(request: pytest.FixtureRequest, long_speech: Samples) -> bytes:
    return encoded(long_speech, "MP3", "MPEG_LAYER_III", bitrate_mode=request.param, compression_level=0.5)


TAG = 13  # where in a mono frame of this rate the tag lies: "Xing" or "Info", flags, frames, bytes


def first_frame(mp3: bytes) -> int:
    """Return the size of the first frame, which is the tag's."""
    assert mp3[TAG : TAG + 4] in (b"Xing", b"Info")
    bitrate = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)[mp3[2] >> 4]
    return 72 * bitrate * 1_000 // RATE + (mp3[2] >> 1 & 1)


def counted(mp3: bytes) -> int:
    count: int = struct.unpack_from(">I", mp3, TAG + 8)[0]
    return count


def with_count(mp3: bytes, count: int) -> bytes:
    return mp3[: TAG + 8] + struct.pack(">I", count) + mp3[TAG + 12 :]


def assert_same_sound(samples: Samples, expected: Samples) -> None:
    """Without a tag the encoder's delay is not known: up to 1,105 samples more at the begin, and as many at the end."""
    late = len(samples) - len(expected)
    assert 0 <= late <= 4 * 1_105
    begin = int(np.argmax(np.correlate(samples[: 3_000 + RATE], expected[:RATE], "valid")))
    assert begin <= 1_105
    np.testing.assert_allclose(samples[begin : begin + len(expected) - 2_000], expected[:-2_000], atol=1e-3)


def test_an_mp3_that_counts_its_frames_is_read_without_a_word(
    put: Put, mp3: bytes, long_speech: Samples, caplog: pytest.LogCaptureFixture
) -> None:
    assert len(decoded(put(mp3))) == len(long_speech)
    assert not caplog.records


def test_an_mp3_that_does_not_count_its_frames_is_read_to_its_end(put: Put, mp3: bytes) -> None:
    assert_same_sound(decoded(put(mp3[first_frame(mp3) :])), decoded(put(mp3)))


def test_an_mp3_whose_count_was_never_filled_in_is_read_to_its_end(
    put: Put, mp3: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    np.testing.assert_array_equal(decoded(put(with_count(mp3, 0))), decoded(put(mp3)))
    assert "night: its header was never finalised: all " in caplog.text


def test_an_mp3_whose_count_is_too_small_is_read_to_its_end(
    put: Put, mp3: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    np.testing.assert_array_equal(decoded(put(with_count(mp3, counted(mp3) // 2))), decoded(put(mp3)))
    assert f"its header promises {counted(mp3) // 2:,} frames" in caplog.text


def test_of_mp3s_one_behind_the_other_all_are_read(put: Put, mp3: bytes, long_speech: Samples) -> None:
    assert len(decoded(put(mp3 + mp3))) > 2 * len(long_speech) - 3_000


@pytest.mark.parametrize("other", ["a rate", "channels"])
def test_of_mp3s_of_two_kinds_one_behind_the_other_the_first_alone_is_not_heard(
    put: Put, mp3: bytes, speech: Samples, other: str
) -> None:
    buffer = io.BytesIO()
    if other == "a rate":
        soundfile.write(buffer, speech[::2], RATE // 2, format="MP3")
    else:
        soundfile.write(buffer, np.tile(speech[:, None], 2), RATE, format="MP3")
    assert "frames of another kind follow " in refusal(put(mp3 + buffer.getvalue()))


def test_an_mp3_with_more_damage_than_the_decoder_gets_over_is_refused(put: Put, mp3: bytes) -> None:
    half = len(mp3) // 2
    assert "the decoder says" in refusal(put(mp3[:half] + b"\x12\x34" * 3_000 + mp3[half:]))


def test_an_mp3_that_lacks_frames_is_refused_with_how_many(put: Put, mp3: bytes) -> None:
    message = refusal(put(mp3[: len(mp3) // 2]))
    seconds = counted(mp3) * 576 / RATE
    assert f"cut short: its header promises {counted(mp3):,} frames ({seconds:.2f} s), the file holds " in message


def test_an_mp3_that_counts_nothing_and_ends_amid_a_frame_is_refused(put: Put, mp3: bytes) -> None:
    assert "cut short: its last frame lacks 7 bytes" in refusal(put(mp3[first_frame(mp3) : -7]))
    assert "cut short: its last frame lacks 7 bytes" in refusal(put(with_count(mp3, 0)[:-7]))


@pytest.mark.parametrize(
    ("before", "behind"),
    [
        (b"ID3\4\0\0\0\0\x10\0" + bytes(2_048), b""),
        (b"", b"TAG" + b"t" * 125),
        (b"", b"APETAGEX" + b"\xff\xfa\x01" * 9_000),
        (b"", bytes(100_000)),
        (b"", b"\xff" * 100_000),
        (b"\x12\x34" * 300, b""),
    ],
    ids=["ID3v2", "ID3v1", "APE", "zeros", "erased flash", "the end of a lost frame"],
)
def test_what_lies_around_an_mp3_changes_nothing(put: Put, mp3: bytes, before: bytes, behind: bytes) -> None:
    np.testing.assert_array_equal(decoded(put(before + mp3 + behind)), decoded(put(mp3)))


@pytest.mark.parametrize("container", ["FLAC", "OGG", "MP3"])
def test_no_damage_to_any_stream_gets_anything_but_an_answer_or_a_refusal(
    put: Put, speech: Samples, container: str
) -> None:
    random = np.random.default_rng(13)
    encoding = {"FLAC": "PCM_16", "OGG": "OPUS", "MP3": "MPEG_LAYER_III"}[container]
    good = np.frombuffer(encoded(speech[: 2 * RATE], container, encoding), np.uint8)
    for _ in range(60):
        content = good.copy()
        content[random.integers(0, random.choice([100, len(good)]), 4)] = random.integers(0, 256, 4)
        file = put(content[: random.integers(8, len(content))].tobytes())
        try:
            assert len(decoded(file))
        except ValueError as refused:
            assert str(refused).startswith("night: ")  # noqa: PT017 - either ending is right, and no other
