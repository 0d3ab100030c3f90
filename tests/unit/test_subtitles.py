"""Profiles of subtitles, and the linter in bench/ that checks them."""

from itertools import pairwise

import pytest
from making import segment
from subtitles import RULES, Shown, read_srt, violations

from nightscribe.shared.formats.cues import Cue, cues
from nightscribe.shared.formats.line_breaks import HELD, TORN, break_cost
from nightscribe.shared.formats.subtitle_profiles import PROFILES, profile_of
from nightscribe.shared.model.jobs import BBC, NETFLIX, PLAIN, Layout, SubtitleProfile
from nightscribe.shared.model.transcript import Segment, Word

STORY = (
    "Nobody who had seen him leave the house could remember the colour of his coat, but John Brown, who lived at "
    "number 42 in the same street, had counted 17 buttons on it. He told us so. And then? Then he went to the "
    "kitchen, opened the door of the oven, and found what Mrs. Myers had forgotten: a cake of about 3 pounds."
)


def spoken(text: str = STORY, start_s: float = 0.0, per_s: float = 14.0) -> list[Segment]:
    """Return sentences as somebody says them, with a breath after commas and a pause of growing length after each."""
    made, words, at = [], list[Word](), start_s
    for number, token in enumerate(text.split()):
        end_s = at + (len(token) + 1) / per_s
        words.append(Word(round(at, 3), round(end_s, 3), f" {token}"))
        at = end_s + (0.25 if token.endswith(",") else 0)
        if token[-1] in ".?" and token != "Mrs.":
            made.append(segment(words[0].start_s, words[-1].end_s, "".join(w.text for w in words), words=tuple(words)))
            words, at = [], at + 0.1 * (number % 11)
    return made


def shown(profile: SubtitleProfile, segments: list[Segment]) -> list[Shown]:
    return [Shown(*each) for each in laid_out(profile, segments)]


def laid_out(profile: SubtitleProfile, segments: list[Segment]) -> list[tuple[int, int, tuple[str, ...]]]:
    made = cues(segments, Layout(subtitles=profile), "en")
    return [(each.start_ms, each.end_ms, each.lines) for each in made]


@pytest.mark.parametrize("name", PROFILES)
@pytest.mark.parametrize("per_s", [9.0, 14.0, 16.0])
def test_calm_speech_breaks_no_rule(name: SubtitleProfile, per_s: float) -> None:
    made = shown(name, spoken(per_s=per_s))
    profile = profile_of(Layout(subtitles=name), "en")
    broken = [(rule, cue.lines) for rule, cue in violations(made, profile, by_words=name == BBC)]
    assert [each for each in broken if each[0] != "uneven lines"] == []


def test_fast_speech_is_shown_as_long_as_it_can_be() -> None:
    made = shown(NETFLIX, spoken(per_s=30.0))
    rules = {rule for rule, _ in violations(made, profile_of(Layout(subtitles=NETFLIX), "en"))}
    assert rules <= {"too fast", "too short", "uneven lines"}


def test_the_guidelines_have_their_own_limits_and_a_stricter_layout_counts() -> None:
    assert profile_of(Layout(line_chars=60), "en").line_chars == 60
    assert profile_of(Layout(line_chars=60, lines=3, subtitles=NETFLIX), "en").line_chars == 42
    assert profile_of(Layout(lines=3, subtitles=NETFLIX), "en").lines == 2
    assert profile_of(Layout(line_chars=30, subtitles=BBC), "en").line_chars == 30
    assert profile_of(Layout(subtitles=NETFLIX), "ja").line_chars == 26
    assert profile_of(Layout(subtitles=NETFLIX), "de").columns_per_s == 17


def test_the_bbc_leaves_no_gap_or_a_long_one() -> None:
    made = laid_out(BBC, [*spoken(), *spoken("It was late. He left.", 60)])
    gaps = [after[0] - before[1] for before, after in pairwise(made)]
    assert all(gap == 0 or gap >= 1000 for gap in gaps)


def test_netflix_leaves_two_frames_or_half_a_second() -> None:
    gaps = [after[0] - before[1] for before, after in pairwise(laid_out(NETFLIX, spoken()))]
    assert all(gap == 84 or gap >= 500 for gap in gaps)


def test_a_cue_that_may_not_stay_until_the_next_leaves_no_flicker() -> None:
    drawn_out = segment(0, 6.5, "Nooo.", words=(Word(0, 6.5, "Nooo."),))
    made = cues([drawn_out, segment(7.3, 9, "He told us so.")], Layout())
    assert [(each.start_ms, each.end_ms) for each in made] == [(0, 6800), (7300, 9500)]


# Better for every profile


def test_a_word_before_a_breath_is_not_left_alone() -> None:
    words = (Word(0, 0.3, " And"), Word(1.4, 1.8, " then"), Word(1.8, 2.4, " he"), Word(2.4, 3.0, " left."))
    made = cues([segment(0, 3, "And then he left.", words=words)], Layout())
    assert [each.lines for each in made] == [("And then he left.",)]


def test_no_cue_shows_words_long_before_they_are_heard() -> None:
    words = (Word(0, 0.3, " And"), Word(1.9, 2.3, " then"), Word(2.3, 2.9, " he"), Word(2.9, 3.4, " left."))
    made = cues([segment(0, 3.4, "And then he left.", words=words)], Layout())
    assert [(each.start_ms, each.lines) for each in made] == [(0, ("And",)), (1900, ("then he left.",))]


@pytest.mark.parametrize(
    ("before", "after", "language", "cost"),
    [
        ("3", "pounds", "en", HELD), ("10", "000", "fr", TORN), ("John", "Brown,", "en", HELD),
        ("42", "in", "en", None), ("Brown", "and", "en", None), ("Haus", "Garten", "de", None),
        ("Then", "I", "en", None),
    ],
)  # fmt: skip
def test_numbers_and_names_are_kept_together(before: str, after: str, language: str, cost: float | None) -> None:
    found = break_cost(before, after, spaced=True, language=language)
    assert found == cost if cost else found < HELD


def test_no_line_ends_within_a_name_or_a_number() -> None:
    for per_s in (8, 12, 16):
        for cue in cues(spoken(per_s=per_s), Layout(), "en"):
            assert not {"John", "Mrs.", "17", "3"} & {line.split()[-1] for line in cue.lines}


# The linter


def rules(*cues_: tuple[int, int, str], name: SubtitleProfile = NETFLIX) -> set[str]:
    made = [Shown(start, end, tuple(text.split("|"))) for start, end, text in cues_]
    return {rule for rule, _ in violations(made, PROFILES[name], by_words=name == BBC)}


@pytest.mark.parametrize(
    ("given", "rule"),
    [
        ([(0, 3000, "x" * 43 + ".")], "line too long"),
        ([(0, 3000, "One line here|and another|and a third.")], "too many lines"),
        ([(0, 1000, "This is far too much for a second.")], "too fast"),
        ([(0, 800, "Yes, sir.")], "too short"),
        ([(0, 7001, "This stays for long.")], "too long"),
        ([(0, 2000, "One and two."), (1900, 4000, "Three and four.")], "overlap"),
        ([(0, 2000, "One and two."), (2300, 4000, "Three and four.")], "gap"),
        ([(0, 2000, "One and two."), (2040, 4000, "Three and four.")], "gap"),
        ([(0, 2000, "One and two,|three and four.")], "broken needlessly"),
        ([(0, 4000, "One|and two and three and four and five and six.")], "uneven lines"),
        ([(0, 3000, "He was standing there at the|window of the small room.")], "torn"),
        ([(0, 3000, "He was standing there , at|, window of the small room.")], "mark first"),
        ([(0, 3000, "The cake that he found had 3|pounds and smelled of apples.")], "number torn"),
        ([(0, 3000, "Nobody could remember what John|Brown had said to his mother.")], "name torn"),
        ([(0, 3000, "Nobody had seen"), (3084, 4500, "the coat.")], "fragment"),
        ([(0, 3000, "Nobody had seen the"), (3084, 6000, "Colour of the coat that he wore.")], "capital"),
    ],
)
def test_the_linter_finds_what_breaks_a_rule(given: list[tuple[int, int, str]], rule: str) -> None:
    assert rule in rules(*given)
    assert rule in RULES


def test_the_linter_finds_nothing_wrong_in_good_subtitles() -> None:
    good = [
        (0, 3000, "Nobody who had seen him leave the house"),
        (3084, 6000, "could remember the colour of his coat."),
        (8000, 9000, "I know."),
        (9500, 12_000, "- Did you see it?|- No."),
    ]
    assert rules(*good) == set()


def test_the_linter_reads_the_files_of_other_programs() -> None:
    text = (
        "\ufeff1\r\n00:00:01,000 --> 00:00:02,500 X1:40\r\nOne\r\ntwo.\r\n\r\n"
        "2\r\n01:00:00.000 --> 01:00:01.000\r\nThree.\r\n"
    )
    assert list(read_srt(text)) == [
        Shown(1000, 2500, ("One", "two.")),
        Shown(3_600_000, 3_601_000, ("Three.",)),
    ]


def test_cues_of_the_plain_profile_are_those_without_one() -> None:
    assert all(isinstance(each, Cue) for each in cues(spoken(), Layout()))
    assert cues(spoken(), Layout(subtitles=PLAIN)) == cues(spoken(), Layout())
