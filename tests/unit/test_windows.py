"""A stream of sound cut at quiet points."""

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightscribe.shared.audio.silence import HOP, quietest
from nightscribe.shared.audio.waveform import RATE, Waveform
from nightscribe.worker.engines.whisper.recognizer import WINDOW_LIMITS
from nightscribe.worker.engines.whisper.runtime import WINDOW_S
from nightscribe.worker.pipeline.windows import cut

LIMITS = WINDOW_LIMITS._asdict()


def sound(n_samples: int, seed: int = 0) -> Waveform:
    """Noise of constant loudness, each sample its own."""
    return np.random.default_rng(seed).uniform(-0.5, 0.5, n_samples).astype(np.float32)


def chunked(whole: Waveform, sizes: list[int]) -> Iterator[Waveform]:
    at = 0
    for size in sizes:
        yield whole[at : at + size]
        at += size


@given(st.lists(st.integers(0, 3 * RATE), max_size=8), st.integers(5, 20), st.integers(0, 9))
def test_joined_windows_are_the_sound_that_came_in(sizes: list[int], longest_ds: int, seed: int) -> None:
    whole = sound(sum(sizes), seed)
    longest_s = longest_ds / 10
    made = list(cut(chunked(whole, sizes), shortest_s=longest_s / 2, longest_s=longest_s))
    assert np.array_equal(np.concatenate([window for _, window in made] or [whole[:0]]), whole)
    starts = np.cumsum([0, *(len(window) for _, window in made)])[:-1]
    assert [start_s for start_s, _ in made] == [start / RATE for start in starts]
    assert all(0 < len(window) <= longest_s * RATE + 1e-6 for _, window in made)
    assert all(len(window) >= longest_s / 2 * RATE - HOP for _, window in made[:-1])


def test_sound_that_fits_is_one_window() -> None:
    whole = sound(RATE)
    [(start_s, window)] = cut([whole], shortest_s=0.5, longest_s=1.0)
    assert start_s == 0
    assert np.array_equal(window, whole)


def test_no_sound_is_no_window() -> None:
    assert list(cut([], **LIMITS)) == []
    assert list(cut([sound(0), sound(0)], **LIMITS)) == []


def test_a_window_is_what_whisper_hears_at_once_and_not_much_shorter() -> None:
    shortest_s, longest_s = WINDOW_LIMITS
    assert shortest_s < longest_s <= WINDOW_S
    lengths_s = [len(window) / RATE for _, window in cut(iter([sound(90 * RATE), sound(RATE)]), **LIMITS)]
    assert all(shortest_s - 0.02 <= length_s <= longest_s for length_s in lengths_s[:-1])
    assert sum(lengths_s) == 91


@pytest.mark.parametrize("pause_at_s", [6.0, 7.3, 9.2])
def test_a_cut_falls_into_the_pause(pause_at_s: float) -> None:
    whole = sound(12 * RATE)
    whole[round(pause_at_s * RATE) : round((pause_at_s + 0.5) * RATE)] *= 0.01
    first = next(iter(cut([whole], shortest_s=5, longest_s=10)))[1]
    assert pause_at_s < len(first) / RATE < pause_at_s + 0.5


def test_of_two_pauses_the_quieter_is_taken() -> None:
    whole = sound(10 * RATE)
    for at_s, loudness in ((6, 0.1), (8, 0.001)):
        whole[at_s * RATE : round((at_s + 0.5) * RATE)] *= loudness
    assert 8 < quietest(whole, 5 * RATE) / RATE < 8.5


def test_a_pause_before_the_shortest_length_is_not_taken() -> None:
    whole = sound(10 * RATE)
    whole[: 4 * RATE] = 0
    assert quietest(whole, 5 * RATE) >= 5 * RATE


def test_a_moment_without_sound_inside_a_word_is_no_pause() -> None:
    """The closure of a p or t lasts some hundredths of a second."""
    whole = sound(10 * RATE)
    whole[6 * RATE : round(6.04 * RATE)] = 0
    whole[8 * RATE : round(8.4 * RATE)] *= 0.05
    assert 8 < quietest(whole, 5 * RATE) / RATE < 8.4


def test_windows_come_while_the_sound_is_still_being_read() -> None:
    """A recording of ten hours is never in memory whole."""
    n_read = 0

    def endless() -> Iterator[Waveform]:
        nonlocal n_read
        while True:
            n_read += 1
            yield sound(RATE)

    windows = cut(endless(), shortest_s=2, longest_s=3)
    next(windows)
    assert n_read == 4
