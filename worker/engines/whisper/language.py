"""The language of a slice, detected over several of its windows."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from nightscribe.worker.engines.base import SpeechWindow

LANGUAGE_WINDOWS = 5
SURE_LANGUAGE = 0.5  # a single window at least this sure of a language is written in it, if each is to have its own
CHANGED_LANGUAGE = 0.8  # a window at least this sure of another language shows that the recording changes it


@dataclass(frozen=True)
class SliceLanguage:
    """The language of a slice."""

    language: str
    probability: float
    """Mean over the windows it was detected in, weighted by their length."""
    others: Mapping[str, float]
    """Seconds of those windows that are surely in another language."""


def detection_windows(waiting: Sequence[SpeechWindow]) -> list[SpeechWindow]:
    """Return a few windows, spread evenly over those that are known of a slice."""
    ordered = sorted(waiting, key=lambda window: window.start_s)
    n = min(LANGUAGE_WINDOWS, len(ordered))
    return [ordered[i * len(ordered) // n] for i in range(n)]


def likeliest(probabilities: Mapping[str, float]) -> str:
    """Return the language of the highest probability."""
    return max(probabilities, key=lambda language: probabilities[language])


def slice_language(seconds: Sequence[float], detected: Sequence[Mapping[str, float]]) -> SliceLanguage:
    """Return the likeliest language over windows of these lengths; the longer ones count for more.

    `detected`: the probability of each language code, for each window.
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
