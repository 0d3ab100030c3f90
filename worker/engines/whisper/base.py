"""What the worker asks of a speech engine: one step of Whisper each, on windows of any recordings."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from nightscribe.shared.audio.decode import RATE, Waveform
from nightscribe.shared.model.transcript import Word

WINDOW_S = 30.0
"""What Whisper hears at once; a longer window is cut off."""
HOP = RATE // 100  # samples from one frame of mel to the next
FRAMES = 3000  # of mel in a whole window, 10 ms each; the encoder makes one position of two
POSITION_S = 0.02
SILENCE = -0.9  # what the mel spectrogram of silence is, on Whisper's scale
BEST_OF = 5  # samples at a temperature above 0, as openai-whisper takes them

# How much of the 30 s a short window still needs (docs/performance.md).
PAD_S = 1.0
SHORTEST_S = 3.0
FILLED_S = 17.0  # that the decoder attends to at least, silence included; with much less it repeats itself
FULL_S = 20.0  # of sound and padding where a window is heard a second time

TOKENS_PER_S = 20  # in scripts that need several for a letter
MAX_TOKENS = 220  # of the 448 that fit, half are for the text
BATCH_BYTES = 1024**3  # for what a batch keeps: keys and values of every decoder layer for every position
LARGEST_BATCH = 16
DEPTHS = {384: 4, 512: 6, 768: 12, 1024: 24, 1280: 32}  # decoder layers of Whisper's models by their width


@dataclass(frozen=True)
class Encoded:
    """A window as the model has heard it."""

    states: Any
    """The engine's own array of shape (1, n_positions, n_states): what its decoder attends to."""
    seconds: float
    full: bool = False
    """Whether the encoder has heard all that the decoder attends to."""


@dataclass(frozen=True)
class Decoded:
    """What was said in one window, as one attempt understood it."""

    tokens: tuple[int, ...]
    text: str
    average_log_probability: float
    no_speech_probability: float


class Engine(Protocol):
    """A model in memory."""

    @property
    def name(self) -> str:
        """Of the engine, with the version of its library."""
        ...

    @property
    def batch_size(self) -> int:
        """Windows that can be decoded at once without using too much memory."""
        ...

    def encode(self, waveform: Waveform, *, full: bool = False) -> Encoded:
        """Listen to one window of at most `WINDOW_S`.

        A short window costs less than a long one, unless `full` asks for something nearer to what Whisper was trained
        on: all that the decoder attends to is then heard by the encoder, and nothing is filled up afterwards.
        """
        ...

    def detect_language(self, windows: Sequence[Encoded]) -> list[dict[str, float]]:
        """Probability of each language code, for each window."""
        ...

    def decode(
        self, windows: Sequence[Encoded], languages: Sequence[str], *, task: str, temperature: float = 0.0
    ) -> list[Decoded]:
        """What is said in each window, given its language; a temperature above 0 samples instead of searching."""
        ...

    def align(
        self, windows: Sequence[Encoded], decoded: Sequence[Decoded], languages: Sequence[str], *, task: str
    ) -> list[list[Word]]:
        """When each word is said, in seconds from the beginning of its window.

        Joined, the words are the text, but for the space before it.
        """
        ...


def n_frames(seconds: float, *, full: bool) -> int:
    """Frames of mel to encode for a window, an even number."""
    needed_s = max(seconds + PAD_S, FULL_S if full else SHORTEST_S)
    return min(FRAMES, 2 * round(50 * needed_s))


def n_positions(lengths: Iterable[int]) -> int:
    """To how many positions windows of these many are filled up with silence to be decoded together."""
    return max(round(FILLED_S / POSITION_S), *lengths)


def most_tokens(windows: Sequence[Encoded]) -> int:
    """Where to stop a text that goes round in circles."""
    return min(MAX_TOKENS, 16 + round(TOKENS_PER_S * max(window.seconds for window in windows)))


def batch_size(width: int) -> int:
    """See `Engine.batch_size`; `width` is the number of states of the model."""
    layers = DEPTHS.get(width, max(DEPTHS.values()))
    return max(1, min(LARGEST_BATCH, BATCH_BYTES // (2 * layers * FRAMES // 2 * width * 4)))
