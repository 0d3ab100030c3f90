"""Both engines hear what is said, when it is said, and nothing where nobody speaks: real weights on real speech."""

import subprocess
from collections.abc import Callable
from functools import cache
from pathlib import Path
from unittest.mock import patch

import jiwer
import numpy as np
import pytest
from support import recordings
from support.workplace import weights
from whisper.normalizers import EnglishTextNormalizer

from shared.audio import RATE, Decoder, Waveform
from shared.errors import SetupError
from shared.jobs import Options, Slice
from shared.transcript import Flag, Part, Segment
from worker import engines
from worker.engines.base import Engine
from worker.transcriber import Transcriber

# Both make none of the 119 words wrong; a few may be on another processor.
MAX_WORD_ERROR_RATE = 0.05

# openai-whisper leaves the files with its vocabulary and spellings for the garbage collector to close.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed file .*whisper.*(tiktoken|english.json):ResourceWarning")


def word_error_rate(true: str, segments: tuple[Segment, ...] | list[Segment]) -> float:
    """Share of words that are wrong, however they are written."""
    plain = EnglishTextNormalizer()
    return float(jiwer.wer(plain(true), plain(" ".join(segment.text for segment in segments))))


def whole(path: Path) -> Slice:
    """A recording as one slice."""
    return Slice(recording=path.name, fingerprint="1-0", size=1, stem=path.stem)


def sound(path: Path) -> Waveform:
    """All of a recording."""
    return np.concatenate(list(Decoder(path)))


@pytest.fixture(scope="module")
def load(models_dir: Path) -> Callable[[str, str], Engine]:
    """An engine with a model, loaded once."""

    @cache
    def loaded(engine: str, model: str) -> Engine:
        return engines.load(engine, weights(model, engine, models_dir), threads=1)

    return loaded


@pytest.fixture(params=list(engines.ENGINES))
def engine(request: pytest.FixtureRequest, load: Callable[[str, str], Engine]) -> Engine:
    """Each engine in turn, with tiny.en."""
    return load(request.param, "tiny.en")


@pytest.fixture
def transcribe(engine: Engine) -> Callable[[Path], Part]:
    """From a file to its part."""
    options = Options(engine="auto", model="tiny.en", language="auto")

    def run(path: Path) -> Part:
        return Transcriber(engine).transcribe(path, whole(path), options, check=lambda: None, progress=lambda _: None)

    return run


def test_the_words_are_the_ones_that_were_read(engine: Engine, speech: Path) -> None:
    """Nearly all of them, in segments that follow each other within the sound, each with what the model thinks."""
    segments = list(engine.transcribe(sound(speech), language="en", task="transcribe"))
    assert word_error_rate(recordings.TWO_CITIES_TEXT, segments) <= MAX_WORD_ERROR_RATE
    assert len(segments) > 3
    edges = [edge for segment in segments for edge in (segment.start_s, segment.end_s)]
    assert edges == sorted(edges)
    assert all(segment.start_s < segment.end_s for segment in segments)
    assert segments[0].start_s < 1
    assert recordings.TWO_CITIES_DURATION_S - 4 < segments[-1].end_s <= recordings.TWO_CITIES_DURATION_S + 1
    for segment in segments:
        assert segment.text == segment.text.strip() != ""
        assert -1 < segment.average_log_probability < 0
        assert 0 <= segment.no_speech_probability < 1
        assert 0.5 < segment.compression_ratio < 2.4


def test_words_stand_where_they_are_said(engine: Engine) -> None:
    """What is read in the first half stands in the first half: no window is shifted."""
    waveform = sound(recordings.beckett())
    late = np.concatenate([np.zeros(4 * RATE, np.float32), waveform])
    segments = list(engine.transcribe(late, language="en", task="transcribe"))
    assert word_error_rate(recordings.BECKETT_TEXT, segments) <= 0.2
    assert segments[-1].end_s > recordings.BECKETT_DURATION_S


def test_an_engine_says_which_version_it_is(engine: Engine) -> None:
    """Of its library: it goes into the record of every transcript."""
    name, _, version = engine.name.partition(" ")
    assert name in engines.ENGINES
    assert version[:1].isdigit()


def test_a_model_that_knows_only_english_hears_english(engine: Engine, speech: Path) -> None:
    """It is not asked, since it could not answer."""
    assert engine.detect_language(sound(speech)) == {"en": 1.0}


@pytest.mark.parametrize("name", list(engines.ENGINES))
def test_the_language_spoken_is_detected(load: Callable[[str, str], Engine], name: str, speech: Path) -> None:
    """By a model that knows many, with a probability for each."""
    probabilities = load(name, "base").detect_language(sound(speech))
    assert max(probabilities, key=lambda language: probabilities[language]) == "en"
    assert probabilities["en"] > 0.8
    assert len(probabilities) > 90
    assert sum(probabilities.values()) == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("make", [recordings.silence, recordings.tone, recordings.noise])
def test_where_nobody_speaks_nothing_is_written(
    transcribe: Callable[[Path], Part], tmp_path: Path, make: Callable[[Path, float], Path]
) -> None:
    """Whisper by itself would thank for watching."""
    part = transcribe(make(tmp_path / "empty.wav", 12.0))
    assert part.segments == ()
    assert part.flags == (Flag.NO_SPEECH,)
    assert part.language is None
    assert part.decoded_s == pytest.approx(12, abs=0.01)


def test_speech_on_both_sides_of_a_minute_of_silence_is_kept(
    transcribe: Callable[[Path], Part], tmp_path: Path
) -> None:
    """Every word before and after, and not one between."""
    beckett, gap = recordings.beckett(), tmp_path / "gap.wav"
    quiet = recordings.silence(tmp_path / "quiet.wav", 60)
    joined = "[0:a][1:a][2:a]concat=n=3:v=0:a=1"
    inputs = [argument for path in (beckett, quiet, beckett) for argument in ("-i", str(path))]
    command = [recordings.ffmpeg_program(), "-v", "error", *inputs, "-filter_complex", joined, str(gap)]
    subprocess.run(command, check=True)
    part = transcribe(gap)
    length_s = recordings.BECKETT_DURATION_S
    before = [segment for segment in part.segments if segment.start_s < length_s]
    after = [segment for segment in part.segments if segment.end_s > length_s + 60]
    assert word_error_rate(recordings.BECKETT_TEXT, before) <= 0.1
    assert word_error_rate(recordings.BECKETT_TEXT, after) <= 0.1
    assert [*before, *after] == list(part.segments)
    assert Flag.NO_SPEECH not in part.flags


# The registry


def test_auto_is_the_first_engine_that_is_installed() -> None:
    """faster-whisper where it is, else the other one."""
    assert engines.choose("auto") == "faster-whisper"
    with patch.object(engines, "find_spec", lambda package: package == "whisper" or None):
        assert engines.choose("auto") == "openai-whisper"


@pytest.mark.parametrize("name", list(engines.ENGINES))
def test_an_engine_is_taken_by_its_name(name: str) -> None:
    """Whatever auto would be."""
    assert engines.choose(name) == name


@pytest.mark.parametrize(
    ("name", "wanted"),
    [("auto", "faster-whisper"), ("faster-whisper", "faster-whisper"), ("openai-whisper", "openai-whisper")],
)
def test_an_engine_that_is_not_installed_is_a_sentence_with_its_command(name: str, wanted: str) -> None:
    """Which can be copied as it stands."""
    with (
        patch.object(engines, "find_spec", lambda _package: None),
        pytest.raises(SetupError, match=rf"{wanted} is not installed.*pip install 'nightscribe\[{wanted}\]'"),
    ):
        engines.choose(name)
