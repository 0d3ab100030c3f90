"""Speakers in the text files."""

import json
from typing import Any

import pysubs2
import pytest
import srt
import webvtt
from hypothesis import given
from hypothesis import strategies as st
from making import OPTIONS, segment, transcript
from support.reading import text_in

from nightscribe.shared.formats.cues import MAX_CUE_MS, cues_of
from nightscribe.shared.formats.line_breaks import width
from nightscribe.shared.formats.registry import BUILT_IN, is_same, render
from nightscribe.shared.model.jobs import Layout
from nightscribe.shared.model.speakers import Speaker, SpeakerTurn
from nightscribe.shared.model.transcript import Segment, Transcript

LABELLED = OPTIONS.model_copy(update={"speakers": "auto"})
A, B = "Speaker 1", "Speaker 2"


def labelled(*segments: Segment, names: dict[str, str] | None = None, **changes: Any) -> Transcript:
    labels = dict.fromkeys(each.speaker for each in segments if each.speaker)
    speakers = tuple(
        Speaker(label=label, clean_s=9, name=(names or {}).get(label), embedding="AAAA") for label in labels
    )
    return transcript(*segments, **({"options": LABELLED, "speakers": speakers} | changes))


INTERVIEW = (
    segment(0, 2, "Good evening.", speaker=A),
    segment(2, 4.5, "Tell us how it began.", speaker=A),
    segment(5, 8, "It began with a letter from my uncle.", speaker=B),
    segment(8.2, 10, "I have it here.", speaker=B),
    segment(11, 12.5, "May I see it?", speaker=A),
)


def text(whole: Transcript, fmt: str) -> str:
    return render(whole, fmt).decode()


def test_a_txt_has_a_paragraph_with_a_name_for_each_turn() -> None:
    assert text(labelled(*INTERVIEW, names={B: "Grandma"}), "txt") == (
        "Speaker 1: Good evening. Tell us how it began.\n\n"
        "Grandma: It began with a letter from my uncle. I have it here.\n\n"
        "Speaker 1: May I see it?\n"
    )


def test_a_script_without_spaces_gets_none_between_sentences() -> None:
    whole = labelled(
        segment(text="你好。", speaker=A), segment(text="再见。", speaker=A), segment(text="好。", speaker=B)
    )
    assert text(whole, "txt") == "Speaker 1: 你好。再见。\n\nSpeaker 2: 好。\n"


def test_an_srt_names_a_speaker_where_another_one_begins() -> None:
    cues = [cue.content for cue in srt.parse(text(labelled(*INTERVIEW, names={B: "Grandma"}), "srt"))]
    assert cues == [
        "Speaker 1: Good evening.",
        "Tell us how it began.",
        "Grandma: It began\nwith a letter from my uncle.",
        "I have it here.",
        "Speaker 1: May I see it?",
    ]


def test_two_brief_turns_share_a_cue_with_dashes() -> None:
    whole = labelled(
        segment(0, 0.6, "Really?", speaker=A), segment(0.7, 1.3, "Yes.", speaker=B), segment(5, 8, "Good.", speaker=B)
    )
    assert [cue.content for cue in srt.parse(text(whole, "srt"))] == [
        "- Speaker 1: Really?\n- Speaker 2: Yes.",
        "Good.",
    ]
    assert [cue.raw_text for cue in webvtt.from_string(text(whole, "vtt"))] == [
        "<v Speaker 1>- Really?</v>\n<v Speaker 2>- Yes.</v>",
        "<v Speaker 2>Good.",
    ]


def test_a_vtt_has_a_voice_for_each_cue_that_other_programs_read() -> None:
    whole = labelled(*INTERVIEW, names={B: 'Rock & <Roll> "Bob"'})
    found = list(webvtt.from_string(text(whole, "vtt")))
    assert found[0].voice == A
    assert '<v Rock &amp; &lt;Roll&gt; "Bob">It began' in found[2].raw_text
    assert "Speaker 1:" not in text(whole, "vtt")


def test_a_tsv_has_a_column_for_the_speaker() -> None:
    rows = [line.split("\t") for line in text(labelled(*INTERVIEW), "tsv").splitlines()]
    assert rows[0] == ["start", "end", "speaker", "text"]
    assert [row[2] for row in rows[1:]] == [A, A, B, B, A]


def test_an_ass_names_the_actor_and_shows_who_begins() -> None:
    found = pysubs2.SSAFile.from_string(text(labelled(*INTERVIEW, names={A: "Smith, John"}), "ass"))
    assert list(dict.fromkeys(event.name for event in found)) == ["Smith; John", B]
    assert found[0].plaintext.startswith("Smith, John: Good evening.")


def test_a_json_has_the_names_and_no_voiceprint() -> None:
    made = json.loads(text(labelled(*INTERVIEW, names={B: "Grandma"}), "json"))
    assert [each["speaker"] for each in made["segments"]] == [A, A, B, B, A]
    assert made["speakers"] == [{"label": A, "clean_s": 9.0}, {"label": B, "clean_s": 9.0, "name": "Grandma"}]
    assert "AAAA" in labelled(*INTERVIEW).model_dump_json()


def test_an_rttm_has_one_line_of_ten_fields_for_each_turn() -> None:
    turns = (SpeakerTurn(start_s=0.5, end_s=4.5, speaker=A), SpeakerTurn(start_s=4.25, end_s=8, speaker=B))
    whole = labelled(*INTERVIEW, names={B: "Grandma Ann"}, turns=turns, stem="2012/first talk")
    assert text(whole, "rttm") == (
        "SPEAKER first_talk 1 0.500 4.000 <NA> <NA> Speaker_1 <NA> <NA>\n"
        "SPEAKER first_talk 1 4.250 3.750 <NA> <NA> Grandma_Ann <NA> <NA>\n"
    )


def test_without_turns_an_rttm_has_those_of_the_channels() -> None:
    whole = labelled(segment(0, 1, speaker="channel 1"), segment(1, 3, speaker="channel 2"))
    assert [line.split()[3:8] for line in text(whole, "rttm").splitlines()] == [
        ["0.000", "1.000", "<NA>", "<NA>", "channel_1"],
        ["1.000", "2.000", "<NA>", "<NA>", "channel_2"],
    ]


@pytest.mark.parametrize("fmt", sorted(BUILT_IN.keys() - {"json", "rttm"}))
def test_one_speaker_whom_nobody_named_is_not_named_in_the_texts(fmt: str) -> None:
    alone = tuple(each.model_copy(update={"speaker": A}) for each in INTERVIEW)
    assert render(labelled(*alone), fmt) == render(transcript(*alone), fmt)
    assert "Grandma" in text_in(fmt, render(labelled(*alone, names={A: "Grandma"}), fmt))


@pytest.mark.parametrize("fmt", sorted(BUILT_IN.keys() - {"json", "rttm"}))
def test_channels_are_not_named_where_nobody_asked_for_it(fmt: str) -> None:
    """Their texts were written before there were names, and must not look like somebody's work."""
    channels = (segment(0, 1, speaker="channel 1"), segment(1, 2, speaker="channel 2"))
    plain = transcript(*(each.model_copy(update={"speaker": None}) for each in channels))
    assert render(transcript(*channels), fmt) == render(plain, fmt)
    assert "hannel 2" in text_in(fmt, render(labelled(*channels), fmt))


@pytest.mark.parametrize("fmt", BUILT_IN)
def test_a_text_with_other_names_is_another_text(fmt: str) -> None:
    """So a name that a person has corrected by hand is kept."""
    before, after = labelled(*INTERVIEW), labelled(*INTERVIEW, names={B: "Grandma"})
    turns = (SpeakerTurn(start_s=5, end_s=10, speaker=B),)
    before, after = (each.model_copy(update={"turns": turns}) for each in (before, after))
    assert is_same(render(after, fmt), after, fmt)
    assert not is_same(render(before, fmt), after, fmt)


NAMES = st.text(min_size=1, max_size=60)
SPEECH = st.lists(
    st.builds(
        segment,
        st.floats(0, 60),
        st.floats(0, 60),
        st.text(max_size=90),
        speaker=st.sampled_from([A, B, "Speaker 3", None]),
    ),
    max_size=8,
)


@given(SPEECH, st.dictionaries(st.sampled_from([A, B]), NAMES), st.integers(10, 42), st.integers(1, 3))
def test_no_cue_has_two_speakers_unless_each_has_a_line(
    segments: list[Segment], names: dict[str, str], line_chars: int, lines: int
) -> None:
    whole = labelled(*segments, names=names, layout=Layout(line_chars=line_chars, lines=lines))
    for named in (False, True):
        made = cues_of(whole, named=named)
        for cue in made:
            assert len(cue.lines) <= lines
            assert all(width(line) <= line_chars for line in cue.lines)
            assert len(set(cue.speakers)) < 2 or (len(cue.lines) == 2 and all(x.startswith("- ") for x in cue.lines))
            assert 0 < cue.end_ms - cue.start_ms <= MAX_CUE_MS
    list(srt.parse(text(whole, "srt")))
    list(webvtt.from_string(text(whole, "vtt")))
    assert all(len(line.split(" ")) == 10 for line in text(whole, "rttm").splitlines())
