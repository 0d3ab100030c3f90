"""Determine whether two channels carry different speech, as in a call that records each side separately. Pure.

In one room, two microphones pick up the same voices a little earlier or later, louder or softer, and a film's dialogue
is on both sides. Channels are separate only if both carry speech and share hardly any sound.
"""

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

FRAME_S = 0.5
DECIMATION = 4  # voices differ below 2 kHz as well
LATEST_S = 0.02  # maximum delay of a voice between two microphones in a room
SAME = 0.5  # correlation from which a frame has the same sound on both channels
DIFFERENT = 0.3  # correlation below which it has different sounds
ALONE = 30.0  # 15 dB louder than the other channel
QUIET = 1e-7  # mean square, 70 dB below full scale
ACTIVE = 0.05  # 13 dB below the loud frames of a channel; most speech is louder
DYNAMICS = 10.0  # speech has pauses, while noise and hum are equally loud in all frames
LEAST_S = 1.5
LEAST_SHARE = 0.05
MOST_SHARED = 0.1


class SeparationMeter:
    """Analyzes the sound of two channels to determine whether each carries its own speech."""

    def __init__(self, rate: int) -> None:
        self._size = round(FRAME_S * rate) // DECIMATION * DECIMATION
        self._lag = round(LATEST_S * rate / DECIMATION)
        self._rest: NDArray[np.float32] = np.zeros((2, 0), np.float32)
        self._frames: list[tuple[float, float, float]] = []

    def listen(self, sound: NDArray[np.float32]) -> None:
        """Analyze sound of shape (2, n_samples)."""
        sound = np.concatenate((self._rest, sound), axis=1)
        edges = range(0, sound.shape[1] + 1, self._size)
        for start, end in pairwise(edges):
            self._frames.append(self._frame(sound[:, start:end]))
        self._rest = sound[:, edges[-1] :]

    def _frame(self, sound: NDArray[np.float32]) -> tuple[float, float, float]:
        """Return the mean square of each channel, and the highest correlation at any delay."""
        low = sound.reshape(2, -1, DECIMATION).mean(axis=2)
        low = low - low.mean(axis=1, keepdims=True)
        left, right = np.square(low).mean(axis=1)
        if min(left, right) < QUIET:
            return float(left), float(right), 0.0
        n = low.shape[1]
        spectra = np.fft.rfft(low, 2 * n)
        correlation = np.fft.irfft(spectra[0] * spectra[1].conj())
        around = np.concatenate((correlation[: self._lag + 1], correlation[-self._lag :]))
        return float(left), float(right), float(np.abs(around).max() / (n * np.sqrt(left * right)))

    @property
    def are_apart(self) -> bool:
        """Return whether each channel carries speech that the other does not."""
        return self._are_apart(n_talking=2)

    @property
    def differ(self) -> bool:
        """Return whether the channels share hardly any sound, also if only one of them carries speech."""
        return self._are_apart(n_talking=1)

    def _are_apart(self, n_talking: int) -> bool:
        """Return whether the channels share hardly any sound, and at least `n_talking` carry speech of their own."""
        if not self._frames:
            return False
        left, right, same = np.array(self._frames).T
        active = [_active(left), _active(right)]
        both = active[0] & active[1]
        alone = [left > ALONE * right, right > ALONE * left]
        own = [each & (is_alone | (both & (same < DIFFERENT))) for each, is_alone in zip(active, alone, strict=True)]
        n_active = int((active[0] | active[1]).sum())
        n_shared = int(((active[0] | active[1]) & (same >= SAME) & ~alone[0] & ~alone[1]).sum())
        least = max(LEAST_S / FRAME_S, LEAST_SHARE * n_active)
        return sum(each.sum() >= least for each in own) >= n_talking and n_shared <= MOST_SHARED * n_active


def _active(energies: NDArray[np.float64]) -> NDArray[np.bool_]:
    loud, soft = np.percentile(energies, 95), np.percentile(energies, 10)
    if loud < QUIET or loud < DYNAMICS * soft:
        return np.zeros(len(energies), bool)
    return np.asarray(energies >= max(QUIET, ACTIVE * loud))
