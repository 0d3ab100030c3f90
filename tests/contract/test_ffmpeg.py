"""What ffmpeg must do for us, the system's as well as the packaged one: the slices of a recording make the whole."""

import shutil
from itertools import pairwise
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest
from support import recordings

from nightscribe.shared.audio import clips
from nightscribe.shared.audio import decode as audio
from nightscribe.shared.audio.clips import Sound, decode_together
from nightscribe.shared.audio.decode import Decoder
from nightscribe.shared.audio.waveform import RATE, Waveform

SHIFT = RATE // 100  # 10 ms, less than anybody hears of a word


@pytest.fixture(params=["system", "packaged"])
def by_both(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Each ffmpeg in turn decodes."""
    program = shutil.which("ffmpeg") if request.param == "system" else imageio_ffmpeg.get_ffmpeg_exe()
    if program is None:
        pytest.skip("this machine has no ffmpeg of its own")
    for module in (audio, clips):
        monkeypatch.setattr(module, "ffmpeg_path", lambda: program)
    return program


@pytest.fixture
def by_packaged(monkeypatch: pytest.MonkeyPatch) -> None:
    """The packaged ffmpeg decodes, and makes the recordings: it starts several times as fast, and can write AMR."""
    monkeypatch.setattr(audio, "ffmpeg_path", imageio_ffmpeg.get_ffmpeg_exe)
    monkeypatch.setattr(recordings, "ffmpeg_program", imageio_ffmpeg.get_ffmpeg_exe)


def decode(path: Path, start_s: float = 0.0, end_s: float | None = None) -> Waveform:
    return np.concatenate([np.zeros(0, np.float32), *Decoder(path, start_s, end_s)])


def shift(found: Waveform, expected: Waveform, at: int) -> int:
    """By how many samples what `found` holds from `at` on lies elsewhere in `expected`, by a quarter second."""
    size = RATE // 4
    piece, around = found[at : at + size], expected[at - size : at + 2 * size]
    assert len(piece) == size, "there is no sound at the cut"
    return int(np.correlate(around, piece, mode="valid").argmax()) - size


def assert_slices_make_the_whole(path: Path, *cuts_s: float) -> None:
    whole = decode(path)
    edges = [0.0, *cuts_s, None]
    slices = [decode(path, edges[n] or 0.0, edges[n + 1]) for n in range(len(edges) - 1)]
    assert [len(found) for found in slices[1:-1]] == [round(b * RATE) - round(a * RATE) for a, b in pairwise(cuts_s)]
    together = np.concatenate(slices)
    assert abs(len(together) - len(whole)) <= SHIFT
    for cut_s in cuts_s:
        assert abs(shift(together, whole, round(cut_s * RATE))) <= SHIFT
        assert abs(shift(together, whole, round(cut_s * RATE) - RATE // 4)) <= SHIFT


FORMATS: dict[str, tuple[str, ...]] = {
    "cbr.mp3": ("-b:a", "48k"),
    "cbr without header.mp3": ("-b:a", "48k", "-write_xing", "0"),
    "vbr.mp3": ("-q:a", "6"),
    "vbr without header.mp3": ("-q:a", "6", "-write_xing", "0"),
    "bare.aac": ("-b:a", "48k"),
    "a.m4a": ("-b:a", "48k"),
    "fragments.mp4": ("-c:a", "aac", "-movflags", "frag_keyframe+empty_moov", "-frag_duration", "2000000"),
    "vorbis.ogg": ("-c:a", "libvorbis"),
    "a.opus": ("-c:a", "libopus"),
    "a.flac": (),
    "24 bits.wav": ("-c:a", "pcm_s24le"),
    "8 kHz.wav": ("-ar", "8000"),
    "48 kHz.aiff": ("-ar", "48000"),
    "dictated.wav": ("-c:a", "adpcm_ima_wav", "-ar", "8000"),
    "a.wma": ("-c:a", "wmav2"),
    "a.webm": ("-c:a", "libopus"),
    "a.mkv": ("-c:a", "aac"),
    "a.ts": ("-c:a", "aac"),
    "a.ac3": (),
    "a.avi": ("-c:a", "mp2"),
    "a.amr": ("-c:a", "libopencore_amrnb", "-ar", "8000", "-b:a", "12.2k"),
}
ALSO_BY_THE_SYSTEMS = ("vbr.mp3", "a.m4a", "a.webm")


@pytest.fixture(scope="module")
def signal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return recordings.varied(tmp_path_factory.mktemp("signal") / "signal.wav", 10)


def made(signal: Path, dest: Path) -> Path:
    try:
        return recordings.cut(signal, dest, 0, 10, *FORMATS[dest.name])
    except AssertionError as error:
        pytest.skip(f"this ffmpeg has no encoder for it: {error}")


@pytest.mark.parametrize("name", FORMATS)
def test_slices_make_the_whole(tmp_path: Path, signal: Path, by_packaged: None, name: str) -> None:
    assert_slices_make_the_whole(made(signal, tmp_path / name), 5.337)


@pytest.mark.parametrize("name", ALSO_BY_THE_SYSTEMS)
@pytest.mark.parametrize("by_both", ["system"], indirect=True)
def test_slices_make_the_whole_by_the_systems_ffmpeg_too(tmp_path: Path, signal: Path, by_both: str, name: str) -> None:
    assert_slices_make_the_whole(made(signal, tmp_path / name), 5.337)


def test_slices_of_a_long_mp3_without_an_index_make_the_whole(tmp_path: Path, signal: Path, by_packaged: None) -> None:
    """Where a place in the file is guessed from the bit rate, the guess is minutes off."""
    short = recordings.cut(signal, tmp_path / "short.mp3", 0, 10, "-q:a", "9", "-ar", "16000", "-write_xing", "0")
    loud = recordings.cut(signal, tmp_path / "loud.mp3", 0, 10, "-b:a", "160k", "-ar", "16000", "-write_xing", "0")
    long = recordings.joined(tmp_path / "long.mp3", *[loud] * 10, *[short] * 30)
    assert_slices_make_the_whole(long, 352.345)


def test_garbage_and_tags_in_front_move_no_cut(tmp_path: Path, signal: Path, by_packaged: None) -> None:
    mp3 = recordings.cut(signal, tmp_path / "a.mp3", 0, 10, "-q:a", "6", "-metadata", "title=" + "long " * 5000)
    garbage = tmp_path / "garbage"
    garbage.write_bytes(np.random.default_rng(0).bytes(3000))
    assert_slices_make_the_whole(mp3, 5.337)
    assert_slices_make_the_whole(recordings.joined(tmp_path / "b.mp3", garbage, mp3), 5.337)


@pytest.mark.parametrize("suffix", ["mp3", "aac", "ogg"])
def test_slices_of_joined_files_make_the_whole(tmp_path: Path, signal: Path, by_packaged: None, suffix: str) -> None:
    """The header of the first speaks of the first alone."""
    first = recordings.cut(signal, tmp_path / f"first.{suffix}", 0, 10)
    second = recordings.cut(signal, tmp_path / f"second.{suffix}", 1, 9)
    assert_slices_make_the_whole(recordings.joined(tmp_path / f"both.{suffix}", first, second), 4.9, 15.3)


@pytest.mark.parametrize(
    ("by_both", "suffix"),
    [("system", "ts"), ("packaged", "ts"), ("system", "mkv"), ("packaged", "mp4")],
    indirect=["by_both"],
)
def test_late_sound_is_late_in_every_slice(tmp_path: Path, signal: Path, by_both: str, suffix: str) -> None:
    film = recordings.film(tmp_path / f"film.{suffix}", signal, 3, "-c:v", "mpeg2video", "-c:a", "aac")
    assert np.argmax(np.abs(decode(film)) > 0.05) / RATE == pytest.approx(3, abs=0.1)
    assert np.argmax(np.abs(decode(film, 2.5)) > 0.05) / RATE == pytest.approx(0.5, abs=0.1)
    assert_slices_make_the_whole(film, 6.1)


@pytest.mark.parametrize(("suffix", "first_rate"), [("mp3", 44_100), ("aac", 22_050)])
def test_sound_that_changes_its_rate_has_its_speed(
    tmp_path: Path, signal: Path, by_both: str, suffix: str, first_rate: int
) -> None:
    stereo, mono = ("-ac", "2", "-ar", "44100", "-b:a", "96k"), ("-ac", "1", "-ar", "22050", "-b:a", "32k")
    order = (stereo, mono) if first_rate == 44_100 else (mono, stereo)
    parts = [
        recordings.cut(signal, tmp_path / f"{n}.{suffix}", 0, 10, *options, *(["-write_xing", "0"] * (suffix == "mp3")))
        for n, options in enumerate(order)
    ]
    whole = decode(recordings.joined(tmp_path / f"both.{suffix}", *parts))
    assert len(whole) / RATE == pytest.approx(20.1, abs=0.2)
    first, second = decode(parts[0]), decode(parts[1])
    for at_s in (2, 8):
        assert abs(shift(whole, np.concatenate([first, second]), at_s * RATE)) <= SHIFT
        assert abs(shift(whole, np.concatenate([first, second]), (10 + at_s) * RATE)) <= RATE // 15


JOINED: dict[str, tuple[str, ...]] = {
    "recorder.webm": ("-c:a", "libopus", "-live", "1"),
    "a.mkv": ("-c:a", "aac"),
    "fragments.mp4": ("-c:a", "aac", "-movflags", "frag_keyframe+empty_moov", "-frag_duration", "2000000"),
    "a.m4a": ("-c:a", "aac"),
    "a.ts": ("-c:a", "aac"),
    "a.mpg": ("-c:a", "mp2"),
    "a.flv": ("-c:a", "aac"),
    "a.flac": ("-ar", "16000"),
    "a.wav": ("-ar", "16000"),
    "a.aiff": (),
    "a.opus": ("-c:a", "libopus"),
    "a.mp3": (),
    "a.aac": (),
}


@pytest.mark.parametrize("lengths_s", [(8, 10), (10, 10), (10, 4)])
@pytest.mark.parametrize("name", JOINED)
def test_recordings_put_together_are_heard_whole_and_in_order(
    tmp_path: Path, signal: Path, by_packaged: None, name: str, lengths_s: tuple[int, ...]
) -> None:
    """In one pass and in slices alike; no minute is lost or comes twice."""
    suffix = name.rpartition(".")[2]
    try:
        parts = [
            recordings.cut(signal, tmp_path / f"{n}.{suffix}", 0, length_s, *JOINED[name])
            for n, length_s in enumerate(lengths_s)
        ]
    except AssertionError as error:
        pytest.skip(f"this ffmpeg has no encoder for it: {error}")
    both = recordings.joined(tmp_path / f"both.{suffix}", *parts)
    whole, expected = decode(both), np.concatenate([decode(part) for part in parts])
    assert abs(len(whole) - len(expected)) <= RATE // 4
    second = len(expected) - round(2 * RATE)
    assert abs(shift(whole, expected, second)) <= RATE // 4
    assert_slices_make_the_whole(both, 5.337, sum(lengths_s) - 1.5)
    edges = [0.0, 5.337, sum(lengths_s) - 1.5]
    for start_s, end_s in zip(edges, [*edges[1:], None], strict=True):
        decoder = Decoder(both, start_s, end_s)
        list(decoder)
        assert not decoder.is_truncated


def test_clips_decoded_together_are_as_decoded_alone(tmp_path: Path, signal: Path, by_both: str) -> None:
    """And one that cannot be decoded costs none of the others anything."""
    good = [
        recordings.cut(signal, tmp_path / "a.mp3", 0, 1.5),
        recordings.cut(signal, tmp_path / "b.m4a", 1, 2),
        recordings.cut(signal, tmp_path / "c.wav", 2, 0.01),
        recordings.film(tmp_path / "d.mkv", recordings.cut(signal, tmp_path / "d.wav", 3, 1), 2),
        recordings.truncated_wav(tmp_path / "e.wav"),
        recordings.cut(signal, tmp_path / "f.aac", 4, 1),
    ]
    bad = [
        recordings.text_named_mp3(tmp_path / "text.mp3"),
        recordings.header_only_wav(tmp_path / "header.wav"),
        tmp_path / "missing.mp3",
    ]
    paths = [*good[:2], *bad, *good[2:]]
    for path, found in zip(paths, decode_together(paths), strict=True):
        decoder = Decoder(path)
        if path in bad:
            with pytest.raises(type(found)) as refused:
                list(decoder)
            assert str(refused.value) == str(found)
        else:
            assert isinstance(found, Sound)
            assert np.array_equal(found.waveform, np.concatenate(list(decoder)))
            assert found.container_s == decoder.container_s
            assert (found.decoded_s, found.channels_cancel) == (decoder.decoded_s, decoder.channels_cancel)
            assert found.is_truncated is decoder.is_truncated
