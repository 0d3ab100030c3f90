"""Find a word that occurs and is spelt almost like one that does not. Pure, but for the words that it is given."""

from collections.abc import Callable, Collection, Iterator
from difflib import SequenceMatcher

LEAST_LETTERS = 3
SIMILARITY = 0.72
ALPHABETS = (
    "abcdefghijklmnopqrstuvwxyz",
    "абвгдежзиклмнопрстуфхцчшщъыьэюяіјљњћџ",
    "αβγδεζηθικλμνξοπρστυφχψω",
)


def similar(
    word: str,
    n_of: Callable[[Collection[str]], dict[str, int]],
    beginning_with: Callable[[str], Collection[tuple[str, int]]],
) -> str | None:
    """Return the most frequent word that differs in one letter, else the most similar one, or None.

    Args:
        word: a folded word that occurs nowhere.
        n_of: returns how often those of several words occur that do.
        beginning_with: returns all words with a given beginning, and how often they occur.
    """
    if len(word) < LEAST_LETTERS:
        return None
    if close := n_of(set(_one_change(word))):
        return max(close, key=lambda each: (close[each], each))
    best, best_score = None, (SIMILARITY, 0)
    matcher = SequenceMatcher(b=word, autojunk=False)
    for other, n in beginning_with(word[:2]):
        if abs(len(other) - len(word)) > 2:
            continue
        matcher.set_seq1(other)
        if matcher.real_quick_ratio() >= best_score[0] and matcher.quick_ratio() >= best_score[0]:
            score = (matcher.ratio(), n)
            if score > best_score:
                best, best_score = other, score
    return best


def _one_change(word: str) -> Iterator[str]:
    letters = next((alphabet for alphabet in ALPHABETS if any(letter in alphabet for letter in word)), "")
    for at in range(len(word) + 1):
        before, after = word[:at], word[at:]
        for letter in letters:
            yield before + letter + after
            if after:
                yield before + letter + after[1:]
        if after:
            yield before + after[1:]
        if len(after) > 1:
            yield before + after[1] + after[0] + after[2:]
