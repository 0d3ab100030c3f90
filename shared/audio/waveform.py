"""What a recogniser hears: one channel of samples at one rate."""

import numpy as np
from numpy.typing import NDArray

RATE = 16_000  # samples a second

Waveform = NDArray[np.float32]
"""Mono, 16 kHz, in [-1, 1], shape (n_samples,)."""
