"""A transcript put together from its parts."""

import random

from making import OPTIONS, WHEN, job, part, segment, slice_of

from nightscribe.shared.model.assembly import merge
from nightscribe.shared.model.transcript import Flag, Part, Transcript


def merged(*parts: Part, redo: str | None = None) -> Transcript:
    whole = slice_of(cuts=tuple(10.0 * n for n in range(1, len(parts))))
    return merge(job(whole, redo=redo), whole, parts, mtime_ns=5, finished_at=WHEN)


def test_segments_follow_each_other_in_the_order_of_the_parts() -> None:
    made = merged(part(segment(0, 1, "One."), segment(1, 2, "Two.")), part(), part(segment(20, 21, "Three.")))
    assert [s.text for s in made.segments] == ["One.", "Two.", "Three."]
    assert made.segments[-1].start_s == 20


def test_a_transcript_says_which_recording_it_is_of_and_how_it_was_made() -> None:
    made = merged(part(), redo="run-7")
    said = (
        made.recording,
        made.fingerprint,
        made.size,
        made.stem,
        made.mtime_ns,
        made.options,
        made.redo,
        made.finished_at,
    )
    assert said == ("talk.mp3", "10-abc", 10, "talk", 5, OPTIONS, "run-7", WHEN)


def test_lengths_and_times_of_the_parts_add_up() -> None:
    made = merged(part(decoded_s=10.1, processing_s=1.1), part(decoded_s=5.2, processing_s=0.2))
    assert (made.decoded_s, made.processing_s) == (15.3, 1.3)


def test_the_language_is_that_of_most_of_the_sound() -> None:
    made = merged(part(language="de", decoded_s=4), part(language="fr", decoded_s=9), part(language="de", decoded_s=4))
    assert made.language == "fr"


def test_a_short_part_has_a_say_too() -> None:
    assert merged(part(language="de", decoded_s=0.2)).language == "de"


def test_where_nobody_speaks_there_is_no_language() -> None:
    assert merged(part(language=None), part(language=None)).language is None


def test_a_recording_is_without_speech_only_if_every_part_is() -> None:
    silent, spoken = part(flags=(Flag.NO_SPEECH,)), part(segment())
    assert merged(silent, silent).flags == (Flag.NO_SPEECH,)
    assert merged(silent, spoken).flags == ()


def test_other_flags_of_any_part_are_flags_of_the_whole_once_each() -> None:
    made = merged(part(flags=(Flag.REPETITION,)), part(flags=(Flag.REPETITION, Flag.LOW_CONFIDENCE)))
    assert made.flags == (Flag.LOW_CONFIDENCE, Flag.REPETITION)


def test_every_engine_that_took_part_is_named_once() -> None:
    made = merged(part(engine="b 2"), part(engine="a 1"), part(engine="b 2"))
    assert made.engine == "a 1, b 2"


def test_sound_that_is_missing_in_one_part_is_missing_in_the_whole() -> None:
    assert Flag.TRUNCATED in merged(part(), part(flags=(Flag.TRUNCATED,))).flags
    assert Flag.TRUNCATED not in merged(part(container_s=20.0, decoded_s=10.0)).flags, "a film may be longer"


def test_a_container_that_does_not_say_its_length_is_not_truncated() -> None:
    made = merged(part(container_s=None))
    assert (made.container_s, made.flags) == (None, ())


def test_whoever_puts_the_same_parts_together_gets_the_same_bytes() -> None:
    flags = list(Flag)
    parts = [part(segment(), flags=tuple(flags), engine="b"), part(flags=tuple(reversed(flags)), engine="a")]
    shuffled = [p.model_copy(update={"flags": tuple(random.sample(p.flags, len(p.flags)))}) for p in parts]
    assert merged(*parts).model_dump_json() == merged(*shuffled).model_dump_json()


def test_the_length_of_the_first_of_joined_recordings_is_not_that_of_all() -> None:
    """A transport stream states when its first part ends, and every slice of it repeats that."""
    slices = [part(container_s=100.0, decoded_s=60.0), part(container_s=100.0, decoded_s=60.0)]
    assert merged(*slices).container_s is None
    assert merged(slices[0]).container_s == 100.0
    assert merged(part(container_s=100.0, decoded_s=101.0)).container_s == 100.0
