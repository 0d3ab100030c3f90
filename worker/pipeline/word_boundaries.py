"""Move the beginnings and ends of words to where there is sound. Pure; times are in seconds.

A model knows the order of the words and roughly when each is said, but adds pauses to the words around them.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from nightscribe.shared.audio.waveform import RATE, Waveform
from nightscribe.shared.model.transcript import Word

HOP_S = 0.01
HOP = round(HOP_S * RATE)
LOUD_PERCENTILE, QUIET_PERCENTILE = 90, 10
ABOVE_QUIET = 0.3  # share of the range, in decibels, from the quiet to the loud level
MOST_DB = 35  # a word is at most this much softer than the loud level
SHORTEST_PAUSE_S = 0.15  # the closure of a "t" is not a pause
SHORTEST_SOUND_S = 0.04  # a click is not a word
REACH_S = 0.4
LEAD_S = 0.2  # an "f" or "h" is audible before it is loud, and a cue should not appear after the speaker has begun


def sounding(waveform: Waveform) -> NDArray[np.floating]:
    """Return the beginnings and ends of the stretches with sound, shape (n_stretches, 2)."""
    n = len(waveform) // HOP
    if not n:
        return np.zeros((0, 2))
    energy = np.square(waveform[: n * HOP]).reshape(n, HOP).mean(axis=1)
    level = 10 * np.log10(np.convolve(energy, np.ones(3) / 3, mode="same") + 1e-10)
    quiet, loud = np.percentile(level, (QUIET_PERCENTILE, LOUD_PERCENTILE))
    active = level > max(quiet + ABOVE_QUIET * (loud - quiet), loud - MOST_DB)
    edges = np.flatnonzero(np.diff(active.astype(np.int8), prepend=0, append=0)).reshape(-1, 2) * HOP_S
    if not len(edges):  # the level is constant, as only in silence
        return edges
    pauses = edges[1:, 0] - edges[:-1, 1] >= SHORTEST_PAUSE_S
    merged = np.stack([edges[np.r_[True, pauses], 0], edges[np.r_[pauses, True], 1]], axis=1)
    long_enough: NDArray[np.floating] = merged[merged[:, 1] - merged[:, 0] >= SHORTEST_SOUND_S]
    return long_enough


def fitted(words: Sequence[Word], stretches: NDArray[np.floating]) -> list[Word]:
    """Return the words without the pauses that the model added to them, in order and without overlap."""
    made: list[Word] = []
    free_s = 0.0
    for word in words:
        start_s, end_s = max(word.start_s, free_s), max(word.end_s, word.start_s, free_s)
        inside = stretches[(stretches[:, 1] > start_s) & (stretches[:, 0] < end_s)]
        if len(inside):
            # A short stretch at the beginning of the word belongs to the word before it.
            first, last = inside[0], inside[-1]
            if first[1] - start_s < SHORTEST_PAUSE_S and len(inside) > 1:
                first = inside[1]
            start_s = max(free_s, first[0] - LEAD_S if start_s - first[0] < REACH_S else start_s)
            end_s = max(start_s, min(end_s, last[1]))
        free_s = end_s
        made.append(word._replace(start_s=round(float(start_s), 3), end_s=round(float(end_s), 3)))
    return made
