"""A measure of how much a text repeats itself. Pure."""

import zlib

MAX_COMPRESSION_RATIO = 2.4  # a text beyond it repeats itself. Source: openai/whisper transcribe.py


def compression_ratio(text: str) -> float:
    """Return the bytes of a text for each byte of its compressed form; repetitions raise it."""
    encoded = text.encode()
    return len(encoded) / len(zlib.compress(encoded))
