"""All engines hear what is said, when it is said, and nothing where nobody speaks: real weights on real speech."""

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

from nightscribe.shared.audio.decode import Decoder
from nightscribe.shared.audio.waveform import RATE, Waveform
from nightscribe.shared.errors import SetupError
from nightscribe.shared.model.engines import WHISPER_ENGINES
from nightscribe.shared.model.jobs import Options, Slice
from nightscribe.shared.model.transcript import Flag, Part, Segment, Word
from nightscribe.shared.storage.folder.source import FolderSource
from nightscribe.worker.engines import registry as engines
from nightscribe.worker.engines.base import RecognitionRequest, SpeechSlice, SpeechWindow
from nightscribe.worker.engines.whisper.recognizer import WINDOW_LIMITS, WhisperRecognizer
from nightscribe.worker.engines.whisper.runtime import POSITION_S, WINDOW_S, Encoded, Runtime
from nightscribe.worker.pipeline.transcriber import Request, Transcriber
from nightscribe.worker.pipeline.window_reader import WindowReader

# None makes any of the 119 words wrong; a few may be on another processor.
MAX_WORD_ERROR_RATE = 0.05

# Where the six sentences begin and end, read off their loudness.
BECKETT_SENTENCES_S = (0.32, 1.43, 1.87, 2.59, 3.55, 4.08, 4.66, 5.47, 6.65, 7.24, 8.15, 8.74)

# openai-whisper leaves the files with its vocabulary and spellings for the garbage collector to close.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed file .*whisper.*(tiktoken|english.json):ResourceWarning")


def normalizer() -> Callable[[str], str]:
    """Return Whisper's own normalizer; importing it at the top would import torch with every collection."""
    from whisper.normalizers import EnglishTextNormalizer

    return EnglishTextNormalizer()


def word_error_rate(true: str, segments: tuple[Segment, ...] | list[Segment]) -> float:
    """Share of words that are wrong, however they are written."""
    plain = normalizer()
    return float(jiwer.wer(plain(true), plain(" ".join(segment.text for segment in segments))))


def said(words: list[Word]) -> str:
    """Words as they were written."""
    return "".join(word.text for word in words).strip()


def said_by(segments: list[Segment]) -> list[str]:
    """The words of some segments, as they were written."""
    return " ".join(segment.text for segment in segments).split()


def whole(path: Path) -> Slice:
    """A recording as one slice."""
    return Slice(recording=path.name, fingerprint="1-0", size=1, stem=path.stem)


def sound(path: Path) -> Waveform:
    """All of a recording."""
    return np.concatenate(list(Decoder(path)))


@pytest.fixture(scope="module")
def load(models_dir: Path) -> Callable[[str, str], Runtime]:
    """The runtime of an engine with a model, loaded once."""

    @cache
    def loaded(engine: str, model: str) -> Runtime:
        recognizer = engines.load(engine, model, weights(model, engine, models_dir), threads=1)
        assert isinstance(recognizer, WhisperRecognizer)
        return recognizer.runtime

    return loaded


@pytest.fixture(params=WHISPER_ENGINES)
def engine(request: pytest.FixtureRequest, load: Callable[[str, str], Runtime]) -> Runtime:
    """Each engine in turn, with tiny.en."""
    return load(request.param, "tiny.en")


@pytest.fixture
def transcribe(engine: Runtime) -> Callable[[Path], Part]:
    """From a file to its part."""
    options = Options(engine="auto", model="tiny.en", language="auto")

    def run(path: Path) -> Part:
        slice_ = whole(path)
        listener = WindowReader(FolderSource(path.parent), WINDOW_LIMITS)
        listener._as_queued = lambda slice_: listener._source.stat(slice_.recording)  # type: ignore[method-assign]
        sound = listener.read([slice_])
        [(end, part)] = Transcriber(WhisperRecognizer(engine)).transcribe(sound, Request(options, all_words=True))
        assert part, end.error
        return part

    return run


def test_the_words_are_the_ones_that_were_read(transcribe: Callable[[Path], Part], speech: Path) -> None:
    """Nearly all of them, in segments that follow each other within the sound, each with what the model thinks."""
    segments = transcribe(speech).segments
    assert word_error_rate(recordings.TWO_CITIES_TEXT, segments) <= MAX_WORD_ERROR_RATE
    assert len(segments) > 2
    edges = [edge for segment in segments for word in segment.words for edge in (word.start_s, word.end_s)]
    assert edges == sorted(edges)
    assert all(segment.start_s < segment.end_s for segment in segments)
    assert segments[0].start_s < 1
    assert recordings.TWO_CITIES_DURATION_S - 4 < segments[-1].end_s <= recordings.TWO_CITIES_DURATION_S + 0.1
    for segment in segments:
        assert segment.text == segment.text.strip() == "".join(word.text for word in segment.words).strip() != ""
        assert -1 < segment.average_log_probability < 0
        assert 0 <= segment.no_speech_probability < 1
        assert 0.5 < segment.compression_ratio < 2.4


def test_words_stand_where_they_are_said(transcribe: Callable[[Path], Part], tmp_path: Path) -> None:
    """Of the edges of six sentences half are within a fifth of a second of the true ones, all within three quarters."""
    late = tmp_path / "late.wav"
    delay = [recordings.ffmpeg_program(), "-v", "error", "-i", str(recordings.beckett()), "-af", "adelay=4000"]
    subprocess.run([*delay, str(late)], check=True)
    segments = transcribe(late).segments
    assert word_error_rate(recordings.BECKETT_TEXT, segments) <= 0.1
    spoken = [4 + edge for edge in BECKETT_SENTENCES_S]
    words = [word for segment in segments for word in segment.words]
    assert len(words) == 12
    found = [edge for first, last in zip(words[::2], words[1::2], strict=True) for edge in (first.start_s, last.end_s)]
    assert found == pytest.approx(spoken, abs=0.75)
    assert sum(abs(edge - true) < 0.2 for edge, true in zip(found, spoken, strict=True)) >= 6


# Each step by itself


@pytest.fixture(scope="module")
def stretches(speech: Path) -> list[Waveform]:
    """Three windows of read speech, from 3 to 11 s long, cut between words."""
    waveform = sound(speech)
    return [waveform[round(a * RATE) : round(b * RATE)] for a, b in ((0, 3.6), (0, 7.5), (21.0, 32.0))]


def test_windows_together_are_heard_as_one_by_one(engine: Runtime, stretches: list[Waveform]) -> None:
    """Whatever their lengths: neither words nor their times come from a neighbour."""
    encoded = [engine.encode(waveform) for waveform in stretches]
    assert [each.seconds for each in encoded] == [len(waveform) / RATE for waveform in stretches]
    together = engine.decode(encoded, ["en"] * 3, task="transcribe")
    alone = [engine.decode([each], ["en"], task="transcribe")[0] for each in encoded]
    assert [each.text for each in together] == [each.text for each in alone]
    assert [each.average_log_probability for each in together] == pytest.approx(
        [each.average_log_probability for each in alone], abs=0.05
    )
    timed = engine.align(encoded, together, ["en"] * 3, task="transcribe")
    for each, window, words in zip(together, encoded, timed, strict=True):
        assert said(words) == each.text.strip()
        edges = [edge for word in words for edge in (word.start_s, word.end_s)]
        assert edges == sorted(edges)
        assert 0 <= edges[0] <= edges[-1] <= window.seconds + POSITION_S
        [by_itself] = engine.align([window], [each], ["en"], task="transcribe")
        assert [word.text for word in by_itself] == [word.text for word in words]
        near = [abs(a.start_s - b.start_s) < 0.3 for a, b in zip(words, by_itself, strict=True)]
        assert sum(near) >= 0.9 * len(near)


def test_the_whole_half_minute_is_heard_as_well(engine: Runtime, speech: Path) -> None:
    """As Whisper was trained to; and a window that is longer is cut off."""
    waveform = sound(speech)
    encoded = engine.encode(waveform)
    assert encoded.seconds == WINDOW_S
    [decoded] = engine.decode([encoded], ["en"], task="transcribe")
    heard = normalizer()(decoded.text).split()
    read = normalizer()(recordings.TWO_CITIES_TEXT).split()[: len(heard)]
    assert 60 < len(heard) < 100
    assert jiwer.wer(" ".join(read), " ".join(heard)) <= MAX_WORD_ERROR_RATE
    short = engine.encode(waveform[: 4 * RATE])
    assert not short.full
    full = engine.encode(waveform[: 4 * RATE], full=True)
    assert (full.full, full.seconds) == (True, 4.0)
    [quick, slow] = [engine.decode([each], ["en"], task="transcribe")[0].text for each in (short, full)]
    assert "best of times" in quick
    assert "best of times" in slow
    [words] = engine.align([full], engine.decode([full], ["en"], task="transcribe"), ["en"], task="transcribe")
    assert words[-1].end_s <= 4.0 + POSITION_S, "not in the padding"


@pytest.mark.parametrize("n_samples", [0.05 * RATE, RATE])
def test_a_moment_is_a_window_like_any_other(engine: Runtime, stretches: list[Waveform], n_samples: float) -> None:
    """Nobody says much in it, and it does no harm to its neighbour."""
    moment, other = engine.encode(stretches[0][: round(n_samples)]), engine.encode(stretches[0])
    decoded = engine.decode([moment, other], ["en"] * 2, task="transcribe")
    assert "best of times" in decoded[1].text
    words = engine.align([moment, other], decoded, ["en"] * 2, task="transcribe")
    assert [said(each) for each in words] == [each.text.strip() for each in decoded]
    assert all(word.end_s <= moment.seconds + POSITION_S for word in words[0])


def test_a_temperature_tries_other_words_and_still_hears_them(engine: Runtime, stretches: list[Waveform]) -> None:
    """The surest of several samples; its probability is not better than that of the likeliest words."""
    encoded = [engine.encode(waveform, full=True) for waveform in stretches[:2]]
    likeliest = engine.decode(encoded, ["en"] * 2, task="transcribe")
    sampled = engine.decode(encoded, ["en"] * 2, task="transcribe", temperature=0.2)
    for best, each in zip(likeliest, sampled, strict=True):
        assert "best of times" in each.text
        assert -1 < each.average_log_probability <= best.average_log_probability + 0.1
    hot: set[tuple[int, ...]] = set()
    for _ in range(30):  # the surest of several samples is often the same one
        hot.add(engine.decode(encoded[:1], ["en"], task="transcribe", temperature=1.0)[0].tokens)
        if len(hot) > 1:
            return
    pytest.fail("what does not change is no temperature")


def test_the_work_in_hand_is_at_least_one_window(engine: Runtime) -> None:
    """However large the model is."""
    assert 1 <= engine.batch_size <= 64


def test_an_engine_says_which_version_it_is(engine: Runtime) -> None:
    """Of its library: it goes into the record of every transcript."""
    name, _, version = engine.name.partition(" ")
    assert name in WHISPER_ENGINES
    assert version[:1].isdigit()


def test_a_model_that_knows_only_english_hears_english(engine: Runtime, stretches: list[Waveform]) -> None:
    """It is not asked, since it could not answer."""
    encoded = [engine.encode(waveform) for waveform in stretches[:2]]
    assert engine.detect_language(encoded) == [{"en": 1.0}] * 2


@pytest.mark.parametrize("name", WHISPER_ENGINES)
def test_a_model_that_knows_many_languages_tells_them_apart(
    load: Callable[[str, str], Runtime], name: str, stretches: list[Waveform]
) -> None:
    """A probability for each, together as one by one; and windows of several languages are decoded together."""
    engine = load(name, "base")
    encoded = [engine.encode(waveform) for waveform in stretches[:2]]
    found = engine.detect_language(encoded)
    for window, probabilities in zip(encoded, found, strict=True):
        assert max(probabilities, key=lambda language: probabilities[language]) == "en"
        assert probabilities["en"] > 0.8
        assert len(probabilities) > 90
        assert sum(probabilities.values()) == pytest.approx(1, abs=0.01)
        assert engine.detect_language([window])[0]["en"] == pytest.approx(probabilities["en"], abs=0.05)
    windows = [encoded[0], encoded[0], encoded[1]]
    english, german, again = engine.decode(windows, ["en", "de", "en"], task="transcribe")
    assert "best of times" in english.text
    assert "best of times" in again.text
    assert german.text == engine.decode([encoded[0]], ["de"], task="transcribe")[0].text != english.text
    timed = engine.align(windows, [english, german, again], ["en", "de", "en"], task="transcribe")
    assert [said(each) for each in timed] == [each.text.strip() for each in (english, german, again)]


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


def test_two_people_on_two_channels_are_both_heard(transcribe: Callable[[Path], Part], tmp_path: Path) -> None:
    """They speak at the same time; mixed, an engine hears one of them or neither."""
    call = tmp_path / "call.wav"
    sides = "[0:a]aresample=16000,atrim=0:9.9[a];[1:a]aresample=16000,atrim=0:9.9[b];"
    sides += "[a][b]join=inputs=2:channel_layout=stereo"
    inputs = ["-i", str(recordings.beckett()), "-i", str(recordings.two_cities())]
    command = [recordings.ffmpeg_program(), "-v", "error", *inputs, "-filter_complex", sides, str(call)]
    subprocess.run(command, check=True)
    part = transcribe(call)
    first, second = (
        [segment for segment in part.segments if segment.speaker == f"channel {number}"] for number in (1, 2)
    )
    assert len(first) + len(second) == len(part.segments)
    assert word_error_rate(recordings.BECKETT_TEXT, first) <= 0.1
    beginning = " ".join(recordings.TWO_CITIES_TEXT.split()[: len(said_by(second))])
    assert len(said_by(second)) >= 20
    assert word_error_rate(beginning, second) <= 0.1
    assert part.flags == ()
    assert part.decoded_s == pytest.approx(9.9, abs=0.1)


# The registry


def test_auto_is_the_first_engine_that_is_installed() -> None:
    """faster-whisper where it is, else the other one."""
    assert engines.choose("auto") == "faster-whisper"
    with patch.object(engines, "find_spec", lambda package: package == "whisper" or None):
        assert engines.choose("auto") == "openai-whisper"


@pytest.mark.parametrize("name", WHISPER_ENGINES)
def test_an_engine_is_taken_by_its_name(name: str) -> None:
    """Whatever auto would be."""
    assert engines.choose(name) == name


@pytest.mark.parametrize(
    ("name", "wanted"),
    [("auto", "faster-whisper"), ("faster-whisper", "faster-whisper"), ("onnx-whisper", "onnx-whisper")],
)
def test_an_engine_that_is_not_installed_is_a_sentence_with_its_command(name: str, wanted: str) -> None:
    """Which can be copied as it stands."""
    with (
        patch.object(engines, "find_spec", lambda _package: None),
        pytest.raises(SetupError, match=rf"{wanted} is not installed.*pip install 'nightscribe\[{wanted}\]'"),
    ):
        engines.choose(name)


# Batches


def test_words_do_not_depend_on_the_windows_beside_them(
    load: Callable[[str, str], Runtime], stretches: list[Waveform]
) -> None:
    """On ONNX Runtime: alone, in pairs, shuffled, short beside long; also with several beams."""
    engine = load("onnx-whisper", "tiny.en")
    short = [stretches[0][: 3 * RATE], stretches[1][RATE : 6 * RATE]]
    for full in (False, True):
        windows = [engine.encode(waveform, full=full) for waveform in (*stretches[:2], *short)]

        def words(chosen: list[int], windows: list[Encoded] = windows) -> list[tuple[str, float, list[Word]]]:
            some, languages = [windows[n] for n in chosen], ["en"] * len(chosen)
            decoded = engine.decode(some, languages, task="transcribe")
            timed = engine.align(some, decoded, languages, task="transcribe")
            return [
                (each.text, round(each.average_log_probability, 4), line)
                for each, line in zip(decoded, timed, strict=True)
            ]

        together = words([0, 1, 2, 3])
        assert [words([n])[0] for n in range(4)] == together
        assert [*words([0, 2]), *words([3, 1])] == [together[n] for n in (0, 2, 3, 1)]
        assert words([3, 0, 2, 1]) == [together[n] for n in (3, 0, 2, 1)]


def test_a_word_to_listen_for_is_spelled_as_listed(engine: Runtime, speech: Path) -> None:
    window = SpeechWindow(sound(speech)[8 * RATE : 14 * RATE], 60.0, SpeechSlice())
    request = RecognitionRequest(
        language="en", needs_words=lambda _window, _text: False, hotwords=("Kubernetes", "Incredulitee")
    )
    [heard] = WhisperRecognizer(engine).recognize([window], request)
    assert "incredulitee" in heard.text.casefold()
