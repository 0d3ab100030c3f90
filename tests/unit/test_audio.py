"""From real files to waveforms."""

import subprocess
import wave
from pathlib import Path

import numpy as np
import psutil
import pytest
from support import recordings

from shared.audio import RATE, Decoder, Waveform
from shared.errors import AudioError, PermanentError, RetryableError


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
