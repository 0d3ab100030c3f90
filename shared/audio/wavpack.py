"""Split a WavPack file of many channels into files that ffmpeg can decode.

WavPack codes each pair of channels as a stream of its own: for every stretch of time, the file has one block of each
stream. ffmpeg decodes at most eight channels.
"""

import struct
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO

from nightscribe.shared.audio.readable import Readable
from nightscribe.shared.process.liveness import report_alive

MOST_CHANNELS = 8  # that ffmpeg decodes
MOST_STREAMS = 64  # ffmpeg merges no more inputs

_HEADER = struct.Struct("<4sIHBBIIIII")  # name, size, version, 2 high bytes, total samples, first, count, flags, CRC
_MONO, _FIRST, _LAST = 0x4, 0x800, 0x1000
_CHANNELS, _DUMMY, _FUNCTION = 0x0D, 0x00, 0x3F  # kinds of metadata, and the mask of the kind
_LARGE = 0x80
_MOST_BLOCK_BYTES = 2**20  # larger ones are damaged; ffmpeg refuses them too


def n_streams(file: BinaryIO) -> int:
    """Return the number of streams in a file with more channels than ffmpeg decodes, else 0."""
    streams = channels = 0
    for block in _blocks(file):
        streams, channels = streams + 1, channels + (1 if _flags(block) & _MONO else 2)
        if _flags(block) & _LAST:
            return streams if channels > MOST_CHANNELS and streams <= MOST_STREAMS else 0
    return 0


def split(path: Readable, folder: Path) -> list[Path]:
    """Write each stream into a file of its own in `folder`, and return these in order.

    Raises: OSError: if the recording cannot be read or the folder not written.
    """
    with ExitStack() as stack:
        source = stack.enter_context(path.open("rb"))
        paths = [folder / f"{n}.wv" for n in range(n_streams(source))]
        files = [stack.enter_context(each.open("wb")) for each in paths]
        stream, total = 0, b""
        for block in _blocks(source):
            report_alive()
            stream = 0 if _flags(block) & _FIRST else stream + 1
            total = total or block[11:16]
            if stream < len(files):
                files[stream].write(_alone(block, total))
    return paths


def _blocks(file: BinaryIO) -> Iterator[bytes]:
    at = 0
    while True:
        file.seek(at)
        head = file.read(_HEADER.size)
        if len(head) < _HEADER.size or not head.startswith(b"wvpk"):
            return
        n_bytes = 8 + int.from_bytes(head[4:8], "little")
        if not _HEADER.size <= n_bytes <= _MOST_BLOCK_BYTES:
            return
        body = file.read(n_bytes - _HEADER.size)
        if len(body) < n_bytes - _HEADER.size:
            return
        yield head + body
        at += n_bytes


def _flags(block: bytes) -> int:
    return int(_HEADER.unpack_from(block)[8])


def _alone(block: bytes, total: bytes) -> bytes:
    """Return a block as that of a file with one stream, whose total length stands only in the first stream."""
    made = bytearray(block)
    made[11:16] = total
    struct.pack_into("<I", made, 24, _flags(block) | _FIRST | _LAST)
    at = _HEADER.size
    while at + 2 <= len(made):
        kind = made[at]
        if kind & _FUNCTION == _CHANNELS:
            made[at] = kind & ~_FUNCTION | _DUMMY
        is_large = bool(kind & _LARGE)
        n_words = int.from_bytes(made[at + 1 : at + (4 if is_large else 2)], "little")
        at += (4 if is_large else 2) + 2 * n_words
    return bytes(made)
