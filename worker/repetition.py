"""Find repetitions in a text, and drop those that there was no time to say. Pure."""

import re
import zlib
from collections.abc import Sequence
from typing import NamedTuple

from nightscribe.shared.formats.line_breaks import width
from nightscribe.shared.model.transcript import Word

MAX_COMPRESSION_RATIO = 2.4  # a text with a higher ratio repeats itself. Source: openai/whisper transcribe.py
LONGEST_PHRASE = 24  # words that repeat together
FEWEST_TIMES = 3  # people do say things twice
FASTEST_COLUMNS_PER_S = 30  # nobody speaks faster; an auctioneer comes close
HURRIED = 0.4  # a repeat with less than this share of the usual length was not said, but invented by a loop
BABBLE_WORDS = 6


class Loop(NamedTuple):
    """A phrase of `n_words` words that occurs `times` times in a row, from the index `first` on."""

    first: int
    n_words: int
    times: int


def compression_ratio(text: str) -> float:
    """Return the size of a text divided by its compressed size; repetitions increase it."""
    encoded = text.encode()
    return len(encoded) / len(zlib.compress(encoded))


def loops(texts: Sequence[str]) -> list[Loop]:
    """Return the phrases that occur at least `FEWEST_TIMES` in a row, in order, ignoring case and punctuation."""
    keys = [re.sub(r"\W+", "", text).casefold() for text in texts]
    found, at = [], 0
    while at < len(keys):
        longest = max(
            (Loop(at, n, _times(keys, at, n)) for n in range(1, min(LONGEST_PHRASE, (len(keys) - at) // 2) + 1)),
            key=lambda loop: (loop.times >= FEWEST_TIMES) * loop.times * loop.n_words,
            default=None,
        )
        if longest and longest.times >= FEWEST_TIMES and any(keys[at : at + longest.n_words]):
            found.append(longest)
            at += longest.times * longest.n_words
        else:
            at += 1
    return found


def _times(keys: Sequence[str], at: int, n: int) -> int:
    times = 1
    while keys[at + times * n : at + (times + 1) * n] == keys[at : at + n]:
        times += 1
    return times


def as_time_allows(words: Sequence[Word]) -> list[Word]:
    """Return the words without the repeats that there was no time to say, keeping a person's own repetitions."""
    dropped: set[int] = set()
    for first, n_words, times in loops([word.text for word in words]):
        repeats = [range(first + n * n_words, first + (n + 1) * n_words) for n in range(times)]
        lengths_s = [words[each[-1]].end_s - words[each[0]].start_s for each in repeats]
        shortest_s = (
            width("".join(word.text for word in words[first : first + n_words]).strip()) / FASTEST_COLUMNS_PER_S
        )
        possible_s = [length_s for length_s in lengths_s if length_s >= shortest_s]
        usual_s = sorted(possible_s)[len(possible_s) // 2] if possible_s else 0.0
        keep = [n for n, length_s in enumerate(lengths_s) if length_s >= max(shortest_s, HURRIED * usual_s)]
        if not keep:
            keep = list(range(max(1, min(times, int(sum(lengths_s) / max(shortest_s, 0.01))))))
        dropped.update(index for n in range(times) if n not in keep for index in repeats[n])
    return [word for n, word in enumerate(words) if n not in dropped]


def is_babble(text: str) -> bool:
    """Return whether a text, even a short one, consists mostly of one repeated phrase."""
    words = text.split()
    if len(words) < BABBLE_WORDS:
        return False
    keys = [re.sub(r"\W+", "", word).casefold() for word in words]
    for n in range(1, len(words) // 2 + 1):
        for at in range(min(n, len(words))):
            times = _times(keys, at, n)
            repeated = times * n
            if times >= 2 and n * times >= BABBLE_WORDS and repeated > 0.75 * len(words) and (times >= 3 or n >= 3):
                return True
    return False
