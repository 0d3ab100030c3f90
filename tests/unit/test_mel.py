"""Whisper's spectrogram without its library."""

import numpy as np
import pytest
import whisper

from nightscribe.worker.engines.whisper.mel import log_mel
from nightscribe.worker.engines.whisper.runtime import HOP


@pytest.mark.parametrize("n_mels", [80, 128])
@pytest.mark.parametrize("n_samples", [1, 159, 400, 16_000, 40_123])
@pytest.mark.filterwarnings("ignore:unclosed file .*whisper.*:ResourceWarning")
def test_it_is_the_spectrogram_that_whisper_computes(n_mels: int, n_samples: int) -> None:
    waveform = np.random.default_rng(n_samples).normal(0, 0.1, n_samples).astype(np.float32)
    theirs = whisper.log_mel_spectrogram(np.pad(waveform, (0, HOP + 200)), n_mels).numpy()
    ours = log_mel(waveform, n_mels)
    assert ours.dtype == np.float32
    assert ours.shape == (n_mels, max(1, n_samples // HOP))
    inner = slice(2, max(2, n_samples // HOP - 3))  # at the edges, Whisper's padding differs
    np.testing.assert_allclose(ours[:, inner], theirs[:, inner], atol=2e-3)
