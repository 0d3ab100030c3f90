"""From the words of a window to its segments. Pure; times are seconds."""

from collections.abc import Iterable, Sequence
from itertools import pairwise

from nightscribe.shared.model.transcript import Segment, Word
from nightscribe.worker.engines.whisper.base import Decoded
from nightscribe.worker.engines.whisper.quality import compression_ratio

PAUSE_S = 1.0  # ends a segment even in the middle of a sentence
# Source: openai/whisper timing.py, merge_punctuations.
OPENING = "\"'“¿([{-"
CLOSING = "\"'.。,，!！?？:：”)]}、"
SENTENCE_ENDS = (".", "?", "!", "…", "。", "？", "！", "؟", "।")
CLOSING_QUOTES = "\"'”’»)]}"


def joined(words: Iterable[Word]) -> list[Word]:
    """Words with the marks that belong to them; the tokenizer makes words of those as well."""
    made: list[Word] = []
    opening: Word | None = None
    for word in words:
        if not word.text:
            continue
        if opening is not None:
            word = Word(opening.start_s, word.end_s, opening.text + word.text)  # noqa: PLW2901
            opening = None
        if word.text.startswith(" ") and word.text.strip() and word.text.strip() in OPENING:
            opening = word
        elif made and (word.text in CLOSING or word.text.isspace()):
            made[-1] = made[-1]._replace(text=made[-1].text + word.text)
        else:
            made.append(word)
    return [*made, opening] if opening is not None else made


def segments(words: Sequence[Word], decoded: Decoded) -> list[Segment]:
    """The words as sentences or so: cut after the end of a sentence and at long pauses."""
    found: list[list[Word]] = [[words[0]]] if words else []
    for before, word in pairwise(words):
        ended = before.text.rstrip().rstrip(CLOSING_QUOTES).endswith(SENTENCE_ENDS) and _begins_sentence(word)
        if ended or word.start_s - before.end_s >= PAUSE_S:
            found.append([])
        found[-1].append(word)
    return [_segment(each, decoded) for each in found if "".join(word.text for word in each).strip()]


def _begins_sentence(word: Word) -> bool:
    # After "Mr." or "3." a small letter or a figure goes on; scripts without capitals begin anywhere.
    first = word.text.strip().lstrip(OPENING + "«„‘—–")[:1]
    return not (first.islower() or first.isdigit())


def _segment(words: Sequence[Word], decoded: Decoded) -> Segment:
    text = "".join(word.text for word in words).strip()
    return Segment(
        start_s=words[0].start_s,
        end_s=max(words[0].start_s, words[-1].end_s),
        text=text,
        average_log_probability=decoded.average_log_probability,
        no_speech_probability=decoded.no_speech_probability,
        compression_ratio=compression_ratio(text),
        words=tuple(words),
    )
