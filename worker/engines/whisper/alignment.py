"""Compute the times of words from the decoder's attention. Pure."""

from collections.abc import Callable, Iterable, Sequence
from itertools import accumulate
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nightscribe.shared.model.transcript import Word
from nightscribe.worker.engines.whisper.runtime import POSITION_S, Decoded, Encoded, by_language


def path_through(match: NDArray[np.float32]) -> list[tuple[int, int]]:
    """Return the best path of (token, position) pairs from first to last, by dynamic time warping.

    `match`: shape (n_tokens, n_positions), higher is better. The cells of a diagonal depend only on the two diagonals
    before it, so one numpy step computes a whole diagonal.
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
