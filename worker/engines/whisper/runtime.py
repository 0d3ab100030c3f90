"""Define the steps of Whisper that a runtime performs, and the sizes that all runtimes share."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from nightscribe.shared.audio.waveform import RATE, Waveform
from nightscribe.shared.model.transcript import Word

WINDOW_S = 30.0  # the longest window that Whisper processes; the rest of a longer one is cut off
HOP = RATE // 100  # samples from one frame of the mel spectrogram to the next
FRAMES = 3000  # frames of 10 ms in a whole window; the encoder turns two of them into one position
POSITION_S = 0.02
SILENCE = -0.9  # value of the mel spectrogram of silence, on Whisper's scale
BEST_OF = 5  # samples at a temperature above 0, as in openai-whisper

# The part of the 30 s that a short window still needs (docs/performance.md).
PAD_S = 1.0
SHORTEST_S = 3.0
FILLED_S = 17.0  # the decoder attends to at least this much, including silence; with much less it repeats itself
FULL_S = 20.0  # sound and padding together if a window is decoded a second time

TOKENS_PER_S = 20  # enough for scripts that need several tokens per letter
MAX_TOKENS = 220  # half of the model's 448 tokens are for the text
MAX_BEFORE = 223  # the other half, without the token that begins it
FULL_BEAMS = 5  # a window that is decoded a second time is worth a wider search
BATCH_BYTES = 1024**3  # memory for the keys and values of a batch: every decoder layer, every position
LARGEST_BATCH = 16
DEPTHS = {384: 4, 512: 6, 768: 12, 1024: 24, 1280: 32}  # decoder layers of Whisper's models by their width


@dataclass(frozen=True)
class Encoded:
    """The encoder's output for a window."""

    states: Any
    """The runtime's own array for its decoder to attend to, shape (1, n_positions, n_states)."""
    seconds: float
    full: bool = False
    """True if the encoder processed everything that the decoder attends to."""


@dataclass(frozen=True)
class Decoded:
    """The result of one attempt to decode a window."""

    tokens: tuple[int, ...]
    text: str
    average_log_probability: float
    no_speech_probability: float
    agreement: float | None = None
    """How much the quick and the full attempt have in common, from 0 to 1. None: there was only one."""
    notes: Any = field(default=None, compare=False, repr=False)
    """Private to the runtime, for `align`."""


class Runtime(Protocol):
    """A Whisper model in memory, on one inference library."""

    @property
    def name(self) -> str:
        """Return the name of the engine and the version of its library."""
        ...

    @property
    def batch_size(self) -> int:
        """Return the number of windows that can be decoded at once without using too much memory."""
        ...

    def encode(self, waveform: Waveform, *, full: bool = False) -> Encoded:
        """Run the encoder on one window of at most `WINDOW_S`.

        A short window costs less than a long one. With `full`, the encoder also processes the padding that the decoder
        attends to, which is closer to Whisper's training and costs more.
        """
        ...

    def detect_language(self, windows: Sequence[Encoded]) -> list[dict[str, float]]:
        """Return, for each window, the probability of each language code."""
        ...

    def decode(
        self,
        windows: Sequence[Encoded],
        languages: Sequence[str],
        *,
        task: str,
        temperature: float = 0.0,
        beams: int = 1,
        before: Sequence[str] = (),
    ) -> list[Decoded]:
        """Return the words spoken in each window, given its language.

        A temperature above 0 samples several texts and returns the likeliest of them.
        `beams`: width of the search at temperature 0. `before`: for each window, the text that precedes it, of which
        the last `MAX_BEFORE` tokens are used; empty for none.
        """
        ...

    def align(
        self, windows: Sequence[Encoded], decoded: Sequence[Decoded], languages: Sequence[str], *, task: str
    ) -> list[list[Word]]:
        """Return the words of each window with their times, in seconds from the start of the window.

        Joined, the words are the text except for the space before it.
        """
        ...


def by_language(languages: Sequence[str]) -> Iterator[tuple[str, list[int]]]:
    """Yield each language with the indexes of its windows, because a step of the decoder takes one language."""
    for language in sorted(set(languages)):
        yield language, [n for n, each in enumerate(languages) if each == language]


def stacked(windows: Sequence[Encoded], filler: Any, n_positions: int, join: Callable[[list[Any], int], Any]) -> Any:
    """Join windows into one array of shape (n_windows, n_positions, n_states).

    `filler`: array of shape (1, 1500, n_states), whose positions after a window's own end fill up the window.
    `join`: concatenates arrays along an axis.
    """
    return join([join([w.states, filler[:, w.states.shape[1] : n_positions]], 1) for w in windows], 0)


def n_frames(seconds: float, *, full: bool) -> int:
    """Return the even number of mel spectrogram frames to encode for a window."""
    needed_s = max(seconds + PAD_S, FULL_S if full else SHORTEST_S)
    return min(FRAMES, 2 * round(50 * needed_s))


def n_positions(lengths: Iterable[int]) -> int:
    """Return the number of positions to which windows of these lengths are filled up for decoding together."""
    return max(round(FILLED_S / POSITION_S), *lengths)


def most_tokens(windows: Sequence[Encoded]) -> int:
    """Return the number of tokens after which to stop a text, which then certainly repeats itself."""
    return min(MAX_TOKENS, 16 + round(TOKENS_PER_S * max(window.seconds for window in windows)))


def batch_size(width: int, layers: int | None = None) -> int:
    """Return `Runtime.batch_size` on a CPU for a model with this number of states and of decoder layers, if known."""
    layers = layers or DEPTHS.get(width, max(DEPTHS.values()))
    return max(1, min(LARGEST_BATCH, BATCH_BYTES // (kept_values(width, layers) * 4)))


def kept_values(width: int, layers: int) -> int:
    """Return the most keys and values that the decoder keeps for one window."""
    return 2 * layers * (FRAMES // 2) * width
