"""What may be wrong with a transcript, from what the model says of it."""

from collections.abc import Sequence

from shared.transcript import Flag, Segment

# Source: openai/whisper transcribe.py, where a window beyond these is decoded again.
MAX_COMPRESSION_RATIO = 2.4
MIN_LOG_PROBABILITY = -1.0
DOUBTFUL_SHARE = 0.25  # of the time that is spoken
SURE_LANGUAGE = 0.5


def flags(segments: Sequence[Segment], *, language_probability: float | None) -> tuple[Flag, ...]:
    """What a person may want to look at; `language_probability` is None where the language was given."""
    found = []
    if not segments:
        found.append(Flag.NO_SPEECH)
    if any(segment.compression_ratio > MAX_COMPRESSION_RATIO for segment in segments):
        found.append(Flag.REPETITION)
    spoken_s = sum(segment.end_s - segment.start_s for segment in segments)
    doubtful_s = sum(s.end_s - s.start_s for s in segments if s.average_log_probability < MIN_LOG_PROBABILITY)
    if spoken_s and doubtful_s > DOUBTFUL_SHARE * spoken_s:
        found.append(Flag.LOW_CONFIDENCE)
    if segments and language_probability is not None and language_probability < SURE_LANGUAGE:
        found.append(Flag.LANGUAGE_UNSURE)
    return tuple(found)
