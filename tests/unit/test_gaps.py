"""Speech without text over it: found, heard again, and flagged where it stays without."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from making import OPTIONS, segment, slice_of
from support import recordings

from nightscribe.shared.audio.decode import Decoder
from nightscribe.shared.audio.waveform import RATE, Waveform
from nightscribe.shared.model.jobs import Options
from nightscribe.shared.model.transcript import Flag, Part, Word
from nightscribe.worker.engines.base import Recognition, RecognitionRequest, SpeechWindow, WindowLimits
from nightscribe.worker.pipeline.gaps import gaps
from nightscribe.worker.pipeline.transcriber import Request, Transcriber
from nightscribe.worker.pipeline.vad import SpeechDetector
from nightscribe.worker.pipeline.window_reader import SliceEnd, Window

A = slice_of("a.wav")
SURE = {"language": "en", "average_log_probability": -0.1, "no_speech_probability": 0.0}


def bursts(*at_s: tuple[float, float], length_s: float = 12.0, loudness: float = 0.2) -> Waveform:
    """Noise in these stretches, and next to nothing between them."""
    dice = np.random.default_rng(1)
    made = dice.normal(0, 0.0005, round(length_s * RATE)).astype(np.float32)
    for start_s, end_s in at_s:
        a, b = round(start_s * RATE), round(end_s * RATE)
        made[a:b] += dice.normal(0, loudness, b - a).astype(np.float32)
    return made


def words(*times: tuple[float, float]) -> tuple[Word, ...]:
    return tuple(Word(start_s, end_s, f" {n}") for n, (start_s, end_s) in enumerate(times))


def over(*times: tuple[float, float]) -> list:
    return [segment(times[0][0], times[-1][1], words=words(*times))]


def test_sound_between_words_is_a_gap() -> None:
    sound = bursts((0.5, 2.5), (4.0, 7.0), (9.0, 11.0))
    [(start_s, end_s)] = gaps(over((0.5, 1.5), (1.5, 2.5), (9.0, 10.0), (10.0, 11.0)), sound)
    assert (start_s, end_s) == pytest.approx((4.0, 7.0), abs=0.05)


def test_a_word_stretched_over_sound_does_not_cover_it() -> None:
    sound = bursts((0.5, 2.5), (2.7, 7.0), (9.0, 11.0))
    assert len(gaps(over((0.5, 1.5), (1.5, 7.0), (9.0, 10.0), (10.0, 11.0)), sound)) == 1


@pytest.mark.parametrize(
    "sound",
    [bursts((0.5, 2.5), (9.0, 11.0)), bursts((0.5, 2.5), (4.0, 4.4), (9.0, 11.0)), np.zeros(12 * RATE, np.float32)],
)
def test_silence_and_a_cough_are_no_gap(sound: Waveform) -> None:
    assert gaps(over((0.5, 1.5), (1.5, 2.5), (9.0, 10.0), (10.0, 11.0)), sound) == []


def test_a_segment_without_word_times_covers_all_of_itself() -> None:
    assert gaps([segment(0.5, 11.0)], bursts((0.5, 11.0))) == []


class Deaf:
    """Hears in a whole window only what it is told, and in a stretch what it is told of that."""

    name, batch_size, window_limits = "deaf 1", 4, WindowLimits(10.0, 18.0)

    def __init__(self, whole: Recognition, again: Recognition) -> None:
        self.whole, self.again = whole, again
        self.stretches: list[SpeechWindow] = []

    def recognize(self, windows: Sequence[SpeechWindow], request: RecognitionRequest) -> list[Recognition]:
        whole = [window.start_s == 100.0 and not self.stretches for window in windows]
        self.stretches += [window for window, is_whole in zip(windows, whole, strict=True) if not is_whole]
        found = [self.whole if is_whole else self.again for is_whole in whole]
        if any(whole):
            self.stretches = []
        return found


@pytest.fixture(scope="module")
def speech() -> Waveform:
    """Six sentences in ten seconds."""
    return np.concatenate(list(Decoder(Path(recordings.beckett()), 0.0, None)))


@pytest.fixture
def part_of(speech: Waveform) -> Callable[[Deaf, Waveform], Part]:
    def transcribe(engine: Deaf, sound: Waveform, options: Options = OPTIONS) -> Part:
        stream = [Window(A, 100.0, sound, SpeechDetector().listen(sound)), SliceEnd(A, decoded_s=len(sound) / RATE)]
        [(_, part)] = Transcriber(engine).transcribe(stream, Request(options))
        assert part is not None
        return part

    return transcribe


WHOLE = Recognition(
    " Ever tried. Fail better.",
    words=[Word(0.2, 0.6, " Ever"), Word(0.6, 1.2, " tried."), Word(8.6, 9.0, " Fail"), Word(9.0, 9.6, " better.")],
    **SURE,
)


def test_a_sentence_left_out_in_the_middle_is_heard_again(part_of: Callable[..., Part], speech: Waveform) -> None:
    again = Recognition(" No matter.", words=[Word(0.3, 0.7, " No"), Word(0.7, 1.2, " matter.")], **SURE)
    engine = Deaf(WHOLE, again)
    part = part_of(engine, speech)
    assert [each.text for each in part.segments] == ["Ever tried.", "No matter.", "Fail better."]
    assert Flag.GAP not in part.flags
    [stretch] = engine.stretches
    assert 100.0 < stretch.start_s < part.segments[1].start_s < part.segments[1].end_s < 109.0


@pytest.mark.parametrize("again", [Recognition(""), Recognition(" Hm.", average_log_probability=-2.0)])
def test_speech_that_stays_without_text_is_flagged(
    part_of: Callable[..., Part], speech: Waveform, again: Recognition
) -> None:
    part = part_of(Deaf(WHOLE, again), speech)
    assert [each.text for each in part.segments] == ["Ever tried.", "Fail better."]
    assert part.flags == (Flag.GAP,)
    assert part.version == 2, "the first release does not know the flag"


def test_noise_without_text_is_neither_heard_again_nor_flagged(part_of: Callable[..., Part], speech: Waveform) -> None:
    engine = Deaf(Recognition(WHOLE.text, words=WHOLE.words, **SURE), Recognition(" Invented."))
    sound = speech.copy()
    hole = slice(round(1.4 * RATE), round(8.4 * RATE))
    sound[hole] = np.random.default_rng(1).normal(0, 0.03, hole.stop - hole.start)
    part = part_of(engine, sound)
    assert (engine.stretches, part.flags) == ([], ())


@pytest.mark.parametrize("has_words", [True, False])
def test_a_first_word_begins_with_the_speech_and_not_with_the_ringing_before_it(
    part_of: Callable[..., Part], speech: Waveform, has_words: bool
) -> None:
    t = np.arange(8 * RATE) / RATE
    ringing = (0.2 * np.sin(2 * np.pi * 440 * t) * (np.sin(2 * np.pi * 0.5 * t) > 0)).astype(np.float32)
    timed = [Word(0.2, 8.5, " Ever"), Word(8.5, 9.2, " tried.")] if has_words else None
    engine = Deaf(Recognition(" Ever tried.", words=timed, **SURE), Recognition(""))
    sound = np.concatenate([ringing, speech[: round(1.6 * RATE)]])
    stream = [Window(A, 100.0, sound, SpeechDetector().listen(sound)), SliceEnd(A)]
    [(_, part)] = Transcriber(engine).transcribe(stream, Request(OPTIONS))
    assert part is not None
    [first] = part.segments
    assert 107.8 < first.start_s < 108.6
    assert all(word.start_s >= first.start_s for word in first.words)


@pytest.mark.parametrize(("translated_until_s", "flagged"), [(9.6, False), (3.0, True)])
def test_speech_without_a_translation_is_flagged(
    part_of: Callable[..., Part], speech: Waveform, translated_until_s: float, flagged: bool
) -> None:
    """It is not heard again, since the times of translated words are rough."""
    words = [Word(0.2, translated_until_s / 2, " Ever"), Word(translated_until_s / 2, translated_until_s, " tried.")]
    engine = Deaf(Recognition(" Ever tried.", words=words, **SURE | {"language": "fr"}), Recognition(" Invented."))
    part = part_of(engine, speech, OPTIONS.model_copy(update={"task": "translate", "language": "fr"}))
    assert (engine.stretches, [each.text for each in part.segments]) == ([], ["Ever tried."])
    assert (Flag.GAP in part.flags) is flagged


def test_english_is_heard_again_also_when_a_translation_is_requested(
    part_of: Callable[..., Part], speech: Waveform
) -> None:
    again = Recognition(" No matter.", words=[Word(0.3, 0.7, " No"), Word(0.7, 1.2, " matter.")], **SURE)
    part = part_of(Deaf(WHOLE, again), speech, OPTIONS.model_copy(update={"task": "translate"}))
    assert [each.text for each in part.segments] == ["Ever tried.", "No matter.", "Fail better."]
