"""Detect the language of a slice from several of its windows."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from nightscribe.worker.engines.base import SpeechWindow

LANGUAGE_WINDOWS = 5
SURE_LANGUAGE = 0.5  # minimum probability for a window's own language, if languages are detected per window
CHANGED_LANGUAGE = 0.8  # minimum probability of another language that shows a change of language


@dataclass(frozen=True)
class SliceLanguage:
    """The language of a slice, and how it was detected."""

    language: str
    probability: float
    """Mean over the sampled windows, weighted by their length."""
    others: Mapping[str, float]
    """Seconds of the sampled windows that are certainly in another language, by language."""


def detection_windows(waiting: Sequence[SpeechWindow]) -> list[SpeechWindow]:
    """Return a few windows, spread evenly over the known windows of a slice."""
    ordered = sorted(waiting, key=lambda window: window.start_s)
    n = min(LANGUAGE_WINDOWS, len(ordered))
    return [ordered[i * len(ordered) // n] for i in range(n)]


def likeliest(probabilities: Mapping[str, float]) -> str:
    """Return the language with the highest probability."""
    return max(probabilities, key=lambda language: probabilities[language])


def slice_language(seconds: Sequence[float], detected: Sequence[Mapping[str, float]]) -> SliceLanguage:
    """Return the likeliest language over windows of these lengths, weighted by length.

    `detected`: for each window, the probability of each language code.
    """
    total: dict[str, float] = defaultdict(float)
    for window_s, probabilities in zip(seconds, detected, strict=True):
        for language, probability in probabilities.items():
            total[language] += probability * window_s
    language = likeliest(total)
    others: dict[str, float] = defaultdict(float)
    for window_s, probabilities in zip(seconds, detected, strict=True):
        for other, probability in probabilities.items():
            if other != language and probability > CHANGED_LANGUAGE:
                others[other] += window_s
    return SliceLanguage(language, total[language] / sum(seconds), others)
