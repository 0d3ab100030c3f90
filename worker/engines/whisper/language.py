"""Detect the language of a slice from several of its windows."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from nightscribe.worker.engines.base import SpeechWindow
from nightscribe.worker.languages import likeliest, with_prior

LANGUAGE_WINDOWS = 5
SURE_LANGUAGE = 0.5  # minimum probability for a window's own language, if languages are detected per window
CHANGED_LANGUAGE = 0.8  # minimum probability of another language that shows a change of language


@dataclass(frozen=True)
class DetectedLanguages:
    """The probability of each language code in several windows of a slice."""

    seconds: Sequence[float]
    """Lengths of the windows."""
    of_windows: Sequence[Mapping[str, float]]

    @property
    def probabilities(self) -> dict[str, float]:
        """Return the mean over the windows, weighted by their length."""
        total: dict[str, float] = defaultdict(float)
        for window_s, probabilities in zip(self.seconds, self.of_windows, strict=True):
            for language, probability in probabilities.items():
                total[language] += probability * window_s
        return {language: value / sum(self.seconds) for language, value in total.items()}


@dataclass(frozen=True)
class SliceLanguage:
    """The language of a slice."""

    language: str
    probability: float
    others: Mapping[str, float]
    """Seconds of the sampled windows that are certainly in another language, by language."""


def detection_windows(waiting: Sequence[SpeechWindow]) -> list[SpeechWindow]:
    """Return a few windows, spread evenly over the known windows of a slice."""
    ordered = sorted(waiting, key=lambda window: window.start_s)
    n = min(LANGUAGE_WINDOWS, len(ordered))
    return [ordered[i * len(ordered) // n] for i in range(n)]


def slice_language(detected: DetectedLanguages, folder: Mapping[str, int]) -> SliceLanguage:
    """Return the likeliest language.

    `folder`: how many other recordings of the folder are certainly in each language.
    """
    probabilities = with_prior(detected.probabilities, folder)
    language = likeliest(probabilities)
    others: dict[str, float] = defaultdict(float)
    for window_s, of_window in zip(detected.seconds, detected.of_windows, strict=True):
        for other, probability in of_window.items():
            if other != language and probability > CHANGED_LANGUAGE:
                others[other] += window_s
    return SliceLanguage(language, probabilities[language], others)
