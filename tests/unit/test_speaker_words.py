"""Which speaker says which words."""

from hypothesis import given
from hypothesis import strategies as st
from making import segment

from nightscribe.shared.model.speakers import SpeakerTurn
from nightscribe.shared.model.transcript import Segment, Word
from nightscribe.worker.pipeline.speaker_words import attributed

A, B = "Speaker 1", "Speaker 2"


def turn(start_s: float, end_s: float, speaker: str) -> SpeakerTurn:
    return SpeakerTurn(start_s=start_s, end_s=end_s, speaker=speaker)


def spoken(start_s: float, text: str, *, word_s: float = 0.5) -> Segment:
    """A segment whose words each take `word_s`, without pauses."""
    words = tuple(
        Word(start_s + n * word_s, start_s + (n + 1) * word_s, f" {word}" if n else word)
        for n, word in enumerate(text.split())
    )
    return segment(start_s, words[-1].end_s, text, words=words)


def said(segments: tuple[Segment, ...]) -> list[tuple[str | None, str]]:
    return [(each.speaker, each.text) for each in segments]


def test_a_sentence_is_parted_where_another_speaker_begins() -> None:
    made = attributed([spoken(0, "And then he said no I did not.")], [turn(0, 2, A), turn(2, 4, B)])
    assert said(made) == [(A, "And then he said"), (B, "no I did not.")]
    assert [(each.start_s, each.end_s) for each in made] == [(0, 2), (2, 4)]
    assert "".join(word.text for each in made for word in each.words) == "And then he said no I did not."
    assert {word.speaker for word in made[0].words} == {A}


def test_a_word_in_no_turn_goes_with_its_nearest_neighbour_and_stays_unsure() -> None:
    [made] = attributed([spoken(0, "One two three.")], [turn(0, 0.5, A), turn(1.1, 1.5, A)])
    assert made.speaker == A
    assert [word.speaker for word in made.words] == [A, None, A]


def test_a_segment_beside_a_turn_belongs_to_it_and_one_far_from_all_to_nobody() -> None:
    near, far = attributed([spoken(1.2, "Near."), spoken(60, "Far.")], [turn(0, 1, A)])
    assert (near.speaker, far.speaker) == (A, None)
    assert near.words[0].speaker is None


def test_the_first_words_of_a_sentence_stay_with_it_although_the_turn_before_is_a_little_long() -> None:
    late = attributed([spoken(0, "Did you?"), spoken(1, "I did not.")], [turn(0, 1.4, A), turn(1.4, 3, B)])
    assert said(late) == [(A, "Did you?"), (B, "I did not.")]
    early = attributed([spoken(0, "Did you?"), spoken(1, "I did not.")], [turn(0, 0.6, A), turn(0.6, 3, B)])
    assert said(early) == [(A, "Did you?"), (B, "I did not.")]
    assert [word.speaker for word in early[0].words] == [A, None]


def test_a_single_short_word_within_a_sentence_is_an_inaccuracy() -> None:
    made = attributed(
        [spoken(0, "One two three four.", word_s=0.3)], [turn(0, 0.6, A), turn(0.6, 0.9, B), turn(0.9, 2, A)]
    )
    assert said(made) == [(A, "One two three four.")]


def test_a_word_that_is_stretched_over_the_pause_before_it_belongs_to_whoever_ends_it() -> None:
    words = (Word(0, 0.5, "strange."), Word(0.5, 2.3, " Make"), Word(2.3, 2.6, " one."))
    made = attributed([segment(0, 2.6, "strange. Make one.", words=words)], [turn(0, 1.1, A), turn(2.2, 3, B)])
    assert said(made) == [(A, "strange."), (B, "Make one.")]


def test_where_two_speak_at_once_the_text_is_given_to_the_one_who_holds_the_floor_and_both_are_named() -> None:
    [made] = attributed([spoken(0, "This is what I meant to say.")], [turn(0, 3.5, A), turn(1, 2, B)])
    assert (made.speaker, made.also_speaking) == (A, (B,))


def test_an_engine_without_times_of_words_is_labelled_by_segment() -> None:
    one, other = attributed([segment(0, 2, "One."), segment(2, 5, "Two.")], [turn(0, 2.2, A), turn(2.2, 5, B)])
    assert (one.speaker, other.speaker) == (A, B)


def test_what_a_channel_says_is_not_changed() -> None:
    known = segment(0, 1, "Hello.", speaker="channel 1")
    assert attributed([known], [turn(0, 1, A)]) == (known,)


def test_without_turns_nobody_is_named() -> None:
    assert attributed([spoken(0, "Hello.")], []) == (spoken(0, "Hello."),)


TIME_S = st.floats(0, 30).map(lambda s: round(s, 2))
TURNS = st.lists(
    st.tuples(TIME_S, TIME_S, st.sampled_from([A, B, "Speaker 3"])).map(lambda t: turn(min(t[:2]), max(t[:2]), t[2])),
    max_size=8,
)
SPOKEN = st.lists(st.builds(spoken, TIME_S, st.sampled_from(["Yes.", "No I did", "One two three four."])), max_size=6)


@given(SPOKEN, TURNS)
def test_no_word_is_lost_and_no_segment_has_two_speakers(segments: list[Segment], turns: list[SpeakerTurn]) -> None:
    ordered = sorted(segments, key=lambda each: each.start_s)
    made = attributed(ordered, turns)
    assert sorted(w[:3] for each in made for w in each.words) == sorted(w[:3] for each in ordered for w in each.words)
    assert [each.start_s for each in made] == sorted(each.start_s for each in made)
    for each in made:
        assert {word.speaker for word in each.words} <= {None, each.speaker}
        assert each.speaker not in each.also_speaking
        assert "".join(word.text for word in each.words).strip() == each.text
