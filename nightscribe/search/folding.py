"""Divide text into the tokens that are searched, so that spelling, case and accents make no difference. Pure.

Scripts that put no spaces between words (Chinese, Japanese, Thai) become overlapping pairs of characters. A phrase of
such pairs finds exactly the texts that contain these characters in this order, and the beginning of a pair finds a
single character. Korean is treated likewise, because its particles are attached to its words.
"""

import re
import unicodedata
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

VERSION = 1
"""Increase it whenever other tokens result, so that existing indexes are made again."""

# Letters that Unicode does not decompose into a letter and an accent.
_LETTERS = str.maketrans(
    {
        "đ": "d", "ð": "d", "ø": "o", "ł": "l", "æ": "ae", "œ": "oe", "þ": "th", "ı": "i", "ħ": "h", "ŧ": "t", "ŋ": "n",
        "ƒ": "f", "ɓ": "b", "ɗ": "d", "ƙ": "k", "ɛ": "e", "ɔ": "o", "ə": "e", "ʼ": None, "ʻ": None, "ـ": None,
    }
)  # fmt: skip
# Marks that readers leave out: accents, Hebrew points, Arabic vowels. The marks of Indic scripts are vowels, and stay.
_ACCENT = re.compile(
    "[\u0300-\u036f\u0483-\u0487\u0591-\u05c7\u064b-\u065f\u0670\u06d6-\u06ed\u1ab0-\u1aff\u20d0-\u20ff]"
)

_UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1100-\u11ff\u1780-\u17ff"  # Thai, Lao, Burmese, Korean letters, Khmer
    "\u3005-\u3007\u3041-\u3096\u3099\u309a\u309d-\u309f\u30a1-\u30fa\u30fc-\u30ff\u3100-\u312f\u3130-\u318f\u31f0-\u31ff"
    "\u3400-\u4dbf\u4e00-\u9fff\ua960-\ua97f\uac00-\ud7ff\uf900-\ufaff\uff66-\uff9f\U00020000-\U0003ffff"
)
_MARKS = "".join(
    chr(code) for code in (*range(0x300, 0x3100), *range(0xA600, 0xAC00)) if unicodedata.category(chr(code))[0] == "M"
)
_WORD = rf"(?:[^\W_]|[{_MARKS}])"
_APOSTROPHE = "['\u2019\u02bc\uff07]"
_RUN = re.compile(rf"{_WORD}+(?:{_APOSTROPHE}{_WORD}+)*(?:\+\+|#(?!\w))?")
_PIECE = re.compile(rf"[{_UNSPACED}]+|[^{_UNSPACED}'\u2019\u02bc\uff07]+")
_NEGATION = re.compile(rf"n{_APOSTROPHE}t$", re.IGNORECASE)
_SEPARATOR = re.compile(rf"(?:[^\w+#{_MARKS}]|_)+")
_IS_UNSPACED = re.compile(f"[{_UNSPACED}]")
CACHED_CHARS = 24
"""Longer runs are sentences without spaces, which hardly occur twice."""


class Token(NamedTuple):
    """A token and the characters of the text that it stands for."""

    text: str
    start: int
    end: int
    is_unspaced: bool
    """Whether it is a pair of characters of a script without spaces, or the last character of a run."""


def fold(text: str) -> str:
    """Return the tokens of a text, separated by spaces, as they are put into the index."""
    return " ".join(filter(None, map(_folded, _RUN.findall(text))))


def tokens(text: str) -> Iterator[Token]:
    """Yield the tokens of a text with their places; the same tokens as `fold` returns."""
    for run in _RUN.finditer(text):
        for token in _tokens(run[0]):
            yield token._replace(start=token.start + run.start(), end=token.end + run.start())


def is_unspaced(token: str) -> bool:
    """Return whether a token is a pair of characters, or the last one, of a script without spaces."""
    return _IS_UNSPACED.match(token) is not None


def _folded(run: str) -> str:
    return _folded_word(run) if len(run) <= CACHED_CHARS else " ".join(token.text for token in _tokens(run))


@lru_cache(maxsize=65_536)
def _folded_word(run: str) -> str:
    return " ".join(token.text for token in _tokens(run))


def _tokens(run: str) -> Iterator[Token]:
    if _NEGATION.search(run):  # "don't" and "dont" are one word; in "l'homme" and "Anna's" there are two
        yield from _word(_NEGATION.sub("nt", run), 0, len(run))
        return
    for piece in _PIECE.finditer(run):
        if _IS_UNSPACED.match(piece[0]):
            yield from _pairs(piece[0], piece.start())
        else:
            yield from _word(piece[0], piece.start(), piece.end())


def _word(text: str, start: int, end: int) -> Iterator[Token]:
    plain = unicodedata.normalize("NFKC", text).casefold()
    if not plain.isascii():
        plain = _ACCENT.sub("", unicodedata.normalize("NFD", plain)).translate(_LETTERS)
    for part in _SEPARATOR.split(plain):
        if part:
            yield Token(part, start, end, is_unspaced=False)


def _pairs(text: str, start: int) -> Iterator[Token]:
    plain = unicodedata.normalize("NFKC", text)
    is_aligned = len(plain) == len(text)
    for at in range(len(plain)):
        pair = plain[at : at + 2]
        place = (start + at, start + at + len(pair)) if is_aligned else (start, start + len(text))
        yield Token(pair, *place, is_unspaced=True)
