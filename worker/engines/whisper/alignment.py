"""From attention to the times of words. Pure."""

from collections.abc import Iterable, Sequence
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from nightscribe.shared.model.transcript import Word
from nightscribe.worker.engines.whisper.base import POSITION_S


def path_through(match: NDArray[np.float32]) -> list[tuple[int, int]]:
    """The way (token, position) from first to last that fits best: dynamic time warping.

    `match`: shape (n_tokens, n_positions), higher is better. Goes along diagonals, whose cells depend on the two before
    only, so that each is one step of numpy.
    """
    n, m = match.shape
    cost = np.full((n + 1, m + 1), np.inf)
    cost[0, 0] = 0
    step = np.zeros((n + 1, m + 1), np.int8)
    for diagonal in range(2, n + m + 1):
        i = np.arange(max(1, diagonal - m), min(n, diagonal - 1) + 1)
        j = diagonal - i
        before = np.stack([cost[i - 1, j - 1], cost[i - 1, j], cost[i, j - 1]])
        step[i, j] = before.argmin(axis=0)
        cost[i, j] = before.min(axis=0) - match[i - 1, j - 1]
    path = []
    i, j = n, m
    while i > 0 and j > 0:
        path.append((int(i) - 1, int(j) - 1))
        taken = step[i, j]
        i, j = i - (taken != 2), j - (taken != 1)
    return path[::-1]


def timed(texts: Sequence[str], pieces: Sequence[Sequence[int]], path: Iterable[tuple[int, int]]) -> list[Word]:
    """Words, the end of the text left out, with the times at which the path comes to them and leaves them.

    `texts`, `pieces`: the words and the tokens of each, as Whisper's tokenizers split them, the end of the text last.
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
