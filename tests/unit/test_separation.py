"""Whether the channels of a recording carry different speech."""

import numpy as np
import pytest

from nightscribe.shared.audio.separation import SeparationMeter
from nightscribe.shared.audio.waveform import RATE

SECONDS = 40


def talk(seed: int) -> np.ndarray:
    """Noise as loud and soft as speech: words of a third of a second, and pauses after some of them."""
    random = np.random.default_rng(seed)
    words = np.repeat(random.choice([0.0, 0.0, 0.3, 1.0], SECONDS * 3), RATE // 3 + 1)[: SECONDS * RATE]
    voice = np.convolve(random.normal(0, 0.1, SECONDS * RATE), np.ones(8) / 8, mode="same")
    return voice * words + random.normal(0, 1e-4, SECONDS * RATE)


def are_apart(left: np.ndarray, right: np.ndarray) -> bool:
    meter = SeparationMeter(RATE)
    sound = np.stack([left, right]).astype(np.float32)
    for at in range(0, sound.shape[1], 10_007):
        meter.listen(sound[:, at : at + 10_007])
    return meter.are_apart


A, B = talk(1), talk(2)


@pytest.mark.parametrize("crosstalk", [0.0, 0.03, 0.06])
def test_two_sides_of_a_call_are_apart(crosstalk: float) -> None:
    assert are_apart(A + crosstalk * B, 0.5 * (B + crosstalk * A))


def test_sides_that_take_turns_are_apart() -> None:
    turns = np.repeat(np.arange(SECONDS // 5) % 2, 5 * RATE)
    assert are_apart(A * turns, B * (1 - turns))


@pytest.mark.parametrize(
    ("left", "right"),
    [
        (A, A),
        (A, -A),
        (A, 0.1 * A),
        (A, np.roll(A, 160)),
        (A + 0.4 * B, B + 0.4 * A),
        (A, np.zeros_like(A)),
        (A, np.random.default_rng(3).normal(0, 0.02, len(A))),
        (A, 0.2 * np.sin(np.arange(len(A)) * 2 * np.pi * 50 / RATE)),
        (A + 0.2 * B, A - 0.2 * B),
        (np.zeros_like(A), np.zeros_like(A)),
    ],
    ids=["same", "inverted", "softer", "later", "one room", "silence", "noise", "hum", "wide stereo", "nothing"],
)
def test_everything_else_is_not(left: np.ndarray, right: np.ndarray) -> None:
    """Mixing loses nothing there, and hearing each channel by itself would write every sentence twice."""
    assert not are_apart(left, right)


def test_before_anything_is_heard_nothing_is_known() -> None:
    assert not SeparationMeter(RATE).are_apart
