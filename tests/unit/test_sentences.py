"""From the words of a window to its sentences."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from nightscribe.shared.model.transcript import Word
from nightscribe.worker.engines.base import Recognition
from nightscribe.worker.pipeline.segmentation import PAUSE_S, joined, segments
from nightscribe.worker.repetition import compression_ratio

RECOGNIZED = Recognition("", average_log_probability=-0.3, no_speech_probability=0.02)


def spoken(*texts: str, gap_s: float = 0.1) -> list[Word]:
    """Words of half a second each."""
    return [Word(n * (0.5 + gap_s), n * (0.5 + gap_s) + 0.5, text) for n, text in enumerate(texts)]


def texts(words: list[Word]) -> list[str]:
    return [word.text for word in words]


@pytest.mark.parametrize(
    ("pieces", "whole"),
    [
        ([" It", " was", "."], [" It", " was."]),
        ([" Light", ",", " or", " so", "...", "?"], [" Light,", " or", " so", "...?"]),
        ([' "', "Why", "?", '"'], [' "Why?"']),
        ([" (", "so", " far", ")", "."], [" (so", " far)."]),
        (["最", "好", "。", "」"], ["最", "好。", "」"]),
        ([".", " It"], [".", " It"]),
        ([" It", "", " was"], [" It", " was"]),
        ([" well", " -"], [" well", " -"]),
        ([], []),
    ],
)
def test_marks_belong_to_their_words(pieces: list[str], whole: list[str]) -> None:
    assert texts(joined(spoken(*pieces))) == whole


def test_a_word_begins_with_its_opening_mark_and_ends_before_its_closing_one() -> None:
    words = joined(spoken(' "', "Why", "?"))
    assert words == [Word(0.0, 1.1, ' "Why?')]


pieces = st.lists(
    st.sampled_from([" a", "b", ".", "?", ' "', '"', " (", ")", " -", "-", ",", "", " ", "。", " A", " 3"])
)


@given(pieces)
def test_no_letter_is_lost_by_joining(found: list[str]) -> None:
    words = joined(spoken(*found))
    assert "".join(texts(words)) == "".join(found)
    edges = [edge for word in words for edge in (word.start_s, word.end_s)]
    assert edges == sorted(edges)
    assert all(texts(words)), "no word is empty"


@pytest.mark.parametrize(
    ("words", "sentences"),
    [
        ([" Ever", " tried.", " Ever", " failed."], ["Ever tried.", "Ever failed."]),
        ([" Mr.", " Lorry", " is", " here."], ["Mr.", "Lorry is here."]),
        ([" ca.", " three", " o'clock"], ["ca. three o'clock"]),
        ([" No.", " 3", " again"], ["No. 3 again"]),
        ([' "Why?"', " He", " asked."], ['"Why?"', "He asked."]),
        ([" Why?", " «Because.»"], ["Why?", "«Because.»"]),
        (["最好。", "最坏。"], ["最好。", "最坏。"]),
        ([" यह", " था।", " वह"], ["यह था।", "वह"]),
        ([" كيف؟", " نعم"], ["كيف؟", "نعم"]),
        ([" ", " "], []),
    ],
)
def test_a_sentence_ends_where_one_ends_and_another_begins(words: list[str], sentences: list[str]) -> None:
    assert [segment.text for segment in segments(spoken(*words), RECOGNIZED)] == sentences


@pytest.mark.parametrize(("gap_s", "n"), [(PAUSE_S - 0.01, 1), (PAUSE_S + 0.01, 3)])
def test_a_long_pause_ends_a_segment_anywhere(gap_s: float, n: int) -> None:
    assert len(segments(spoken(" and", " then", " nothing", gap_s=gap_s), RECOGNIZED)) == n


def test_a_segment_says_what_the_model_thought() -> None:
    [segment] = segments(spoken(" Ever", " tried."), RECOGNIZED)
    assert (segment.start_s, segment.end_s) == (0.0, 1.1)
    assert (segment.average_log_probability, segment.no_speech_probability) == (-0.3, 0.02)
    assert segment.compression_ratio == compression_ratio("Ever tried.")
    assert segments([], RECOGNIZED) == []


@given(pieces, st.sampled_from([0.0, 0.1, 2.0]))
@example([" a", " ", "b"], 2.0)
def test_every_word_is_in_one_segment_in_order(found: list[str], gap_s: float) -> None:
    words = joined(spoken(*found, gap_s=gap_s))
    made = segments(words, RECOGNIZED)
    in_them = [word for segment in made for word in segment.words]
    assert "".join(texts(in_them)).split() == "".join(texts(words)).split()
    assert [word for word in words if word.text.strip()] == [word for word in in_them if word.text.strip()]
    edges = [edge for segment in made for edge in (segment.start_s, segment.end_s)]
    assert edges == sorted(edges)
    for segment in made:
        assert segment.text == "".join(word.text for word in segment.words).strip() != ""
