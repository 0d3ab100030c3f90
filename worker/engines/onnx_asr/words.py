"""Join the tokens that a model reports to words with times and probabilities. Pure; times are in seconds."""

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from nightscribe.shared.model.transcript import Word

CLOSING = ".,!?;:…%)]}。，！？：、"
LONGEST_TOKEN_S = 0.4  # a model reports when a token begins; a syllable is over by then


class TimedToken(NamedTuple):
    """A piece of text. A space at its beginning starts a word."""

    text: str
    start_s: float
    end_s: float | None
    """None where the model reports only beginnings."""
    log_probability: float | None
    """Natural logarithm; None where the model does not give it."""


class TimedWords(NamedTuple):
    """Words, and the probability of each where the model gives it."""

    words: list[Word]
    probabilities: list[float] | None


def timed_words(tokens: Sequence[TimedToken], seconds: float) -> TimedWords:
    """Return the words of a window that is `seconds` long. The probability of a word is that of its doubtful token."""
    words: list[Word] = []
    probabilities: list[float] = []
    for given, next_s in zip(tokens, _next_starts(tokens, seconds), strict=True):
        token = given._replace(text=_attached(given.text))
        start_s = min(max(0.0, token.start_s), seconds)
        end_s = min(next_s, token.end_s if token.end_s is not None else start_s + LONGEST_TOKEN_S)
        end_s = max(start_s, min(end_s, seconds))
        probability = 1.0 if token.log_probability is None else math.exp(min(0.0, token.log_probability))
        is_open = bool(words) and not words[-1].text.strip()  # a space of its own, which begins the next word
        if words and not token.text[:1].isspace():
            before = words[-1]
            words[-1] = Word(start_s if is_open else before.start_s, end_s, before.text + token.text)
            probabilities[-1] = probability if is_open else min(probabilities[-1], probability)
        elif is_open:
            words[-1] = Word(start_s, end_s, token.text)
            probabilities[-1] = probability
        else:
            words.append(Word(start_s, end_s, token.text))
            probabilities.append(probability)
    kept = [n for n, word in enumerate(words) if word.text.strip()]
    has_scores = any(token.log_probability is not None for token in tokens)
    return TimedWords([words[n] for n in kept], [probabilities[n] for n in kept] if has_scores else None)


def average(log_probabilities: Iterable[float | None]) -> float | None:
    """Return the mean of the logarithms that are known, or None if none is."""
    known = [value for value in log_probabilities if value is not None]
    return sum(known) / len(known) if known else None


def _attached(text: str) -> str:
    """Return punctuation without the space before it, which some tokenizers write."""
    return text.strip() if text.strip() and not text.strip(CLOSING + " ") else text


def _next_starts(tokens: Sequence[TimedToken], seconds: float) -> list[float]:
    return [*(token.start_s for token in tokens[1:]), seconds][: len(tokens)]
