"""From the words of a window to its sentences."""

from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from making import job, part, recording, slice_of

from nightscribe.shared.destination.records import Records
from nightscribe.shared.formats.line_breaks import TORN, break_cost
from nightscribe.shared.formats.sentences import ends_sentence
from nightscribe.shared.model.transcript import Segment, Word
from nightscribe.shared.storage.folder.store import FolderStore
from nightscribe.worker.attempt.job_progress import JobProgress
from nightscribe.worker.attempt.store_results import Assembler
from nightscribe.worker.engines.base import Recognition
from nightscribe.worker.pipeline.segmentation import LONGEST_SENTENCE_S, PAUSE_S, continued, joined, segments
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
        ([" Mr.", " Lorry", " is", " here."], ["Mr. Lorry is here."]),
        ([" the", " U", ".S.", " Army", " at", " 5", " p", ".m.", " Monday."], ["the U.S. Army at 5 p.m. Monday."]),
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


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("I met a Mr. | Wilcox.", "en"), ("Mrs. | Jones came.", "en"), ("Dr. | No.", "en"),
        ("in the U.S. | Army", "en"),
        ("At 9 a.m. | Monday", "en"), ("at 5 p.m. | yesterday", "en"), ("J. | K. | Rowling", "en"), ("No. | 43", "en"),
        ("On Jan. | 5", "en"), ("George W. | Bush", "en"), ("Mt. | Everest", "en"), ("Smith vs. | Jones", "en"),
        ("Vol. | 2", "en"), ("e.g. | Paris", "en"), ("St. | John", "en"), ("Lt. | Col. | Smith", "en"),
        ("z. | B. | Geld", "de"), ("z.B. | Anna", "de"), ("am 5. | Januar", "de"), ("Herr Dr. | Müller", "de"),
        ("Nr. | 43", "de"), ("ca. | 5", "de"), ("St. | Pauli", "de"), ("Prof. | Schmidt bzw. | Frau", "de"),
        ("M. | Dupont et Mme. | Martin", "fr"), ("Mlle. | Rose", "fr"), ("MM. | Durand", "fr"),
        ("p. | ex. | Paris", "fr"),
        ("El Sr. | García y la Sra. | López", "es"), ("EE. | UU. | es grande", "es"), ("D. | Juan", "es"),
        ("Dña. | Ana", "es"), ("Núm. | 5", "es"), ("Ud. | sabe", "es"),
        ("il Sig. | Rossi", "it"), ("Dott. | Verdi", "it"), ("pag. | 3", "it"), ("On. | Moro", "it"),
        ("o Sr. | Silva", "pt"), ("Av. | Paulista", "pt"), ("D. | Pedro", "pt"), ("Exmo. | Senhor", "pt"),
        ("Dhr. | Jansen en mevr. | Bakker", "nl"), ("o.a. | Rome", "nl"), ("bijv. | Parijs", "nl"),
        ("Ds. | Pieter", "nl"),
        ("t.ex. | Stockholm", "sv"), ("kl. | 5", "sv"), ("dvs. | Han", "sv"), ("f.eks. | Odense", "da"),
        ("Hr. | Jensen", "da"), ("bl.a. | Aarhus", "da"), ("den 5. | Mai", "da"), ("kl. | 5", "no"),
        ("f.eks. | Oslo", "nn"),
        ("dr. | Nowak", "pl"), ("św. | Jan", "pl"), ("godz. | 5", "pl"), ("m.in. | Kraków", "pl"), ("tzw. | Ona", "pl"),
        ("MUDr. | Bílý", "cs"), ("např. | Brno", "cs"), ("č. | 5", "cs"), ("А. | С. | Пушкин", "ru"),
        ("г. | Москва", "ru"), ("им. | Горького", "ru"), ("т. | е. | Москва", "ru"), ("т.е. | Москва", "uk"),
        ("Dr. | Kovács", "hu"), ("özv. | Nagy", "hu"), ("esim. | Turku", "fi"), ("Doç. | Yılmaz", "tr"),
    ],
)  # fmt: skip
def test_an_abbreviation_ends_no_sentence_and_no_line(text: str, language: str) -> None:
    for before, after in pairwise(text.split(" | ")):
        assert not ends_sentence(before, after, language)
        if not after[0].islower():
            assert break_cost(before, after, spaced=True, language=language) == TORN


@pytest.mark.parametrize(
    ("before", "after", "language"),
    [
        ("He said no.", "Then he left.", "en"), ("It is I.", "He left.", "en"), ("He left the U.S.", "The house", "en"),
        ("It was 5 p.m.", "The train left.", "en"), ("in 1990.", "Then", "en"), ("He was 12.", "Then", "en"),
        ("Give it to me.", "Brown is here.", "en"), ("I may.", "Strong men", "en"), ("Okay.", "Fine.", "en"),
        ("“Why?”", "He asked.", "en"), ("and so...", "Then", "en"), ("Dije que no.", "Juan se fue.", "es"),
        ("Er war da.", "Dann ging er.", "de"), ("Il est là.", "Elle part.", "fr"), ("Было.", "Потом", "ru"),
        ("Było.", "Potem", "pl"), ("최고였다.", "그는", "ko"), ("最好。", "最坏。", "zh"), ("था।", "वह", "hi"),
        ("كيف؟", "نعم", "ar"),
    ],
)  # fmt: skip
def test_a_word_with_a_full_stop_ends_a_sentence(before: str, after: str, language: str) -> None:
    assert ends_sentence(before, after, language)


def words_at(start_s: float, *texts: str) -> list[Word]:
    return [Word(start_s + n * 0.5, start_s + n * 0.5 + 0.4, text) for n, text in enumerate(texts)]


def made_of(*parts: tuple[float, tuple[str, ...]]) -> list[Segment]:
    return [segment for start_s, found in parts for segment in segments(words_at(start_s, *found), RECOGNIZED)]


@pytest.mark.parametrize(
    ("first", "then", "gap_s", "texts"),
    [
        ((" the", " merchant"), (" left", " her", " all."), 1.5, ["the merchant left her all."]),
        ((" a", " man,"), (" John,", " left."), 0.2, ["a man, John, left."]),
        ((" a", " Mr."), (" Wilcox", " came."), 0.2, ["a Mr. Wilcox came."]),
        ((" It", " ended."), (" he", " said."), 0.2, ["It ended.", "he said."]),
        ((" It", " ended."), (" He", " said."), 0.2, ["It ended.", "He said."]),
        ((" the", " merchant"), (" left", " her", " all."), 3.5, ["the merchant", "left her all."]),
        (("最", "好，"), ("最", "坏。"), 0.2, ["最好，最坏。"]),
    ],
)
def test_a_breath_or_the_border_of_a_window_ends_no_sentence(
    first: tuple[str, ...], then: tuple[str, ...], gap_s: float, texts: list[str]
) -> None:
    made = continued(made_of((0.0, first), (0.9 + gap_s, then)))
    assert [segment.text for segment in made] == texts
    for segment in made:
        assert "".join(word.text for word in segment.words).strip() == segment.text
        assert (segment.average_log_probability, segment.no_speech_probability) == pytest.approx((-0.3, 0.02))


def test_speech_without_any_mark_does_not_become_one_endless_sentence() -> None:
    made = continued([s for n in range(30) for s in made_of((5.0 * n, (" and", " on", " and", " on")))])
    assert max(segment.end_s - segment.start_s for segment in made) <= LONGEST_SENTENCE_S


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


def test_a_sentence_is_whole_again_where_the_recording_was_cut(tmp_path: Path) -> None:
    """Its slices may have been transcribed by different workers."""
    slices = [slice_of("talk.wav", cuts=(10.0,), index=index) for index in (0, 1)]
    made = job(*slices)
    first, *_ = made_of((8.0, (" The", " Russian")))
    then, end = made_of((10.1, (" merchant", " left.")), (11.2, (" The", " end.")))
    records = Records(FolderStore(tmp_path))
    for slice_, found in zip(slices, (part(first), part(then, end)), strict=True):
        records.partial_results.put(made, slice_, found)
    progress = JobProgress.start(made)
    progress.kept = records.partial_results.kept({"talk.wav"})
    guard: Any = SimpleNamespace(while_held=lambda write: write())
    source: Any = SimpleNamespace(stat=lambda _path: recording("talk.wav"))
    Assembler(source, records, guard).assemble(progress, slices[1], part(then, end), 1)
    transcript = records.transcript("talk.wav")
    assert transcript is not None
    assert [segment.text for segment in transcript.segments] == ["The Russian merchant left.", "The end."]
    assert [word.text for word in transcript.segments[0].words] == [" The", " Russian", " merchant", " left."]
