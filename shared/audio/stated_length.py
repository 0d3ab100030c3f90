"""Read the length that the header of a CAF, W64, WMA or WMV file states.

ffmpeg reports only the length of the data actually present.
"""

import struct
from typing import BinaryIO

MOST_CHUNKS = 64

_ASF = b"\x30\x26\xb2\x75\x8e\x66\xcf\x11"
_ASF_FILE_PROPERTIES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")
_ASF_BROADCAST = 1
_W64 = b"riff\x2e\x91\xcf\x11\xa5\xd6\x28\xdb\x04\xc1\x00\x00"


def stated_length(file: BinaryIO, head: bytes) -> float | None:
    """Return the length in seconds that a file states, or None; `head` is its beginning."""
    if head.startswith(_ASF):
        return _asf_s(head)
    if head.startswith(b"caff"):
        return _caf_s(file)
    if head.startswith(_W64):
        return _w64_s(file)
    return None


def _asf_s(head: bytes) -> float | None:
    at = head.find(_ASF_FILE_PROPERTIES)
    if at < 0 or len(head) < at + 92:
        return None
    play_100ns, _, preroll_ms, flags = struct.unpack_from("<QQQI", head, at + 64)
    seconds = play_100ns / 1e7 - preroll_ms / 1e3
    return seconds if seconds > 0 and not flags & _ASF_BROADCAST else None


def _caf_s(file: BinaryIO) -> float | None:
    at, bytes_per_s = 8, 0.0
    for _ in range(MOST_CHUNKS):
        file.seek(at)
        head = file.read(12)
        if len(head) < 12:
            return None
        name, n_bytes = struct.unpack(">4sq", head)
        if name == b"desc" and len(body := file.read(24)) == 24:
            rate, _, _, packet_bytes, packet_frames = struct.unpack(">d4sIII", body)
            bytes_per_s = packet_bytes * rate / packet_frames if packet_frames else 0.0
        if name == b"data":
            return (n_bytes - 4) / bytes_per_s if n_bytes > 4 and bytes_per_s else None
        if n_bytes < 0:
            return None
        at += 12 + n_bytes
    return None


def _w64_s(file: BinaryIO) -> float | None:
    at, bytes_per_s = 40, 0
    for _ in range(MOST_CHUNKS):
        file.seek(at)
        head = file.read(24)
        if len(head) < 24:
            return None
        name, n_bytes = head[:4], struct.unpack_from("<Q", head, 16)[0]
        if name == b"fmt " and len(body := file.read(16)) == 16:
            bytes_per_s = struct.unpack_from("<I", body, 8)[0]
        if name == b"data":
            return (n_bytes - 24) / bytes_per_s if bytes_per_s and 24 < n_bytes < 2**62 else None
        at += max(24, (n_bytes + 7) // 8 * 8)
    return None
