"""Define the protocol of a speech engine, which recognizes the words in windows of sound.

See docs/adding-an-engine.md.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, Protocol, runtime_checkable

from nightscribe.shared.audio.waveform import RATE, Waveform
from nightscribe.shared.model.transcript import Word


class WindowLimits(NamedTuple):
    """The length of the windows for an engine; only the last window of a slice may be shorter."""

    shortest_s: float
    longest_s: float


@dataclass(eq=False)
class SpeechSlice:
    """The slice to which windows belong, for an engine that uses more than a single window."""

    waiting: list["SpeechWindow"] = field(default_factory=list)
    """Windows of the slice that are read but not yet recognized, ordered by time, including the current batch."""
    folder_languages: Mapping[str, int] = field(default_factory=dict)
    """How many other recordings of the folder are certainly in each language; known if the slice is unclear."""
    is_cut: bool = False
    """True if it is a stretch of a recording, so that a sentence may continue in the next one."""
    notes: Any = None
    """Private to the engine; kept until the slice is done."""


@dataclass(eq=False)
class SpeechWindow:
    """A window of sound that contains speech."""

    waveform: Waveform
    """Mono, `RATE` samples per second, in [-1, 1]."""
    start_s: float
    """Start of the window in its recording, in seconds."""
    slice_: SpeechSlice
    notes: Any = None
    """Private to the engine; kept until the window is done."""

    @property
    def seconds(self) -> float:
        """Return the length of the window."""
        return len(self.waveform) / RATE


@dataclass(frozen=True)
class RecognitionRequest:
    """The parameters of recognition, which are the same for all windows of a job."""

    language: str | None = None
    """Code of the language spoken. None: the engine detects it."""
    languages: Sequence[str] = ()
    """Codes of the languages to choose from when detecting. Empty: any."""
    language_per_window: bool = False
    """Detect the language of each window separately."""
    task: Literal["transcribe", "translate"] = "transcribe"
    translate_to: str = "en"
    """Code of the language into which the task `translate` translates."""
    prompt: str = ""
    """Text that sets the scene and shows the spelling. It must never appear in the result unless it was said."""
    hotwords: Sequence[str] = ()
    """Words and names to listen for. They must never appear in the result unless they were said."""
    beam_size: int = 1
    """Number of beams of the first attempt at each window."""
    condition_on_previous: bool = False
    """Each window continues the text of the window before it in its slice; the windows of a slice come in order."""
    initial_silence_s: float = 0.0
    """Seconds of silence to add before the first window of a recording; times do not change."""
    needs_words: Callable[[SpeechWindow, str], bool] = lambda _window, _text: True
    """Return whether the words of this text need times, so that an engine can save the work."""
    check: Callable[[], None] = lambda: None
    """Call this between long steps. It may raise an error to stop the work; do not catch it."""


@dataclass(frozen=True)
class Recognition:
    """The words that an engine recognized in one window, with its scores."""

    text: str
    """Empty if nothing was said."""
    words: Sequence[Word] | None = None
    """Words with times in seconds from the start of the window; joined, they are the text. None: not timed."""
    language: str | None = None
    """Code of the language of the window; None if the engine does not know it."""
    language_probability: float | None = None
    """Probability of the language of the whole slice; None if the request gave the language."""
    other_languages: Mapping[str, float] = field(default_factory=dict)
    """Seconds of sound that are certainly in a language other than that of the slice. Report each once."""
    average_log_probability: float | None = None
    """Mean natural logarithm of the token probabilities."""
    word_probabilities: Sequence[float] | None = None
    """Probability of each of the `words`, from a model that gives one for each frame. Then the confidence of a segment
    is their mean. None: it is estimated from `average_log_probability`, as Whisper's decoder gives it."""
    is_plain: bool = False
    """True if the model writes neither capitals nor punctuation, so that these say nothing about sentences."""
    no_speech_probability: float | None = None
    agreement: float | None = None
    """How much the texts of two attempts have in common, from 0 to 1. None: there was only one attempt."""
    is_sure: bool = True
    """If False, each sentence is checked for speech around it, and dropped if there is none."""


class Recognizer(Protocol):
    """A speech engine with its model in memory."""

    @property
    def name(self) -> str:
        """Return the name of the engine and the version of its library, for the record of each transcript."""
        ...

    @property
    def window_limits(self) -> WindowLimits:
        """Return the length of the windows that the engine expects."""
        ...

    @property
    def batch_size(self) -> int:
        """Return the number of windows that the engine can recognize at once without using too much memory."""
        ...

    def recognize(self, windows: Sequence[SpeechWindow], request: RecognitionRequest) -> list[Recognition]:
        """Return the words spoken in each window. The windows may belong to several slices."""
        ...


@runtime_checkable
class LanguageDetector(Protocol):
    """A `Recognizer` that can tell the language of a slice before it recognizes the words.

    With it, the short recordings of a folder help each other where the language is unclear.
    """

    def language_probabilities(self, slice_: SpeechSlice, request: RecognitionRequest) -> Mapping[str, float]:
        """Return the probability of each language code, from the waiting windows of a slice."""
        ...
