"""The speakers of a transcript, from what its workers heard, now or later."""

import numpy as np
from making import OPTIONS, part, segment, slice_of, transcript
from making import job as job_of

from nightscribe.shared.model.jobs import Options
from nightscribe.shared.model.speakers import LocalSpeakers, LocalTurn, LocalVoice, Speaker, encode_embedding
from nightscribe.shared.model.transcript import Transcript, Word
from nightscribe.worker.pipeline.labels import with_speakers

PEOPLE = np.random.default_rng(1).normal(size=(3, 192))


def options(speakers: str = "auto", **changes: object) -> Options:
    return OPTIONS.model_copy(update={"speakers": speakers, **changes})


def heard(people: list[int], first_window: int = 0) -> LocalSpeakers:
    """One after another, each for ten seconds."""
    windows = range(first_window, first_window + len(people))
    return LocalSpeakers(
        voices=tuple(
            LocalVoice(window=window, embedding=encode_embedding(PEOPLE[person]), clean_s=10.0)
            for window, person in zip(windows, people, strict=True)
        ),
        turns=tuple(
            LocalTurn(start_s=10.0 * window, end_s=10.0 * (window + 1), voice=n) for n, window in enumerate(windows)
        ),
    )


SPOKEN = transcript(*(segment(10 * n + 1, 10 * n + 9, f"Sentence {n}.") for n in range(4)))
PARTS = [part(speakers=heard([2, 0])), part(speakers=heard([0, 2], first_window=2))]


def speakers_of(made: Transcript) -> list[str | None]:
    return [each.speaker for each in made.segments]


def test_a_voice_has_one_label_in_all_slices() -> None:
    made = with_speakers(SPOKEN, PARTS, options())
    assert speakers_of(made) == ["Speaker 1", "Speaker 2", "Speaker 2", "Speaker 1"]
    assert [(turn.start_s, turn.end_s, turn.speaker) for turn in made.turns] == [
        (0, 10, "Speaker 1"), (10, 30, "Speaker 2"), (30, 40, "Speaker 1")
    ]  # fmt: skip
    assert [(each.label, each.clean_s, each.embedding is not None) for each in made.speakers] == [
        ("Speaker 1", 20.0, True), ("Speaker 2", 20.0, True)
    ]  # fmt: skip
    assert made.options.speakers == "auto"
    assert made.options.model == SPOKEN.options.model


def test_a_stated_number_of_speakers_is_kept() -> None:
    assert {*speakers_of(with_speakers(SPOKEN, PARTS, options("1")))} == {"Speaker 1"}


def test_without_voiceprints_no_voice_is_stored() -> None:
    made = with_speakers(SPOKEN, PARTS, options(voiceprints=False))
    assert [each.embedding for each in made.speakers] == [None, None]
    assert "embedding" not in made.model_dump_json()


def test_other_labels_replace_the_former_ones() -> None:
    once = with_speakers(SPOKEN, PARTS, options())
    words = tuple(Word(1.0, 9.0, "Sentence 0.", "Speaker 9") for _ in range(1))
    stale = once.segments[0].model_copy(
        update={"speaker": "Speaker 9", "also_speaking": ("Speaker 8",), "words": words}
    )
    again = with_speakers(once.model_copy(update={"segments": (stale, *once.segments[1:])}), PARTS, options("1"))
    assert {*speakers_of(again)} == {"Speaker 1"}
    assert again.segments[0].also_speaking == ()
    assert again.segments[0].words[0].speaker == "Speaker 1"


def test_channels_tell_who_speaks_without_any_model() -> None:
    call = transcript(segment(0, 2, speaker="channel 1"), segment(2, 5, speaker="track 2, channel 1"))
    made = with_speakers(call, [part()], options("channels"))
    assert speakers_of(made) == ["channel 1", "track 2, channel 1"]
    assert [(each.label, each.clean_s) for each in made.speakers] == [("channel 1", 2), ("track 2, channel 1", 3)]
    assert speakers_of(with_speakers(call, [part()], options())) == speakers_of(call)


def test_where_nobody_speaks_there_are_no_speakers() -> None:
    made = with_speakers(transcript(), [part(speakers=LocalSpeakers())], options("3"))
    assert (made.segments, made.turns, made.speakers) == ((), (), ())


def test_known_voices_are_recognized() -> None:
    def recognize(found: tuple[Speaker, ...]) -> list[Speaker]:
        return [each.model_copy(update={"name": "Anna"}) for each in found]

    made = with_speakers(SPOKEN, PARTS, options(), recognize)  # type: ignore[arg-type]
    assert [each.name for each in made.speakers] == ["Anna", "Anna"]


def test_a_job_that_only_labels_is_settled_by_the_labels() -> None:
    """Words that a redo made stay, whichever run asks for labels."""
    done = transcript(redo="run-1")
    later = job_of(options=options(), only_speakers=True)
    assert not done.settles(later, slice_of())
    assert with_speakers(done, [part(speakers=LocalSpeakers())], options()).settles(later, slice_of())
    assert not with_speakers(done, [part()], options("2")).settles(later, slice_of())
    assert not done.settles(later, slice_of(fingerprint="10-def"))
    plain = job_of(options=options())
    assert later.id != plain.id
    assert later.part_id(slice_of()) != plain.part_id(slice_of())
