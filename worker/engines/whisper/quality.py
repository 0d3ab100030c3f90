"""Judge whether to trust the text that a Whisper model decoded. Pure."""

import unicodedata
from collections.abc import Sequence
from difflib import SequenceMatcher

from nightscribe.worker.engines.whisper.runtime import Decoded
from nightscribe.worker.repetition import MAX_COMPRESSION_RATIO, compression_ratio

# Source: openai/whisper transcribe.py, which decodes a window outside these limits again.
MIN_LOG_PROBABILITY = -1.0
MAX_NO_SPEECH_PROBABILITY = 0.6
SURE_LOG_PROBABILITY = -0.4  # below it, encoding a short window in full often finds other words
MAX_TOKENS_PER_S = 12  # nobody speaks that fast
FOREIGN_SHARE = 0.3  # share of the letters; names and loan words make up less

# Prefixes of the Unicode names of a script's letters. Languages that are not listed use Latin letters.
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
_LATIN = ("LATIN", "FULLWIDTH LATIN", "MODIFIER", "FEMININE", "MASCULINE")  # every language uses it for names
# These languages use two scripts, or Latin letters as often as their own.
_ANY_SCRIPT = frozenset({"sr", "mn", "kk", "uz", "az", "pa", "sd", "ms", "tt", "ba", "ha"})


def is_repetitive(decoded: Decoded, seconds: float) -> bool:
    """Return whether the model repeated itself, which it may do with high confidence."""
    return (
        compression_ratio(decoded.text) > MAX_COMPRESSION_RATIO or len(decoded.tokens) > 8 + MAX_TOKENS_PER_S * seconds
    )


def is_foreign(text: str, language: str) -> bool:
    """Return whether a text is written in letters that its language does not use."""
    if language in _ANY_SCRIPT:
        return False
    letters = [letter for letter in text if letter.isalpha()]
    expected = (*_SCRIPTS.get(language, ()), *_LATIN)
    foreign = sum(not unicodedata.name(letter, "").startswith(expected) for letter in letters)
    return foreign > FOREIGN_SHARE * len(letters)


def is_doubtful(decoded: Decoded, seconds: float, language: str) -> bool:
    """Return whether to encode and decode a window again, in full."""
    return (
        decoded.average_log_probability < SURE_LOG_PROBABILITY
        or not decoded.text.strip()
        or is_repetitive(decoded, seconds)
        or is_foreign(decoded.text, language)
    )


def is_bad(decoded: Decoded, seconds: float, language: str) -> bool:
    """Return whether to sample words other than the likeliest."""
    return (
        decoded.average_log_probability < MIN_LOG_PROBABILITY
        or is_repetitive(decoded, seconds)
        or is_foreign(decoded.text, language)
    )


def is_invented(decoded: Decoded) -> bool:
    """Return whether the model doubts both its words and the presence of speech."""
    return (
        decoded.no_speech_probability > MAX_NO_SPEECH_PROBABILITY
        and decoded.average_log_probability < MIN_LOG_PROBABILITY
    )


def best(attempts: Sequence[Decoded], seconds: float, language: str) -> Decoded:
    """Return the most credible attempt."""
    return max(
        attempts,
        key=lambda each: (
            not is_repetitive(each, seconds),
            not is_foreign(each.text, language),
            bool(each.text.strip()),
            each.average_log_probability,
        ),
    )


def agreement(first: str, second: str) -> float:
    """Return how much two texts have in common, from 0 to 1, ignoring case, punctuation and spaces."""
    a, b = ("".join(char for char in text.casefold() if char.isalnum()) for text in (first, second))
    return SequenceMatcher(None, a, b, autojunk=False).ratio()
