"""Write JSON as openai-whisper does, for the programs that read its results.

Source: openai/whisper, transcribe.py (the result) and utils.py (its writers). Fields that only the decoder knows are
empty: `tokens`, and `temperature`, which is 0. `speaker` is the field of whisperX.
"""

import json
import math
from typing import Any

from nightscribe.shared.formats.document import text_language
from nightscribe.shared.formats.format import Format
from nightscribe.shared.formats.line_breaks import breakable, one_line
from nightscribe.shared.formats.speakers import shown_names
from nightscribe.shared.model.transcript import Segment, Transcript, Word

FRAMES_PER_S = 100  # of the features, in which `seek` counts


def render(transcript: Transcript) -> bytes:
    """Return one object with text, segments and language; segments have words if the layout includes them.

    Whisper's writers take the words of all segments if the first one has any. So a segment whose words have no times
    is one word.
    """
    names = shown_names(transcript)
    spoken = [each for each in transcript.segments if one_line(each.text)]
    segments = [
        _segment(number, each, names.get(each.speaker), with_words=transcript.layout.words)
        for number, each in enumerate(spoken)
    ]
    whole = {
        "text": "".join(each["text"] for each in segments),
        "segments": segments,
        "language": text_language(transcript) or "en",
    }
    return (json.dumps(whole, ensure_ascii=False, indent=2) + "\n").encode()


def _segment(number: int, segment: Segment, speaker: str | None, *, with_words: bool) -> dict[str, Any]:
    text = one_line(segment.text)
    text = text if breakable("x", text[0]) else f" {text}"  # as Whisper begins a segment in a script with spaces
    made: dict[str, Any] = {
        "id": number,
        "seek": int(segment.start_s * FRAMES_PER_S),
        "start": segment.start_s,
        "end": segment.end_s,
        "text": text,
        "tokens": [],
        "temperature": 0.0,
        "avg_logprob": segment.average_log_probability,
        "compression_ratio": segment.compression_ratio,
        "no_speech_prob": segment.no_speech_probability,
    }
    if with_words:
        score = segment.average_log_probability
        probability = None if score is None else round(math.exp(min(0.0, score)), 4)
        words = segment.words or (Word(segment.start_s, segment.end_s, text),)
        made["words"] = [
            {"word": _plain(word.text), "start": word.start_s, "end": word.end_s, "probability": probability}
            for word in words
        ]
    if speaker:
        made["speaker"] = speaker
    return made


def _plain(word: str) -> str:
    """Return a word without control characters, with the space before it."""
    return f" {one_line(word)}" if word[:1].isspace() else one_line(word)


def is_same(content: bytes, transcript: Transcript) -> bool:
    """Return whether a file holds the same values, however it is indented."""
    return bool(json.loads(content) == json.loads(render(transcript)))


FORMAT = Format("whisper-json", ".whisper.json", "application/json", render, is_same)
