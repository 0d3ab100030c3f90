"""A stream of sound cut at quiet points."""

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.audio import RATE, Waveform
from shared.pauses import HOP, quietest
from worker.windows import cut

TEN_MINUTES = 600 * RATE


def sound(n_samples: int, seed: int = 0) -> Waveform:
    """Noise of constant loudness, each sample its own."""
    return np.random.default_rng(seed).uniform(-0.5, 0.5, n_samples).astype(np.float32)


def chunked(whole: Waveform, sizes: list[int]) -> Iterator[Waveform]:
    at = 0
    for size in sizes:
        yield whole[at : at + size]
        at += size


@given(st.lists(st.integers(0, 3 * RATE), max_size=8), st.integers(5, 20), st.integers(0, 9))
def test_joined_blocks_are_the_sound_that_came_in(sizes: list[int], longest_ds: int, seed: int) -> None:
    whole = sound(sum(sizes), seed)
    longest_s = longest_ds / 10
    made = list(cut(chunked(whole, sizes), shortest_s=longest_s / 2, longest_s=longest_s))
    assert np.array_equal(np.concatenate([block for _, block in made] or [whole[:0]]), whole)
    starts = np.cumsum([0, *(len(block) for _, block in made)])[:-1]
    assert [start_s for start_s, _ in made] == [start / RATE for start in starts]
    assert all(0 < len(block) <= longest_s * RATE + 1e-6 for _, block in made)
    assert all(len(block) >= longest_s / 2 * RATE - HOP for _, block in made[:-1])


def test_sound_that_fits_is_one_block() -> None:
    whole = sound(RATE)
    [(start_s, block)] = cut([whole], shortest_s=0.5, longest_s=1.0)
    assert start_s == 0
    assert np.array_equal(block, whole)


def test_no_sound_is_no_block() -> None:
    assert list(cut([])) == []
    assert list(cut([sound(0), sound(0)])) == []


def test_by_default_no_block_is_longer_than_five_minutes_or_much_shorter() -> None:
    lengths_s = [len(block) / RATE for _, block in cut(iter([sound(TEN_MINUTES), sound(RATE)]))]
    assert all(270 <= length_s <= 300 for length_s in lengths_s[:-1])
    assert sum(lengths_s) == 601


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


def test_blocks_come_while_the_sound_is_still_being_read() -> None:
    """A recording of ten hours is never in memory whole."""
    n_read = 0

    def endless() -> Iterator[Waveform]:
        nonlocal n_read
        while True:
            n_read += 1
            yield sound(RATE)

    blocks = cut(endless(), shortest_s=2, longest_s=3)
    next(blocks)
    assert n_read == 4
