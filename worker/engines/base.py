"""What the pipeline asks of a speech engine: to recognize the words in windows of sound.

See docs/adding-an-engine.md.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, Protocol

from nightscribe.shared.audio.waveform import RATE, Waveform
from nightscribe.shared.model.transcript import Word


class WindowLimits(NamedTuple):
    """How long the windows are to be that an engine gets; only the last one of a slice may be shorter."""

    shortest_s: float
    longest_s: float


@dataclass(eq=False)
class SpeechSlice:
    """The slice to which windows belong, for an engine that looks beyond a single window."""

    waiting: list["SpeechWindow"] = field(default_factory=list)
    """Windows of the slice that are read but not yet recognized, in order of time; those in hand are among them."""
    notes: Any = None
    """For the engine alone, kept until the slice is done."""


@dataclass(eq=False)
class SpeechWindow:
    """Sound in which somebody speaks."""

    waveform: Waveform
    """Mono, `RATE` samples a second, in [-1, 1]."""
    start_s: float
    """Where the window begins in its recording."""
    slice_: SpeechSlice
    notes: Any = None
    """For the engine alone, kept until the window is done."""

    @property
    def seconds(self) -> float:
        """Length of the window."""
        return len(self.waveform) / RATE


@dataclass(frozen=True)
class RecognitionRequest:
    """How to recognize windows; one request holds for all windows of a job."""

    language: str | None = None
    """Code of the language that is spoken; None: the engine is to detect it."""
    language_per_window: bool = False
    """Whether to detect the language of each window anew."""
    task: Literal["transcribe", "translate"] = "transcribe"
    needs_words: Callable[[SpeechWindow, str], bool] = lambda _window, _text: True
    """Tell whether the words of this text need times, for an engine that can save the work."""
    check: Callable[[], None] = lambda: None
    """To be called between long steps. It may raise in order to stop the work; let that pass."""


@dataclass(frozen=True)
class Recognition:
    """What an engine recognized in one window."""

    text: str
    """Empty where nothing was said."""
    words: Sequence[Word] | None = None
    """Words with their times in seconds from the beginning of the window; joined they are the text. None: not timed."""
    language: str | None = None
    """Code of the language of the window; None if the engine does not know it."""
    language_probability: float | None = None
    """How sure the engine is of the language of the whole slice; None where the language was given."""
    other_languages: Mapping[str, float] = field(default_factory=dict)
    """Seconds of sound that the engine is sure are in another language than that of the slice. Report each once."""
    average_log_probability: float | None = None
    """Mean natural logarithm of the probability of a token."""
    no_speech_probability: float | None = None
    is_sure: bool = True
    """False: look for speech around each sentence, and drop a sentence without it."""


class Recognizer(Protocol):
    """A speech engine with its model in memory."""

    @property
    def name(self) -> str:
        """Name of the engine and version of its library, for the record of each transcript."""
        ...

    @property
    def window_limits(self) -> WindowLimits:
        """How long the windows are to be."""
        ...

    @property
    def batch_size(self) -> int:
        """Number of windows that the engine can recognize at once without using too much memory."""
        ...

    def recognize(self, windows: Sequence[SpeechWindow], request: RecognitionRequest) -> list[Recognition]:
        """Return what is said in each window. The windows may belong to several slices."""
        ...
