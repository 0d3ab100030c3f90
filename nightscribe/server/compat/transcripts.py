"""Write transcripts as OpenAI's API does. Pure.

Fields that only a decoder knows are those of the format `whisper-json`: `tokens` is empty, and `temperature` is 0,
although a doubtful passage may have been decoded at a higher one. Scores that an engine does not give are null.
"""

import json
from collections.abc import Iterable, Iterator
from string import ascii_uppercase
from typing import Any

from nightscribe.shared.formats.document import text_language
from nightscribe.shared.formats.line_breaks import breakable, one_line
from nightscribe.shared.formats.registry import render
from nightscribe.shared.model.corrections import corrected
from nightscribe.shared.model.languages import LANGUAGES
from nightscribe.shared.model.transcript import Segment, Transcript

Json = dict[str, Any]

UNKNOWN_LANGUAGE = "unknown"  # nobody speaks
UNKNOWN_SPEAKER = "unknown"


def spoken(transcript: Transcript) -> tuple[Segment, ...]:
    """Return the segments with words, as people have corrected them."""
    return tuple(with_words(corrected(transcript).segments))


def with_words(segments: Iterable[Segment]) -> Iterator[Segment]:
    """Yield the segments that hold any text."""
    return (segment for segment in segments if one_line(segment.text))


def deltas(segments: Iterable[Segment], before: str = "") -> Iterator[str]:
    """Yield the text of each segment. Joined, they are running text, with spaces between them where the script has any.

    `before`: the text that they continue.
    """
    for segment in segments:
        text = one_line(segment.text)
        joined = text if not before or breakable(before[-1], text[0]) else f" {text}"
        yield joined
        before = joined


def text_of(segments: Iterable[Segment]) -> str:
    """Return segments as running text."""
    return "".join(deltas(segments))


def language_name(code: str | None) -> str:
    """Return the name of a language in lower case, such as "english"."""
    return LANGUAGES.get(code or "", code or UNKNOWN_LANGUAGE)


def usage(transcript: Transcript) -> Json:
    """Return how much sound was transcribed."""
    return {"type": "duration", "seconds": round(transcript.decoded_s, 3)}


def json_response(transcript: Transcript) -> Json:
    """Return the format `json`."""
    code = text_language(transcript)
    return {
        "text": text_of(spoken(transcript)),
        "languages": [{"code": code}] if code else [],
        "usage": usage(transcript),
    }


def verbose_json(transcript: Transcript, granularities: Iterable[str]) -> Json:
    """Return the format `verbose_json`. `granularities`: `word`, `segment` or both."""
    segments = spoken(transcript)
    wanted = set(granularities)
    return {
        "task": transcript.options.task,
        "language": language_name(text_language(transcript)),
        "duration": round(transcript.decoded_s, 3),
        "text": text_of(segments),
        **({"segments": list(whisper_segments(transcript))} if "segment" in wanted else {}),
        **({"words": [word for segment in segments for word in words_of(segment)]} if "word" in wanted else {}),
        "usage": usage(transcript),
    }


def whisper_segments(transcript: Transcript) -> Iterator[Json]:
    """Yield segments as openai-whisper writes them, without words and speakers."""
    for segment in json.loads(render(transcript, "whisper-json"))["segments"]:
        yield {name: value for name, value in segment.items() if name not in ("words", "speaker")}


def words_of(segment: Segment) -> Iterator[Json]:
    """Yield the words of a segment with their times, without spaces around them."""
    for word in segment.words:
        if text := word.text.strip():
            yield {"word": text, "start": word.start_s, "end": word.end_s}


def diarized_json(transcript: Transcript) -> Json:
    """Return the format `diarized_json`."""
    segments = spoken(transcript)
    return {
        "task": "transcribe",
        "duration": round(transcript.decoded_s, 3),
        "text": text_of(segments),
        "segments": list(diarized_segments(transcript)),
        "usage": usage(transcript),
    }


def diarized_segments(transcript: Transcript) -> Iterator[Json]:
    """Yield segments with their speakers: the name of a known voice, else A, B and so on in the order of speaking."""
    names = {each.label: each.name for each in transcript.speakers if each.name}
    segments = spoken(transcript)
    unnamed = dict.fromkeys(each.speaker for each in segments if each.speaker and each.speaker not in names)
    shown = names | {label: letters(number) for number, label in enumerate(unnamed)}
    for number, segment in enumerate(segments, 1):
        yield {
            "type": "transcript.text.segment",
            "id": f"seg_{number:03d}",
            "start": segment.start_s,
            "end": segment.end_s,
            "text": one_line(segment.text),
            "speaker": shown.get(segment.speaker or "", UNKNOWN_SPEAKER),
        }


def letters(number: int) -> str:
    """Return A for 0, Z for 25 and AA for 26."""
    shown = ""
    number += 1
    while number:
        number, rest = divmod(number - 1, 26)
        shown = ascii_uppercase[rest] + shown
    return shown
