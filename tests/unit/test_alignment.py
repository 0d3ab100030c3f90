"""From attention to the times of words."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from nightscribe.shared.model.transcript import Word
from nightscribe.worker.engines.whisper.alignment import path_through, timed
from nightscribe.worker.engines.whisper.runtime import POSITION_S

matrices = arrays(
    np.float32,
    st.tuples(st.integers(1, 6), st.integers(1, 7)),
    elements=st.integers(-40, 40).map(lambda n: n / 8),  # sums of these are exact
)


def best_sum(match: NDArray[np.float32]) -> float:
    """Of all ways from the first corner to the last, by trying each."""
    n, m = match.shape
    best = np.full((n, m), -np.inf)
    for i in range(n):
        for j in range(m):
            before = [best[a, b] for a, b in ((i - 1, j - 1), (i - 1, j), (i, j - 1)) if a >= 0 and b >= 0]
            best[i, j] = match[i, j] + max(before, default=0.0)
    return float(best[-1, -1])


@given(matrices)
def test_the_path_is_the_best_of_all(match: NDArray[np.float32]) -> None:
    path = path_through(match)
    assert sum(float(match[cell]) for cell in path) == best_sum(match)
    assert path[0] == (0, 0)
    assert path[-1] == (match.shape[0] - 1, match.shape[1] - 1)
    assert {(b[0] - a[0], b[1] - a[1]) for a, b in pairwise(path)} <= {(1, 1), (1, 0), (0, 1)}


def test_the_path_follows_what_fits() -> None:
    match = np.full((3, 9), -1.0, np.float32)
    for token, position in enumerate([0, 0, 0, 1, 1, 1, 1, 2, 2]):
        match[position, token] = 1.0
    assert path_through(match) == list(zip([0, 0, 0, 1, 1, 1, 1, 2, 2], range(9), strict=True))


def test_a_window_of_thirty_seconds_takes_a_moment() -> None:
    """220 tokens on 1,500 positions, which cell by cell would take a second."""
    path = path_through(np.random.default_rng(0).normal(size=(220, 1500)).astype(np.float32))
    assert len(path) >= 1500


# From a path to words

PIECES = [[1], [2, 3], [4], [9]]
TEXTS = [" It", " was", ".", "<|endoftext|>"]


def test_a_word_lasts_until_the_path_comes_to_the_next() -> None:
    path = [(0, 0), (0, 1), (1, 5), (2, 6), (3, 10), (4, 12), (4, 13)]
    assert timed(TEXTS, PIECES, path) == [
        Word(0.0, 5 * POSITION_S, " It"),
        Word(5 * POSITION_S, 10 * POSITION_S, " was"),
        Word(10 * POSITION_S, 12 * POSITION_S, "."),
    ]


def test_words_behind_the_end_of_the_path_are_kept() -> None:
    """At its end: a text that is longer than its window was made up, but it is the text."""
    assert timed(TEXTS, PIECES, [(0, 0), (0, 1), (1, 4)]) == [
        Word(0.0, 4 * POSITION_S, " It"),
        Word(4 * POSITION_S, 4 * POSITION_S, " was"),
        Word(4 * POSITION_S, 4 * POSITION_S, "."),
    ]


def test_no_words_and_no_path_are_no_words() -> None:
    assert timed(["<|endoftext|>"], [[9]], [(0, 0), (0, 1)]) == []
    assert timed([], [], []) == []


@given(st.lists(st.integers(1, 3), min_size=1, max_size=5), matrices)
def test_every_word_is_kept_in_order(lengths: list[int], match: NDArray[np.float32]) -> None:
    texts = [f" {n}" for n in range(len(lengths))]
    words = timed([*texts, "end"], [*([0] * n for n in lengths), [9]], path_through(match))
    assert [word.text for word in words] == texts
    edges = [edge for word in words for edge in (word.start_s, word.end_s)]
    assert edges == sorted(edges)
    assert edges[-1] == pytest.approx(min(edges[-1], (match.shape[1] - 1) * POSITION_S))
