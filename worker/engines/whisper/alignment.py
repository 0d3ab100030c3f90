"""Compute the times of words from the decoder's attention. Pure."""

from collections.abc import Callable, Iterable, Sequence
from itertools import accumulate
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nightscribe.shared.model.transcript import Word
from nightscribe.worker.engines.whisper.runtime import POSITION_S, Decoded, Encoded, by_language

MEDIAN = 7  # positions over which attention is smoothed. Source: whisper/timing.py
# Exchanges that bring the median of seven to the middle. Source: Smith, "Implementing median filters in XC4000E FPGAs".
_MEDIAN_NETWORK = (
    (0, 5), (0, 3), (1, 6), (2, 4), (0, 1), (3, 5), (2, 6), (2, 3), (3, 6), (4, 5), (1, 4), (1, 3), (3, 4),
)  # fmt: skip


def path_through(match: NDArray[np.float32]) -> list[tuple[int, int]]:
    """Return the best path of (token, position) pairs from first to last, by dynamic time warping.

    `match`: shape (n_tokens, n_positions), higher is better. The best sum of a cell is its own match plus the best of
    the cells before it. Along a row that is a running maximum, once the sum of the row's matches so far is subtracted.
    """
    n, m = match.shape
    sums = np.cumsum(match, axis=1, dtype=np.float64)
    best = np.empty((n, m))
    best[0] = sums[0]
    came_from = np.zeros((n, m), np.int32)  # position at which the path enters each row, for a path through this cell
    places = np.arange(m, dtype=np.int32)
    for i in range(1, n):
        above = best[i - 1].copy()
        diagonal = np.r_[False, above[:-1] >= above[1:]]
        above[1:] = np.maximum(above[1:], above[:-1])
        gain = above - np.r_[0.0, sums[i, :-1]]
        running = np.maximum.accumulate(gain)
        came_from[i] = np.maximum.accumulate(np.where(gain == running, places, 0))
        best[i] = running + sums[i]
        came_from[i] = came_from[i] * 2 + diagonal[came_from[i]]
    path = []
    j = m - 1
    for i in range(n - 1, -1, -1):
        entered, is_diagonal = divmod(int(came_from[i, j]), 2)
        path += [(i, place) for place in range(j, entered - 1, -1)]
        j = entered - is_diagonal
    return path[::-1]


def match_of(attention: NDArray[np.float32], n_start: int) -> NDArray[np.float32]:
    """Return how well each token matches each position, shape (n_tokens - n_start, n_positions).

    `attention`: shape (n_heads, n_tokens, n_positions), sums to 1 over the positions. `n_start`: number of tokens
    before those that are aligned. Source: whisper/timing.py, `find_alignment`.
    """
    mean, std = attention.mean(axis=1, keepdims=True), attention.std(axis=1, keepdims=True)
    scaled = ((attention - mean) / np.maximum(std, 1e-6))[:, n_start:]
    smooth: NDArray[np.float32] = median(scaled).mean(axis=0)
    return smooth


def median(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the median of each element and the three on both sides of it along the last axis, mirrored at the ends.

    A network of exchanges needs a tenth of the time of sorting.
    """
    if rows.shape[-1] <= MEDIAN // 2:
        return rows
    padded = np.pad(rows, [(0, 0)] * (rows.ndim - 1) + [(MEDIAN // 2, MEDIAN // 2)], mode="reflect")
    size = rows.shape[-1]
    wires = [padded[..., n : n + size] for n in range(MEDIAN)]
    for low, high in _MEDIAN_NETWORK:
        wires[low], wires[high] = np.minimum(wires[low], wires[high]), np.maximum(wires[low], wires[high])
    return wires[MEDIAN // 2]


def timed(texts: Sequence[str], pieces: Sequence[Sequence[int]], path: Iterable[tuple[int, int]]) -> list[Word]:
    """Return the words with the times at which the path enters and leaves them.

    `texts`, `pieces`: the words and the tokens of each, as Whisper's tokenizers split them. The last word is the end
    of the text and is omitted.
    """
    begins: dict[int, float] = {}
    last_s = 0.0
    for token, position in path:
        last_s = position * POSITION_S
        begins.setdefault(token, last_s)
    ends = list(accumulate(len(piece) for piece in pieces[:-1]))
    return [
        Word(begins.get(first, last_s), begins.get(end, last_s), text)
        for text, first, end in zip(texts, [0, *ends], ends, strict=False)
    ]


def aligned(
    windows: Sequence[Encoded],
    decoded: Sequence[Decoded],
    languages: Sequence[str],
    *,
    tokenizer: Callable[[str], Any],
    paths: Callable[[Sequence[Encoded], Sequence[Decoded], Any], Iterable[Iterable[tuple[int, int]]]],
) -> list[list[Word]]:
    """Return the words of each window with their times, processing one language at a time.

    `tokenizer`: returns Whisper's tokenizer for a language. `paths`: returns the path through each of several windows
    that share a tokenizer.
    """
    found: list[list[Word]] = [[] for _ in windows]
    for language, indexes in by_language(languages):
        chosen = [n for n in indexes if decoded[n].tokens]
        if not chosen:
            continue
        tokens_of = tokenizer(language)
        for n, path in zip(
            chosen, paths([windows[n] for n in chosen], [decoded[n] for n in chosen], tokens_of), strict=True
        ):
            texts, pieces = tokens_of.split_to_word_tokens([*decoded[n].tokens, tokens_of.eot])
            found[n] = timed(texts, pieces, path)
    return found
