"""The clips of a folder help each other to find their language, and a person may limit the choice."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from making import OPTIONS, segment, slice_of, transcript
from test_transcriber import GOOD, Said, Scripted, end, window

from nightscribe.shared.destination.records import Records
from nightscribe.shared.model.jobs import Options, Slice
from nightscribe.shared.model.transcript import Flag, LanguagePrior, Part
from nightscribe.shared.storage.folder.store import FolderStore
from nightscribe.worker.attempt.finished_languages import finished_languages
from nightscribe.worker.engines.whisper.recognizer import WhisperRecognizer
from nightscribe.worker.languages import among, with_prior
from nightscribe.worker.pipeline.transcriber import Request, Transcriber
from nightscribe.worker.pipeline.window_reader import SliceEnd, Window

CLEAR = {"vi": 0.95, "en": 0.05}
UNCLEAR = {"th": 0.65, "vi": 0.27, "en": 0.08}


def clip(name: str) -> Slice:
    return slice_of(f"calls/{name}.wav", stem=f"calls/{name}")


def transcribed(
    languages: dict[str, dict[str, float]],
    *,
    order: Sequence[str] = (),
    finished: Callable[[str], dict[str, int]] = lambda _: {},
    options: Options = OPTIONS,
) -> tuple[dict[str, Part], Scripted]:
    """The parts of clips, by name, with the probabilities of the languages of each."""
    engine = Scripted()
    numbers = {name: n for n, name in enumerate(sorted(languages), 1)}
    for name, number in numbers.items():
        engine.script[number] = Said([GOOD], languages[name])
    sound = [item for name in order or languages for item in (window(numbers[name], clip(name)), end(clip(name)))]
    request = Request(options, finished_languages=finished)
    found = {
        ended.slice_.recording: part
        for ended, part in Transcriber(WhisperRecognizer(engine), batch_size=2).transcribe(iter(sound), request)
    }
    return {name: part for name in languages if (part := found[clip(name).recording])}, engine


def test_an_unclear_clip_takes_the_language_of_the_clear_ones() -> None:
    parts, engine = transcribed({"a": UNCLEAR, "b": CLEAR, "c": CLEAR})
    assert {name: part.language for name, part in parts.items()} == dict.fromkeys("abc", "vi")
    assert engine.decoded_in == {1: "vi", 2: "vi", 3: "vi"}
    assert parts["a"].language_prior == LanguagePrior(alone="th", alone_probability=0.65, folder={"vi": 2})
    assert (parts["a"].version, parts["b"].version) == (2, 1)
    assert parts["b"].language_prior is None
    assert parts["a"].flags == (), "with the others it is sure"


def test_the_order_of_the_clips_changes_nothing() -> None:
    """A worker may get them in reverse, and another one only some of them again."""
    languages = {
        "a": UNCLEAR,
        "b": CLEAR,
        "c": {"es": 0.5, "vi": 0.3, "ca": 0.2},
        "d": CLEAR,
        "e": {"en": 0.99, "vi": 0.01},
    }
    there, _ = transcribed(languages)
    back, _ = transcribed(languages, order=list(reversed(languages)))
    assert {n: (p.language, p.language_prior) for n, p in there.items()} == {
        n: (p.language, p.language_prior) for n, p in back.items()
    }


def test_a_clear_clip_keeps_its_language_however_many_differ() -> None:
    parts, _ = transcribed({"a": {"de": 0.85, "vi": 0.15}, **dict.fromkeys("bcdefgh", CLEAR)})
    assert parts["a"].language == "de"


def test_a_clip_that_is_unlike_all_others_stays_and_is_flagged() -> None:
    parts, _ = transcribed({"a": {"bn": 0.4, "th": 0.35, "si": 0.25}, "b": CLEAR})
    assert parts["a"].language == "bn"
    assert parts["a"].flags == (Flag.LANGUAGE_UNSURE,)
    assert parts["a"].language_prior is not None


def test_folders_do_not_help_each_other() -> None:
    engine = Scripted()
    engine.script[1], engine.script[2] = Said([GOOD], UNCLEAR), Said([GOOD], CLEAR)
    a, b = slice_of("one/a.wav"), slice_of("two/b.wav")
    sound = [window(1, a), end(a), window(2, b), end(b)]
    list(Transcriber(WhisperRecognizer(engine)).transcribe(iter(sound), Request(OPTIONS)))
    assert engine.decoded_in == {1: "th", 2: "vi"}


def test_finished_recordings_of_the_folder_help_as_well() -> None:
    """A single clip that arrives later has no other one in its job."""
    asked: list[str] = []

    def finished(folder: str) -> dict[str, int]:
        asked.append(folder)
        return {"vi": 5}

    parts, _ = transcribed({"a": UNCLEAR}, finished=finished)
    assert (parts["a"].language, asked) == ("vi", ["calls"])
    transcribed({"a": CLEAR}, finished=finished)
    assert asked == ["calls"], "nothing is read if it is clear"


def test_a_long_recording_waits_for_no_clip() -> None:
    engine = Scripted()
    for n in range(1, 7):
        engine.script[n] = Said([GOOD], UNCLEAR)
    long = slice_of("calls/long.wav")
    sound: list[Window | SliceEnd] = [window(n, long, 3.0 * n) for n in range(1, 7)]
    read: list[int] = []
    seen: list[int] = []

    def stream() -> Iterator[Window | SliceEnd]:
        for n, item in enumerate([*sound, end(long)], 1):
            read.append(n)
            yield item

    outcome = Transcriber(WhisperRecognizer(engine), batch_size=1).transcribe(
        stream(), Request(OPTIONS, progress=lambda _slice, _s: seen.append(len(read)))
    )
    [(_, part)] = outcome
    assert part is not None
    assert (part.language, part.language_prior) == ("th", None)
    assert seen[0] < len(sound), "its first windows are recognized before it has been read"


@pytest.mark.parametrize(("languages", "chosen"), [(("en", "vi"), "vi"), (("en",), "en"), (("ca", "es"), "ca")])
def test_only_the_languages_that_the_user_lists_are_chosen(languages: tuple[str, ...], chosen: str) -> None:
    options = OPTIONS.model_copy(update={"languages": languages})
    parts, engine = transcribed({"a": UNCLEAR}, options=options)
    assert (parts["a"].language, engine.decoded_in) == (chosen, {1: chosen})
    per_window = options.model_copy(update={"language_per_window": True})
    assert transcribed({"a": UNCLEAR}, options=per_window)[1].decoded_in == {1: chosen}


def test_probabilities_among_some_languages_add_up() -> None:
    assert among({"th": 0.6, "vi": 0.3, "en": 0.1}, ("en", "vi")) == pytest.approx({"en": 0.25, "vi": 0.75})
    assert among({"th": 1.0}, ("en", "vi")) == {"en": 0.5, "vi": 0.5}
    assert among({"th": 1.0}, ()) == {"th": 1.0}


def test_each_other_recording_makes_its_language_likelier() -> None:
    alone = {"th": 0.6, "vi": 0.4}
    assert with_prior(alone, {}) == pytest.approx(alone)
    found = [with_prior(alone, {"vi": n})["vi"] for n in range(5)]
    assert found == sorted(found)
    assert found[1] == pytest.approx(3 * 0.4 / (3 * 0.4 + 0.6))
    assert with_prior(alone, {"vi": 3, "th": 3}) == pytest.approx(alone), "a mixed folder says nothing"


def test_only_finished_recordings_with_a_clear_language_are_counted(tmp_path: Path) -> None:
    records = Records(FolderStore(tmp_path))
    prior = LanguagePrior(alone="th", alone_probability=0.5, folder={"vi": 3})
    for name, changes in {
        "calls/a.wav": {"language": "vi"},
        "calls/b.wav": {"language": "vi"},
        "calls/helped.wav": {"language": "vi", "language_prior": prior},
        "calls/unsure.wav": {"language": "th", "flags": (Flag.LANGUAGE_UNSURE,)},
        "calls/silent.wav": {"language": None},
        "calls/mine.wav": {"language": "en"},
        "calls/deeper/c.wav": {"language": "fr"},
        "top.wav": {"language": "de"},
    }.items():
        made = transcript(segment(), recording=name, stem=name, formats=(), **changes)
        records.finish(made, ())
    assert finished_languages(records, "calls", besides={"calls/mine.wav"}) == Counter(vi=2)
    assert finished_languages(records, "", besides=()) == Counter(de=1)
    assert finished_languages(records, "empty", besides=()) == Counter()
