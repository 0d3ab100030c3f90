"""From real files to waveforms."""

import subprocess
import wave
from pathlib import Path

import numpy as np
import psutil
import pytest
from support import recordings

from nightscribe.shared.audio.decode import RATE, Decoder, Waveform
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
    monkeypatch.setattr("nightscribe.shared.audio.decode.seeks_exactly", lambda *_: False)
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


@pytest.mark.parametrize(("n_channels", "speakers"), [(4, (0, 1, 2, 3)), (6, (0, 2, 4))])
def test_nobody_is_lost_of_more_channels(tmp_path: Path, n_channels: int, speakers: tuple[int, ...]) -> None:
    """Recorders with a microphone for each speaker write four. Of the six of a film the fourth is for rumble alone."""
    for speaker in speakers:
        sound = np.zeros((RATE, n_channels))
        sound[:, speaker] = speech_like(RATE)
        found, _ = decode(write(tmp_path / "a.wav", sound))
        assert len(found) == RATE
        assert np.corrcoef(found, sound[:, speaker])[0, 1] > 0.99


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
