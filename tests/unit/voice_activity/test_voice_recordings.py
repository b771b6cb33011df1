"""Whatever a recording is encoded as, the same speech is found in it."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import soundfile
import soxr
from voice_activity import audio

Hear = Callable[..., dict[str, Any]]
Truth = list[list[float]]

TOLERANCE = 0.15  # seconds: the model looks every 32 ms and holds on a little after the last sound


@pytest.fixture(scope="module")
def speech(recording: Path) -> npt.NDArray[np.float32]:
    samples: npt.NDArray[np.float32] = soundfile.read(recording, dtype="float32")[0]
    return samples


def assert_finds(answer: dict[str, Any], truth: Truth) -> None:
    found = [[segment["start"], segment["end"]] for segment in answer["segments"]]
    assert np.shape(found) == np.shape(truth)
    np.testing.assert_allclose(found, truth, atol=TOLERANCE)


def test_the_bundled_recording_holds_speech_where_its_script_placed_it(
    hear: Hear, recording: Path, truth: Truth
) -> None:
    assert_finds(hear(recording), truth)


def test_a_recording_is_heard_from_its_start_however_far_python_reads_ahead(
    hear: Hear, recording: Path, truth: Truth, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A block of the file system up to Python 3.13, which may be of 1 MiB (NFS, ZFS), at least 128 KiB since."""

    def open_ahead(path: Path, mode: str = "r", buffering: int = -1, **more: Any) -> Any:
        return plain(path, mode, 1 << 20 if buffering == -1 else buffering, **more)

    plain = Path.open
    monkeypatch.setattr(Path, "open", open_ahead)
    assert_finds(hear(recording), truth)


def test_an_answer_says_what_was_heard(hear: Hear, recording: Path, truth: Truth) -> None:
    answer = hear(recording)
    spoken = sum(end - start for start, end in truth)
    assert answer["duration"] == pytest.approx(9.337)
    assert (answer["sample_rate"], answer["channels"]) == (16_000, 1)
    assert answer["speech_ratio"] == pytest.approx(spoken / 9.337, abs=0.03)
    assert all(0.9 < segment["probability"] <= 1 for segment in answer["segments"])


@pytest.mark.parametrize(
    ("container", "encoding"),
    [
        *(("WAV", encoding) for encoding in ("PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE")),
        *(("WAV", encoding) for encoding in ("ALAW", "ULAW", "IMA_ADPCM")),
        *(("WAVEX", encoding) for encoding in ("PCM_16", "PCM_24", "FLOAT")),
        *(("FLAC", encoding) for encoding in ("PCM_16", "PCM_24")),
        ("OGG", "VORBIS"),
        ("OGG", "OPUS"),
        ("MP3", "MPEG_LAYER_III"),
    ],
)
def test_every_encoding_gives_the_same_segments(
    hear: Hear, speech: npt.NDArray[np.float32], truth: Truth, tmp_path: Path, container: str, encoding: str
) -> None:
    file = tmp_path / "upload"
    soundfile.write(file, speech, 16_000, format=container, subtype=encoding)
    assert_finds(hear(file), truth)


@pytest.mark.parametrize("rate", [8_000, 11_025, 22_050, 44_100, 48_000, 96_000, 192_000])
def test_every_sample_rate_gives_the_same_segments(
    hear: Hear, speech: npt.NDArray[np.float32], truth: Truth, tmp_path: Path, rate: int
) -> None:
    file = tmp_path / "speech.wav"
    soundfile.write(file, soxr.resample(speech, 16_000, rate), rate)
    answer = hear(file)
    assert_finds(answer, truth)
    assert answer["duration"] == pytest.approx(9.337, abs=0.002)


@pytest.mark.parametrize("channels", [2, 3, 6, 64])
def test_every_number_of_channels_gives_the_same_segments(
    hear: Hear, speech: npt.NDArray[np.float32], truth: Truth, tmp_path: Path, channels: int
) -> None:
    file = tmp_path / "speech.wav"
    soundfile.write(file, np.tile(speech[:, None], channels), 16_000, format="WAVEX")
    answer = hear(file)
    assert_finds(answer, truth)
    assert answer["channels"] == channels


def test_nan_and_overload_in_a_float_file_do_not_spread(
    hear: Hear, speech: npt.NDArray[np.float32], truth: Truth, tmp_path: Path
) -> None:
    file = tmp_path / "speech.wav"
    spoilt = speech.copy()
    spoilt[5_000], spoilt[70_000], spoilt[75_000] = np.nan, np.inf, -1e30
    soundfile.write(file, spoilt, 16_000, subtype="FLOAT")
    assert_finds(hear(file), truth)


@pytest.mark.parametrize("rate", [16_000, 44_100])
def test_the_size_of_a_block_changes_nothing(
    hear: Hear, speech: npt.NDArray[np.float32], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rate: int
) -> None:
    file = tmp_path / "speech.wav"
    soundfile.write(file, np.tile(soxr.resample(speech, 16_000, rate)[:, None], 2), rate)
    monkeypatch.setattr(audio, "BLOCK_SAMPLES", 2**24)
    whole = hear(file)
    monkeypatch.setattr(audio, "BLOCK_SAMPLES", 1_000)
    assert hear(file) == whole


def test_a_block_never_exceeds_its_bound_however_many_channels(tmp_path: Path) -> None:
    file = tmp_path / "many.wav"
    soundfile.write(file, np.zeros((40_000, 16), np.float32), 16_000, format="WAVEX")
    with audio.open_recording(file, "many.wav") as opened:
        largest = max(len(block) for block in opened.blocks())
    assert largest <= audio.BLOCK_SAMPLES // 16


def test_silence_is_an_answer_without_segments(hear: Hear, tmp_path: Path) -> None:
    file = tmp_path / "silence.wav"
    soundfile.write(file, np.zeros(32_000, np.float32), 16_000)
    answer = hear(file)
    assert (answer["segments"], answer["speech_ratio"]) == ([], 0)


def test_one_sample_is_a_recording(hear: Hear, tmp_path: Path) -> None:
    file = tmp_path / "click.wav"
    soundfile.write(file, np.zeros(1, np.float32), 48_000)
    assert hear(file)["segments"] == []


def test_a_segment_never_ends_after_its_recording(hear: Hear, speech: npt.NDArray[np.float32], tmp_path: Path) -> None:
    file = tmp_path / "cut.wav"
    soundfile.write(file, speech[: 3 * 16_000 + 100], 16_000)
    answer = hear(file)
    assert answer["segments"][-1]["end"] == answer["duration"] == pytest.approx(3.006)


def test_calls_one_after_another_do_not_influence_each_other(
    hear: Hear, speech: npt.NDArray[np.float32], tmp_path: Path
) -> None:
    file = tmp_path / "half.wav"
    soundfile.write(file, speech[: 4 * 16_000], 16_000)  # ends amid speech, which the model remembers
    assert hear(file) == hear(file)


def test_threads_do_not_influence_each_other(hear: Hear, recording: Path) -> None:
    alone = hear(recording)
    answers: list[dict[str, Any]] = []
    threads = [threading.Thread(target=lambda: answers.append(hear(recording))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [alone] * 3


def test_the_upload_is_left_as_it_was_and_nothing_is_printed(
    hear: Hear, recording: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    file = Path(shutil.copy(recording, tmp_path))
    hear(file)
    assert file.read_bytes() == recording.read_bytes()
    assert [*tmp_path.iterdir()] == [file]
    assert capfd.readouterr() == ("", "")
