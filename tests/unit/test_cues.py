"""Check that cues are divided as a subtitler would divide them."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from making import segment

from nightscribe.shared.formats.cues import MAX_CUE_MS, MIN_CUE_MS, Cue, cues
from nightscribe.shared.formats.line_breaks import one_line, pieces, width
from nightscribe.shared.formats.subtitle_profiles import PROFILES
from nightscribe.shared.model.jobs import PLAIN, Layout
from nightscribe.shared.model.transcript import Segment, Word

LAYOUT = Layout()
GAP_MS, LINGER_MS = PROFILES[PLAIN].gap_ms, PROFILES[PLAIN].linger_ms
CHARACTERS_PER_S = 15


def said(text: str, start_s: float = 0.0, *, per_character: bool = False, per_s: float = CHARACTERS_PER_S) -> Segment:
    """Return a segment as the worker makes it, spoken at an even pace."""
    tokens = list(text) if per_character else [f" {token}" for token in text.split()]
    words, at = [], start_s
    for token in tokens:
        end_s = at + len(token) / per_s
        words.append(Word(at, end_s, token))
        at = end_s
    return segment(start_s, at, text, words=tuple(words))


def lines(*segments: Segment, layout: Layout = LAYOUT) -> list[tuple[str, ...]]:
    return [cue.lines for cue in cues(segments, layout)]


# What holds for any transcript

ODD = st.sampled_from([
    "Hello, world.", " and", " the", "Yes.", " ", "\n\n", "-->", "–", " — ", "«", " »", " ! ", "「", "」", "你好，",
    "天气很好。", "コーヒー", "สวัสดี", "한국어 ", "e\u0301", "👩\u200d🔬", "🇩🇪", "مرحبا ", "x" * 50, "漢" * 30, "\u200d",
    "\u0301", "\ufeff", "-", "Mr. ",
])  # fmt: skip
TEXT = st.lists(ODD | st.text(max_size=10), max_size=8).map("".join)
TIME_S = st.floats(0, 60) | st.floats(0, 500_000)
WORDS = st.lists(st.builds(Word, TIME_S | st.floats(-5, 5), TIME_S, TEXT), max_size=5).map(tuple)
LAYOUTS = st.builds(Layout, line_chars=st.integers(10, 60), lines=st.integers(1, 4))


@st.composite
def spoken(draw: st.DrawFn) -> Segment:
    """Draw a segment with words that make up its text, words that do not, or none, at arbitrary times."""
    words = draw(WORDS)
    text = draw(st.one_of(st.just("".join(word.text for word in words)), TEXT))
    return segment(draw(TIME_S), draw(TIME_S), text, words=words)


SEGMENTS = st.lists(spoken(), max_size=4)


def letters(texts: list[str]) -> str:
    return "".join(one_line(text).replace(" ", "") for text in texts)


@given(SEGMENTS, LAYOUTS)
def test_everything_is_said_once_and_in_order(segments: list[Segment], layout: Layout) -> None:
    ordered = sorted(segments, key=lambda s: (s.start_s, s.end_s))
    made = cues(segments, layout)
    assert letters([line for cue in made for line in cue.lines]) == letters([s.text for s in ordered])


@given(SEGMENTS, LAYOUTS)
def test_lines_fit_the_layout(segments: list[Segment], layout: Layout) -> None:
    for cue in cues(segments, layout):
        assert 1 <= len(cue.lines) <= layout.lines
        assert all(width(line) <= layout.line_chars for line in cue.lines)
        assert all(line and one_line(line) == line for line in cue.lines)


@given(SEGMENTS, LAYOUTS)
def test_cues_follow_each_other_and_can_be_seen(segments: list[Segment], layout: Layout) -> None:
    made = cues(segments, layout)
    assert all(MIN_CUE_MS <= cue.end_ms - cue.start_ms <= MAX_CUE_MS for cue in made)
    assert all(cue.end_ms <= following.start_ms for cue, following in pairwise(made))
    assert all(cue.start_ms >= 0 for cue in made)


@given(SEGMENTS, LAYOUTS)
def test_the_same_words_always_become_the_same_cues(segments: list[Segment], layout: Layout) -> None:
    copies = [Segment.model_validate_json(s.model_dump_json()) for s in segments]
    assert cues(segments, layout) == cues(copies, layout)


@given(TEXT, st.integers(10, 60))
def test_pieces_fit_a_line_and_lose_nothing(text: str, most: int) -> None:
    found = list(pieces(one_line(text), most))
    assert all(piece and width(piece) <= most for piece, _ in found)
    assert letters([piece for piece, _ in found]) == letters([text])


# Where they are broken


def test_a_sentence_that_fits_stays_on_one_line() -> None:
    assert lines(said("He did not hear his mother come in.")) == [("He did not hear his mother come in.",)]


def test_long_sentences_are_broken_at_clauses_and_before_phrases() -> None:
    text = (
        "The boy was standing at the window of the small room above the shop, and he was looking down into the street, "
        "where the lamps had just been lit."
    )
    assert lines(said(text)) == [
        ("The boy was standing at the window", "of the small room above the shop,"),
        ("and he was looking down into the street,", "where the lamps had just been lit."),
    ]


@pytest.mark.parametrize(
    "text",
    [
        "Nobody who had seen him leave the house could remember the colour of his coat.",
        "I told you that I would call you as soon as I got home, didn't I?",
        "We were told about it by Mr. Brown of the railway company that built this bridge.",
        "Das Haus, das wir im letzten Sommer an der Küste gemietet hatten, ist abgebrannt.",
    ],
)
def test_no_line_ends_between_a_word_and_what_it_belongs_to(text: str) -> None:
    ends = [line.split()[-1].casefold() for cue in lines(said(text)) for line in cue]
    assert not {"the", "of", "a", "that", "by", "to", "mr.", "das", "der", "an", "im", "i", "as", "his"} & set(ends)


def test_no_scrap_of_a_sentence_is_left_alone() -> None:
    text = "Everybody in the village knew that the old man who lived at the end of the road had been a sailor once"
    assert all(sum(map(width, cue)) > 20 for cue in lines(said(text)))


def test_the_lower_line_is_the_longer_one() -> None:
    [(upper, lower)] = lines(said("The quick brown foxes jumped over several extremely lazy dogs."))
    assert width(upper) <= width(lower)


def test_a_pause_between_segments_is_never_bridged() -> None:
    one = said("Yes.")
    assert lines(one, said("No.", one.end_s + 0.6)) == [("Yes.",), ("No.",)]


def test_sentences_too_short_to_be_read_alone_share_a_cue() -> None:
    one = said("Yes.")
    assert lines(one, said("I know.", one.end_s)) == [("Yes. I know.",)]


def test_sentences_long_enough_to_be_read_have_a_cue_each() -> None:
    one = said("Not too bad, thanks.")
    assert len(lines(one, said("And how have you been?", one.end_s))) == 2


def test_a_pause_within_a_sentence_is_a_place_to_break() -> None:
    before, after = said("And then he went away"), said("without another word.", 4.0)
    text = "And then he went away without another word."
    assert lines(segment(0, after.end_s, text, words=before.words + after.words)) == [
        ("And then he went away",),
        ("without another word.",),
    ]


def test_a_word_longer_than_a_line_is_cut() -> None:
    word = "Rindfleischetikettierungsüberwachungsaufgabenübertragungsgesetz"
    assert lines(said(word)) == [(word[:42], word[42:])]


def test_wide_characters_count_as_two_and_are_broken_at_their_commas() -> None:
    text = "那里的鱼特别新鲜，价格也不贵，所以每个周末都有很多人从城里开车过来排队等位子。"
    made = lines(said(text, per_character=True, per_s=4.5))
    assert made[0] == ("那里的鱼特别新鲜，价格也不贵，",)
    assert "".join(line for cue in made for line in cue) == text


def test_no_line_begins_with_a_mark_that_closes() -> None:
    text = "昨日の夜、友達と一緒に新宿の映画館で「もう一度見たいね」と話しました。コーヒーを飲みながら、ずっと。" * 3
    made = lines(said(text, per_character=True, per_s=7))
    assert not {line[0] for cue in made for line in cue} & set("、。」ー")
    assert not {line[-1] for cue in made for line in cue} & set("「")


def test_marks_that_stand_alone_stay_with_their_word() -> None:
    text = "« Bonjour ! » dit-il en entrant – personne ne répondit ; tout le monde regardait la fenêtre ouverte."
    assert all(line[0] not in "»!;–" and line[-1] != "«" for cue in lines(said(text)) for line in cue)


# When they are shown


def test_a_cue_begins_with_its_first_word_and_lingers_after_its_last() -> None:
    [cue] = cues([said("He did not hear his mother come in.", 1.0, per_s=10)], LAYOUT)
    assert (cue.start_ms, cue.end_ms) == (1000, 1000 + 3600 + LINGER_MS)


def test_a_cue_gives_way_to_the_next() -> None:
    one = said("He did not hear his mother come in.")
    first, second = cues([one, said("She closed the door without a sound.", one.end_s)], LAYOUT)
    assert second.start_ms == round(one.end_s * 1000)
    assert first.end_ms == second.start_ms - GAP_MS


@pytest.mark.parametrize(("pause_s", "left_s"), [(0.7, GAP_MS / 1000), (0.9, GAP_MS / 1000), (1.5, 1.0)])
def test_the_screen_is_not_empty_for_a_moment_only(pause_s: float, left_s: float) -> None:
    one = said("He did not hear his mother come in.")
    first, second = cues([one, said("She closed the door.", one.end_s + pause_s)], LAYOUT)
    assert second.start_ms - first.end_ms == pytest.approx(1000 * left_s, abs=1)


def test_a_short_cue_stays_for_a_second_and_a_fast_one_until_it_is_read() -> None:
    short, fast = cues([said("Yes."), said("He did not hear his mother come in again.", 9.0, per_s=40)], LAYOUT)
    assert (short.start_ms, short.end_ms) == (0, 1000)
    assert fast.end_ms - fast.start_ms == 1000 * len(fast.lines[0]) / 20


def test_without_words_the_text_is_spread_over_its_time() -> None:
    text = "The boy was standing at the window of the shop, and he was looking down into the street that was dark."
    first, second = cues([segment(10, 17, text)], LAYOUT)
    assert (first.start_ms, second.end_ms) == (10_000, 17_000 + LINGER_MS)
    assert second.start_ms == pytest.approx(10_000 + 7000 * text.index("and he") / len(text), abs=200)


def test_words_that_are_not_the_text_are_not_believed() -> None:
    wrong = segment(0, 2, "Right words.", words=(Word(1.0, 2.0, " Wrong words."),))
    assert cues([wrong], LAYOUT) == cues([segment(0, 2, "Right words.")], LAYOUT)


def test_a_few_words_in_a_long_segment_are_shown_where_it_begins() -> None:
    assert cues([segment(60, 90, "Thank you.")], LAYOUT) == [Cue(60_000, 67_000, ("Thank you.",))]


def test_an_overlap_is_taken_from_the_earlier_segment() -> None:
    made = cues([segment(0, 3, "This is the first of them."), segment(2, 4, "This is the second.")], LAYOUT)
    assert [(cue.start_ms, cue.lines) for cue in made] == [
        (0, ("This is the first of them.",)),
        (2000, ("This is the second.",)),
    ]
    assert made[0].end_ms <= 2000


@pytest.mark.parametrize("end_s", [5.0, 4.0], ids=["zero", "negative"])
def test_a_segment_without_length_is_shown_all_the_same(end_s: float) -> None:
    [cue] = cues([segment(5.0, end_s, "Hello.")], LAYOUT)
    assert (cue.start_ms, cue.end_ms) == (5000, 6000)


# One line


@given(st.text(st.characters()))
def test_one_line_is_one_line_of_utf_8(text: str) -> None:
    """Includes lone surrogates, which file names and broken tokenizers produce."""
    line = one_line(text)
    assert len(line.splitlines()) <= 1
    assert line == line.strip()
    assert line.encode().decode() == line
    assert one_line(line) == line


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (" Hello,\n\n world. ", "Hello, world."),
        ("a\0b\x1b[31mc", "a b [31mc"),
        ("tab\there", "tab here"),
        ("\ud800", ""),
        ("می\u200cخواهم", "می\u200cخواهم"),
        ("👩\u200d🔬", "👩\u200d🔬"),
        ("naïve — “quoted” … 日本語", "naïve — “quoted” … 日本語"),
    ],
)
def test_one_line_drops_what_ends_a_line_and_keeps_what_is_read(text: str, line: str) -> None:
    assert one_line(text) == line


@pytest.mark.parametrize("when", [{"start_s": -0.1}, {"end_s": -0.1}, {"start_s": float("nan")}])
def test_a_time_before_the_beginning_is_no_segment(when: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"start_s|end_s"):
        segment(**when)
