"""Determine from frame numbers whether a FLAC file is one recording or several joined ones."""

import struct
from collections.abc import Iterator
from itertools import pairwise
from typing import BinaryIO

N_LOOKS = 24
LOOK_BYTES = 128 * 1024
LONGEST_HEADER = 16
_BLOCK_SIZES = {1: 192, **{n: 576 << n - 2 for n in range(2, 6)}, **{n: 256 << n - 8 for n in range(8, 16)}}


def is_one(file: BinaryIO, size: int) -> bool:
    """Return whether the clock runs from the first frame to the last, and ends where the header says.

    It reads frames in many places. In joined recordings, either the last frame does not end where the first header
    says, or the clock goes back between two of these places.
    """
    file.seek(0)
    info = file.read(42)
    if len(info) < 42 or info[4] & 0x7F:
        return False
    shortest, longest = struct.unpack_from(">HH", info, 8)
    n_samples = int.from_bytes(info[21:26], "big") & (1 << 36) - 1
    clocks = []
    for n in range(1, N_LOOKS):
        at = size * n // N_LOOKS
        file.seek(at)
        found = next(_frames(file.read(min(LOOK_BYTES, size // N_LOOKS)), shortest, longest), None)
        clocks += [found[0]] if found else []
    last = _last_frame(file, size, shortest, longest)
    if not last or not n_samples:
        return False
    begin, n_last = last
    clocks.append(begin)
    return begin + n_last == n_samples and all(before <= behind for before, behind in pairwise(clocks))


def _last_frame(file: BinaryIO, size: int, shortest: int, longest: int) -> tuple[int, int] | None:
    for n_bytes in (LOOK_BYTES // 64, LOOK_BYTES):  # a second of silence has hundreds of frames
        file.seek(max(0, size - n_bytes))
        # Zeros follow because the last frame may be shorter than the longest header, if it is silent.
        if found := list(_frames(file.read(n_bytes) + bytes(LONGEST_HEADER), shortest, longest)):
            return found[-1]
    return None


def _frames(block: bytes, shortest: int, longest: int) -> Iterator[tuple[int, int]]:
    """Yield (first sample, number of samples) of each frame whose header is in `block`."""
    at = block.find(b"\xff")
    while 0 <= at < len(block) - LONGEST_HEADER:
        frame = _frame(block[at : at + LONGEST_HEADER], shortest, longest)
        if frame is not None:
            yield frame
        at = block.find(b"\xff", at + 1)


def _frame(head: bytes, shortest: int, longest: int) -> tuple[int, int] | None:
    if head[1] not in (0xF8, 0xF9) or head[3] & 1:
        return None
    size_code, rate_code = head[2] >> 4, head[2] & 15
    number, at = _coded_number(head, 4)
    if number is None or size_code == 0:
        return None
    if size_code == 6:
        n_samples, at = head[at] + 1, at + 1
    elif size_code == 7:
        n_samples, at = int.from_bytes(head[at : at + 2], "big") + 1, at + 2
    else:
        n_samples = _BLOCK_SIZES[size_code]
    at += {12: 1, 13: 2, 14: 2}.get(rate_code, 0)
    if rate_code == 15 or at >= len(head) or _crc8(head[:at]) != head[at] or n_samples > longest:
        return None
    return (number if head[1] & 1 else number * shortest), n_samples


def _coded_number(head: bytes, at: int) -> tuple[int | None, int]:
    """Return the number that is coded like a UTF-8 character at `at`, and the index after it."""
    first = head[at]
    if first < 0x80:
        return first, at + 1
    n_more = 7 - (first ^ 0xFF).bit_length()
    if not 1 <= n_more <= 6:
        return None, at
    number = first & (1 << 6 - n_more) - 1
    for byte in head[at + 1 : at + 1 + n_more]:
        if byte & 0xC0 != 0x80:
            return None, at
        number = number << 6 | byte & 0x3F
    return number, at + 1 + n_more


def _crc8(read: bytes) -> int:
    crc = 0
    for byte in read:
        crc ^= byte
        for _ in range(8):
            crc = (crc << 1 ^ (0x07 if crc & 0x80 else 0)) & 0xFF
    return crc
