"""Decoding the output of CTC models, against every alignment there is."""

from itertools import groupby, product

import numpy as np
import pytest

from nightscribe.worker.engines.onnx_asr.ctc import Floats, align, beam, greedy, log_softmax
from nightscribe.worker.engines.onnx_asr.words import TimedToken, average, timed_words

BLANK = 2


def random_frames(seed: int, n_frames: int = 5, n_tokens: int = 3) -> Floats:
    return log_softmax(2 * np.random.default_rng(seed).standard_normal((n_frames, n_tokens)).astype(np.float32))


def collapsed(path: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(token for token, _ in groupby(path) if token != BLANK)


def best_text(frames: Floats) -> tuple[int, ...]:
    """The text whose alignments are likeliest together, found by trying all of them."""
    totals: dict[tuple[int, ...], float] = {}
    for path in product(range(frames.shape[1]), repeat=len(frames)):
        text = collapsed(path)
        totals[text] = totals.get(text, 0.0) + float(np.exp(sum(frames[n, token] for n, token in enumerate(path))))
    return max(totals, key=lambda text: totals[text])


def test_greedy_drops_repeats_and_blanks_and_says_where_each_token_is() -> None:
    path = [0, 0, BLANK, 0, 1, 1, 1, BLANK]
    frames = np.full((len(path), 3), np.log(0.1), np.float32)
    frames[np.arange(len(path)), path] = np.log(0.8)
    frames[5, 1] = np.log(0.85)
    found = greedy(frames, BLANK)
    assert [(token.id, token.first, token.end) for token in found] == [(0, 0, 2), (0, 3, 4), (1, 4, 7)]
    assert [round(float(np.exp(token.log_probability)), 2) for token in found] == [0.8, 0.8, 0.85]
    assert greedy(frames[:0], BLANK) == []


@pytest.mark.parametrize("seed", range(20))
def test_a_wide_beam_finds_the_likeliest_text(seed: int) -> None:
    frames = random_frames(seed)
    assert tuple(token.id for token in beam(frames, BLANK, width=50)) == best_text(frames)


def test_a_beam_hears_what_no_single_alignment_shows() -> None:
    """Blank is likelier in each frame, but "a" has three alignments."""
    frames = np.log(np.array([[0.4, 0.0001, 0.5999], [0.4, 0.0001, 0.5999]], np.float32))
    assert greedy(frames, BLANK) == []
    assert [token.id for token in beam(frames, BLANK, width=4)] == [0]


def test_frames_that_are_surely_blank_change_nothing() -> None:
    frames = random_frames(3)
    silence = np.tile(np.log(np.array([[1e-9, 1e-9, 1.0]], np.float32)), (7, 1))
    padded = np.concatenate([silence, frames, silence])
    before, after = beam(frames, BLANK, width=8), beam(padded, BLANK, width=8)
    assert [token.id for token in before] == [token.id for token in after]
    assert [token.first + 7 for token in before] == [token.first for token in after]


@pytest.mark.parametrize("seed", range(8))
def test_a_given_text_gets_its_likeliest_alignment(seed: int) -> None:
    frames, text = random_frames(seed), (0, 0, 1)
    paths = [path for path in product(range(3), repeat=len(frames)) if collapsed(path) == text]
    best = max(paths, key=lambda path: sum(frames[n, token] for n, token in enumerate(path)))
    found = align(frames, text, BLANK)
    rebuilt = [BLANK] * len(frames)
    for token in found:
        rebuilt[token.first : token.end] = [token.id] * (token.end - token.first)
    assert tuple(rebuilt) == best


def test_a_text_that_does_not_fit_is_an_error() -> None:
    with pytest.raises(ValueError, match="2 frames are too few for 2 tokens"):
        align(random_frames(0, n_frames=2), (0, 0), BLANK)


# From tokens to words


def token(text: str, start_s: float, probability: float | None = 1.0, end_s: float | None = None) -> TimedToken:
    return TimedToken(text, start_s, end_s, None if probability is None else float(np.log(probability)))


def test_pieces_become_words_with_their_least_probability() -> None:
    tokens = [token(" un", 0.1, 0.9), token("likely", 0.2, 0.5), token(" it", 0.5, 0.8), token(" .", 2.0, 0.7)]
    words, probabilities = timed_words(tokens, 3.0)
    assert [word.text for word in words] == [" unlikely", " it."]
    assert [(word.start_s, round(word.end_s, 3)) for word in words] == [(0.1, 0.5), (0.5, 2.4)]
    assert probabilities == pytest.approx([0.5, 0.7])


def test_a_word_ends_soon_after_its_last_piece_and_within_the_window() -> None:
    words, _ = timed_words([token(" a", 0.0), token(" b", 2.0), token(" c", 2.9)], 3.0)
    assert [round(word.end_s, 3) for word in words] == [0.4, 2.4, 3.0]


def test_letters_with_spaces_of_their_own_become_words() -> None:
    """As wav2vec2 writes them; a word begins with its first letter, not with the space."""
    tokens = [token(char, n / 10, None, n / 10 + 0.05) for n, char in enumerate("a  bc ")]
    words, probabilities = timed_words(tokens, 1.0)
    assert [(word.text, word.start_s, round(word.end_s, 3)) for word in words] == [("a", 0.0, 0.05), (" bc", 0.3, 0.45)]
    assert probabilities is None
    assert average([None]) is None
    assert average([-0.1, None, -0.3]) == pytest.approx(-0.2)
