"""From what a recording has of channels to the one that Whisper hears. Pure."""

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

SILENT = 1e-4  # 40 dB below the other channel: nobody speaks into it, and its half of a mix would only cost level
CANCELLED = 0.03  # 15 dB below the channels they are made of, which two microphones in one room do not do by chance
HEARD = 1e-6  # mean square, 60 dB below full scale: less is no signal to judge by
SHARE_CANCELLED = 0.1


class ChannelSelector:
    """Mixes two channels, since in an interview each speaker may have one.

    But listens to the louder one alone where the other is silent, or is the same turned upside down (as by a wire
    soldered the wrong way round). That is decided anew for every second from the first sample on, so that it does not
    depend on where chunks end. After listening, `channels_cancel` says whether the latter was more than a moment.
    """

    def __init__(self, rate: int) -> None:
        self._second = rate
        self._n_heard = 0
        self._n_cancelled = 0

    @property
    def channels_cancel(self) -> bool:
        return self._n_cancelled > SHARE_CANCELLED * self._n_heard

    def to_mono(self, chunks: Iterable[NDArray[np.int16]]) -> Iterator[NDArray[np.float32]]:
        """From chunks of shape (n_samples, 1 or 2) to chunks of shape (n_samples,) in [-1, 1]."""
        rest: NDArray[np.int16] | None = None
        for chunk in chunks:
            samples = chunk if rest is None else np.concatenate((rest, chunk))
            n_whole = len(samples) if samples.shape[1] == 1 else len(samples) // self._second * self._second
            rest = samples[n_whole:]
            if n_whole:
                yield self._heard(samples[:n_whole])
        if rest is not None and len(rest):
            yield self._heard(rest)

    def _heard(self, samples: NDArray[np.int16]) -> NDArray[np.float32]:
        sound: NDArray[np.float32] = samples.T.astype(np.float32, order="C") / np.float32(32768)
        if len(sound) == 1:
            return sound.reshape(-1)
        starts = range(0, sound.shape[1], self._second)
        return np.concatenate([self._one_of(*sound[:, at : at + self._second]) for at in starts])

    def _one_of(self, left: NDArray[np.float32], right: NDArray[np.float32]) -> NDArray[np.float32]:
        mixed = (left + right) / np.float32(2)
        quieter, louder = sorted((left, right), key=_energy)
        loudest = _energy(louder)
        heard = loudest > HEARD * len(louder)
        cancel = heard and _energy(mixed) < CANCELLED * loudest
        self._n_heard += heard
        self._n_cancelled += cancel
        return louder if cancel or _energy(quieter) < SILENT * loudest else mixed


def _energy(channel: NDArray[np.float32]) -> float:
    return float(np.dot(channel, channel))
