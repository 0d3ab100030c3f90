"""Estimate how similar two written words sound. Pure.

A rough key: letters that sound alike in many languages become one, and accents and doubled letters are dropped. It
only decides where to listen again, so it is the same for every language.
"""

import re
import unicodedata
from difflib import SequenceMatcher
from functools import lru_cache

WITHOUT_LETTERS = frozenset({"zh", "yue", "ja"})  # languages whose script does not show how words sound

_SOUNDS = (
    ("tch", "ts"), ("sch", "s"), ("ph", "f"), ("gh", "g"), ("ck", "k"), ("sh", "s"), ("ch", "ts"), ("th", "t"),
    ("wh", "w"), ("x", "ks"), ("qu", "kw"),
)  # fmt: skip
_LETTERS = str.maketrans(
    {"c": "k", "q": "k", "z": "s", "v": "f", "w": "f", "y": "i", "j": "i", "d": "t", "b": "p", "g": "k"}
)
_VOWELS = re.compile(r"[aeiou]+")
WEIGHT_OF_CONSONANTS = 0.5


@lru_cache(maxsize=4096)
def folded(word: str) -> str:
    """Return a word without case, accents, spaces and signs."""
    plain = unicodedata.normalize("NFKD", word.casefold())
    return "".join(char for char in plain if char.isalnum())


@lru_cache(maxsize=8192)
def key(word: str) -> str:
    """Return letters for how a folded word sounds."""
    for written, sound in _SOUNDS:
        word = word.replace(written, sound)
    return re.sub(r"(.)\1+", r"\1", word.translate(_LETTERS))


def similarity(one: str, other: str) -> float:
    """Return how similar two folded words sound, from 0 to 1."""
    if not one or not other or not 0.5 <= len(one) / len(other) <= 2:
        return 0.0
    a, b = key(one), key(other)
    common = len(set(a) & set(b))
    if 2 * common < min(len(set(a)), len(set(b))):  # cannot be similar, and comparing takes long
        return 0.0
    whole = SequenceMatcher(None, a, b, autojunk=False).ratio()
    without_a, without_b = _VOWELS.sub("", a), _VOWELS.sub("", b)
    if min(len(without_a), len(without_b)) < 2:
        return whole
    consonants = SequenceMatcher(None, without_a, without_b, autojunk=False).ratio()
    return (1 - WEIGHT_OF_CONSONANTS) * whole + WEIGHT_OF_CONSONANTS * consonants
