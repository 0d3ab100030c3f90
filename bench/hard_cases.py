"""Make hard recordings of a clean one: noise, babble, music, telephone, a far microphone, clipping, another speed.

Everything is made of the recording itself, of others of the corpus, and of random numbers with a known seed.
"""

from collections.abc import Callable, Sequence

import numpy as np

from nightscribe.shared.audio.waveform import RATE, Waveform

Dice = np.random.Generator


def mixed(speech: Waveform, other: Waveform, snr_db: float) -> Waveform:
    """Return speech with other sound added, `snr_db` decibels softer than the speech."""
    other = np.resize(other, len(speech))
    gain = np.sqrt(_power(speech) / max(_power(other), 1e-12) / 10 ** (snr_db / 10))
    return limited(speech + np.float32(gain) * other)


def limited(waveform: Waveform) -> Waveform:
    """Return the waveform within [-0.95, 0.95], without clipping it."""
    return (waveform / max(1.0, float(np.abs(waveform).max(initial=0)) / 0.95)).astype(np.float32)


def noise(dice: Dice, n: int, slope: float) -> Waveform:
    """Return noise whose power falls with the frequency to the power of `slope`: 0 is white, 1 pink, 2 brown."""
    spectrum = np.fft.rfft(dice.normal(0, 1, n))
    spectrum[1:] /= np.fft.rfftfreq(n)[1:] ** (slope / 2)
    spectrum[0] = 0
    made = np.fft.irfft(spectrum, n)
    return (0.1 * made / made.std()).astype(np.float32)


def music(dice: Dice, n: int) -> Waveform:
    """Return chords over a bass, with a melody and a drum, in a random key and tempo."""
    beat = round(RATE * dice.uniform(0.3, 0.6))
    key = dice.uniform(110, 220)
    made = np.zeros(n)
    for bar, at in enumerate(range(0, n, 4 * beat)):
        root = key * 2 ** (dice.choice([0, 5, 7, 9, -3]) / 12)
        third = 3 + int(dice.integers(2))
        _add(made, at, 4 * beat, [root / 2, root, root * 2 ** (third / 12), root * 2 ** (7 / 12)], 0.25, 1.0)
        for step in range(8):
            pitch = 2 * root * 2 ** (dice.choice([0, 2, 4, 7, 9, 12]) / 12)
            _add(made, at + step * beat // 2, beat // 2, [pitch], 0.4, 6.0)
        for step in range(4):
            hit = at + step * beat
            length = min(beat // 4, n - hit)
            if length > 0:
                made[hit : hit + length] += 0.5 * dice.normal(0, 1, length) * np.exp(-np.arange(length) / (0.02 * RATE))
        del bar
    return limited(0.3 * made)


def _add(
    made: "np.typing.NDArray[np.float64]", at: int, length: int, pitches: Sequence[float], loud: float, decay: float
) -> None:
    length = min(length, len(made) - at)
    if length <= 0:
        return
    t = np.arange(length) / RATE
    for pitch in pitches:
        for harmonic in (1, 2, 3, 4):
            made[at : at + length] += loud / harmonic * np.sin(2 * np.pi * pitch * harmonic * t) * np.exp(-decay * t)


def babble(dice: Dice, n: int, voices: Sequence[Waveform]) -> Waveform:
    """Return several voices at once, each begun anywhere."""
    made = np.zeros(n, np.float32)
    for voice in voices:
        made += np.resize(np.roll(voice, int(dice.integers(len(voice)))), n) / np.sqrt(_power(voice))
    return limited(0.1 * made)


def phone(dice: Dice, speech: Waveform, snr_db: float) -> Waveform:
    """Return a telephone call: 300 to 3,400 Hz, eight bits of mu-law, and hiss."""
    sound = mixed(speech, noise(dice, len(speech), 0.5), snr_db)
    spectrum = np.fft.rfft(sound)
    frequency = np.fft.rfftfreq(len(sound), 1 / RATE)
    spectrum[(frequency < 300) | (frequency > 3400)] = 0
    narrow = np.clip(np.fft.irfft(spectrum, len(sound)), -1, 1)
    squeezed = np.round(127 * np.sign(narrow) * np.log1p(255 * np.abs(narrow)) / np.log(256)) / 127
    return (np.sign(squeezed) * (256 ** np.abs(squeezed) - 1) / 255).astype(np.float32)


def far(dice: Dice, speech: Waveform, reverberation_s: float, direct: float) -> Waveform:
    """Return what a microphone hears across a room; `direct` is the share of the direct sound."""
    t = np.arange(round(reverberation_s * RATE)) / RATE
    room = dice.normal(0, 1, len(t)) * 10 ** (-3 * t / reverberation_s)
    room /= np.sqrt(np.square(room).sum())
    n = len(speech) + len(room)
    echo = np.fft.irfft(np.fft.rfft(speech, n) * np.fft.rfft(room, n), n)[: len(speech)]
    return limited((direct * speech + (1 - direct) * echo).astype(np.float32))


def clipped(speech: Waveform, gain_db: float) -> Waveform:
    """Return speech that was recorded far too loud."""
    level = float(np.sqrt(_power(speech)))
    return (0.5 * np.clip(speech / level * 10 ** (gain_db / 20) * 0.1, -1, 1)).astype(np.float32)


def at_speed(speech: Waveform, speed: float) -> Waveform:
    """Return the recording played faster or slower, with its pitch."""
    return np.interp(np.arange(0, len(speech) - 1, speed), np.arange(len(speech)), speech).astype(np.float32)


def _power(waveform: Waveform) -> float:
    return float(np.square(waveform, dtype=np.float64).mean()) if len(waveform) else 1e-12


def hard_cases(voices: Sequence[Waveform]) -> dict[str, Callable[[Dice, Waveform], Waveform]]:
    """Return the ways to make a recording hard, by name.

    `voices`: other recordings, of which babble is made.
    """

    def some(dice: Dice) -> list[Waveform]:
        return [voices[n] for n in dice.choice(len(voices), 5, replace=False)]

    return {
        "noise": lambda dice, x: mixed(
            x, noise(dice, len(x), dice.choice([0.0, 1.0, 2.0])), dice.choice([15, 5, 0, -5, -10])
        ),
        "music": lambda dice, x: mixed(x, music(dice, len(x)), dice.choice([10, 0, -5, -10])),
        "babble": lambda dice, x: mixed(x, babble(dice, len(x), some(dice)), dice.choice([10, 5, 0, -5])),
        "phone": lambda dice, x: phone(dice, x, dice.choice([20, 10, 3])),
        "far": lambda dice, x: mixed(
            far(dice, x, dice.uniform(0.4, 2.0), dice.choice([0.3, 0.1, 0.0])),
            noise(dice, len(x), 1.0),
            dice.choice([25, 12]),
        ),
        "clipped": lambda dice, x: clipped(x, dice.choice([20, 35, 45])),
        "speed": lambda dice, x: at_speed(x, dice.choice([0.55, 0.7, 1.4, 1.7, 2.0])),
        "interrupted": lambda dice, x: x * (np.sin(2 * np.pi * dice.uniform(1, 4) * np.arange(len(x)) / RATE) > 0),
    }


def empty_cases(dice: Dice, seconds: float) -> dict[str, Waveform]:
    """Return recordings in which nobody speaks, by name."""
    n = round(seconds * RATE)
    return {"only noise": noise(dice, n, dice.uniform(0, 2)), "only music": music(dice, n)}
