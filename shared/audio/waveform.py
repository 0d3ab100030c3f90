"""The waveform for recognizers: one channel of samples at one rate."""

import numpy as np
from numpy.typing import NDArray

RATE = 16_000  # samples per second

Waveform = NDArray[np.float32]
"""Mono, 16 kHz, in [-1, 1], shape (n_samples,)."""

OFFSET = 0.003  # the mean of speech is closer to zero


def centred(waveform: Waveform) -> Waveform:
    """Return the waveform without the constant offset of a bad sound card, which hides quiet speech from a detector."""
    offset = waveform.mean() if len(waveform) else np.float32(0)
    return waveform - offset if abs(offset) > OFFSET else waveform
