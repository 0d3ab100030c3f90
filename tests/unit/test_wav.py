"""What is read in the header of a WAV, and what of it is believed."""

import struct
from pathlib import Path

import numpy as np
import pytest
from support import recordings

from nightscribe.shared.audio.layout import read_layout

LIST = b"LIST" + struct.pack("<I", 4) + b"INFO"
SOUND = np.random.default_rng(0).bytes(32_000)


def seconds(path: Path) -> float | None:
    """The length of the first WAV in a file."""
    wav = read_layout(path).pieces[0].wav
    return wav.seconds if wav else None


FMT = b"fmt " + struct.pack("<IHHIIHH", 16, 1, 1, 16_000, 32_000, 2, 16)


def wav(tmp_path: Path, *chunks: bytes) -> Path:
    body = b"WAVE" + b"".join(chunks)
    path = tmp_path / "a.wav"
    path.write_bytes(b"RIFF" + struct.pack("<I", len(body)) + body)
    return path


def data(size: int, present: bytes = b"") -> bytes:
    return b"data" + struct.pack("<I", size) + present


@pytest.mark.parametrize("present", [b"", bytes(100), bytes(64_000)])
def test_a_wav_promises_its_length_however_much_of_it_is_there(tmp_path: Path, present: bytes) -> None:
    assert seconds(wav(tmp_path, FMT, data(64_000, present))) == 2.0


def test_other_chunks_before_the_sound_are_passed_over(tmp_path: Path) -> None:
    """One of odd length is followed by a byte that it does not count; one is longer than a page."""
    note = b"LIST" + struct.pack("<I", 5) + b"notes\0"
    broadcast = b"bext" + struct.pack("<I", 10_001) + bytes(10_002)
    assert seconds(wav(tmp_path, note, FMT, broadcast, data(32_000))) == 1.0


@pytest.mark.parametrize(
    "size", [0, 0xFFFF_FFFF, 0xFFFF_F000, 0xFFFF_0000, 0x7FFF_FFFF, 0x7FFF_F000, 0x8000_0000, 0x7FFF_FFD3]
)
def test_where_a_recorder_did_not_know_the_length_all_that_is_there_counts(tmp_path: Path, size: int) -> None:
    found = read_layout(wav(tmp_path, FMT, data(size, SOUND))).pieces[0].wav
    assert found is not None
    assert (found.seconds, found.stated_bytes, found.is_true) == (1.0, None, False)


@pytest.mark.parametrize("size", [2, 7_000, 31_900])
def test_a_size_that_is_too_small_ends_no_sound(tmp_path: Path, size: int) -> None:
    """It was wrapped at 4 GB, or the recorder died before it could write it."""
    assert seconds(wav(tmp_path, FMT, data(size, SOUND))) == 1.0


@pytest.mark.parametrize("behind", [b"", b"\0", LIST, LIST + LIST, b"id3 \x04\0\0\0ID3\4"])
def test_what_follows_the_sound_is_not_sound(tmp_path: Path, behind: bytes) -> None:
    found = read_layout(wav(tmp_path, FMT, data(32_000, SOUND), behind)).pieces[0].wav
    assert found is not None
    assert (found.seconds, found.is_true) == (1.0, True)


@pytest.mark.parametrize("long", [0, 2**64 - 1, 10, 32_000])
def test_a_long_wav_may_not_know_its_length_either(tmp_path: Path, long: int) -> None:
    ds64 = b"ds64" + struct.pack("<IQQQI", 28, 0, long, 0, 0)
    path = wav(tmp_path, ds64, FMT, data(0xFFFF_FFFF, SOUND))
    path.write_bytes(b"RF64" + path.read_bytes()[4:])
    assert seconds(path) == 1.0


@pytest.mark.parametrize("size", [32_000, 0, 0x7FFF_F000])
def test_wavs_put_together_are_pieces(tmp_path: Path, size: int) -> None:
    one = wav(tmp_path, FMT, data(size, SOUND)).read_bytes()
    path = tmp_path / "joined.wav"
    path.write_bytes(one * 3)
    layout = read_layout(path)
    assert [piece.wav.seconds for piece in layout.pieces if piece.wav] == [1.0, 1.0, 1.0]
    assert not layout.is_one_timeline


@pytest.mark.parametrize(
    "chunks",
    [(), (FMT,), (FMT[:10],), (data(32_000),), (b"fmt " + struct.pack("<I", 4) + bytes(4), data(32_000)), (FMT, b"da")],
    ids=["nothing", "no sound", "cut in the header", "no format", "short format", "cut in a name"],
)
def test_a_wav_without_what_is_needed_promises_nothing(tmp_path: Path, chunks: tuple[bytes, ...]) -> None:
    assert seconds(wav(tmp_path, *chunks)) is None


def test_a_header_that_goes_round_in_circles_is_given_up(tmp_path: Path) -> None:
    assert seconds(wav(tmp_path, *[b"junk" + bytes(4)] * 1000, FMT, data(32_000))) is None


@pytest.mark.parametrize(
    "held", [b"", b"RIFF", b"RIFF\0\0\0\0AVI LIST", b"ID3" + bytes(100), b"RF64\xff\xff\xff\xffWAVE"]
)
def test_what_is_no_wav_promises_nothing(tmp_path: Path, held: bytes) -> None:
    (tmp_path / "a.wav").write_bytes(held)
    assert seconds(tmp_path / "a.wav") is None


def test_the_promise_of_a_real_wav_is_its_length(tmp_path: Path) -> None:
    assert seconds(recordings.tone(tmp_path / "a.wav", 1.25)) == pytest.approx(1.25)
