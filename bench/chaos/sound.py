"""Make recordings with known words, and an engine that reads these words from the sound.

A word is twelve digits, each a fiftieth of a second of one loudness of sixteen (up, then as far down, since a constant
offset would be removed), and it is a hash of the recording's name and the word's position. So a transcript can only be
right if every window of every slice was decoded, cut, transcribed and assembled in order. Between the words the file is
empty, which takes no room on the disk.
"""

import random
import struct
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from pathlib import Path

import numpy as np

from nightscribe.director.backlog import Backlog, Missing
from nightscribe.director.plan.bundles import n_jobs, nominal_cut_points
from nightscribe.director.plan.estimate import Rates
from nightscribe.shared.audio.waveform import RATE, Waveform
from nightscribe.shared.model.recording import Recording
from nightscribe.shared.model.transcript import Word
from nightscribe.worker.engines.base import Recognition, RecognitionRequest, SpeechWindow, WindowLimits
from nightscribe.worker.pipeline.silero import CHUNK
from nightscribe.worker.pipeline.vad import Speech

DIGITS = 12
STEP = RATE // 50
LOUDEST = 0.9
WORD_S = DIGITS * STEP / RATE
FIRST_S, EVERY_S = 0.3, 1.0
SAMPLE_BYTES, HEADER_BYTES = 2, 44
RATES = Rates({".wav": 1 / (SAMPLE_BYTES * RATE)})

JOB_S = 40.0
LONG_S, SINGLE_S, CLIP_S = (160, 400), (25, 55), (6, 16)
LONG_SHARE, SINGLE_SHARE = 0.4, 0.35  # of the jobs; the others are of several clips


@dataclass(frozen=True)
class Script:
    """The words and length of one recording."""

    name: str
    seconds: int

    @cached_property
    def words(self) -> list[str]:
        """The words in order."""
        return [
            blake2b(f"{self.name} {at}".encode(), digest_size=DIGITS // 2).hexdigest()
            for at in range(int(self.seconds / EVERY_S))
        ]

    @property
    def stem(self) -> str:
        """The name of its text files without the suffix."""
        return self.name.removesuffix(".wav")


def word_s(at: int) -> float:
    """Return the start of the word at this position."""
    return FIRST_S + at * EVERY_S


def written(n: int, chooser: random.Random) -> list[Script]:
    """Return scripts that make about `n` jobs: slices of long recordings, single ones, and bundles of clips."""
    scripts: list[Script] = []
    n_slices = 0
    while n_slices < LONG_SHARE * n:
        scripts.append(Script(f"long/{len(scripts):05}.wav", chooser.randint(*LONG_S)))
        n_slices += len(nominal_cut_points(scripts[-1].seconds, JOB_S)) + 1
    scripts += [Script(f"single/{at:05}.wav", chooser.randint(*SINGLE_S)) for at in range(round(SINGLE_SHARE * n))]
    clips: list[Script] = []
    while jobs(scripts + clips) < n:
        clips += [Script(f"clips/{len(clips) + at:05}.wav", chooser.randint(*CLIP_S)) for at in range(1 + n // 100)]
    return sorted(scripts + clips, key=lambda script: script.name)


def jobs(scripts: Sequence[Script]) -> int:
    """Return how many messages a director makes of them."""
    sizes = ((script.name, HEADER_BYTES + script.seconds * RATE * SAMPLE_BYTES) for script in scripts)
    backlog = Backlog(Missing(Recording(name, size, None), name) for name, size in sorted(sizes))
    return n_jobs(backlog, RATES, JOB_S, len(scripts) * 100)


def record(script: Script, folder: Path) -> None:
    """Write the recording as a sparse WAV file."""
    path = folder / script.name
    path.parent.mkdir(parents=True, exist_ok=True)
    n_bytes = script.seconds * RATE * SAMPLE_BYTES
    with path.open("wb") as file:
        file.write(_wav_header(n_bytes))
        for at, word in enumerate(script.words):
            file.seek(HEADER_BYTES + round(word_s(at) * RATE) * SAMPLE_BYTES)
            loudness = [(int(digit, 16) + 1) / 16 * LOUDEST for digit in word]
            up_and_down = np.repeat(np.outer(loudness, (1, -1)).ravel(), STEP // 2)
            file.write(np.round(up_and_down * 2**15).astype("<i2").tobytes())
        file.truncate(HEADER_BYTES + n_bytes)


def _wav_header(n_bytes: int) -> bytes:
    format_chunk = struct.pack(
        "<4sIHHIIHH", b"fmt ", 16, 1, 1, RATE, RATE * SAMPLE_BYTES, SAMPLE_BYTES, 8 * SAMPLE_BYTES
    )
    riff = struct.pack("<4sI4s", b"RIFF", HEADER_BYTES - 8 + n_bytes, b"WAVE")
    return riff + format_chunk + struct.pack("<4sI", b"data", n_bytes)


def heard(waveform: Waveform) -> list[Word]:
    """Return the words in the sound."""
    sound = waveform != 0
    starts = np.flatnonzero(sound & ~np.concatenate([[False], sound[:-1]]))
    found = []
    for start in starts.tolist():
        steps = waveform[start : start + DIGITS * STEP : STEP]
        digits = "".join(f"{round(float(step) / LOUDEST * 16) - 1:x}" for step in steps)
        found.append(Word(start / RATE, start / RATE + WORD_S, " " + digits))
    return found


def listen(_detector: object, waveform: Waveform) -> Speech:
    """Stand in for the speech detector, which takes none of this for speech."""
    return Speech(np.full(len(waveform) // CHUNK, 1.0 if heard(waveform) else 0.0, np.float32))


class Reader:
    """An engine that takes a known time for every second of sound, and calls back before and after each batch."""

    name = "reader 1"
    batch_size = 2
    window_limits = WindowLimits(shortest_s=10.0, longest_s=18.0)

    def __init__(
        self, pace: float, before: Callable[[Sequence[tuple[str, float]]], object], after: Callable[[], object]
    ) -> None:
        """Set the pace in seconds for a second of sound; `before` gets each window's first word and engine seconds."""
        self._pace = pace
        self._before = before
        self._after = after

    def recognize(self, windows: Sequence[SpeechWindow], request: RecognitionRequest) -> list[Recognition]:
        """Take the time, and return the words where they were found."""
        words = [heard(window.waveform) for window in windows]
        self._before([(w[0].text.strip(), v.seconds * self._pace) for w, v in zip(words, windows, strict=True)])
        time.sleep(sum(window.seconds for window in windows) * self._pace)
        self._after()
        request.check()
        return [
            Recognition(
                "".join(word.text for word in each),
                words=each,
                language="en",
                average_log_probability=-0.1,
                no_speech_probability=0.0,
            )
            for each in words
        ]
