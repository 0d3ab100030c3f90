"""Divide the recognized words of a window into segments. Pure; times are in seconds."""

from collections.abc import Iterable, Sequence
from itertools import pairwise

from nightscribe.shared.audio.waveform import RATE, Waveform
from nightscribe.shared.formats.sentences import ends_sentence, is_continued
from nightscribe.shared.model.transcript import Segment, Transcript, Word
from nightscribe.worker.engines.base import Recognition
from nightscribe.worker.pipeline.word_boundaries import fitted, sounding
from nightscribe.worker.repetition import MAX_COMPRESSION_RATIO, as_time_allows, compression_ratio

PAUSE_S = 1.0  # a segment ends at a pause this long, because an engine may invent words after it
BREATH_S = 3.0  # a shorter pause in mid-sentence is a breath, after which the sentence continues
LONGEST_SENTENCE_S = 30.0
# Source: openai/whisper timing.py, merge_punctuations.
OPENING = "\"'“¿([{-"
CLOSING = "\"'.。,，!！?？:：”)]}、"


def window_segments(recognition: Recognition, waveform: Waveform, written_in: str | None = None) -> list[Segment]:
    """Return the segments of a window, or a single segment spanning all of its sound if the engine returns no words.

    `written_in`: language code of the text, if it differs from the spoken language.
    """
    if not recognition.text.strip():
        return []
    stretches = sounding(waveform)
    if recognition.words:
        words = fitted(joined(recognition.words), stretches)
        if compression_ratio(recognition.text) > MAX_COMPRESSION_RATIO:
            words = as_time_allows(words)
        return segments(words, recognition, written_in or recognition.language)
    start_s, end_s = (stretches[0][0], stretches[-1][1]) if len(stretches) else (0.0, len(waveform) / RATE)
    whole = Word(float(start_s), float(end_s), recognition.text.strip())
    return [segment.model_copy(update={"words": ()}) for segment in segments([whole], recognition)]


def joined(words: Iterable[Word]) -> list[Word]:
    """Join punctuation to the words that it belongs to, because a tokenizer treats it as separate words."""
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


def segments(words: Sequence[Word], recognition: Recognition, language: str | None = None) -> list[Segment]:
    """Divide the words into segments after the end of a sentence and at long pauses.

    `language`: language code of the text.
    """
    found: list[list[Word]] = [[words[0]]] if words else []
    token = words[0].text if words else ""  # tokenizers split "U.S." into words; only a space ends a token
    for before, word in pairwise(words):
        if _ends(token, word.text, language) or word.start_s - before.end_s >= PAUSE_S:
            found.append([])
        found[-1].append(word)
        token = word.text if word.text[:1].isspace() else token + word.text
    return [_segment(each, recognition) for each in found if "".join(word.text for word in each).strip()]


def _ends(before: str, after: str, language: str | None) -> bool:
    divides_token = before.endswith(".") and not after[:1].isspace()
    return not divides_token and ends_sentence(before, after, language)


def continued(found: Sequence[Segment], language: str | None = None, *, is_plain: bool = False) -> list[Segment]:
    """Join consecutive segments between which a speaker only took a breath; `found` is ordered by time.

    Such a gap may be a window boundary, or a pause longer than `PAUSE_S`. `is_plain`: the text has neither capitals nor
    punctuation, so only the length of a pause shows whether a sentence continues.
    """
    made: list[Segment] = []
    for segment in found:
        longest_s = PAUSE_S if is_plain else BREATH_S
        if (
            made
            and _is_breath(made[-1], segment, longest_s)
            and (is_plain or is_continued(made[-1].text, segment.text, language))
        ):
            made[-1] = _joined_segments(made[-1], segment)
        else:
            made.append(segment)
    return made


def rejoined(transcript: Transcript) -> Transcript:
    """Return the transcript of a recording that was cut, with the sentences whole in which it was cut."""
    language = transcript.options.translate_to if transcript.options.task == "translate" else transcript.language
    found = continued(transcript.segments, language, is_plain=transcript.plain)
    return transcript.model_copy(update={"segments": tuple(found)})


def _is_breath(before: Segment, after: Segment, longest_s: float) -> bool:
    has_words = bool(before.words and after.words) and before.speaker == after.speaker
    return has_words and after.start_s - before.end_s < longest_s and after.end_s - before.start_s < LONGEST_SENTENCE_S


def _joined_segments(before: Segment, after: Segment) -> Segment:
    first = after.words[0]
    has_spaces = any(word.text[:1].isspace() for word in (*before.words, *after.words))  # not all scripts use spaces
    spaced = f" {first.text.lstrip()}" if has_spaces else first.text
    words = (*before.words, first._replace(text=spaced), *after.words[1:])
    text = "".join(word.text for word in words).strip()
    return before.model_copy(
        update={
            "end_s": max(before.end_s, after.end_s),
            "text": text,
            "average_log_probability": _mean(before, after, "average_log_probability"),
            "no_speech_probability": _mean(before, after, "no_speech_probability"),
            "confidence": _mean(before, after, "confidence"),
            "compression_ratio": max(before.compression_ratio or 0.0, after.compression_ratio or 0.0),
            "words": words,
        }
    )


def _mean(before: Segment, after: Segment, score: str) -> float | None:
    """Return the mean of a score over two segments, weighted by the length of their texts."""
    first, second = getattr(before, score), getattr(after, score)
    if first is None or second is None:
        return None
    n, m = len(before.text), len(after.text)
    return float((first * n + second * m) / (n + m))


def _segment(words: Sequence[Word], recognition: Recognition) -> Segment:
    text = "".join(word.text for word in words).strip()
    return Segment(
        start_s=words[0].start_s,
        end_s=max(words[0].start_s, words[-1].end_s),
        text=text,
        average_log_probability=recognition.average_log_probability,
        no_speech_probability=recognition.no_speech_probability,
        # A loop shows only in the whole text of a window, because each sentence by itself looks normal.
        compression_ratio=max(compression_ratio(recognition.text), compression_ratio(text)),
        words=tuple(words),
    )
