"""Where in a window there is sound, to put the beginnings and ends of words there. Pure; times are seconds.

The model knows which word follows which, and roughly when; a pause it gives to the word before or after it.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from nightscribe.shared.audio.decode import RATE, Waveform
from nightscribe.shared.model.transcript import Word

HOP_S = 0.01
HOP = round(HOP_S * RATE)
LOUD_PERCENTILE, QUIET_PERCENTILE = 90, 10
ABOVE_QUIET = 0.3  # of the way in decibels from the quiet to the loud
MOST_DB = 35  # softer than the loud than that is no word
SHORTEST_PAUSE_S = 0.15  # the closure of a "t" is no pause
SHORTEST_SOUND_S = 0.04  # a click is no word
REACH_S = 0.4
LEAD_S = 0.2  # an f or h is heard before it is loud, and a reader begins no later than the speaker


def sounding(waveform: Waveform) -> NDArray[np.floating]:
    """Beginnings and ends of the stretches with sound, shape (n_stretches, 2)."""
    n = len(waveform) // HOP
    if not n:
        return np.zeros((0, 2))
    energy = np.square(waveform[: n * HOP]).reshape(n, HOP).mean(axis=1)
    level = 10 * np.log10(np.convolve(energy, np.ones(3) / 3, mode="same") + 1e-10)
    quiet, loud = np.percentile(level, (QUIET_PERCENTILE, LOUD_PERCENTILE))
    active = level > max(quiet + ABOVE_QUIET * (loud - quiet), loud - MOST_DB)
    edges = np.flatnonzero(np.diff(active.astype(np.int8), prepend=0, append=0)).reshape(-1, 2) * HOP_S
    if not len(edges):  # equally loud throughout, as only silence is
        return edges
    pauses = edges[1:, 0] - edges[:-1, 1] >= SHORTEST_PAUSE_S
    merged = np.stack([edges[np.r_[True, pauses], 0], edges[np.r_[pauses, True], 1]], axis=1)
    long_enough: NDArray[np.floating] = merged[merged[:, 1] - merged[:, 0] >= SHORTEST_SOUND_S]
    return long_enough


def fitted(words: Sequence[Word], stretches: NDArray[np.floating]) -> list[Word]:
    """The words without the pauses that the model gave to them, in order and without overlap."""
    made: list[Word] = []
    free_s = 0.0
    for word in words:
        start_s, end_s = max(word.start_s, free_s), max(word.end_s, word.start_s, free_s)
        inside = stretches[(stretches[:, 1] > start_s) & (stretches[:, 0] < end_s)]
        if len(inside):
            # The sound around its middle is the word; what else it touches belongs to its neighbours.
            first, last = inside[0], inside[-1]
            if first[1] - start_s < SHORTEST_PAUSE_S and len(inside) > 1:
                first = inside[1]
            start_s = max(free_s, first[0] - LEAD_S if start_s - first[0] < REACH_S else start_s)
            end_s = max(start_s, min(end_s, last[1]))
        free_s = end_s
        made.append(Word(round(float(start_s), 3), round(float(end_s), 3), word.text))
    return made
