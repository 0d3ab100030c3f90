"""Whether to believe what a model says it heard. Pure."""

import unicodedata
import zlib
from collections.abc import Sequence

from nightscribe.shared.model.transcript import Flag, Segment
from nightscribe.worker.engines.whisper.base import Decoded

# Source: openai/whisper transcribe.py, where a window beyond these is decoded again.
MAX_COMPRESSION_RATIO = 2.4
MIN_LOG_PROBABILITY = -1.0
MAX_NO_SPEECH_PROBABILITY = 0.6
SURE_LOG_PROBABILITY = -0.4  # below it, hearing a short window as Whisper was trained to often finds other words
MAX_TOKENS_PER_S = 12  # nobody speaks so fast
DOUBTFUL_SHARE = 0.25  # of the time that is spoken
SURE_LANGUAGE = 0.5
FOREIGN_SHARE = 0.3  # of the letters: names and loan words are fewer

# How the names of a script's letters begin in Unicode. Languages that are not here are written in Latin letters.
_OTHER_SCRIPTS = {
    ("CYRILLIC",): "ba be bg kk mk mn ru sr tg tt uk",
    ("ARABIC",): "ar fa ps sd ur",
    ("CJK",): "zh yue",
    ("CJK", "HIRAGANA", "KATAKANA"): "ja",
    ("HANGUL", "CJK"): "ko",
    ("DEVANAGARI",): "hi mr ne sa",
    ("HEBREW",): "he yi",
    ("GREEK",): "el",
    ("THAI",): "th",
    ("ARMENIAN",): "hy",
    ("GEORGIAN",): "ka",
    ("ETHIOPIC",): "am",
    ("BENGALI",): "as bn",
    ("GUJARATI",): "gu",
    ("KANNADA",): "kn",
    ("MALAYALAM",): "ml",
    ("GURMUKHI",): "pa",
    ("SINHALA",): "si",
    ("TAMIL",): "ta",
    ("TELUGU",): "te",
    ("KHMER",): "km",
    ("LAO",): "lo",
    ("MYANMAR",): "my",
    ("TIBETAN",): "bo",
}
_SCRIPTS = {language: script for script, languages in _OTHER_SCRIPTS.items() for language in languages.split()}
_LATIN = ("LATIN", "FULLWIDTH LATIN", "MODIFIER", "FEMININE", "MASCULINE")  # in which names are written everywhere
# Written in two scripts, or in Latin letters as often.
_ANY_SCRIPT = frozenset({"sr", "mn", "kk", "uz", "az", "pa", "sd", "ms", "tt", "ba", "ha"})


def compression_ratio(text: str) -> float:
    """How much shorter a text becomes: what repeats itself, by much."""
    encoded = text.encode()
    return len(encoded) / len(zlib.compress(encoded))


def is_repetitive(decoded: Decoded, seconds: float) -> bool:
    """Whether the model went round in circles; it can be very sure of itself when it does."""
    return (
        compression_ratio(decoded.text) > MAX_COMPRESSION_RATIO or len(decoded.tokens) > 8 + MAX_TOKENS_PER_S * seconds
    )


def is_foreign(text: str, language: str) -> bool:
    """Whether a text is written in letters of another language."""
    if language in _ANY_SCRIPT:
        return False
    letters = [letter for letter in text if letter.isalpha()]
    expected = (*_SCRIPTS.get(language, ()), *_LATIN)
    foreign = sum(not unicodedata.name(letter, "").startswith(expected) for letter in letters)
    return foreign > FOREIGN_SHARE * len(letters)


def is_doubtful(decoded: Decoded, seconds: float, language: str) -> bool:
    """Whether a window should be heard again."""
    return (
        decoded.average_log_probability < SURE_LOG_PROBABILITY
        or not decoded.text.strip()
        or is_repetitive(decoded, seconds)
        or is_foreign(decoded.text, language)
    )


def is_bad(decoded: Decoded, seconds: float, language: str) -> bool:
    """Whether it should be tried with other words than the likeliest."""
    return (
        decoded.average_log_probability < MIN_LOG_PROBABILITY
        or is_repetitive(decoded, seconds)
        or is_foreign(decoded.text, language)
    )


def is_invented(decoded: Decoded) -> bool:
    """Whether the model itself doubts both its words and that anybody spoke."""
    return (
        decoded.no_speech_probability > MAX_NO_SPEECH_PROBABILITY
        and decoded.average_log_probability < MIN_LOG_PROBABILITY
    )


def best(attempts: Sequence[Decoded], seconds: float, language: str) -> Decoded:
    """The attempt to believe most."""
    return max(
        attempts,
        key=lambda each: (
            not is_repetitive(each, seconds),
            not is_foreign(each.text, language),
            bool(each.text.strip()),
            each.average_log_probability,
        ),
    )


def flags(
    segments: Sequence[Segment], *, languages: dict[str, float], language_probability: float | None
) -> tuple[Flag, ...]:
    """What a person may want to look at.

    `languages`: seconds spoken in each. `language_probability`: None where the language was given.
    """
    found = []
    if not segments:
        found.append(Flag.NO_SPEECH)
    if any(segment.compression_ratio > MAX_COMPRESSION_RATIO for segment in segments):
        found.append(Flag.REPETITION)
    spoken_s = sum(segment.end_s - segment.start_s for segment in segments)
    doubtful_s = sum(s.end_s - s.start_s for s in segments if s.average_log_probability < MIN_LOG_PROBABILITY)
    if spoken_s and doubtful_s > DOUBTFUL_SHARE * spoken_s:
        found.append(Flag.LOW_CONFIDENCE)
    if segments and language_probability is not None and language_probability < SURE_LANGUAGE:
        found.append(Flag.LANGUAGE_UNSURE)
    if segments and len(languages) > 1:
        found.append(Flag.LANGUAGE_CHANGES)
    return tuple(found)
