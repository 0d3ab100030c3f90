"""Give sound without a header one while it arrives."""

import secrets
import struct

from nightscribe.server.jobs.spool import Incoming, Spool

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


class PcmSpool(Spool):
    """Receives files like another spool; those without a header get one."""

    def __init__(self, spool: Spool) -> None:
        self.__dict__.update(vars(spool))

    def begin(self, name: str, size: int | None = None) -> Incoming:
        """Begin a file. Raises: what the other spool raises."""
        self.require_room(size or 0)
        return _PcmIncoming(self, self.path_of(secrets.token_hex(16), name), name, None)


class _PcmIncoming(Incoming):
    """A file that is arriving in pieces of which the first is long enough to recognize a container."""

    def write(self, data: bytes) -> None:
        """Add the next bytes, after a header if they are the first and have none."""
        super().write(data if self.size else header_for(data) + data)
