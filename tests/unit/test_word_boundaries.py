"""Words are put where there is sound."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from nightscribe.shared.audio.waveform import RATE, Waveform
from nightscribe.shared.model.transcript import Word
from nightscribe.worker.pipeline.word_boundaries import LEAD_S, REACH_S, SHORTEST_SOUND_S, fitted, sounding


def bursts(length_s: float, *stretches: tuple[float, float], loudness: float = 0.3) -> Waveform:
    """Soft noise, and loud noise in the stretches."""
    made = np.random.default_rng(0).uniform(-1, 1, round(length_s * RATE)).astype(np.float32)
    gain = np.full(len(made), 0.0005, np.float32)
    for start_s, end_s in stretches:
        gain[round(start_s * RATE) : round(end_s * RATE)] = loudness
    return made * gain


def where(*stretches: tuple[float, float]) -> NDArray[np.float64]:
    return np.array(stretches, float).reshape(-1, 2)


# Where there is sound


@pytest.mark.parametrize("loudness", [0.01, 0.3, 1.0])
def test_stretches_of_sound_are_found_however_loud(loudness: float) -> None:
    found = sounding(bursts(3, (0.5, 1.2), (1.8, 2.7), loudness=loudness))
    assert found == pytest.approx(where((0.5, 1.2), (1.8, 2.7)), abs=0.03)


def test_the_closure_of_a_consonant_is_no_pause_and_a_click_is_no_sound() -> None:
    found = sounding(bursts(4, (0.5, 1.0), (1.08, 1.5), (2.5, 2.505), (3.0, 3.5)))
    assert found == pytest.approx(where((0.5, 1.5), (3.0, 3.5)), abs=0.03)


@pytest.mark.parametrize("n_samples", [0, 1, 159, 160, 161, 800, RATE])
@pytest.mark.parametrize("level", [0.0, 0.1])
def test_sound_without_ups_and_downs_has_no_beginnings_to_go_by(n_samples: int, level: float) -> None:
    """Silence among it; there is at most the seam where the window begins and ends."""
    found = sounding(np.full(n_samples, level, np.float32))
    assert found.shape == (len(found), 2)
    assert len(found) <= 1


@given(
    st.integers(0, 400),
    st.lists(st.tuples(st.integers(0, 400), st.integers(0, 400), st.sampled_from([0.0, 0.001, 0.1, 1.0])), max_size=6),
)
def test_stretches_are_in_order_apart_and_inside(n_hops: int, changes: list[tuple[int, int, float]]) -> None:
    waveform = np.random.default_rng(1).uniform(-0.1, 0.1, n_hops * 160).astype(np.float32)
    for start, end, gain in changes:
        waveform[start * 160 : end * 160] *= gain
    found = sounding(waveform)
    edges = found.ravel().tolist()
    assert edges == sorted(edges)
    assert all(end_s - start_s >= SHORTEST_SOUND_S for start_s, end_s in found)
    assert all(b - a > 0.1 for a, b in zip(edges[1:-1:2], edges[2::2], strict=True)), "apart by a pause"
    if edges:
        assert edges[0] >= 0
        assert edges[-1] <= n_hops / 100 + 1e-9


# Where the words are


def test_a_pause_belongs_to_no_word() -> None:
    words = [Word(0.0, 1.5, " one"), Word(1.5, 3.0, " two")]
    [one, two] = fitted(words, where((0.4, 1.0), (1.8, 2.6)))
    assert (one.start_s, one.end_s) == pytest.approx((0.4 - LEAD_S, 1.0))
    assert (two.start_s, two.end_s) == pytest.approx((1.8 - LEAD_S, 2.6))


def test_a_word_that_was_put_a_little_late_begins_with_its_sound() -> None:
    assert fitted([Word(0.7, 1.0, " one")], where((0.5, 1.2)))[0].start_s == pytest.approx(0.5 - LEAD_S)
    late_s = 0.5 + REACH_S + 0.1
    assert fitted([Word(late_s, 1.2, " one")], where((0.5, 1.2)))[0].start_s == pytest.approx(late_s)


def test_the_end_of_the_word_before_is_not_the_beginning_of_the_next() -> None:
    """Its last tenth of a second reaches into the next word's time, behind which there is a pause."""
    [two] = fitted([Word(1.0, 2.5, " two")], where((0.0, 1.1), (1.8, 2.4)))
    assert (two.start_s, two.end_s) == pytest.approx((1.8 - LEAD_S, 2.4))


def test_words_without_a_sound_stay_where_they_are() -> None:
    words = [Word(0.0, 0.5, " one"), Word(0.5, 0.5, " two")]
    assert fitted(words, where()) == words
    assert fitted(words, where((3.0, 4.0))) == words


times = st.floats(0, 20, allow_nan=False)
words_of_a_model = st.lists(
    st.tuples(times, times, st.sampled_from([" a", " b", "c", "!"])).map(lambda w: Word(*w)), max_size=12
)
stretches_apart = st.lists(st.integers(0, 2000), unique=True, max_size=16).map(
    lambda edges: where(*(np.array(sorted(edges)[: len(edges) // 2 * 2]) / 100).reshape(-1, 2).tolist())
)


@given(words_of_a_model, stretches_apart)
def test_every_word_is_kept_in_order_and_without_overlap(words: list[Word], stretches: NDArray[np.float64]) -> None:
    """Whatever the model says, even that a word ends before it begins."""
    made = fitted(words, stretches)
    assert [word.text for word in made] == [word.text for word in words]
    edges = [edge for word in made for edge in (word.start_s, word.end_s)]
    assert edges == sorted(edges)
    assert all(type(edge) is float for edge in edges), "numpy's numbers are no JSON"
    assert all(0 <= edge <= 20 for edge in edges)


@given(words_of_a_model, stretches_apart)
def test_fitting_twice_changes_no_ends(words: list[Word], stretches: NDArray[np.float64]) -> None:
    """A word's end never leaves the time that the model gave to it and to those before."""
    latest_s = 0.0
    for word, made in zip(words, fitted(words, stretches), strict=True):
        latest_s = max(latest_s, word.start_s, word.end_s)
        assert made.end_s <= latest_s + 0.0005
