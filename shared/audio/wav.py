"""Read the header of a WAV file (RIFF, RF64, BW64), and check whether the size that it states is true."""

import struct
from dataclasses import dataclass
from typing import BinaryIO

LONGEST_HEADER = 64  # chunks before the sound; a file with more is not a usable WAV
CHUNK_HEADER_BYTES = 8
NEARLY = 0x1_0000  # programs that write to a pipe state a size near the maximum of 31 or 32 bits
EXTENSIBLE = 0xFFFE

_RAW = {
    (1, 8): "u8",
    (1, 16): "s16le",
    (1, 24): "s24le",
    (1, 32): "s32le",
    (3, 32): "f32le",
    (3, 64): "f64le",
    (6, 8): "alaw",
    (7, 8): "mulaw",
}


@dataclass(frozen=True)
class Wav:
    """One WAV in a file, which may hold several in succession."""

    codec: int
    """Code in the `fmt ` chunk: 1 for PCM, 3 for float, 6 and 7 for A-law and µ-law."""
    n_channels: int
    rate: int
    bytes_per_s: int
    bits: int
    sound_at: int
    """Offset in the file at which the sound begins."""
    sound_end: int
    """Offset in the file at which the sound really ends."""
    stated_bytes: int | None
    """Size of the sound in the header. None if the header states no size, as with programs that write to a pipe."""
    is_true: bool
    """True if a reader that trusts the header reads all of the sound."""

    @property
    def seconds(self) -> float | None:
        """Return the length that the header states, or the real one if that is longer or the header states none.

        Return None if the length is unknown.
        """
        if not self.bytes_per_s or not (self.is_true or self.raw_format):
            return None  # programs do not always state the true rate of a codec
        there = self.sound_end - self.sound_at
        return max(there, self.stated_bytes or 0) / self.bytes_per_s

    @property
    def raw_format(self) -> str | None:
        """Return ffmpeg's name for these samples without a header, or None for a codec that needs one."""
        return _RAW.get((self.codec, self.bits))


def read_wav(file: BinaryIO, at: int, size: int) -> Wav | None:
    """Return the WAV that begins at offset `at` in a file of `size` bytes, or None if none begins there."""
    file.seek(at)
    riff = file.read(12)
    if riff[:4] not in (b"RIFF", b"RF64", b"BW64") or riff[8:] != b"WAVE":
        return None
    fmt, long_bytes = b"", None
    at += 12
    for _ in range(LONGEST_HEADER):
        file.seek(at)
        head = file.read(CHUNK_HEADER_BYTES)
        if len(head) < CHUNK_HEADER_BYTES:
            return None
        name, n_bytes = struct.unpack("<4sI", head)
        at += CHUNK_HEADER_BYTES
        if name == b"data":
            stated = long_bytes if n_bytes == 0xFFFF_FFFF and long_bytes is not None else n_bytes
            return _wav(file, fmt, at, stated, size) if len(fmt) >= 16 else None
        if name == b"fmt ":
            fmt = file.read(min(n_bytes, 40))
        if name == b"ds64" and len(body := file.read(min(n_bytes, 28))) >= 16:
            long_bytes = struct.unpack_from("<Q", body, 8)[0]
        at += n_bytes + n_bytes % 2
    return None


def _wav(file: BinaryIO, fmt: bytes, at: int, stated: int, size: int) -> Wav:
    codec, n_channels, rate, bytes_per_s, _, bits = struct.unpack_from("<HHIIHH", fmt)
    if codec == EXTENSIBLE and len(fmt) >= 26:
        codec = struct.unpack_from("<H", fmt, 24)[0]
    there = size - at
    is_open = stated == 0 or any(abs(stated - largest) <= NEARLY for largest in (2**31, 2**32)) or stated >= 2**62
    is_true = stated <= there and (0 < stated == there or _goes_on(file, at + stated + stated % 2, size))
    end = at + stated if is_true else _next_wav(file, at, size) or size
    return Wav(
        codec=codec,
        n_channels=n_channels,
        rate=rate,
        bytes_per_s=bytes_per_s,
        bits=bits,
        sound_at=at,
        sound_end=end,
        stated_bytes=None if is_open and not is_true else stated,
        is_true=is_true or (not is_open and stated > there),
    )


def _goes_on(file: BinaryIO, at: int, size: int) -> bool:
    """Return whether the sound can end at offset `at`, because nothing, another chunk or another WAV follows."""
    if at >= size - 1:
        return True
    file.seek(at)
    head = file.read(CHUNK_HEADER_BYTES)
    if len(head) < CHUNK_HEADER_BYTES or not head.strip(b"\0"):
        return True
    name, n_bytes = struct.unpack("<4sI", head)
    return name in (b"RIFF", b"RF64", b"BW64") or (
        all(32 <= byte < 127 for byte in name) and at + CHUNK_HEADER_BYTES + n_bytes <= size + 1
    )


def _next_wav(file: BinaryIO, at: int, size: int) -> int | None:
    """Return the offset of the next WAV after `at`, or None. This may read the whole file, but is rarely needed."""
    file.seek(at)
    kept = b""
    while at < size and (read := file.read(2**20)):
        block = kept + read
        found = -1
        while (found := block.find(b"WAVEfmt ", found + 1)) >= 0:
            if found >= 8 and block[found - 8 : found - 4] in (b"RIFF", b"RF64"):
                return at - len(kept) + found - 8
        kept = block[-16:]
        at += len(read)
    return None
