"""From probabilities to segments: threshold and minimum lengths."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from voice_activity.detection import WINDOW_MS, Rules, find_segments

Hear = Callable[..., dict[str, Any]]

ANYTHING = Rules(threshold=0.5, min_speech_ms=0, min_silence_ms=0)


def bounds(probabilities: Sequence[float], rules: Rules) -> list[tuple[int, int]]:
    return [(segment.start, segment.end) for segment in find_segments(probabilities, rules)]


def test_speech_is_what_reaches_the_threshold() -> None:
    assert bounds([0.1, 0.5, 0.9, 0.1, 0.7, 0.1], ANYTHING) == [(1, 3), (4, 5)]


def test_speech_at_the_very_end_is_kept() -> None:
    assert bounds([0.1, 0.9, 0.9], ANYTHING) == [(1, 3)]


def test_speech_that_wavers_just_below_the_threshold_goes_on() -> None:
    assert bounds([0.4, 0.9, 0.4, 0.4, 0.9, 0.3], ANYTHING) == [(1, 5)]


def test_a_pause_shorter_than_the_minimum_does_not_end_a_segment() -> None:
    rules = replace(ANYTHING, min_silence_ms=3 * WINDOW_MS)
    assert bounds([0.9, 0, 0, 0.9, 0, 0, 0, 0.9], rules) == [(0, 4), (7, 8)]


def test_speech_shorter_than_the_minimum_is_dropped() -> None:
    rules = replace(ANYTHING, min_speech_ms=2 * WINDOW_MS)
    assert bounds([0.9, 0, 0.9, 0.9, 0], rules) == [(2, 4)]


def test_the_silence_that_ended_a_segment_is_no_part_of_it() -> None:
    rules = replace(ANYTHING, min_silence_ms=2 * WINDOW_MS)
    assert bounds([0.9, 0.9, 0, 0, 0], rules) == [(0, 2)]


def test_a_segments_probability_is_the_mean_over_its_windows_bridged_pauses_included() -> None:
    rules = replace(ANYTHING, min_silence_ms=2 * WINDOW_MS)
    (segment,) = find_segments([0.1, 1.0, 0.2, 0.6, 0.0, 0.0], rules)
    assert segment.probability == pytest.approx((1.0 + 0.2 + 0.6) / 3)


def test_threshold_zero_takes_everything_for_speech() -> None:
    assert bounds([0.0, 0.5, 0.0], replace(ANYTHING, threshold=0)) == [(0, 3)]


def test_a_higher_threshold_never_finds_more_speech(hear: Hear, recording: Path) -> None:
    ratios = [hear(recording, threshold=threshold)["speech_ratio"] for threshold in (0.05, 0.5, 0.95, 1.0)]
    assert ratios == sorted(ratios, reverse=True)
    assert ratios[0] > ratios[2] > 0


def test_a_long_minimum_silence_joins_the_two_sentences(hear: Hear, recording: Path) -> None:
    assert len(hear(recording, min_silence_ms=2_000)["segments"]) == 1


def test_a_long_minimum_speech_drops_the_shorter_sentence(
    hear: Hear, recording: Path, truth: list[list[float]]
) -> None:
    (segment,) = hear(recording, min_speech_ms=3_000)["segments"]
    assert segment["start"] == pytest.approx(truth[0][0], abs=0.15)
