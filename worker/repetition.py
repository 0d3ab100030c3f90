"""Measure how much a text repeats itself. Pure."""

import zlib

MAX_COMPRESSION_RATIO = 2.4  # a text with a higher ratio repeats itself. Source: openai/whisper transcribe.py


def compression_ratio(text: str) -> float:
    """Return the size of a text divided by its compressed size; repetitions increase it."""
    encoded = text.encode()
    return len(encoded) / len(zlib.compress(encoded))
