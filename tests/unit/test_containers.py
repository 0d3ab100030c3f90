"""What containers are trusted with, by their first and last bytes."""

import struct
from pathlib import Path

import pytest
from support import recordings

from nightscribe.shared.audio.containers import ENDS_BYTES, counts_from_the_asked, has_times, seeks_exactly


def wav(codec: int) -> bytes:
    return b"RIFF\0\0\0\0WAVEfmt " + struct.pack("<IH", 16, codec) + bytes(14) + b"data"


def page(serial: bytes, flags: int = 0) -> bytes:
    return b"OggS\0" + bytes([flags]) + bytes(8) + serial + bytes(64)


TS = (b"G" + bytes(187)) * 4
ADTS, MP3 = b"\xff\xf1\x50\x80", b"\xff\xfb\x90\x64"


def id3(size: int) -> bytes:
    return b"ID3\x04\0\0" + bytes([size >> 21 & 127, size >> 14 & 127, size >> 7 & 127, size & 127]) + bytes(size)


@pytest.mark.parametrize(
    ("head", "exact"),
    [
        (wav(1), True),
        (wav(0xFFFE), True),
        (wav(7), True),
        (wav(0x11), False),
        (b"RIFF\0\0\0\0WAVE", False),
        (b"RIFF\0\0\0\0AVI LIST", False),
        (MP3, True),
        (id3(300) + MP3, True),
        (id3(2 * ENDS_BYTES)[:ENDS_BYTES], True),
        (ADTS, False),
        (id3(300) + ADTS, False),
        (b"\0\0\0\x20ftypM4A ", True),
        (b"\x1aE\xdf\xa3", True),
        (TS, True),
        (b"GGG", False),
        (b"fLaC", True),
        (page(b"aaaa", 2) + page(b"aaaa"), True),
        (page(b"aaaa", 2) + page(b"bbbb", 2) + page(b"aaaa") + page(b"bbbb"), True),
        (page(b"aaaa", 2) + page(b"aaaa") + page(b"bbbb", 2) + page(b"bbbb"), False),
        (b"OggS", False),
        (b"garbage", False),
        (b"", False),
        (b"\xff", False),
    ],
)
def test_only_what_was_measured_is_trusted_to_seek(head: bytes, exact: bool) -> None:
    assert seeks_exactly(head, head) is exact


def test_bare_aac_has_no_times() -> None:
    assert [has_times(head) for head in (ADTS, id3(300) + ADTS, MP3, wav(1), b"")] == [False, False, True, True, True]


def test_streams_that_are_broadcast_count_from_what_is_asked_of_them() -> None:
    assert [counts_from_the_asked(head) for head in (TS, b"\0\0\1\xba", wav(1), b"")] == [True, True, False, False]


@pytest.mark.parametrize("suffix", ["mp3", "m4a", "ogg", "flac", "mkv", "wav", "aac"])
def test_real_files_are_known(tmp_path: Path, suffix: str) -> None:
    try:
        made = recordings.tone(tmp_path / f"a.{suffix}", 1).read_bytes()
    except AssertionError as error:
        pytest.skip(f"this ffmpeg has no encoder for it: {error}")
    assert seeks_exactly(made[:ENDS_BYTES], made[-ENDS_BYTES:]) is (suffix != "aac")
