"""Find a place to cut a waveform without cutting a word. Pure."""

import numpy as np

from nightscribe.shared.audio.waveform import RATE, Waveform, centred

QUIET_S = 0.24  # a pause between words is at least this long
HOP = RATE // 50


def quietest(waveform: Waveform, first: int) -> int:
    """Return the sample, from `first` on, at the center of the quietest `QUIET_S` seconds."""
    waveform = centred(waveform)
    n_hops = len(waveform) // HOP
    energy = np.square(waveform[: n_hops * HOP]).reshape(n_hops, HOP).mean(axis=1)
    around = np.convolve(energy, np.ones(max(1, round(QUIET_S * RATE / HOP))), mode="same")
    from_hop = first // HOP
    return (from_hop + int(around[from_hop:].argmin())) * HOP
