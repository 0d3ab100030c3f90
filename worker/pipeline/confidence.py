"""Estimate which share of the words of a segment is right, from everything that is known about it. Pure.

The estimate is a logistic regression. bench/confidence.py fits its coefficients, and confidence.json says how they were
made. A feature is positive where there is reason for doubt, and 0 where there is none or nothing is known.
"""

import json
import math
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Any

from nightscribe.shared.formats.line_breaks import width
from nightscribe.worker.repetition import compression_ratio, is_babble

USUAL_COLUMNS_PER_S = 14.0  # of speech in any script, as a line is measured: wide letters count twice
USUAL_COMPRESSION = 1.2  # of the text of a window
SHORT_TEXT_COLUMNS = 40


@dataclass(frozen=True)
class Evidence:
    """What is known about the text of a segment; None where the engine does not say."""

    text: str
    seconds: float
    average_log_probability: float
    no_speech_probability: float | None = None
    window_text: str | None = None
    """Text of the whole window, because loops may not show in one segment."""
    agreement: float | None = None
    """How much the text shares with that of another attempt, from 0 to 1. None: there was no second attempt."""
    language_probability: float | None = None
    """None: the language was given."""
    speech_share: float | None = None
    """Share of the time in which the detector hears speech."""


def features(evidence: Evidence) -> dict[str, float]:
    """Return the values that the coefficients are multiplied by.

    To add a feature, add it here, with a value of 0 where it is unknown, and fit again.
    """
    log_probability = min(0.0, max(-2.0, evidence.average_log_probability))
    columns = max(1, width(evidence.text))
    pace = math.log(columns / max(0.2, evidence.seconds) / USUAL_COLUMNS_PER_S)
    text = evidence.window_text or evidence.text
    return {
        "log_probability": -log_probability,
        "log_probability_squared": log_probability**2,
        "no_speech": evidence.no_speech_probability or 0.0,
        "compression": max(0.0, min(4.0, compression_ratio(text) - USUAL_COMPRESSION)),
        "babble": float(is_babble(text)),
        "slow": min(2.0, max(0.0, -pace)),
        "fast": min(2.0, max(0.0, pace)),
        "short": max(0.0, 1 - columns / SHORT_TEXT_COLUMNS),
        "disagreement": 0.0 if evidence.agreement is None else 1 - evidence.agreement,
        "language": 0.0 if evidence.language_probability is None else 1 - evidence.language_probability,
        "no_voice": 0.0 if evidence.speech_share is None else 1 - evidence.speech_share,
    }


@dataclass(frozen=True)
class Model:
    """The fitted coefficients."""

    intercept: float
    coefficients: dict[str, float]
    doubtful_below: float
    """A segment with less confidence is in doubt."""

    def confidence(self, found: dict[str, float]) -> float:
        """Return the expected share of right words, from 0 to 1, for the values of `features`."""
        logit = self.intercept + sum(factor * found[name] for name, factor in self.coefficients.items())
        return 1 / (1 + math.exp(-max(-30.0, min(30.0, logit))))


@lru_cache(maxsize=1)
def model() -> Model:
    """Return the model that belongs to this release."""
    stored: dict[str, Any] = json.loads((files(__package__) / "confidence.json").read_text())
    return Model(stored["intercept"], stored["coefficients"], stored["doubtful_below"])


def confidence(evidence: Evidence) -> float:
    """Return the expected share of right words, from 0 to 1."""
    return model().confidence(features(evidence))
