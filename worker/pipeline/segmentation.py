"""From what was recognized in a window to its segments. Pure; times are seconds."""

from collections.abc import Iterable, Sequence
from itertools import pairwise

from nightscribe.shared.audio.waveform import RATE, Waveform
from nightscribe.shared.model.transcript import Segment, Word
from nightscribe.worker.engines.base import Recognition
from nightscribe.worker.pipeline.word_boundaries import fitted, sounding
from nightscribe.worker.repetition import compression_ratio

PAUSE_S = 1.0  # a pause this long ends a segment even in the middle of a sentence
# Source: openai/whisper timing.py, merge_punctuations.
OPENING = "\"'“¿([{-"
CLOSING = "\"'.。,，!！?？:：”)]}、"
SENTENCE_ENDS = (".", "?", "!", "…", "。", "？", "！", "؟", "।")
CLOSING_QUOTES = "\"'”’»)]}"


def window_segments(recognition: Recognition, waveform: Waveform) -> list[Segment]:
    """Return the segments of a window; a single one over all of its sound where the engine gives no words."""
    if not recognition.text.strip():
        return []
    stretches = sounding(waveform)
    if recognition.words:
        return segments(fitted(joined(recognition.words), stretches), recognition)
    start_s, end_s = (stretches[0][0], stretches[-1][1]) if len(stretches) else (0.0, len(waveform) / RATE)
    whole = Word(float(start_s), float(end_s), recognition.text.strip())
    return [segment.model_copy(update={"words": ()}) for segment in segments([whole], recognition)]


def joined(words: Iterable[Word]) -> list[Word]:
    """Return words with the punctuation that belongs to them, which a tokenizer takes for words of their own."""
    made: list[Word] = []
    opening: Word | None = None
    for word in words:
        if not word.text:
            continue
        if opening is not None:
            word = word._replace(start_s=opening.start_s, text=opening.text + word.text)  # noqa: PLW2901
            opening = None
        if word.text.startswith(" ") and word.text.strip() and word.text.strip() in OPENING:
            opening = word
        elif made and (word.text in CLOSING or word.text.isspace()):
            made[-1] = made[-1]._replace(text=made[-1].text + word.text)
        else:
            made.append(word)
    return [*made, opening] if opening is not None else made


def segments(words: Sequence[Word], recognition: Recognition) -> list[Segment]:
    """Return the words as segments, cut after the end of a sentence and at long pauses."""
    found: list[list[Word]] = [[words[0]]] if words else []
    for before, word in pairwise(words):
        ended = before.text.rstrip().rstrip(CLOSING_QUOTES).endswith(SENTENCE_ENDS) and _begins_sentence(word)
        if ended or word.start_s - before.end_s >= PAUSE_S:
            found.append([])
        found[-1].append(word)
    return [_segment(each, recognition) for each in found if "".join(word.text for word in each).strip()]


def _begins_sentence(word: Word) -> bool:
    # A small letter or a digit continues the sentence, as after "ca." or "No."; not all scripts have capitals.
    first = word.text.strip().lstrip(OPENING + "«„‘—–")[:1]
    return not (first.islower() or first.isdigit())


def _segment(words: Sequence[Word], recognition: Recognition) -> Segment:
    text = "".join(word.text for word in words).strip()
    return Segment(
        start_s=words[0].start_s,
        end_s=max(words[0].start_s, words[-1].end_s),
        text=text,
        average_log_probability=recognition.average_log_probability,
        no_speech_probability=recognition.no_speech_probability,
        compression_ratio=compression_ratio(text),
        words=tuple(words),
    )
