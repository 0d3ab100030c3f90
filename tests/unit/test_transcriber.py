"""From windows to parts, with an engine that says what a test lets it say."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
from making import OPTIONS, slice_of, speech_at

from nightscribe.shared.audio.waveform import RATE, Waveform
from nightscribe.shared.errors import Interrupted, PermanentError
from nightscribe.shared.model.jobs import Options, Slice
from nightscribe.shared.model.transcript import Flag, Part, Word
from nightscribe.worker.engines.base import Recognition, RecognitionRequest, SpeechWindow, WindowLimits
from nightscribe.worker.engines.whisper.fallback import TEMPERATURES
from nightscribe.worker.engines.whisper.recognizer import WhisperRecognizer
from nightscribe.worker.engines.whisper.runtime import Decoded, Encoded
from nightscribe.worker.pipeline.transcriber import Request, Transcriber
from nightscribe.worker.pipeline.window_reader import SliceEnd, Window

GOOD = Decoded((1, 2, 3), " Good.", -0.1, 0.0)
DOUBTFUL = Decoded((1, 2, 3), " Doubtful.", -0.8, 0.0)
BAD = Decoded((1, 2, 3), " Bad.", -1.5, 0.0)
EMPTY = Decoded((), "", -0.1, 0.0)


@dataclass
class Said:
    """What is to be heard in one window: quickly, in full, then at one temperature after the other."""

    attempts: list[Decoded] = field(default_factory=lambda: [GOOD])
    languages: dict[str, float] = field(default_factory=lambda: {"en": 0.9, "de": 0.1})


class Scripted:
    """Knows a window by its first sample, and remembers what it was asked."""

    name = "scripted 1"
    batch_size = 4

    def __init__(self) -> None:
        self.script: dict[int, Said] = defaultdict(Said)
        self.batches: list[list[int]] = []
        self.full: list[int] = []
        self.temperatures: dict[int, list[float]] = defaultdict(list)
        self.aligned: list[int] = []
        self.decoded_in: dict[int, str] = {}
        self.tasks: dict[int, str] = {}
        self.beams: list[int] = []
        self.before: dict[int, list[str]] = defaultdict(list)
        self.hinted: dict[str, Decoded] = {}
        """What is heard in a window that is decoded by itself after a text."""

    def encode(self, waveform: Waveform, *, full: bool = False) -> Encoded:
        number = round(float(waveform[0]) * 1000)
        if full:
            self.full.append(number)
        return Encoded((number, full), len(waveform) / RATE)

    def detect_language(self, windows: Sequence[Encoded]) -> list[dict[str, float]]:
        return [self.script[window.states[0]].languages for window in windows]

    def decode(
        self,
        windows: Sequence[Encoded],
        languages: Sequence[str],
        *,
        task: str,
        temperature: float = 0.0,
        beams: int = 1,
        before: Sequence[str] = (),
    ) -> list[Decoded]:
        assert len(windows) == len(languages)
        self.beams.append(beams)
        for window, text in zip(windows, before, strict=bool(before)):
            self.before[window.states[0]].append(text)
            if text in self.hinted:
                return [self.hinted[text]]
        found = []
        if not any(window.states[1] for window in windows):
            self.batches.append([window.states[0] for window in windows])
        for window, language in zip(windows, languages, strict=True):
            number, full = window.states
            self.decoded_in[number] = language
            self.tasks[number] = task
            if full:
                self.temperatures[number].append(temperature)
            attempts = self.script[number].attempts
            found.append(attempts[min(len(self.temperatures[number]), len(attempts) - 1)])
        return found

    def align(
        self, windows: Sequence[Encoded], decoded: Sequence[Decoded], languages: Sequence[str], *, task: str
    ) -> list[list[Word]]:
        self.aligned += [window.states[0] for window in windows]
        return [
            [Word(0.1, window.seconds, each.text)] if each.text else []
            for window, each in zip(windows, decoded, strict=True)
        ]


def window(number: int, slice_: Slice, start_s: float = 0.0, length_s: float = 3.0, *, speech: bool = True) -> Window:
    """Noise of some loudness under a number that the engine knows it by."""
    waveform = np.random.default_rng(number).uniform(-0.3, 0.3, round(length_s * RATE)).astype(np.float32)
    waveform[0] = number / 1000
    return Window(slice_, start_s, waveform, speech_at(*[(length_s / 2, length_s / 2 + 0.3)] * speech))


def end(slice_: Slice, **changes: Any) -> SliceEnd:
    return replace(SliceEnd(slice_, mtime_ns=1, container_s=30.0, decoded_s=30.0), **changes)


A, B, C = (slice_of(f"{name}.wav", stem=name) for name in "abc")
AUTO = OPTIONS
ENGLISH = OPTIONS.model_copy(update={"language": "en"})
Outcome = dict[str, tuple[SliceEnd, Part | None]]


@pytest.fixture
def engine() -> Scripted:
    return Scripted()


@pytest.fixture
def run(engine: Scripted) -> Callable[..., Outcome]:
    """Transcribes a stream; a slice that came twice is an error."""

    def transcribe(*sound: Window | SliceEnd, batch_size: int = 0, **request: Any) -> Outcome:
        asked = Request(**({"options": ENGLISH} | request))
        found: Outcome = {}
        for ended, part in Transcriber(WhisperRecognizer(engine), batch_size=batch_size).transcribe(iter(sound), asked):
            name = f"{ended.slice_.recording}-{ended.slice_.index}"
            assert name not in found
            found[name] = ended, part
        return found

    return transcribe


def part_of(found: Outcome, slice_: Slice) -> Part:
    part = found[f"{slice_.recording}-{slice_.index}"][1]
    assert part is not None
    return part


def texts(part: Part) -> list[str]:
    return [segment.text for segment in part.segments]


def numbered(engine: Scripted, numbers: Iterable[int]) -> None:
    for n in numbers:
        engine.script[n] = Said([replace(GOOD, text=f" Number {n}.")])


# Windows and slices


@pytest.mark.parametrize("batch_size", [1, 2, 3, 16])
def test_windows_come_back_to_their_slices_in_the_order_of_time(
    run: Callable[..., Outcome], engine: Scripted, batch_size: int
) -> None:
    """Though those of several are transcribed together, the longest first."""
    numbered(engine, range(1, 8))
    first, second = (slice_of("a.wav", cuts=(20.0,), index=index) for index in (0, 1))
    found = run(
        window(1, first, 0.0, 2.0), window(2, first, 2.0, 5.0), window(3, first, 7.0, 3.0), end(first),
        window(4, second, 20.0, 1.0), window(5, second, 21.0, 8.0), end(second),
        window(6, B, 0.0, 4.0), window(7, B, 4.0, 1.0), end(B),
        batch_size=batch_size,
    )  # fmt: skip
    assert [texts(part_of(found, slice_)) for slice_ in (first, second, B)] == [
        ["Number 1.", "Number 2.", "Number 3."],
        ["Number 4.", "Number 5."],
        ["Number 6.", "Number 7."],
    ]
    assert sorted(number for batch in engine.batches for number in batch) == [1, 2, 3, 4, 5, 6, 7]
    assert max(map(len, engine.batches)) <= batch_size
    [four, five] = part_of(found, second).segments
    assert 20 <= four.start_s < four.end_s <= 21 <= five.start_s < five.end_s <= 29
    for slice_ in (first, second, B):
        part = part_of(found, slice_)
        assert (part.engine, part.language, part.container_s, part.decoded_s) == ("scripted 1", "en", 30.0, 30.0)
        assert part.flags == ()
        assert part.processing_s >= 0


def test_a_slice_is_handed_out_as_soon_as_its_last_window_is_done(engine: Scripted) -> None:
    """Not at the end of the job, which may be interrupted first."""
    n_given = 0

    def sound() -> Iterable[Window | SliceEnd]:
        nonlocal n_given
        for n in range(1, 101):
            slice_ = slice_of(f"{n}.wav")
            n_given += 1
            yield window(n, slice_, length_s=0.5)
            yield end(slice_)

    outcome = Transcriber(WhisperRecognizer(engine)).transcribe(sound(), Request(ENGLISH))
    next(outcome)
    assert n_given <= 3 * engine.batch_size
    assert len(list(outcome)) == 99


def test_a_short_window_does_not_wait_for_the_end_of_the_job(engine: Scripted) -> None:
    """A recording whose last window is short would be lost with the job, and its worker's lookahead be full of them."""
    sound = [item for n in range(1, 101) for item in (window(n, slice_of(f"{n}.wav"), length_s=0.4 if n == 1 else 0.5),
             end(slice_of(f"{n}.wav")))]  # fmt: skip
    outcome = Transcriber(WhisperRecognizer(engine)).transcribe(iter(sound), Request(ENGLISH))
    order = [ended.slice_.recording for ended, _ in outcome]
    assert order.index("1.wav") < 50


@pytest.mark.parametrize("language", [AUTO, ENGLISH])
def test_a_slice_without_speech_is_empty_and_flagged(
    run: Callable[..., Outcome], engine: Scripted, language: Any
) -> None:
    """And costs the engine nothing."""
    found = run(window(1, A, speech=False), end(A), end(B), window(3, C), end(C), options=language)
    assert (part_of(found, A).segments, part_of(found, A).language) == ((), None)
    assert part_of(found, A).flags == part_of(found, B).flags == (Flag.NO_SPEECH,)
    assert engine.batches == [[3]]
    assert texts(part_of(found, C)) == ["Good."]


@pytest.mark.parametrize("attempt", [EMPTY, replace(BAD, no_speech_probability=0.9)])
def test_where_the_model_hears_nothing_or_invents_nothing_is_written(
    run: Callable[..., Outcome], engine: Scripted, attempt: Decoded
) -> None:
    engine.script[1] = Said([attempt])
    part = part_of(run(window(1, A), end(A)), A)
    assert (part.segments, part.language, part.flags) == ((), None, (Flag.NO_SPEECH,))


def test_errors_of_one_slice_leave_the_others_whole(run: Callable[..., Outcome], engine: Scripted) -> None:
    """Even one whose first windows were heard before it broke."""
    error = PermanentError("It was changed while it was transcribed.")
    found = run(
        window(1, A),
        window(2, B),
        SliceEnd(B, error=error),
        window(3, A, 3.0),
        end(A),
        SliceEnd(C, error=error),
        batch_size=2,
    )
    assert found["b.wav-0"] == (SliceEnd(B, error=error), None)
    assert found["c.wav-0"] == (SliceEnd(C, error=error), None)
    assert texts(part_of(found, A)) == ["Good.", "Good."]


def test_channels_that_cancel_are_flagged(run: Callable[..., Outcome]) -> None:
    found = run(window(1, A), end(A, channels_cancel=True), end(B, channels_cancel=True))
    assert part_of(found, A).flags == (Flag.CHANNELS_CANCEL,)
    assert part_of(found, B).flags == (Flag.NO_SPEECH, Flag.CHANNELS_CANCEL)


def test_careful_is_one_window_at_a_time(run: Callable[..., Outcome], engine: Scripted) -> None:
    """What killed a worker may have been the memory for many."""
    run(*(window(n, A, 3.0 * n) for n in range(1, 6)), end(A), careful=True, batch_size=4)
    assert [len(batch) for batch in engine.batches] == [1] * 5
    engine.batches.clear()
    run(*(window(n, A, 3.0 * n) for n in range(1, 6)), end(A), batch_size=4)
    assert max(map(len, engine.batches)) == 4


def test_progress_is_told_for_each_slice_up_to_its_end(run: Callable[..., Outcome]) -> None:
    told: list[tuple[str, float]] = []
    run(
        window(1, A), window(2, A, 3.0, speech=False), window(3, A, 6.0), end(A), window(4, B), end(B),
        batch_size=1,
        progress=lambda slice_, done_s: told.append((slice_.recording, done_s)),
    )  # fmt: skip
    assert [done_s for name, done_s in told if name == "b.wav"] == [3.0]
    of_a = [done_s for name, done_s in told if name == "a.wav"]
    assert of_a == sorted(of_a)
    assert of_a[-1] == 9.0


@pytest.mark.parametrize("auto", [False, True])
def test_a_check_may_end_the_work_at_every_step(engine: Scripted, auto: bool) -> None:
    """Between any two steps; nothing is asked of the engine afterwards, and nothing else is raised."""
    options = AUTO if auto else ENGLISH
    sound = [window(1, A), window(2, A, 3.0), end(A), window(3, B), end(B)]
    engine.script[2] = Said([BAD])

    def run(stop_at: int) -> int:
        n_checks = 0

        def check() -> None:
            nonlocal n_checks
            n_checks += 1
            if n_checks == stop_at:
                raise Interrupted("Asked to stop.")

        outcome = Transcriber(WhisperRecognizer(engine), batch_size=2).transcribe(
            iter(sound), Request(options, check=check)
        )
        if stop_at:
            with pytest.raises(Interrupted):
                list(outcome)
            assert n_checks == stop_at
        else:
            assert len(list(outcome)) == 2
        return n_checks

    in_all = run(0)
    assert in_all > len(TEMPERATURES) + len(sound), "each temperature is a step as well"
    for stop_at in range(1, in_all + 1):
        engine.temperatures.clear()
        run(stop_at)


# Heard again


def test_what_is_sure_is_heard_once(run: Callable[..., Outcome], engine: Scripted) -> None:
    run(window(1, A), end(A))
    assert (engine.batches, engine.full) == ([[1]], [])


def test_a_doubtful_window_is_heard_again_in_full_and_the_others_are_not(
    run: Callable[..., Outcome], engine: Scripted
) -> None:
    engine.script[2] = Said([DOUBTFUL, replace(GOOD, text=" Now I understand.")])
    found = run(window(1, A), window(2, A, 3.0), window(3, A, 6.0), end(A))
    assert texts(part_of(found, A)) == ["Good.", "Now I understand.", "Good."]
    assert engine.full == [2]
    assert engine.temperatures[2] == [0.0], "what is not bad needs no other words"


def test_a_second_hearing_that_is_worse_is_not_believed(run: Callable[..., Outcome], engine: Scripted) -> None:
    engine.script[1] = Said([DOUBTFUL, replace(BAD, average_log_probability=-0.9)])
    assert texts(part_of(run(window(1, A), end(A)), A)) == ["Doubtful."]


@pytest.mark.parametrize("n_bad", [1, 3, 5])
def test_a_bad_window_is_tried_at_temperatures_until_it_is_not(
    run: Callable[..., Outcome], engine: Scripted, n_bad: int
) -> None:
    better = replace(DOUBTFUL, text=" At last.")
    engine.script[1] = Said([BAD, *[BAD] * n_bad, better])
    engine.script[2] = Said([DOUBTFUL, DOUBTFUL])
    found = run(window(1, A), window(2, A, 3.0), end(A))
    assert texts(part_of(found, A)) == ["At last.", "Doubtful."]
    assert engine.temperatures == {1: [0.0, *TEMPERATURES[:n_bad]], 2: [0.0]}


def test_what_stays_bad_is_the_best_of_all_attempts(run: Callable[..., Outcome], engine: Scripted) -> None:
    """After the last temperature there is an end; a person is told."""
    attempts = [replace(BAD, text=f" Try {n}.", average_log_probability=-1.5 - abs(n - 3) / 10) for n in range(7)]
    engine.script[1] = Said(attempts)
    part = part_of(run(window(1, A), end(A)), A)
    assert texts(part) == ["Try 3."]
    assert engine.temperatures[1] == [0.0, *TEMPERATURES]
    assert part.flags == (Flag.LOW_CONFIDENCE,)


def test_a_text_in_foreign_letters_is_not_believed(run: Callable[..., Outcome], engine: Scripted) -> None:
    """However sure the model is; but a translation is English, whatever is spoken."""
    engine.script[1] = Said([replace(GOOD, text=" Это было лучшее."), DOUBTFUL])
    assert texts(part_of(run(window(1, A), end(A)), A)) == ["Doubtful."]
    engine.full.clear()
    engine.temperatures.clear()
    russian = OPTIONS.model_copy(update={"language": "ru"})
    assert texts(part_of(run(window(1, A), end(A), options=russian), A)) == ["Это было лучшее."]
    assert engine.full == []
    run(window(1, A), end(A), options=russian.model_copy(update={"task": "translate"}))
    assert engine.full == [1]


# Languages


def test_the_language_is_found_over_several_windows_and_the_longer_count_for_more(
    run: Callable[..., Outcome], engine: Scripted
) -> None:
    """Two words of greeting do not decide; those windows that differ are not said to be another language for it."""
    engine.script[1].languages = {"fr": 0.6, "en": 0.3, "de": 0.1}
    engine.script[2].languages = {"de": 0.7, "en": 0.3}
    engine.script[3].languages = {"fr": 0.5, "de": 0.5}
    found = run(window(1, A, 0, 1.0), window(2, A, 1, 10.0), window(3, A, 11, 2.0), end(A), options=AUTO)
    assert part_of(found, A).language == "de"
    assert part_of(found, A).flags == ()
    assert engine.decoded_in == {1: "de", 2: "de", 3: "de"}


def test_each_slice_has_its_own_language(run: Callable[..., Outcome], engine: Scripted) -> None:
    engine.script[2].languages = {"de": 0.9, "en": 0.1}
    found = run(window(1, A), end(A), window(2, B), end(B), options=AUTO)
    assert (part_of(found, A).language, part_of(found, B).language) == ("en", "de")
    assert engine.batches == [[1, 2]], "one batch of two languages"
    assert engine.decoded_in == {1: "en", 2: "de"}


def test_a_language_that_is_guessed_without_certainty_is_flagged(run: Callable[..., Outcome], engine: Scripted) -> None:
    engine.script[1].languages = {"en": 0.45, "de": 0.3, "nl": 0.25}
    assert part_of(run(window(1, A), end(A), options=AUTO), A).flags == (Flag.LANGUAGE_UNSURE,)
    assert part_of(run(window(1, A), end(A), options=ENGLISH), A).flags == ()


def test_a_recording_that_surely_changes_its_language_is_flagged(run: Callable[..., Outcome], engine: Scripted) -> None:
    engine.script[2].languages = {"de": 0.95, "en": 0.05}
    found = run(window(1, A, 0, 9.0), window(2, A, 9, 4.0), end(A), options=AUTO)
    assert part_of(found, A).language == "en"
    assert part_of(found, A).flags == (Flag.LANGUAGE_CHANGES,)
    assert engine.decoded_in == {1: "en", 2: "en"}, "only told; it was not asked for each window"


def test_each_window_in_its_own_language_if_asked_for_and_sure(run: Callable[..., Outcome], engine: Scripted) -> None:
    engine.script[2].languages = {"de": 0.95, "en": 0.05}
    engine.script[3].languages = {"de": 0.4, "fr": 0.35, "en": 0.25}
    options = AUTO.model_copy(update={"language_per_window": True})
    found = run(window(1, A, 0, 9.0), window(2, A, 9, 4.0), window(3, A, 13, 3.0), end(A), options=options)
    assert engine.decoded_in == {1: "en", 2: "de", 3: "en"}
    assert part_of(found, A).flags == (Flag.LANGUAGE_CHANGES,)


def test_a_language_that_is_given_is_not_looked_for(run: Callable[..., Outcome], engine: Scripted) -> None:
    engine.script[1].languages = {}  # asking for the likeliest of none would raise
    options = OPTIONS.model_copy(update={"language": "de", "language_per_window": True})
    assert part_of(run(window(1, A), end(A), options=options), A).language == "de"


# Words


def test_words_are_timed_where_they_are_needed(run: Callable[..., Outcome], engine: Scripted) -> None:
    """A short sentence in a short window makes one cue; a long text, a long window or a person who asks needs them."""
    engine.script[2] = Said([replace(GOOD, text=" It was the best of times" + ", and the worst" * 4 + ".")])
    sound = [window(1, A), window(2, A, 3.0), window(3, A, 6.0, 15.0), end(A)]
    part = part_of(run(*sound), A)
    assert sorted(engine.aligned) == [2, 3]
    assert [bool(segment.words) for segment in part.segments] == [False, True, True]
    engine.aligned.clear()
    part = part_of(run(*sound, all_words=True), A)
    assert sorted(engine.aligned) == [1, 2, 3]
    for segment in part.segments:
        assert "".join(word.text for word in segment.words).strip() == segment.text
        assert [segment.words[0].start_s, segment.words[-1].end_s] == [segment.start_s, segment.end_s]


def test_words_of_a_cut_recording_are_timed_because_a_sentence_may_continue_in_the_next_slice(
    run: Callable[..., Outcome], engine: Scripted
) -> None:
    run(window(1, A), end(A), window(2, slice_of("b.wav", cuts=(3.0,))), end(slice_of("b.wav", cuts=(3.0,))))
    assert engine.aligned == [2]


def test_a_sentence_around_which_nobody_speaks_is_left_out(run: Callable[..., Outcome], engine: Scripted) -> None:
    """Whisper thanks for watching at the end of a talk."""

    class Thanks(Scripted):
        def align(
            self, windows: Sequence[Encoded], decoded: Sequence[Decoded], languages: Sequence[str], *, task: str
        ) -> list[list[Word]]:
            return [[Word(1.0, 4.0, " Good."), Word(8.0, 9.5, " Thanks.")] for _ in windows]

    whole = window(1, A, 100.0, 12.0)
    whole = replace(whole, speech=speech_at((0.8, 4.2)))
    [(_, part)] = Transcriber(WhisperRecognizer(Thanks())).transcribe(
        iter([whole, end(A)]), Request(ENGLISH, all_words=True)
    )
    assert part is not None
    assert texts(part) == ["Good."]
    assert 100.9 <= part.segments[0].start_s < part.segments[0].end_s <= 104.1


# Other engines than Whisper


class Plain:
    """Hears text without times, scores or language."""

    name = "plain 1"
    batch_size = 2
    window_limits = WindowLimits(1.0, 30.0)

    def __init__(self, recognition: Recognition) -> None:
        self._recognition = recognition
        self.waiting: list[int] = []

    def recognize(self, windows: Sequence[SpeechWindow], request: RecognitionRequest) -> list[Recognition]:
        self.waiting.append(len(windows[0].slice_.waiting))
        windows[0].slice_.notes = (windows[0].slice_.notes or 0) + len(windows)
        return [self._recognition] * len(windows)


def transcribed(engine: Plain, *sound: Window | SliceEnd, options: Options = AUTO) -> Part:
    [(_, part)] = Transcriber(engine).transcribe(iter(sound), Request(options))
    assert part is not None
    return part


@pytest.mark.parametrize(("options", "language"), [(AUTO, None), (ENGLISH, "en")])
def test_an_engine_may_give_nothing_but_text(options: Options, language: str | None) -> None:
    """Each window is one segment over its sound, without scores, in the language that the user gave, if any."""
    part = transcribed(Plain(Recognition("heard it")), window(1, A), window(2, A, 3.0), end(A), options=options)
    assert texts(part) == ["heard it", "heard it"]
    assert [segment.words for segment in part.segments] == [(), ()]
    for segment, start_s in zip(part.segments, (0.0, 3.0), strict=True):
        assert start_s <= segment.start_s < segment.end_s <= start_s + 3
        assert (segment.average_log_probability, segment.no_speech_probability) == (None, None)
    assert (part.language, part.flags, part.engine) == (language, (), "plain 1")


def test_an_engine_sees_the_waiting_windows_of_a_slice_and_reports_its_languages() -> None:
    recognition = Recognition("heard", language="de", language_probability=0.4, other_languages={"fr": 2.0})
    engine = Plain(recognition)
    sound = [window(n, A, 3.0 * n) for n in range(5)]
    part = transcribed(engine, *sound, end(A))
    assert engine.waiting == [4, 3, 1], "two batches are read ahead"
    assert part.language == "de"
    assert part.flags == (Flag.LANGUAGE_UNSURE, Flag.LANGUAGE_CHANGES)


def test_who_speaks_stays_with_the_words() -> None:
    words = [Word(0.1, 1.0, " Yes.", "A"), Word(1.1, 2.0, " No.", "B")]
    part = transcribed(Plain(Recognition("Yes. No.", words=words)), window(1, A, 6.0), end(A))
    assert [word.speaker for segment in part.segments for word in segment.words] == ["A", "B"]


def test_what_is_english_already_is_not_translated(run: Callable[..., Outcome], engine: Scripted) -> None:
    """Asked to, Whisper rewords it, and makes other numbers of those that were said."""
    engine.script[2] = Said(languages={"en": 0.1, "de": 0.9})
    found = run(window(1, A), end(A), window(2, B), end(B), options=AUTO.model_copy(update={"task": "translate"}))
    assert engine.tasks == {1: "transcribe", 2: "translate"}
    assert texts(part_of(found, A)) == texts(part_of(found, B)) == ["Good."]
    assert (part_of(found, A).language, part_of(found, B).language) == ("en", "de")


# Hints: a prompt, words to listen for, the text before


def hinted(**options: Any) -> Options:
    return ENGLISH.model_copy(update=options)


def test_the_first_search_is_as_wide_as_requested(run: Callable[..., Outcome], engine: Scripted) -> None:
    run(window(1, A), end(A), options=hinted(beam_size=3))
    run(window(1, A), end(A))
    assert engine.beams == [3, 1]


def test_a_prompt_precedes_every_window(run: Callable[..., Outcome], engine: Scripted) -> None:
    run(window(1, A), window(2, A, 3.0), end(A), options=hinted(prompt="By Dr. Nguyễn."))
    assert engine.before == {1: ["By Dr. Nguyễn."], 2: ["By Dr. Nguyễn."]}


@pytest.mark.parametrize("bare", [EMPTY, replace(BAD, no_speech_probability=0.9), GOOD])
def test_a_prompt_is_never_the_text(run: Callable[..., Outcome], engine: Scripted, bare: Decoded) -> None:
    """What repeats it is decoded without it, and what is then heard counts."""
    engine.script[1] = Said([bare])
    engine.hinted["A talk by Doctor Nguyễn."] = replace(GOOD, text="by Doctor Nguyễn")
    part = part_of(run(window(1, A), end(A), options=hinted(prompt="A talk by Doctor Nguyễn.")), A)
    assert texts(part) == (["Good."] if bare is GOOD else [])
    assert engine.before[1][:2] == ["A talk by Doctor Nguyễn.", ""]


def test_words_of_the_prompt_that_were_said_stay(run: Callable[..., Outcome], engine: Scripted) -> None:
    engine.script[1] = Said([replace(GOOD, text="by doctor new yen")])
    engine.hinted["A talk by Doctor Nguyen."] = replace(GOOD, text="by Doctor Nguyen")
    part = part_of(run(window(1, A), end(A), options=hinted(prompt="A talk by Doctor Nguyen.")), A)
    assert texts(part) == ["by Doctor Nguyen"]


def test_words_are_listened_for_only_where_something_sounds_like_them(
    run: Callable[..., Outcome], engine: Scripted
) -> None:
    numbered(engine, [1])
    engine.script[2] = Said([replace(GOOD, text="I use EMAX to jump.")])
    engine.script[3] = Said([EMPTY])
    engine.hinted["Emacs."] = replace(GOOD, text="I use Emacs to jump.")
    sound = [item for n, slice_ in enumerate((A, B, C), 1) for item in (window(n, slice_), end(slice_))]
    found = run(*sound, options=hinted(hotwords=("Emacs", "Kubernetes")))
    assert [texts(part_of(found, slice_)) for slice_ in (A, B, C)] == [["Number 1."], ["I use Emacs to jump."], []]
    assert (set(engine.before[1]), engine.before[2], set(engine.before[3])) == ({""}, ["", "Emacs."], {""})


@pytest.mark.parametrize("batch_size", [1, 4])
def test_each_window_continues_the_one_before_if_asked(
    run: Callable[..., Outcome], engine: Scripted, batch_size: int
) -> None:
    """In the order of time, whatever their lengths; a text that may be wrong is not continued."""
    numbered(engine, [1, 2, 4])
    engine.script[3] = Said([BAD])
    windows = [window(n, A, 3.0 * n, length) for n, length in ((1, 1.0), (2, 3.0), (3, 1.0), (4, 2.0), (5, 3.0))]
    run(*windows, end(A), window(6, B), end(B), batch_size=batch_size, options=hinted(condition_on_previous=True))
    first = {n: texts_before[0] for n, texts_before in engine.before.items()}
    assert first == {1: "", 2: "Number 1.", 3: "Number 2.", 4: "", 5: "Number 4.", 6: ""}
    engine.before.clear()
    run(*windows, end(A), batch_size=batch_size)
    assert {text for each in engine.before.values() for text in each} == {""}


def test_silence_before_a_recording_is_heard_but_moves_no_time(run: Callable[..., Outcome], engine: Scripted) -> None:
    encoded: list[float] = []
    encode = engine.encode

    def listen(waveform: Waveform, *, full: bool = False) -> Encoded:
        encoded.append(len(waveform) / RATE)
        return encode(waveform[-3 * RATE :], full=full)  # known by its first sample

    engine.encode = listen  # type: ignore[method-assign]
    numbered(engine, [1, 2])
    part = part_of(run(window(1, A), window(2, A, 3.0), end(A), all_words=True, options=hinted(initial_silence=0.5)), A)
    assert encoded == [3.5, 3.0]
    assert texts(part) == ["Number 1.", "Number 2."]
    assert part.segments[0].end_s <= 3.0


class Frames:
    """Gives a probability for each word, and no capitals."""

    name = "frames 1"
    batch_size = 2
    window_limits = WindowLimits(5.0, 20.0)

    def recognize(self, windows: Sequence[SpeechWindow], _request: RecognitionRequest) -> list[Recognition]:
        words = [Word(1.0, 1.3, " good"), Word(1.4, 1.8, " words"), Word(4.0, 4.4, " bad"), Word(4.5, 5.0, " ones")]
        text = "good words bad ones"
        found = Recognition(text, words, "en", average_log_probability=-0.4, word_probabilities=[0.9, 0.9, 0.3, 0.2])
        return [replace(found, is_plain=True) for _ in windows]


def test_the_probabilities_of_words_are_the_confidence_of_their_segment() -> None:
    """Only that of the doubtful one is kept; and a pause ends a sentence where nothing else shows it."""
    rng = np.random.default_rng(0)
    waveform = (rng.standard_normal(6 * RATE) * 0.1).astype(np.float32)
    for silent_s in ((0.0, 1.0), (1.8, 4.0), (5.0, 6.0)):
        waveform[round(silent_s[0] * RATE) : round(silent_s[1] * RATE)] *= 1e-4
    window = Window(slice_of(), 0.0, waveform, speech_at((1.0, 1.8), (4.0, 5.0)))
    transcriber = Transcriber(Frames())
    [(_, part)] = transcriber.transcribe([window, SliceEnd(window.slice_, decoded_s=6.0)], Request(OPTIONS))
    assert part is not None
    found = [(segment.text, segment.confidence) for segment in part.segments]
    assert found == [("good words", None), ("bad ones", 0.25)]
    assert part.plain
    assert part.lowest_version() == 2
    assert Flag.LOW_CONFIDENCE in part.flags
