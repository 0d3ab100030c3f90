"""From real files to waveforms."""

import struct
import subprocess
import wave
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import psutil
import pytest
from support import recordings

from nightscribe.shared.audio.clips import CLIP_BYTES, Sound, Unusual, decode_together
from nightscribe.shared.audio.decode import Decoder, is_truncated
from nightscribe.shared.audio.layout import Layout
from nightscribe.shared.audio.probe import input_arguments, probe
from nightscribe.shared.audio.silence import quietest
from nightscribe.shared.audio.waveform import RATE, Waveform, centred
from nightscribe.shared.errors import AudioError, PermanentError, RetryableError


def decode(path: Path, start_s: float = 0.0, end_s: float | None = None) -> tuple[Waveform, Decoder]:
    decoder = Decoder(path, start_s, end_s)
    chunks = list(decoder)
    return np.concatenate(chunks) if chunks else np.zeros(0, np.float32), decoder


def write(path: Path, samples: np.ndarray, rate: int = RATE) -> Path:
    """A WAV of 16 bits from samples of shape (n_samples,) or (n_samples, n_channels)."""
    with wave.open(str(path), "wb") as made:
        made.setnchannels(1 if samples.ndim == 1 else samples.shape[1])
        made.setsampwidth(2)
        made.setframerate(rate)
        made.writeframes(samples.astype("<i2").tobytes())
    return path


def ramp(n_samples: int) -> np.ndarray:
    """Samples of which each tells where it stood."""
    return np.arange(n_samples) % 60_000 - 30_000


@pytest.mark.parametrize("n_samples", [1, RATE, 12 * RATE + 7, 35 * RATE])
def test_every_sample_of_a_wav_comes_as_it_is(tmp_path: Path, n_samples: int) -> None:
    samples = ramp(n_samples)
    found, decoder = decode(write(tmp_path / "a.wav", samples))
    assert found.dtype == np.float32
    assert np.array_equal(np.round(found * 32768).astype(int), samples)
    assert decoder.decoded_s == pytest.approx(n_samples / RATE)
    assert decoder.container_s == pytest.approx(n_samples / RATE)


@pytest.mark.parametrize(("start_s", "end_s"), [(0.0, 1.0), (1.5, 2.25), (2.0, None), (0.001, 0.002), (29.5, 30.0)])
def test_a_slice_of_a_wav_is_cut_to_the_sample(tmp_path: Path, start_s: float, end_s: float | None) -> None:
    samples = ramp(30 * RATE)
    found, decoder = decode(write(tmp_path / "a.wav", samples), start_s, end_s)
    expected = samples[round(start_s * RATE) : None if end_s is None else round(end_s * RATE)]
    assert np.array_equal(np.round(found * 32768).astype(int), expected)
    assert decoder.decoded_s == pytest.approx(len(expected) / RATE)
    assert decoder.container_s == pytest.approx(30.0)


def test_neighbouring_slices_join_to_the_whole(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", ramp(10 * RATE))
    cuts: list[tuple[float, float | None]] = [(0.0, 3.34), (3.34, 7.123), (7.123, None)]
    joined = np.concatenate([decode(path, start_s, end_s)[0] for start_s, end_s in cuts])
    assert np.array_equal(joined, decode(path)[0])


def test_two_channels_are_mixed(tmp_path: Path) -> None:
    """In an interview each speaker may have one."""
    left, right = np.full(RATE, 8000), np.full(RATE, -4000)
    found, _ = decode(write(tmp_path / "a.wav", np.stack([left, right], axis=1)))
    assert len(found) == RATE
    assert np.abs(found * 32768 - 2000).max() <= 1


@pytest.mark.parametrize("rate", [8_000, 44_100, 48_000])
def test_any_rate_becomes_16_kHz(tmp_path: Path, rate: int) -> None:  # noqa: N802  as it is written
    time_s = np.arange(2 * rate) / rate
    found, _ = decode(write(tmp_path / "a.wav", np.sin(2 * np.pi * 440 * time_s) * 10_000, rate))
    assert len(found) == pytest.approx(2 * RATE, abs=20)
    strongest_hz = np.abs(np.fft.rfft(found)).argmax() * RATE / len(found)
    assert strongest_hz == pytest.approx(440, abs=1)


def test_the_loudest_sample_stays_within_one(tmp_path: Path) -> None:
    found, _ = decode(write(tmp_path / "a.wav", np.tile([32767, -32768], RATE)))
    assert found.min() == -1.0
    assert 0.999 < found.max() <= 1.0


@pytest.mark.parametrize("suffix", ["flac", "m4a", "mp3", "ogg"])
def test_compressed_sound_has_its_length(tmp_path: Path, suffix: str) -> None:
    try:
        path = recordings.tone(tmp_path / f"tone.{suffix}", 3.0)
    except AssertionError as error:
        pytest.skip(f"this ffmpeg has no encoder for it: {error}")
    found, decoder = decode(path)
    assert len(found) / RATE == pytest.approx(3.0, abs=0.15)
    assert decoder.container_s == pytest.approx(3.0, abs=0.15)


def test_a_truncated_wav_gives_what_is_there_and_says_what_was_promised(tmp_path: Path) -> None:
    found, decoder = decode(recordings.truncated_wav(tmp_path / "cut.wav"))
    assert len(found) == RATE
    assert (decoder.decoded_s, decoder.container_s) == (pytest.approx(1.0), pytest.approx(2.0))


def test_chunks_are_short(tmp_path: Path) -> None:
    """Ten hours need no more memory than ten seconds."""
    path = write(tmp_path / "a.wav", ramp(60 * RATE))
    assert max(len(chunk) for chunk in Decoder(path)) <= 10 * RATE


def test_what_lies_before_a_slice_is_not_decoded_in_silence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a long MP3 that takes minutes, in which nobody may take the process for dead."""
    beats: list[None] = []
    monkeypatch.setattr("nightscribe.shared.audio.decode.report_alive", lambda: beats.append(None))
    monkeypatch.setattr("nightscribe.shared.audio.decode.read_layout", lambda _: Layout())
    chunks = list(Decoder(write(tmp_path / "a.wav", ramp(60 * RATE)), 58.0))
    assert sum(map(len, chunks)) == 2 * RATE
    assert len(beats) >= 6


def test_a_decoder_that_is_left_half_way_leaves_no_ffmpeg_behind(tmp_path: Path) -> None:
    import psutil

    stream = iter(Decoder(write(tmp_path / "a.wav", ramp(120 * RATE))))
    next(stream)
    before = psutil.Process().children()
    assert any("ffmpeg" in child.name() for child in before)
    stream.close()  # type: ignore[attr-defined]
    assert not any("ffmpeg" in child.name() for child in psutil.Process().children())


NO_SOUND = "Its header is that of a recording, but no sound follows that can be decoded."


@pytest.mark.parametrize(
    ("make", "name", "reason"),
    [
        (recordings.header_only_wav, "a.wav", NO_SOUND),
        (recordings.text_named_mp3, "a.mp3", "It holds text, not sound."),
        (lambda path: path.write_bytes(b""), "a.mp3", "It is empty (0 bytes)."),
        (recordings.video_without_sound, "film.mkv", "It holds pictures but no sound: there is no audio track in it."),
        (recordings.jpeg_named_mp3, "a.mp3", "It holds a JPEG picture, not sound."),
    ],
    ids=["header only", "text", "empty", "no audio track", "picture"],
)
def test_a_file_without_sound_fails_with_a_sentence(tmp_path: Path, make: object, name: str, reason: str) -> None:
    make(tmp_path / name)  # type: ignore[operator]
    with pytest.raises(AudioError) as refused:
        decode(tmp_path / name)
    assert str(refused.value) == reason


def test_noise_of_bytes_is_no_recording(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(np.random.default_rng(0).integers(0, 256, 20_000, np.uint8).tobytes())
    with pytest.raises(PermanentError):
        decode(path)


def test_a_slice_after_the_end_of_a_recording_is_silent_and_no_error(tmp_path: Path) -> None:
    """A container may promise more than there is; what came before has been transcribed."""
    found, decoder = decode(write(tmp_path / "a.wav", ramp(RATE)), 5.0, 10.0)
    assert (len(found), decoder.decoded_s) == (0, 0.0)


@pytest.mark.parametrize("suffix", ["mkv", "mp4"])
def test_sound_that_begins_later_than_its_film_keeps_its_time(tmp_path: Path, suffix: str) -> None:
    """Or every subtitle is early."""
    tone = recordings.tone(tmp_path / "tone.wav", 2)
    film = tmp_path / f"film.{suffix}"
    picture = ["-f", "lavfi", "-i", "color=c=black:s=64x64:d=6"]
    command = [recordings.ffmpeg_program(), "-v", "error", *picture, "-itsoffset", "3", "-i", str(tone)]
    subprocess.run([*command, "-map", "0:v", "-map", "1:a", "-c:v", "mpeg4", str(film)], check=True)
    waveform, _ = decode(film)
    assert np.argmax(np.abs(waveform) > 0.05) / RATE == pytest.approx(3, abs=0.1)


def test_a_length_guessed_from_the_bit_rate_is_not_the_containers_word(tmp_path: Path) -> None:
    """It can be wrong by a factor, and a whole recording would be called truncated."""
    _, decoder = decode(recordings.tone(tmp_path / "tone.aac", 3))
    assert decoder.container_s is None
    assert decoder.decoded_s == pytest.approx(3, abs=0.2)


def test_an_ffmpeg_that_is_killed_is_no_end_of_the_recording(tmp_path: Path) -> None:
    """Half a transcript would pass for a whole one."""
    chunks = iter(Decoder(recordings.silence(tmp_path / "long.wav", 600)))
    next(chunks)
    # Servers of other tests may run beside it.
    [decoding] = [child for child in psutil.Process().children() if "ffmpeg" in child.name()]
    decoding.kill()
    with pytest.raises(RetryableError, match="killed"):
        list(chunks)


# Channels


def speech_like(n_samples: int) -> np.ndarray:
    return np.random.default_rng(0).normal(0, 4000, n_samples).clip(-30_000, 30_000)


def test_a_channel_turned_upside_down_is_no_silence(tmp_path: Path) -> None:
    """As by a microphone cable that is soldered the wrong way round."""
    voice = speech_like(3 * RATE)
    found, decoder = decode(write(tmp_path / "a.wav", np.stack([voice, -0.9 * voice], axis=1)))
    assert decoder.channels_cancel
    assert np.abs(found * 32768 - voice).max() <= 1
    pieces = [decode(tmp_path / "a.wav", a, b)[0] for a, b in ((0, 1.3), (1.3, 2.71), (2.71, None))]
    assert np.array_equal(np.concatenate(pieces), found)


@pytest.mark.parametrize("other", [0.0, 0.5, 1.0, -0.4])
def test_channels_that_do_not_cancel_are_not_said_to(tmp_path: Path, other: float) -> None:
    voice = speech_like(2 * RATE)
    found, decoder = decode(write(tmp_path / "a.wav", np.stack([voice, other * voice], axis=1)))
    assert not decoder.channels_cancel
    expected = voice if other == 0 else (1 + other) / 2 * voice
    assert np.abs(found * 32768 - expected).max() <= 1


@pytest.mark.parametrize(
    ("n_channels", "speakers"), [(3, (2,)), (4, (0, 1, 2, 3)), (6, range(6)), (8, (3, 7)), (16, (15,))]
)
def test_nobody_is_lost_of_more_channels(tmp_path: Path, n_channels: int, speakers: Sequence[int]) -> None:
    """Recorders with a microphone for each speaker write up to sixteen."""
    for speaker in speakers:
        sound = np.zeros((RATE, n_channels))
        sound[:, speaker] = speech_like(RATE)
        found, _ = decode(write(tmp_path / "a.wav", sound))
        assert len(found) == RATE
        assert np.corrcoef(found, sound[:, speaker])[0, 1] > 0.99


@pytest.mark.parametrize(("n_channels", "speaker"), [(10, 9), (12, 0), (16, 15)])
def test_nobody_is_lost_of_more_channels_than_ffmpeg_decodes(tmp_path: Path, n_channels: int, speaker: int) -> None:
    """ffmpeg writes WavPack files of many channels, and reads at most eight."""
    sound = np.zeros((3 * RATE, n_channels))
    sound[:, speaker] = speech_like(3 * RATE)
    path = recordings.cut(write(tmp_path / "many.wav", sound), tmp_path / "many.wv", 0, 3)
    whole, decoder = decode(path)
    assert (decoder.container_s, decoder.is_truncated) == (pytest.approx(3, abs=0.01), False)
    assert np.corrcoef(whole, speech_like(3 * RATE))[0, 1] > 0.99
    assert np.array_equal(np.concatenate([decode(path, 0, 1.5)[0], decode(path, 1.5)[0]]), whole)
    [clip, _] = decode_together([path, path])
    assert isinstance(clip, Sound)
    assert np.array_equal(clip.waveform, whole)


@pytest.mark.parametrize("layout", ["2.1", "5.1", "7.1"])
def test_nobody_is_lost_of_a_stated_layout(tmp_path: Path, layout: str) -> None:
    """Recorders with a microphone for each speaker state one, too, and the channel of low frequencies is somebody's."""
    n_channels = {"2.1": 3, "5.1": 6, "7.1": 8}[layout]
    for speaker in range(n_channels):
        sound = np.zeros((RATE, n_channels))
        sound[:, speaker] = speech_like(RATE)
        write(tmp_path / "a.wav", sound)
        found, _ = decode(_with_layout(tmp_path, layout))
        assert np.corrcoef(found, sound[:, speaker])[0, 1] > 0.99


def test_rumble_is_left_out_of_a_film(tmp_path: Path) -> None:
    time_s = np.arange(RATE) / RATE
    sound = np.zeros((RATE, 6))
    sound[:, 2], sound[:, 3] = speech_like(RATE), np.sin(2 * np.pi * 50 * time_s) * 30_000
    write(tmp_path / "a.wav", sound)
    found, _ = decode(_with_layout(tmp_path, "5.1"))
    assert np.corrcoef(found, sound[:, 2])[0, 1] > 0.99


def _with_layout(folder: Path, layout: str) -> Path:
    """The channels of `a.wav` as they are, in a file that states for which speakers they are meant."""
    mask = {"2.1": 0x0B, "5.1": 0x3F, "7.1": 0x63F}[layout]
    with wave.open(str(folder / "a.wav")) as plain:
        n_channels, rate, sound = plain.getnchannels(), plain.getframerate(), plain.readframes(plain.getnframes())
    guid = b"\1\0\0\0\0\0\x10\0\x80\0\0\xaa\0\x38\x9b\x71"
    fmt = struct.pack("<HHIIHHHHI", 0xFFFE, n_channels, rate, rate * n_channels * 2, n_channels * 2, 16, 22, 16, mask)
    body = b"WAVEfmt " + struct.pack("<I", 40) + fmt + guid + b"data" + struct.pack("<I", len(sound)) + sound
    (folder / "b.wav").write_bytes(b"RIFF" + struct.pack("<I", len(body)) + body)
    return folder / "b.wav"


def test_each_channel_can_be_heard_by_itself(tmp_path: Path) -> None:
    left, right = speech_like(2 * RATE), np.random.default_rng(1).normal(0, 4000, 2 * RATE)
    path = write(tmp_path / "a.wav", np.stack([left, right], axis=1))
    for channel, voice in enumerate((left, right)):
        found = np.concatenate(list(Decoder(path, channel=channel)))
        assert np.abs(found * 32768 - voice.astype("<i2")).max() <= 1


# Tracks


def _film(folder: Path, *tracks: Path) -> Path:
    inputs = [text for track in tracks[1:] for text in ("-i", str(track))]
    maps = [text for n in range(len(tracks)) for text in ("-map", str(n))]
    return recordings.cut(tracks[0], folder / "film.mka", 0, 1, *inputs, *maps, "-c", "copy")


def test_a_track_is_decoded_by_its_number(tmp_path: Path) -> None:
    voice, silent = write(tmp_path / "voice.wav", speech_like(RATE)), write(tmp_path / "silent.wav", np.zeros(RATE))
    film = _film(tmp_path, silent, voice).rename(tmp_path / "both.mka")
    assert not np.concatenate(list(Decoder(film))).any()
    assert np.corrcoef(np.concatenate(list(Decoder(film, track=1))), speech_like(RATE))[0, 1] > 0.99
    assert [type(each) for each in decode_together([film, voice, voice, film])] == [Unusual, Sound, Sound, Unusual]


def test_the_tracks_of_a_file_are_known(tmp_path: Path) -> None:
    voice, music = write(tmp_path / "voice.wav", speech_like(RATE)), write(tmp_path / "music.wav", np.zeros((RATE, 2)))
    tracks = probe(_film(tmp_path, voice, music)).tracks
    assert [track.number for track in tracks] == [0, 1]
    assert [track.may_be_stereo for track in tracks] == [False, True]


# Damage


def test_of_two_sound_tracks_the_first_is_heard(tmp_path: Path) -> None:
    voice, music = write(tmp_path / "voice.wav", speech_like(RATE)), recordings.tone(tmp_path / "music.wav", 1)
    film = recordings.cut(voice, tmp_path / "film.mka", 0, 1, "-i", str(music), "-map", "0", "-map", "1", "-c", "copy")
    assert np.corrcoef(decode(film)[0], speech_like(RATE))[0, 1] > 0.99


def test_what_lies_before_a_damage_is_kept_and_behind_it_is_no_error(tmp_path: Path) -> None:
    path = recordings.tone(tmp_path / "a.mp3", 20)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2] + bytes(len(whole) // 2))
    found, decoder = decode(path)
    assert len(found) / RATE == pytest.approx(10, abs=0.2)
    assert (decoder.container_s, decoder.decoded_s) == (pytest.approx(20, abs=0.2), pytest.approx(10, abs=0.2))
    behind, decoder = decode(path, 15, 18)
    assert (len(behind), decoder.decoded_s, decoder.container_s) == (0, 0, pytest.approx(20, abs=0.2))


def test_sound_behind_a_gap_keeps_its_time(tmp_path: Path) -> None:
    """A track that pauses is silence in a player, too."""
    tone = recordings.tone(tmp_path / "tone.wav", 2)
    gap = ("-af", "asetpts='PTS+if(gt(T,1),2/TB,0)'", "-c:a", "pcm_s16le")
    found, _ = decode(recordings.cut(tone, tmp_path / "gap.mkv", 0, 2, *gap))
    assert len(found) / RATE == pytest.approx(4, abs=0.05)
    heard_s = np.flatnonzero(np.abs(found) > 0.01) / RATE
    assert np.diff(heard_s).max() == pytest.approx(2, abs=0.05)


@pytest.mark.parametrize("suffix", ["wav", "mp3", "ogg", "m4a"])
@pytest.mark.parametrize("duration_s", [0.01, 0.1])
def test_the_shortest_clips_are_sound(tmp_path: Path, suffix: str, duration_s: float) -> None:
    try:
        found, _ = decode(recordings.tone(tmp_path / f"a.{suffix}", duration_s))
    except AssertionError as error:
        pytest.skip(f"this ffmpeg has no encoder for it: {error}")
    assert duration_s * RATE * 0.9 <= len(found) <= (duration_s + 0.1) * RATE


def test_a_header_that_claims_less_than_there_is_loses_nothing(tmp_path: Path) -> None:
    first, second = recordings.tone(tmp_path / "1.mp3", 2), recordings.tone(tmp_path / "2.mp3", 3)
    found, decoder = decode(recordings.joined(tmp_path / "both.mp3", first, second))
    assert len(found) / RATE == pytest.approx(5, abs=0.2)
    assert decoder.decoded_s == pytest.approx(5, abs=0.2)


@pytest.mark.parametrize(
    ("container_s", "decoded_s", "truncated"),
    [
        (10.0, 10.0, False),
        (10.0, 10.5, False),
        (10.0, 9.6, False),  # a film whose sound ends before its pictures
        (10.0, 9.4, True),
        (60.0, 59.0, False),  # less than 2 %
        (60.0, 58.5, True),
        (3600.0, 3598.5, False),
        (3600.0, 3597.9, True),  # more than 2 s
        (2.0, 1.0, True),
        (0.4, 0.0, False),
    ],
)
def test_truncated_is_what_lacks_more_than_codecs_explain(
    container_s: float, decoded_s: float, truncated: bool
) -> None:
    assert is_truncated(container_s, decoded_s) is truncated


def test_a_hole_in_the_middle_is_sound_that_is_missing(tmp_path: Path) -> None:
    """Its time is kept, so the length alone does not tell."""
    path = recordings.varied(tmp_path / "a.flac", 20, rate=16_000)
    whole = path.read_bytes()
    at = len(whole) // 2
    path.write_bytes(whole[:at] + bytes(60_000) + whole[at + 60_000 :])
    found, decoder = decode(path)
    assert len(found) / RATE == pytest.approx(20, abs=0.1)
    assert decoder.is_truncated
    assert [decode(path, a, b)[1].is_truncated for a, b in ((0, 7), (7, 14), (14, None))] == [False, True, False]


@pytest.mark.parametrize("name", ["a.aac", "a.ac3", "a.tta", "a.mp3", "a.mp2"])
def test_a_hole_in_a_stream_without_times_is_sound_that_is_missing(tmp_path: Path, name: str) -> None:
    """A failed copy leaves zeros; the decoder goes over them without a word."""
    options = ("-write_xing", "0") if name == "a.mp3" else ()
    whole = recordings.varied(tmp_path / name, 30, *options)
    read = whole.read_bytes()
    fifth = len(read) // 5
    holed = tmp_path / f"holed_{name}"
    holed.write_bytes(read[: 2 * fifth] + bytes(fifth) + read[3 * fifth :])
    padded = tmp_path / f"padded_{name}"
    tag = b"" if name == "a.tta" else b"ID3\x03\0\0" + bytes([0, 0, 0x40, 0]) + bytes(8192)
    padded.write_bytes(tag + read + bytes(20_000))
    for path, is_flagged in ((whole, False), (padded, False), (holed, True)):
        assert decode(path)[1].is_truncated is is_flagged, path
        [clip, _] = decode_together([path, path])
        assert isinstance(clip, Sound)
        assert clip.is_truncated is is_flagged, path
    assert decode(holed, 20)[1].is_truncated
    assert not decode(holed, 0, 5)[1].is_truncated


@pytest.mark.parametrize(
    ("name", "options"),
    [("a.ogg", ()), ("a.opus", ()), ("a.ts", ("-c:a", "aac")), ("a.mka", ("-c:a", "aac")),
     ("live.webm", ("-c:a", "libopus", "-live", "1")), ("a.flv", ("-c:a", "aac"))],
)  # fmt: skip
def test_a_file_that_ends_within_a_packet_was_cut_off(tmp_path: Path, name: str, options: tuple[str, ...]) -> None:
    """Its header states no length."""
    whole = recordings.varied(tmp_path / name, 8, *options)
    assert not decode(whole)[1].is_truncated
    cut = tmp_path / f"cut_{name}"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size * 2 // 3 + 101])
    assert decode(cut)[1].is_truncated
    assert not decode(cut, 0, 2)[1].is_truncated
    [clip, _] = decode_together([cut, cut])
    assert isinstance(clip, Sound)
    assert clip.is_truncated


@pytest.mark.parametrize(("suffix", "options"), [("mp4", ("-c:a", "aac")), ("mkv", ("-c:a", "aac")), ("avi", ())])
def test_a_film_that_goes_on_without_sound_lacks_none(tmp_path: Path, suffix: str, options: tuple[str, ...]) -> None:
    film = recordings.film(
        tmp_path / f"a.{suffix}", recordings.tone(tmp_path / "a.wav", 4), 0, "-c:v", "mpeg4", *options
    )
    assert not decode(film)[1].is_truncated
    assert not any(decode(film, a, b)[1].is_truncated for a, b in ((0, 3), (3, 6), (6, None)))


def test_a_film_that_was_cut_off_lacks_sound(tmp_path: Path) -> None:
    film = recordings.film(tmp_path / "a.mkv", recordings.noise(tmp_path / "a.wav", 10), 0, "-c:v", "mpeg4")
    film.write_bytes(film.read_bytes()[: film.stat().st_size // 2])
    assert decode(film)[1].is_truncated


@pytest.mark.parametrize(
    ("name", "options"),
    [("a.caf", ("-c:a", "pcm_s16le")), ("a.wma", ("-c:a", "wmav2")), ("a.w64", ()), ("a.aiff", ()), ("a.flac", ())],
)
def test_what_ends_before_its_header_says_is_truncated(tmp_path: Path, name: str, options: tuple[str, ...]) -> None:
    path = recordings.varied(tmp_path / name, 20, *options, rate=16_000)
    found, decoder = decode(path)
    assert (decoder.container_s, decoder.is_truncated) == (pytest.approx(20, abs=0.2), False)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    found, decoder = decode(path)
    assert (decoder.container_s, decoder.is_truncated) == (pytest.approx(20, abs=0.2), True)
    assert 11 * RATE < len(found) < 15 * RATE
    [clip, _] = decode_together([path, path])
    assert isinstance(clip, Sound)
    assert clip.is_truncated


def test_a_clock_that_begins_late_makes_no_recording_longer(tmp_path: Path) -> None:
    tone = recordings.tone(tmp_path / "a.wav", 4)
    path = recordings.cut(tone, tmp_path / "a.mka", 0, 4, "-output_ts_offset", "36000", "-c:a", "flac")
    found, decoder = decode(path)
    assert len(found) / RATE == pytest.approx(4, abs=0.1)
    assert (decoder.container_s, decoder.is_truncated) == (pytest.approx(4, abs=0.1), False)


@pytest.mark.parametrize("size", [0x7FFF_F000, 0, 8_000])
@pytest.mark.parametrize("codec", ["pcm_s16le", "pcm_f32le", "pcm_mulaw", "adpcm_ima_wav"])
def test_a_wav_with_a_wrong_size_is_heard_whole(tmp_path: Path, codec: str, size: int) -> None:
    whole, _ = decode(recordings.varied(tmp_path / "a.wav", 3, "-c:a", codec, "-bitexact", rate=16_000))
    header = bytearray((tmp_path / "a.wav").read_bytes())
    at = header.index(b"data") + 4
    header[at : at + 4] = size.to_bytes(4, "little")
    (tmp_path / "b.wav").write_bytes(header)
    found, decoder = decode(tmp_path / "b.wav")
    assert len(found) == pytest.approx(len(whole), abs=RATE // 8)  # some codecs fill their last block
    assert np.array_equal(found[:RATE], whole[:RATE])
    length_s = None if codec == "adpcm_ima_wav" else pytest.approx(3, abs=0.1)  # its own rate may be wrong, too
    assert (decoder.container_s, decoder.is_truncated) == (length_s, False)


# Files that decode to more than anybody can have recorded in them


def test_a_gap_of_hours_in_a_small_file_is_no_sound(tmp_path: Path) -> None:
    """Neither this process nor ffmpeg may hold the silence of hours in memory."""
    tone = recordings.tone(tmp_path / "tone.wav", 2)
    gap = ("-af", "asetpts='PTS+if(gt(T,1),21600/TB,0)'", "-c:a", "libmp3lame")
    path = recordings.cut(tone, tmp_path / "gap.mka", 0, 2, *gap)
    peak = 0
    children: list[psutil.Process] = []
    with pytest.raises(AudioError, match="it is too small for that"):
        for _ in Decoder(path):
            # One decoder reads the file to its end. To look for it costs more than to decode a second.
            children = children or [child for child in psutil.Process().children() if "ffmpeg" in child.name()]
            peak = max(peak, *(child.memory_info().rss for child in children))
    assert peak < 200e6


def test_a_gap_of_minutes_keeps_its_time(tmp_path: Path) -> None:
    tone = recordings.tone(tmp_path / "tone.wav", 4)
    gap = ("-af", "asetpts='PTS+if(gt(T,1),300/TB,0)+if(gt(T,2),200/TB,0)'", "-c:a", "pcm_s16le")
    path = recordings.cut(tone, tmp_path / "gap.mkv", 0, 4, *gap)
    found, decoder = decode(path)
    assert len(found) / RATE == pytest.approx(504, abs=0.1)
    heard_s = np.flatnonzero(np.abs(found) > 0.01) / RATE
    assert np.sort(np.diff(heard_s))[-2:] == pytest.approx([200, 300], abs=0.1)
    assert decoder.is_truncated


def test_a_rate_that_no_recorder_has_is_no_sound(tmp_path: Path) -> None:
    path = recordings.silence(tmp_path / "a.wav", 1)
    header = bytearray(path.read_bytes())
    header[24:32] = (1).to_bytes(4, "little") + (2).to_bytes(4, "little")
    path.write_bytes(header)
    with pytest.raises(AudioError, match="it is too small for that"):
        for _ in Decoder(path):
            pass


def test_a_short_file_of_much_sound_comes_as_a_stream(tmp_path: Path) -> None:
    paths = [recordings.silence(tmp_path / name, 400) for name in ("a.flac", "b.flac")]
    for path, found in zip(paths, decode_together(paths), strict=True):
        assert path.stat().st_size < CLIP_BYTES
        assert isinstance(found, Unusual)
        assert sum(map(len, Decoder(path))) == 400 * RATE


# What ffmpeg makes of odd files


def test_an_error_of_reading_that_is_the_files_own_is_no_fault_of_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ffmpeg calls it that, too, where a file ends before its header does; nobody tries three times."""
    program = tmp_path / "ffmpeg"
    program.write_text("#!/bin/sh\necho 'Error opening input: Input/output error' >&2\nexit 1\n")
    program.chmod(0o755)
    (tmp_path / "a.gsm").write_bytes(b"\xd0" * 33)
    input_arguments(tmp_path / "a.gsm")
    monkeypatch.setattr("nightscribe.shared.audio.passes.ffmpeg_path", lambda: str(program))
    with pytest.raises(AudioError):
        decode(tmp_path / "a.gsm")


@pytest.mark.parametrize("offset", [0.25, -0.25])
def test_quiet_speech_keeps_its_pauses_beside_an_offset(offset: float) -> None:
    waveform = np.random.default_rng(0).normal(0, 0.01, 4 * RATE).astype(np.float32)
    waveform[2 * RATE : 3 * RATE] = 0
    assert np.abs(centred(waveform + np.float32(offset)) - waveform).max() < 1e-3
    assert 2 * RATE < quietest(waveform + np.float32(offset), RATE) < 3 * RATE


def test_sound_without_an_offset_stays_as_it_is() -> None:
    waveform = np.random.default_rng(0).normal(0, 0.01, RATE).astype(np.float32)
    assert centred(waveform) is waveform
    assert len(centred(waveform[:0])) == 0
