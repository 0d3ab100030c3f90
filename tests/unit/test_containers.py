"""How files are put together, and what containers are trusted with."""

import struct
from pathlib import Path

import pytest
from support import recordings

from nightscribe.shared.audio.containers import counts_from_mapped_streams, has_times
from nightscribe.shared.audio.layout import read_layout


def wav(codec: int) -> bytes:
    fmt = struct.pack("<IHHIIHH", 16, codec, 1, 16_000, 32_000, 2, 16)
    return b"RIFF\0\0\0\0WAVEfmt " + fmt + b"data" + struct.pack("<I", 4) + bytes(4)


def page(serial: bytes, flags: int = 0, clock: int = 0) -> bytes:
    """A page of Ogg that holds 64 bytes."""
    return b"OggS\0" + bytes([flags]) + struct.pack("<q", clock) + serial + bytes(8) + b"\1\x40" + bytes(64)


def box(name: bytes, *inside: bytes) -> bytes:
    body = b"".join(inside)
    return struct.pack(">I", len(body) + 8) + name + body


def fragment(clock: int) -> bytes:
    header, time = box(b"tfhd", bytes(4), struct.pack(">I", 1)), box(b"tfdt", bytes(4), struct.pack(">I", clock))
    return box(b"moof", box(b"traf", header, time)) + box(b"mdat", bytes(9))


def element(name: str, body: bytes, *, known: bool = True) -> bytes:
    size = (len(body) | 1 << 56).to_bytes(8, "big") if known else b"\x01" + b"\xff" * 7
    return bytes.fromhex(name) + size + body


def cluster(clock: int, *, known: bool = True) -> bytes:
    return element("1F43B675", element("E7", clock.to_bytes(4, "big")) + element("A3", bytes(40)), known=known)


EBML = element("1A45DFA3", bytes(20))
INFO = element("1549A966", element("2AD7B1", (1_000_000).to_bytes(4, "big")))


def segment(*clusters: bytes, known: bool = True) -> bytes:
    return EBML + element("18538067", INFO + b"".join(clusters), known=known)


FLV = b"FLV\1\4\0\0\0\x09" + bytes(4)


def flv_tag(clock: int) -> bytes:
    return b"\x08\0\0\x05" + clock.to_bytes(3, "big") + bytes(4 + 5 + 4)


TS = (b"G" + bytes(187)) * 4
ADTS, MP3 = b"\xff\xf1\x50\x80", b"\xff\xfb\x90\x64"
MOVIE = box(b"ftyp", b"M4A ") + box(b"moov", bytes(20))


def id3(size: int) -> bytes:
    return b"ID3\x04\0\0" + bytes([size >> 21 & 127, size >> 14 & 127, size >> 7 & 127, size & 127]) + bytes(size)


@pytest.mark.parametrize(
    ("content", "one"),
    [
        (wav(1), True),
        (wav(7), True),
        (wav(0x11), False),
        (wav(1) + wav(1), False),
        (b"RIFF\0\0\0\0WAVE", False),
        (b"RIFF\0\0\0\0AVI LIST", False),
        (MP3, True),
        (id3(300) + MP3, True),
        (id3(200_000), True),
        (ADTS, False),
        (id3(300) + ADTS, False),
        (MOVIE + box(b"mdat", bytes(20)), True),
        (MOVIE + box(b"mdat", bytes(20))[:15], True),
        (box(b"mdat", bytes(20)) + MOVIE, True),
        (box(b"ftyp", b"M4A "), False),
        (MOVIE + fragment(0) + fragment(90), True),
        (MOVIE + fragment(90) + fragment(0), False),
        (MOVIE + box(b"moof", bytes(8)), False),
        (MOVIE + box(b"mdat", bytes(20)) + MOVIE + box(b"mdat", bytes(20)), False),
        (MOVIE + fragment(0) + box(b"moov", bytes(20)) + fragment(90), False),
        (segment(cluster(0), cluster(5000)), True),
        (segment(cluster(0), cluster(5000), known=False), True),
        (segment(cluster(0, known=False), cluster(5000, known=False), known=False), True),
        (segment(cluster(0), cluster(5000))[:-20], True),
        (segment(cluster(5000), cluster(0)), False),
        (segment(cluster(0), cluster(50_000_000)), False),
        (segment(cluster(0, known=False), known=False) * 2, False),
        (segment(cluster(0)) + segment(cluster(5000)), False),
        (segment(cluster(0)) + b"\xff" * 40, False),
        (TS, False),
        (b"\0\0\1\xba" + bytes(99), False),
        (b"FLV\1" + bytes(99), False),
        (FLV + flv_tag(0) + flv_tag(40), True),
        (FLV + flv_tag(40) + flv_tag(0), False),
        (FLV + flv_tag(0) + FLV + flv_tag(40), False),
        (page(b"aaaa", 2) + page(b"aaaa", clock=5), True),
        (page(b"aaaa", 2) + page(b"bbbb", 2) + page(b"aaaa") + page(b"bbbb"), True),
        (page(b"aaaa", 2) + page(b"aaaa") + page(b"bbbb", 2) + page(b"bbbb"), False),
        (page(b"aaaa", 2) + page(b"aaaa", clock=5) + page(b"aaaa", 2) + page(b"aaaa", clock=9), False),
        (page(b"aaaa", 2) + page(b"aaaa", clock=5) + page(b"aaaa", clock=4), False),
        (page(b"aaaa", 2) + bytes(90) + page(b"aaaa"), False),
        (b"OggS", False),
        (b"fLaC" + bytes(90), False),
        (b"garbage", False),
        (b"", False),
        (b"\xff", False),
    ],
)
def test_only_a_clock_that_provably_never_starts_anew_is_trusted(tmp_path: Path, content: bytes, one: bool) -> None:
    (tmp_path / "a").write_bytes(content)
    assert read_layout(tmp_path / "a").is_one_timeline is one


@pytest.mark.parametrize(
    "one",
    [
        wav(1),
        MOVIE + box(b"mdat", bytes(20)),
        MOVIE + fragment(0) + fragment(90),
        segment(cluster(0), cluster(5000)),
        segment(cluster(0, known=False), known=False),
        FLV + flv_tag(0) + flv_tag(40),
        box(b"FORM", b"AIFF", bytes(10)).replace(b"\0\0\0\x16FORM", b"FORM\0\0\0\x0e"),
    ],
    ids=["wav", "mp4", "fragments", "matroska", "live matroska", "flv", "aiff"],
)
def test_recordings_put_together_are_told_apart(tmp_path: Path, one: bytes) -> None:
    (tmp_path / "a").write_bytes(one * 3)
    pieces = read_layout(tmp_path / "a").pieces
    assert [piece.start for piece in pieces] == [0, len(one), 2 * len(one)]
    assert [piece.end for piece in pieces[:2]] == [len(one), 2 * len(one)]


@pytest.mark.parametrize("entry", [b"enca", b"drms"])
def test_sound_under_a_key_is_known(tmp_path: Path, entry: bytes) -> None:
    (tmp_path / "a").write_bytes(box(b"ftyp", b"M4A ") + box(b"moov", box(entry, bytes(9))))
    assert read_layout(tmp_path / "a").is_encrypted


@pytest.mark.parametrize("lengths_s", [(10, 10), (10, 10, 10), (3, 20), (20, 3), (2, 20, 2)])
def test_flacs_put_together_are_no_single_clock(tmp_path: Path, lengths_s: tuple[int, ...]) -> None:
    """Their lengths may be the same, as with a recorder that begins a new file every hour."""
    parts = [recordings.varied(tmp_path / f"{n}.flac", n, rate=16_000) for n in lengths_s]
    assert read_layout(parts[0]).is_one_timeline
    assert not read_layout(recordings.joined(tmp_path / "both.flac", *parts)).is_one_timeline


def test_a_flac_that_ends_in_silence_has_a_single_clock(tmp_path: Path) -> None:
    """Its last frame is shorter than the longest header of one."""
    assert read_layout(recordings.silence(tmp_path / "a.flac", 10)).is_one_timeline


def test_bare_aac_has_no_times() -> None:
    assert [has_times(head) for head in (ADTS, id3(300) + ADTS, MP3, wav(1), b"")] == [False, False, True, True, True]


def test_streams_that_are_broadcast_count_from_what_is_asked_of_them() -> None:
    assert [counts_from_mapped_streams(head) for head in (TS, b"\0\0\1\xba", wav(1), b"")] == [True, True, False, False]


@pytest.mark.parametrize("suffix", ["mp3", "m4a", "ogg", "flac", "mkv", "webm", "wav", "aiff", "aac"])
def test_real_files_are_known(tmp_path: Path, suffix: str) -> None:
    try:
        made = recordings.tone(tmp_path / f"a.{suffix}", 1)
    except AssertionError as error:
        pytest.skip(f"this ffmpeg has no encoder for it: {error}")
    assert read_layout(made).is_one_timeline is (suffix != "aac")
