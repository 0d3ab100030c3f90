"""Greedy search, samples and beams over a small language whose every text can be tried."""

import math
from itertools import product

import numpy as np
import pytest

from nightscribe.worker.engines.whisper.search import Beams, Candidates, Independent, Search, Text

END, WORDS = 0, (1, 2, 3)
LIMIT = 5


def odds(text: tuple[int, ...]) -> np.ndarray:
    """Log probabilities of the next token, which depend on the whole text."""
    random = np.random.default_rng([7, *text])
    scores = random.normal(0, 1.5, len(WORDS) + 1)
    scores[END] += len(text) - 2
    return scores - math.log(np.exp(scores).sum())


def run(search: Search, n_texts: int) -> Text:
    """Step by step, as a decoder does."""
    texts: list[tuple[int, ...]] = [()] * n_texts
    while True:
        scores = np.stack([odds(text) for text in texts])
        order = np.argsort(-scores, axis=1)
        found = search.advance(Candidates(order, np.take_along_axis(scores, order, 1).astype(np.float32)))
        if found is None:
            return search.best()
        tokens, parents = found
        assert sum(text != parent for text, parent in enumerate(parents)) < n_texts
        texts = [(*texts[parent], int(token)) for token, parent in zip(tokens, parents, strict=True)]


def total(text: tuple[int, ...]) -> float:
    """The log probability of a text with its end."""
    whole = (*text, END)
    return float(sum(odds(whole[:n])[token] for n, token in enumerate(whole)))


def test_greedy_takes_the_likeliest_token_each_time() -> None:
    found = run(Independent(1, END, LIMIT), 1)
    text: tuple[int, ...] = ()
    while len(text) < LIMIT and (token := int(odds(text).argmax())) != END:
        text = (*text, token)
    assert found.tokens == text
    assert found.total == pytest.approx(total(text), abs=1e-5)
    assert found.average == pytest.approx(total(text) / (len(text) + 1), abs=1e-5)


def test_many_beams_find_the_best_of_all_texts() -> None:
    found = run(Beams(40, END, LIMIT + 1), 40)
    every = [text for n in range(LIMIT + 1) for text in product(WORDS, repeat=n)]
    best = max(every, key=lambda text: total(text) / (len(text) + 1))
    assert found.tokens == best
    assert found.total == pytest.approx(total(best), abs=1e-4)


def test_a_text_knows_which_of_the_texts_it_was() -> None:
    """From that, its attention is put together."""
    search = Beams(4, END, LIMIT)
    texts: list[tuple[int, ...]] = [()] * 4
    history = [texts]
    while True:
        scores = np.stack([odds(text) for text in texts])
        order = np.argsort(-scores, axis=1)
        found = search.advance(Candidates(order, np.take_along_axis(scores, order, 1).astype(np.float32)))
        if found is None:
            break
        texts = [(*texts[parent], int(token)) for token, parent in zip(*found, strict=True)]
        history.append(texts)
    best = search.best()
    assert [history[n][text] for n, text in enumerate(best.texts)] == [best.tokens[:n] for n in range(len(best.texts))]


@pytest.mark.parametrize("kind", [Independent, Beams])
def test_a_text_without_end_stops_at_the_limit(kind: type) -> None:
    search = kind(2, END, 3)
    endless = Candidates(np.array([[1, 2, 3]] * 2), np.log([[0.5, 0.3, 0.2]] * 2).astype(np.float32))
    steps = 1
    while search.advance(endless) is not None:
        steps += 1
    assert steps == 3
    assert search.best().tokens[:1] == (1,)
    assert len(search.best().tokens) == 3


def test_banned_tokens_come_last() -> None:
    candidates = Candidates(np.array([[5, 6, 7], [7, 8, 9]]), np.array([[-1, -2, -3], [-1, -2, -3]], np.float32))
    left = candidates.without([5, 9])
    assert left.tokens.tolist() == [[6, 7, 5], [7, 8, 9]]
    assert left.log_probabilities[0, :2].tolist() == [-2, -3]
    assert left.log_probabilities[0, 2] < -1e6 > left.log_probabilities[1, 2]
