"""Loops of a model, and people who repeat themselves."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightscribe.shared.model.transcript import Word
from nightscribe.worker.engines.base import Recognition
from nightscribe.worker.pipeline.assemble import flags
from nightscribe.worker.pipeline.segmentation import segments
from nightscribe.worker.repetition import Loop, as_time_allows, is_babble, loops

SENTENCE = (" The", " boy", " was", " surprised.")


def said(*phrases: tuple[tuple[str, ...], float, float]) -> list[Word]:
    """Words of phrases, each from a time on and so long."""
    made = []
    for texts, start_s, length_s in phrases:
        each_s = length_s / len(texts)
        made += [Word(start_s + n * each_s, start_s + (n + 1) * each_s, text) for n, text in enumerate(texts)]
    return made


def n_sentences(words: list[Word]) -> int:
    return sum(word.text == SENTENCE[-1] for word in words)


def test_a_loop_that_goes_on_when_the_time_is_over_is_cut() -> None:
    real = [(SENTENCE, 2.0 * n, 1.0) for n in range(6)]
    squeezed = [(SENTENCE, 11.0 + 0.02 * n, 0.02 * (n % 2)) for n in range(30)]
    assert as_time_allows(said(*real, *squeezed)) == said(*real)


@pytest.mark.parametrize(
    "words",
    [
        said(*((SENTENCE, 1.5 * n, 1.2) for n in range(12))),
        said(((" No,",), 0.0, 0.2), ((" no,",), 0.3, 0.15), ((" no.",), 0.5, 0.35)),
        said(((" Row,",), 0.0, 0.6), ((" row,",), 0.7, 0.5), ((" row",), 1.3, 0.4), ((" your", " boat."), 1.8, 1.0)),
        said(((" So", " it", " was."), 0.0, 1.0)),
        [],
    ],
)
def test_what_a_person_repeats_stays(words: list[Word]) -> None:
    assert as_time_allows(words) == words


def test_where_every_repeat_is_too_fast_as_many_stay_as_there_was_time_for() -> None:
    assert n_sentences(as_time_allows(said(*((SENTENCE, 0.2 * n, 0.2) for n in range(45))))) == 12
    assert n_sentences(as_time_allows(said(*((SENTENCE, 1.0, 0.0) for n in range(45))))) == 1


@given(st.lists(st.sampled_from([" a", " b", " c."]), max_size=30), st.sampled_from([0.0, 0.05, 0.5]))
def test_only_repeats_are_ever_dropped(texts: list[str], length_s: float) -> None:
    words = [Word(n * length_s, (n + 1) * length_s, text) for n, text in enumerate(texts)]
    kept = as_time_allows(words)
    assert set(texts) == {word.text for word in kept}
    assert [word.start_s for word in kept] == sorted(word.start_s for word in kept)


def test_a_loop_is_the_longest_phrase_that_follows_itself() -> None:
    assert loops(["So", *["no", "no", "no", "no"], "it", "was"]) == [Loop(1, 1, 4)]
    assert loops(["He", "ran.", "He", "ran.", "He", "ran.", "Stop"]) == [Loop(0, 2, 3)]
    assert loops(["that", "that", "is"]) == []


@pytest.mark.parametrize(
    ("text", "babble"),
    [
        ("i m not no i m not no", True),
        ("Going to be going to be going to be.", True),
        ("no no no no no no", True),
        ("No, no, no.", False),
        ("It was the best of times, it was the worst of times.", False),
        ("", False),
    ],
)
def test_a_text_of_one_phrase_is_babble(text: str, babble: bool) -> None:
    assert is_babble(text) is babble


def test_a_loop_with_full_stops_is_flagged() -> None:
    """Each of its sentences packs badly; only the text of the whole window shows it."""
    words = said(*((SENTENCE, 1.5 * n, 1.2) for n in range(12)))
    recognition = Recognition("".join(word.text for word in words), average_log_probability=-0.07)
    made = segments(words, recognition)
    assert len(made) == 12
    assert flags(made, languages={}, language_probability=None) == ("repetition",)
