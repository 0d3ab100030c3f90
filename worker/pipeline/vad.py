"""Find where somebody speaks, because Whisper invents words in silence, noise and music."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nightscribe.shared.audio.waveform import Waveform
from nightscribe.worker.pipeline.silero import CHUNK, CHUNK_S, FRESH, Floats, speech_probabilities

SPEECH_PROBABILITY = 0.5
QUIET_PEAK = 0.1  # below this peak, the detector begins to miss speech; below 0.001 it misses all speech
MAX_GAIN = 100
SILENT_PEAK = 0.0003  # 70 dB below full scale is a recorder's rounding error
SPEECH_CHUNKS = 6  # in a row, about 0.2 s: hold music looks like speech for up to four, a short "yes" lasts nine


@dataclass(frozen=True, eq=False)
class Speech:
    """Where somebody speaks in a waveform. Times are in seconds from its start."""

    probabilities: Floats
    """Probability of speech in each chunk of `CHUNK_S`."""

    def between(self, start_s: float, end_s: float) -> "Speech":
        """Return where somebody speaks in a stretch, with times from the start of the stretch."""
        return Speech(self.probabilities[max(0, math.floor(start_s / CHUNK_S)) : max(0, math.ceil(end_s / CHUNK_S))])

    @property
    def first_s(self) -> float | None:
        """Return when speech is first certain, or None if nobody speaks."""
        if len(self.probabilities) < SPEECH_CHUNKS:
            return None
        in_a_row = np.lib.stride_tricks.sliding_window_view(self._is_speech, SPEECH_CHUNKS).all(axis=1)
        return int(in_a_row.argmax()) * CHUNK_S if in_a_row.any() else None

    @property
    def seconds(self) -> float:
        """Return the seconds of speech."""
        return int(self._is_speech.sum()) * CHUNK_S

    @property
    def share(self) -> float | None:
        """Return the share of the time that is speech, or None if there is no time."""
        return float(self._is_speech.mean()) if len(self.probabilities) else None

    @property
    def _is_speech(self) -> NDArray[np.bool_]:
        return self.probabilities > SPEECH_PROBABILITY


class SpeechDetector:
    """Listens to the consecutive waveforms of one recording, or of a slice of it.

    It remembers what it has heard. In music, one that begins anew with every window hears speech in some of them.
    """

    def __init__(self) -> None:
        self._memory = FRESH

    def listen(self, waveform: Waveform) -> Speech:
        """Return where somebody speaks in the next waveform."""
        peak = float(np.abs(waveform).max(initial=0))
        if peak < SILENT_PEAK:
            return Speech(np.zeros(len(waveform) // CHUNK, np.float32))
        if peak < QUIET_PEAK:
            waveform = waveform * np.float32(min(MAX_GAIN, QUIET_PEAK / peak))
        probabilities, self._memory = speech_probabilities(waveform, self._memory)
        return Speech(probabilities)
