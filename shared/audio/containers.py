"""What the container of a recording can be trusted with, by its first and last bytes. Pure."""

import struct
from itertools import takewhile

ENDS_BYTES = 128 * 1024  # as much of the beginning and of the end is wanted; a page of Ogg has up to half of it
TS_PACKET_BYTES = 188
ID3_HEADER_BYTES = 10

# Measured: there ffmpeg finds the same samples by seeking as by decoding from the beginning.
_EXACT = {
    0: (
        b"fLaC",
        b"\x1aE\xdf\xa3",  # Matroska and WebM
        b"FORM",  # AIFF
        b"wvpk",
        b"#!AMR",
        b"\x0bw",  # AC-3
        b"\x30\x26\xb2\x75\x8e\x66\xcf\x11",  # ASF: WMA and WMV
        b"\0\0\1\xba",  # MPEG program stream
        b"FLV",
    ),
    4: (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip"),  # MP4 and QuickTime
}
_WAV_CODECS = (1, 3, 6, 7, 0xFFFE)  # PCM, float and the laws of telephony; in the others not every seek arrives


def seeks_exactly(head: bytes, tail: bytes) -> bool:
    """Whether a slice may be decoded from a little before its start; else it takes decoding from the beginning."""
    if head[:4] in (b"RIFF", b"RF64") and head[8:12] == b"WAVE":
        return _wav_codec(head) in _WAV_CODECS
    if head.startswith(b"OggS"):
        return not _is_chained(head, tail)
    known = any(head.startswith(name, at) for at, names in _EXACT.items() for name in names)
    return known or _is_mpeg_audio(_after_id3(head)) or _is_transport_stream(head)


def has_times(head: bytes) -> bool:
    """Whether the timestamps ffmpeg sees mean something: bare AAC has none, and what is made up for it can run wild."""
    return not _is_bare_aac(_after_id3(head))


def counts_from_the_asked(head: bytes) -> bool:
    """Whether ffmpeg takes for zero the beginning of the streams it is asked for, and not that of the whole film."""
    return _is_transport_stream(head) or head.startswith((b"\0\0\1\xba", b"OggS"))


def _wav_codec(head: bytes) -> int | None:
    at = head.find(b"fmt ")
    return int(struct.unpack_from("<H", head, at + 8)[0]) if 0 < at <= len(head) - 10 else None


def _is_chained(head: bytes, tail: bytes) -> bool:
    """Whether the Ogg ends with another stream than it begins with, as recorded radio does: times begin again there."""
    last = tail.rfind(b"OggS")
    first_pages = takewhile(_begins_a_stream, head.split(b"OggS")[1:])
    return last < 0 or tail[last + 14 : last + 18] not in [page[10:14] for page in first_pages]


def _begins_a_stream(page: bytes) -> bool:
    """`page` without its first four bytes."""
    return len(page) > 1 and bool(page[1] & 2)


def id3_bytes(head: bytes) -> int:
    """Return the length of the ID3v2 tag with which `head` begins, or 0."""
    if not head.startswith(b"ID3") or len(head) < ID3_HEADER_BYTES:
        return 0
    return ID3_HEADER_BYTES + sum((byte & 0x7F) << 7 * (9 - n) for n, byte in enumerate(head[:10]) if n > 5)


def _after_id3(head: bytes) -> bytes:
    """Return what follows a tag; the tag alone if that is longer than the head."""
    return head[id3_bytes(head) :] or head


def _is_mpeg_audio(head: bytes) -> bool:
    """MP1 to MP3, whose frames ffmpeg counts from the beginning without decoding them."""
    framed = len(head) > 1 and head[0] == 0xFF and head[1] & 0xE0 == 0xE0
    return head.startswith(b"ID3") or (framed and not _is_bare_aac(head))


def _is_bare_aac(head: bytes) -> bool:
    """ADTS: like MPEG audio, but of layer 0."""
    return len(head) > 1 and head[0] == 0xFF and head[1] & 0xF6 == 0xF0


def _is_transport_stream(head: bytes) -> bool:
    return len(head) > 2 * TS_PACKET_BYTES and head[: 2 * TS_PACKET_BYTES + 1 : TS_PACKET_BYTES] == b"GGG"
