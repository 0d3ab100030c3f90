"""Decode with a prompt and with words to listen for, so that neither appears in a text unless it was said.

Whisper takes both as text that precedes a window. It may then repeat that text into silence, or leave words out. So
a result that may come from the prompt is compared with one without it. Words to listen for are given only to windows
in whose text something sounds like them, and their result is used only if they stand where that was: all other
windows are as they would be without.
"""

import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from difflib import SequenceMatcher

from nightscribe.worker.engines.base import RecognitionRequest, SpeechWindow
from nightscribe.worker.engines.whisper import fallback
from nightscribe.worker.engines.whisper.quality import (
    MIN_LOG_PROBABILITY,
    agreement,
    best,
    is_bad,
    is_doubtful,
    is_invented,
    is_repetitive,
)
from nightscribe.worker.engines.whisper.runtime import Decoded, Encoded, Runtime
from nightscribe.worker.engines.whisper.similar_sound import WITHOUT_LETTERS, folded, similarity
from nightscribe.worker.weights.vocabulary import WITHOUT_SPACES

ECHO_WORDS = 3  # so many words in a row that are also in the text before, or all words of a shorter text
ALIKE = 0.5  # least agreement of texts of the same sound
SIMILAR = 0.62  # least similarity in sound of a word in the text and one to listen for
MOST_LISTENED_FOR = 25  # words in a window; more would make the model worse
LEAST_GAIN = -0.25  # by how much a text with the words may be less probable
LENGTHS = (0.7, 1.4)  # of a text with the words, compared with one without


def decode(
    runtime: Runtime,
    windows: Sequence[SpeechWindow],
    encoded: Sequence[Encoded],
    languages: Sequence[str],
    request: RecognitionRequest,
    *,
    task: str,
    previous: Sequence[str] = (),
) -> list[Decoded]:
    """Return the words spoken in each window, as `fallback.decode` does, with the hints of the request.

    `previous`: the text of the window before each, if the request conditions on it.
    """

    def attempt(some: Sequence[int], before: Sequence[str]) -> list[Decoded]:
        return fallback.decode(
            runtime,
            [windows[n] for n in some],
            [encoded[n] for n in some],
            [languages[n] for n in some],
            task=task,
            check=request.check,
            beams=request.beam_size,
            before=before,
        )

    before = [_joined(request.prompt, text) for text in previous or [""] * len(windows)]
    found = attempt(range(len(windows)), before)
    written = ["en" if task == "translate" else language for language in languages]
    _without_echoes(found, before, windows, written, attempt)
    if request.hotwords and task == "transcribe":
        _with_hotwords(found, before, languages, request.hotwords, attempt)
    return found


def follow_up(decoded: Decoded, seconds: float, language: str) -> str:
    """Return the text that the next window may continue; none if it may be wrong, so that no mistake goes on."""
    return "" if is_bad(decoded, seconds, language) else _text(decoded)


Attempt = Callable[[Sequence[int], Sequence[str]], list[Decoded]]


def _without_echoes(
    found: list[Decoded], before: Sequence[str], windows: Sequence[SpeechWindow], written: Sequence[str], again: Attempt
) -> None:
    """Replace results that repeat the text before them, or that it may have made worse."""
    suspects = [
        n
        for n, each in enumerate(found)
        if before[n] and (echoes(each.text, before[n]) or is_doubtful(each, windows[n].seconds, written[n]))
    ]
    if not suspects:
        return
    for n, bare in zip(suspects, again(suspects, [""] * len(suspects)), strict=True):
        hinted = found[n]
        if not _text(bare) or (_text(hinted) and agreement(_text(bare), hinted.text) < ALIKE):
            found[n] = bare
        elif not echoes(hinted.text, before[n]):
            found[n] = best([hinted, bare], windows[n].seconds, written[n])


def _with_hotwords(
    found: list[Decoded],
    before: Sequence[str],
    languages: Sequence[str],
    hotwords: Sequence[str],
    again: Attempt,
) -> None:
    """Replace results in which words to listen for are found where something like them was heard."""
    chosen = {n: words for n, each in enumerate(found) if (words := likely(_text(each), hotwords, languages[n]))}
    if not chosen:
        return
    hints = [_joined(before[n], f"{', '.join(words)}.") for n, words in chosen.items()]
    for (n, words), heard in zip(chosen.items(), again(list(chosen), hints), strict=True):
        if is_supported(heard, found[n], words, languages[n]):
            found[n] = replace(heard, agreement=found[n].agreement)


def _joined(*texts: str) -> str:
    return " ".join(filter(None, (text.strip() for text in texts)))


def _text(decoded: Decoded) -> str:
    return "" if is_invented(decoded) else decoded.text.strip()


def echoes(text: str, before: str) -> bool:
    """Return whether a text shares so many words in a row with the text before it that it may repeat it."""
    said, given = units(text, ""), f" {' '.join(units(before, ''))} "
    n = min(ECHO_WORDS, len(said))
    return any(f" {' '.join(said[at : at + n])} " in given for at in range(len(said) - n + 1)) if n else False


def units(text: str, language: str) -> list[str]:
    """Return the words of a text, or its characters if no spaces divide words, without case, accents and signs."""
    if language in WITHOUT_SPACES:
        return [folded(char) for char in text if char.isalnum()]
    return list(filter(None, (folded(word) for word in _words(text))))


def _words(text: str) -> list[str]:
    return "".join(
        " " if unicodedata.category(char) in ("Pd", "Po", "Zs") and char != "'" else char for char in text
    ).split()


def likely(text: str, hotwords: Sequence[str], language: str) -> tuple[str, ...]:
    """Return the words that may have been said: those like which something in the text sounds, the likest first.

    If a script does not show how words sound, any of the first may have been said. Words that are in the text already
    are only returned beside others, so that they stay.
    """
    said = units(text, language)
    if not said:
        return ()
    parts = {word: units(word, language) for word in hotwords}
    there = {word for word, part in parts.items() if part and _places(part, said)}
    if language in WITHOUT_LETTERS:
        found = [word for word in hotwords if word not in there]
    else:
        scores = {word: _likeness(part, said) for word, part in parts.items() if word not in there}
        found = sorted((word for word, score in scores.items() if score >= SIMILAR), key=lambda word: -scores[word])
    if not found:
        return ()
    return tuple([*found, *sorted(there)][:MOST_LISTENED_FOR])


def _likeness(part: Sequence[str], said: Sequence[str]) -> float:
    """Return how much the stretch of a text that sounds most like a word does, from 0 to 1."""
    wanted = "".join(part)
    if not wanted:
        return 0.0
    sizes = range(max(1, len(part) - 1), len(part) + 3)
    stretches = {"".join(said[at : at + size]) for size in sizes for at in range(max(1, len(said) - size + 1))}
    return max(similarity(wanted, stretch) for stretch in stretches)


def _places(part: Sequence[str], said: Sequence[str]) -> list[int]:
    return [at for at in range(len(said) - len(part) + 1) if said[at : at + len(part)] == list(part)]


def is_supported(heard: Decoded, plain: Decoded, hotwords: Iterable[str], language: str) -> bool:
    """Return whether a text with words that were listened for is credible beside the text without them.

    Each of these words must stand where the other text has something that sounds like it, and the rest must agree.
    """
    said, other = units(heard.text, language), units(plain.text, language)
    length = sum(map(len, said)) / max(1, sum(map(len, other)))
    if not LENGTHS[0] <= length <= LENGTHS[1] or is_repetitive(heard, 1e9):
        return False
    gain = heard.average_log_probability - plain.average_log_probability
    if gain < LEAST_GAIN or heard.average_log_probability < MIN_LOG_PROBABILITY:
        return False
    if agreement(heard.text, plain.text) < ALIKE:
        return False
    matcher = SequenceMatcher(None, other, said, autojunk=False)
    opcodes = matcher.get_opcodes()
    is_new = False
    for word in hotwords:
        part = units(word, language)
        for at in _places(part, said) if part else ():
            changed = [op for op in opcodes if op[0] != "equal" and op[3] < at + len(part) and op[4] > at]
            if not changed:
                continue
            is_new = True
            first, last = min(op[1] for op in changed), max(op[2] for op in changed)
            kept = [op for op in opcodes if op[0] == "equal" and op[3] < at + len(part) and op[4] > at]
            first = min([first, *(op[1] + max(0, at - op[3]) for op in kept)])
            last = max([last, *(op[1] + min(op[4], at + len(part)) - op[3] for op in kept)])
            if not _sounds_right(part, other[first:last], language):
                return False
    return is_new


def _sounds_right(part: Sequence[str], instead_of: Sequence[str], language: str) -> bool:
    if language in WITHOUT_LETTERS:
        return abs(len(part) - len(instead_of)) <= 1
    return bool(instead_of) and _likeness(part, instead_of) >= SIMILAR
