"""Determine from the first bytes of a recording what ffmpeg's times for it mean. Pure."""

HEAD_BYTES = 64 * 1024  # number of first bytes that these functions need
TS_PACKET_BYTES = 188
ID3_HEADER_BYTES = 10


def has_times(head: bytes) -> bool:
    """Return whether ffmpeg's timestamps are meaningful; bare AAC has none, and ffmpeg's substitutes may be wrong."""
    return not _is_bare_aac(_after_id3(head))


def counts_from_mapped_streams(head: bytes) -> bool:
    """Return whether ffmpeg counts from the first of the mapped streams instead of from the start of the film."""
    return is_transport_stream(head) or head.startswith((b"\0\0\1\xba", b"OggS"))


def id3_bytes(head: bytes) -> int:
    """Return the length of the ID3v2 tag with which `head` begins, or 0."""
    if not head.startswith(b"ID3") or len(head) < ID3_HEADER_BYTES:
        return 0
    return ID3_HEADER_BYTES + sum((byte & 0x7F) << 7 * (9 - n) for n, byte in enumerate(head[:10]) if n > 5)


def _after_id3(head: bytes) -> bytes:
    """Return the bytes after a tag, or `head` unchanged if the tag is longer."""
    return head[id3_bytes(head) :] or head


def is_mpeg_audio(head: bytes) -> bool:
    """Return whether the file is MP1 to MP3, whose frames ffmpeg counts from the beginning without decoding them."""
    framed = len(head) > 1 and head[0] == 0xFF and head[1] & 0xE0 == 0xE0
    return head.startswith(b"ID3") or (framed and not _is_bare_aac(head))


def _is_bare_aac(head: bytes) -> bool:
    """Return whether the file is ADTS, which looks like MPEG audio of layer 0."""
    return len(head) > 1 and head[0] == 0xFF and head[1] & 0xF6 == 0xF0


def is_bare_stream(head: bytes) -> bool:
    """Return whether the file is a sequence of frames of sound, which states neither times nor its length."""
    sound = _after_id3(head)
    is_ac3 = sound.startswith(b"\x0b\x77")
    return is_mpeg_audio(sound) or _is_bare_aac(sound) or is_ac3 or sound.startswith((b"TTA1", b"#!AMR"))


def is_transport_stream(head: bytes) -> bool:
    """Return whether the file is MPEG-TS."""
    return len(head) > 2 * TS_PACKET_BYTES and head[: 2 * TS_PACKET_BYTES + 1 : TS_PACKET_BYTES] == b"GGG"
