"""Compute the features that the embedding model was trained with: Kaldi's log mel filter bank.

Source: kaldi-asr/kaldi, src/feat/{feature-window,mel-computations,feature-fbank}.cc, with the model's settings.
"""

from functools import cache

import numpy as np
from numpy.typing import NDArray

from nightscribe.shared.audio.waveform import RATE, Waveform

Features = NDArray[np.float32]
"""Log energies of the mel bands, shape (n_frames, N_MELS)."""

N_MELS = 80
FRAME = 400  # samples in a frame
STEP = 160  # samples from one frame to the next
N_FFT = 512
EMPHASIS = 0.97
LOW_HZ, HIGH_HZ = 20.0, RATE / 2
FLOOR = float(np.finfo(np.float32).eps)


def log_mel(waveform: Waveform) -> Features:
    """Return the features of a waveform in [-1, 1], one frame every 10 ms; none if it is shorter than a frame."""
    if len(waveform) < FRAME:
        return np.zeros((0, N_MELS), dtype=np.float32)
    frames = np.lib.stride_tricks.sliding_window_view(waveform, FRAME)[::STEP]
    frames = frames - frames.mean(axis=1, keepdims=True)
    emphasised = frames.copy()
    emphasised[:, 1:] -= EMPHASIS * frames[:, :-1]
    emphasised[:, 0] -= EMPHASIS * frames[:, 0]
    window, banks = _constants()
    spectrum = np.fft.rfft(emphasised * window, N_FFT)
    power = spectrum.real**2 + spectrum.imag**2
    energies: Features = np.log(np.maximum(power @ banks, FLOOR))
    return energies


@cache
def _constants() -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return Povey's window, shape (FRAME,), and the triangular filters, shape (n_bins, N_MELS)."""
    window = (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(FRAME) / (FRAME - 1))) ** 0.85
    edges = np.linspace(_mel(LOW_HZ), _mel(HIGH_HZ), N_MELS + 2)
    bins = _mel(np.arange(N_FFT // 2 + 1) * RATE / N_FFT)[:, None]
    left, centre, right = edges[:-2], edges[1:-1], edges[2:]
    banks = np.clip(np.minimum((bins - left) / (centre - left), (right - bins) / (right - centre)), 0, None)
    return window.astype(np.float32), banks.astype(np.float32)


def _mel(hz: float | NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(1127 * np.log(1 + np.asarray(hz) / 700))
