"""Mix the channels of a recording into the one that a recognizer needs. Pure."""

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from nightscribe.shared.audio.separation import SeparationMeter

SILENT = 1e-4  # 40 dB below the loudest channel, which holds no speech and would only lower the level of a mix
CANCELLED = 0.03  # 15 dB below its channels: two microphones in one room do not produce such a mix by chance
AUDIBLE = 1e-6  # mean square, 60 dB below full scale: a weaker signal is not judged
SHARE_CANCELLED = 0.1
RUMBLE = 0.01  # below about 250 Hz, the difference of successive samples at 16 kHz has less than this share of energy

# Speakers by their bit in the mask of a WAV header.
FRONT_CENTER, LOW_FREQUENCY = 0x4, 0x8
FRONT = 0x1 | 0x2 | 0x40 | 0x80
# ffmpeg mixes a film with these weights: the dialogue comes from the center, the room from the sides.
CENTER_WEIGHT, SIDE_WEIGHT = 2**0.5, 2**-0.5
SURROUND = 5  # a stated layout with at least this many channels is that of a film


class ChannelSelector:
    """Mixes all channels, because in an interview each speaker may have one.

    It omits silent channels, and uses only the loudest if two channels cancel each other (for example because of
    reversed wires). It decides separately for every second from the first sample, so that the result does not depend
    on the chunks. Afterwards, `channels_cancel` says whether channels cancelled each other for more than a moment.
    """

    def __init__(self, rate: int) -> None:
        self._second = rate
        self._n_audible = 0
        self._n_cancelled = 0
        self._meter: SeparationMeter | None = None

    @property
    def channels_cancel(self) -> bool:
        """Return whether channels cancelled each other for more than a moment."""
        return self._n_cancelled > SHARE_CANCELLED * self._n_audible

    @property
    def are_apart(self) -> bool:
        """Return whether there are two channels, and each carries speech that the other does not."""
        return self._meter is not None and self._meter.are_apart

    @property
    def differ(self) -> bool:
        """Return whether there are two channels that share hardly any sound, also if only one carries speech."""
        return self._meter is not None and self._meter.differ

    def to_mono(self, chunks: Iterable[NDArray[np.int16]], mask: int = 0) -> Iterator[NDArray[np.float32]]:
        """Mix chunks of shape (n_samples, n_channels) into chunks of shape (n_samples,) in [-1, 1].

        `mask` assigns the channels to loudspeakers as in a WAV header; 0 if unknown.
        """
        rest: NDArray[np.int16] | None = None
        for chunk in chunks:
            samples = chunk if rest is None else np.concatenate((rest, chunk))
            n_whole = len(samples) if samples.shape[1] == 1 else len(samples) // self._second * self._second
            rest = samples[n_whole:]
            if n_whole:
                yield self._to_mono(samples[:n_whole], mask)
        if rest is not None and len(rest):
            yield self._to_mono(rest, mask)

    def _to_mono(self, samples: NDArray[np.int16], mask: int) -> NDArray[np.float32]:
        sound: NDArray[np.float32] = samples.T.astype(np.float32, order="C") / np.float32(32768)
        if len(sound) == 1:
            return sound.reshape(-1)
        if len(sound) == 2:
            self._meter = self._meter or SeparationMeter(self._second)
            self._meter.listen(sound)
        weights = channel_weights(len(sound), mask)
        starts = range(0, sound.shape[1], self._second)
        return np.concatenate([self._mixed(sound[:, at : at + self._second], weights) for at in starts])

    def _mixed(self, sound: NDArray[np.float32], weights: NDArray[np.float32]) -> NDArray[np.float32]:
        """Mix one second of shape (n_channels, n_samples)."""
        energies = np.einsum("ij,ij->i", sound, sound)
        loudest = float(energies.max())
        live = energies >= SILENT * loudest
        for n in np.flatnonzero(live & (weights == 0)):  # a film's low-frequency channel, or a microphone
            live[n] = np.square(np.diff(sound[n])).sum() > RUMBLE * energies[n]
        counted = np.where(live, np.where(weights == 0, np.float32(1), weights), np.float32(0))
        if not counted.any():
            counted = weights if weights.any() else np.ones_like(weights)
        mixed: NDArray[np.float32] = (counted / counted.sum()).astype(np.float32) @ sound
        if int((counted > 0).sum()) < 2:
            return mixed
        is_audible = loudest > AUDIBLE * sound.shape[1]
        cancel = is_audible and float(np.dot(mixed, mixed)) < CANCELLED * self._expected(energies, counted)
        self._n_audible += is_audible
        self._n_cancelled += cancel
        best: NDArray[np.float32] = sound[int((energies * (counted > 0)).argmax())]
        return best if cancel else mixed

    @staticmethod
    def _expected(energies: NDArray[np.float32], counted: NDArray[np.float32]) -> float:
        """Return the energy of a mix of independent channels; of two channels, the energy of the louder."""
        if len(energies) == 2:
            return float(energies.max())
        return float((energies * (counted / counted.sum()) ** 2).sum())


def channel_weights(n_channels: int, mask: int) -> NDArray[np.float32]:
    """Return the weight of each channel: all equal, or those for a film if the mask shows one.

    The low-frequency channel has weight 0 and counts only if it holds more than rumble.
    """
    speakers = [1 << bit for bit in range(32) if mask >> bit & 1]
    if len(speakers) != n_channels or n_channels < SURROUND or FRONT_CENTER not in speakers:
        return np.ones(n_channels, np.float32)
    weights = [
        0.0
        if speaker == LOW_FREQUENCY
        else CENTER_WEIGHT
        if speaker == FRONT_CENTER
        else 1.0
        if speaker & FRONT
        else SIDE_WEIGHT
        for speaker in speakers
    ]
    return np.array(weights, np.float32)
