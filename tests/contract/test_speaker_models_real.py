"""The real models that tell voices apart, over real speech."""

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from nightscribe.shared.audio.decode import Decoder
from nightscribe.shared.audio.waveform import RATE, Waveform
from nightscribe.shared.model.speakers import LocalSpeakers, SpeakerCount, decode_embedding
from nightscribe.shared.speakers.labelling import label
from nightscribe.worker.pipeline.diarize.diarizer import WINDOW_S, Diarizer


@pytest.fixture(scope="module")
def diarizer(speaker_models: Path) -> Diarizer:
    """The models, from the cache of all test runs."""
    return Diarizer(speaker_models)


@pytest.fixture(scope="module")
def reading(speech: Path) -> Waveform:
    """44 s of one reader."""
    return np.concatenate(list(Decoder(speech, 0.0, None)))


@pytest.fixture(scope="module")
def heard(diarizer: Diarizer, reading: Waveform) -> LocalSpeakers:
    """What is heard in the reading."""
    return diarizer.hear(blocks(reading))


def blocks(sound: Waveform) -> Iterator[Waveform]:
    """The sound in blocks of no particular length."""
    for at in range(0, len(sound), 7_777):
        yield sound[at : at + 7_777]


def test_one_reader_is_one_speaker(heard: LocalSpeakers, reading: Waveform) -> None:
    found = label([heard], SpeakerCount())
    assert [speaker.label for speaker in found.speakers] == ["Speaker 1"]
    assert found.turns[0].start_s < 2
    assert found.turns[-1].end_s <= len(reading) / RATE
    assert sum(turn.end_s - turn.start_s for turn in found.turns) > 0.7 * len(reading) / RATE
    assert len(decode_embedding(found.speakers[0].embedding or "")) == 192


def test_the_cut_of_a_recording_changes_nothing(diarizer: Diarizer, reading: Waveform, heard: LocalSpeakers) -> None:
    """Whatever slices it is cut into, each heard with some of the next one."""
    cuts = (0.0, 13.37, 27.15, None)
    voices, turns = [], []
    for start_s, end_s in pairwise(cuts):
        end = len(reading) if end_s is None else round((end_s + WINDOW_S) * RATE)
        slice_ = diarizer.hear(blocks(reading[round((start_s or 0) * RATE) : end]), start_s or 0, end_s)
        turns += [turn.model_copy(update={"voice": turn.voice + len(voices)}) for turn in slice_.turns]
        voices += slice_.voices
    assert LocalSpeakers(voices=tuple(voices), turns=tuple(turns)) == heard


@pytest.mark.parametrize("loudness", [0.0, 1e-4, 0.1])
def test_nobody_speaks_in_silence_and_noise(diarizer: Diarizer, loudness: float) -> None:
    sound = np.random.default_rng(1).normal(scale=loudness, size=12 * RATE).astype(np.float32)
    assert diarizer.hear([sound]).turns == ()


@pytest.mark.parametrize("n_samples", [0, 1, 500, 9_000])
def test_a_slice_may_be_short(diarizer: Diarizer, n_samples: int) -> None:
    assert diarizer.hear([np.full(n_samples, 0.01, np.float32)]).turns == ()
