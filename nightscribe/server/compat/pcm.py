"""Recognize and wrap sound without a header. Pure."""

import struct

SAMPLE_RATE = 16_000
_UNKNOWN_BYTES = 0xFFFF_FFFF  # players then read to the end of the file
_CONTAINERS = (b"RIFF", b"RIFX", b"RF64", b"fLaC", b"OggS", b"ID3", b"\x1aE\xdf\xa3", b"FORM")


def header_for(beginning: bytes) -> bytes:
    """Return the WAV header for 16-bit mono samples at 16 kHz, or nothing if the bytes begin a file that has its own.

    `beginning`: the first bytes of the file.
    """
    if beginning.startswith(_CONTAINERS) or beginning[4:8] == b"ftyp":
        return b""
    bytes_per_second = SAMPLE_RATE * 2
    return struct.pack(
        "<4sI4s4sIHHIIHH4sI",
        *(b"RIFF", _UNKNOWN_BYTES, b"WAVE", b"fmt ", 16),
        *(1, 1, SAMPLE_RATE, bytes_per_second, 2, 16),
        *(b"data", _UNKNOWN_BYTES),
    )
