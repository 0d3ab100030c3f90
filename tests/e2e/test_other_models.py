"""`nightscribe run` with a model other than Whisper."""

import json
import wave
from pathlib import Path

import numpy as np
import pytest
import srt
from support.command import environment_of, run_command
from support.frame_models import FRAME_S, PAUSE_S, TONE_S, played, tone_model

from nightscribe.shared.audio.decode import RATE, Decoder
from nightscribe.shared.audio.waveform import Waveform
from nightscribe.worker.pipeline.word_boundaries import LEAD_S, REACH_S

SENTENCE = ["\u2581We", "\u2581hear", "\u2581tone", "s", "."]
VOICE_HZ = 3400


def below_the_tones(sound: Waveform) -> Waveform:
    """A voice as on the telephone, so that the tones have their bands for themselves."""
    spectrum = np.fft.rfft(sound)
    spectrum[np.fft.rfftfreq(len(sound), 1 / RATE) > VOICE_HZ] = 0
    return np.fft.irfft(spectrum, len(sound)).astype(np.float32)


def write(path: Path, voice: Waveform, starts_s: list[float]) -> None:
    """A voice with the tones of a sentence over it, at several times."""
    # A model normalizes each window, so where there are no tones, there has to be as much noise as between them.
    noise = np.random.default_rng(2).standard_normal(len(voice)).astype(np.float32)
    sound = below_the_tones(voice) + 0.004 * noise
    for start_s in starts_s:
        tones = played(SENTENCE, start_s=0.0, loud=0.1)
        first = round(start_s * RATE)
        sound[first : first + len(tones)] += tones[: len(sound) - first]
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, RATE, 0, "NONE", ""))
        file.writeframes((np.clip(sound, -1, 1) * 32767).astype("<i2").tobytes())


@pytest.fixture
def source(tmp_path: Path, speech: Path) -> Path:
    """Two recordings with a voice, which the speech detector hears, and tones, which the model hears."""
    folder = tmp_path / "source"
    folder.mkdir()
    voice = np.concatenate(list(Decoder(speech)))
    write(folder / "long.wav", voice[: 40 * RATE], [2.0, 15.0, 33.0])
    write(folder / "short.wav", voice[20 * RATE : 26 * RATE], [1.0])
    return folder


def test_a_model_with_frames_transcribes_with_times_and_goes_on_where_it_stopped(source: Path, tmp_path: Path) -> None:
    """From a folder with a model of another publisher; its windows are longer than Whisper's."""
    model = tone_model(tmp_path / "tones")
    dest = tmp_path / "dest"
    environment = environment_of(tmp_path / "models") | {"NIGHTSCRIBE_WORKERS": "1"}
    wanted = ("--model", str(model), "--formats", "txt,srt,json", "--word-timestamps")
    done = run_command(environment, "run", source, dest, *wanted, "--engine", "onnx-asr")
    assert done.returncode == 0, done.stderr
    assert (dest / "long.txt").read_text().split() == ["We", "hear", "tones."] * 3
    record = json.loads((dest / ".nightscribe/transcripts/long.wav.json").read_text())
    assert record["engine"].startswith("onnx-asr ")
    assert record["options"]["model"] == str(model)
    assert record["language"] == "en"
    assert "plain" not in record
    words = [word for segment in record["segments"] for word in segment["words"]]
    step_s = TONE_S + PAUSE_S
    expected = [start_s + n * step_s for start_s in (2.0, 15.0, 33.0) for n in range(3)]
    early_s = REACH_S + LEAD_S  # a first word is moved to where the voice begins, which does not say it here
    for word, start_s in zip(words, expected, strict=True):
        assert start_s - early_s - FRAME_S <= word[0] <= start_s + FRAME_S
        assert start_s + TONE_S - FRAME_S <= word[1] <= start_s + 3 * step_s + FRAME_S
    assert [cue.content.split() for cue in srt.parse((dest / "short.srt").read_text())] == [["We", "hear", "tones."]]

    (dest / ".nightscribe/transcripts/short.wav.json").unlink()
    for name in ("short.txt", "short.srt", "short.json"):
        (dest / name).unlink()
    before = (dest / ".nightscribe/transcripts/long.wav.json").stat().st_mtime_ns
    again = run_command(environment, "run", source, dest, *wanted)  # the engine follows from the model
    assert again.returncode == 0, again.stderr
    assert (dest / "short.txt").read_text().split() == ["We", "hear", "tones."]
    assert (dest / ".nightscribe/transcripts/long.wav.json").stat().st_mtime_ns == before
