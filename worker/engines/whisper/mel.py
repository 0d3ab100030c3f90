"""Compute Whisper's logarithmic mel spectrogram with numpy alone. Pure.

Source: openai/whisper audio.py for the scale; librosa for Slaney's mel filters, with which Whisper was trained.
"""

from functools import cache

import numpy as np
from numpy.typing import NDArray

from nightscribe.shared.audio.waveform import RATE, Waveform
from nightscribe.worker.engines.whisper.runtime import HOP

FFT = 400  # samples
FLOOR = 1e-10
RANGE = 8.0  # what is quieter than the loudest by more than this, in decades of energy, counts as equally quiet
LINEAR_HZ = 200 / 3  # width of a mel below 1000 Hz, above which mels are logarithmic
LOG_FROM_HZ, LOG_STEP = 1000.0, np.log(6.4) / 27


def log_mel(waveform: Waveform, n_mels: int) -> NDArray[np.float32]:
    """Return the spectrogram of a waveform, shape (n_mels, n_frames), one frame for each 10 ms."""
    padded = np.pad(waveform.astype(np.float32, copy=False), (FFT // 2, FFT // 2 + HOP), mode="constant")
    padded[: FFT // 2] = padded[FFT : FFT // 2 : -1]
    frames = np.lib.stride_tricks.sliding_window_view(padded, FFT)[: max(1, len(waveform) // HOP) * HOP : HOP]
    spectrum = np.fft.rfft(frames * _window(), axis=1)
    energy = (spectrum.real**2 + spectrum.imag**2).astype(np.float32)
    log = np.log10(np.maximum(_filters(n_mels) @ energy.T, FLOOR))
    scaled: NDArray[np.float32] = (np.maximum(log, log.max() - RANGE) + 4) / 4
    return scaled


@cache
def _window() -> NDArray[np.float32]:
    window: NDArray[np.float32] = np.hanning(FFT + 1)[:-1].astype(np.float32)
    return window


@cache
def _filters(n_mels: int) -> NDArray[np.float32]:
    """Return triangular filters of equal area, evenly spaced on the mel scale, shape (n_mels, 201)."""
    top = LOG_FROM_HZ / LINEAR_HZ + np.log(RATE / 2 / LOG_FROM_HZ) / LOG_STEP
    mels = np.linspace(0, top, n_mels + 2)
    knee = LOG_FROM_HZ / LINEAR_HZ
    edges = np.where(mels < knee, mels * LINEAR_HZ, LOG_FROM_HZ * np.exp(LOG_STEP * (mels - knee)))
    bins = np.linspace(0, RATE / 2, FFT // 2 + 1)
    rising = (bins - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    falling = (edges[2:, None] - bins) / (edges[2:] - edges[1:-1])[:, None]
    area = 2 / (edges[2:] - edges[:-2])
    filters: NDArray[np.float32] = (np.maximum(0, np.minimum(rising, falling)) * area[:, None]).astype(np.float32)
    return filters
