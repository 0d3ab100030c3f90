"""Read the text files back with libraries that other programs use."""

import json
from datetime import timedelta

import pytest
import srt
import webvtt
from hypothesis import example, given
from hypothesis import strategies as st
from making import segment, transcript
from pydantic import ValidationError

from nightscribe.shared.errors import SetupError
from nightscribe.shared.formats.cues import Cue, cues
from nightscribe.shared.formats.line_breaks import one_line
from nightscribe.shared.formats.registry import BUILT_IN, check_formats, render
from nightscribe.shared.formats.timecodes import timecode
from nightscribe.shared.model.jobs import Layout
from nightscribe.shared.model.transcript import Segment, Transcript, Word

# fmt: off
NASTY = st.sampled_from([
    "-->", "--->", "<i>", "&amp;", "&lt;", "WEBVTT", "NOTE", "STYLE", "1", "{b}", "🎤", "مرحبا", "\n\n", "\r\n", "\x00",
    "\x1b[31m", "\u2028", "\x85", "\ufeff", "\t", "\x1c", "\u200d", "e\u0301", "  ", "00:00:01.000 --> 00:00:02.000",
])
# fmt: on
TEXT = st.lists(st.one_of(NASTY, st.text()), max_size=5).map("".join)
TIME_S = st.floats(0, 500_000) | st.floats(0, 3)
SEGMENTS = st.lists(st.builds(segment, TIME_S, TIME_S, TEXT), max_size=8)


def cues_of(whole: Transcript) -> list[Cue]:
    return cues(whole.segments, whole.layout)


def written(whole: Transcript, fmt: str) -> str:
    return render(whole, fmt).decode()


# SubRip


@given(SEGMENTS)
@example([segment(text="--->")])
@example([segment(text="a ----> b")])
def test_srt_is_read_back_as_it_was_meant(segments: list[Segment]) -> None:
    made = cues_of(transcript(*segments))
    found = list(srt.parse(written(transcript(*segments), "srt")))
    assert [cue.index for cue in found] == list(range(1, len(made) + 1))
    assert [cue.start for cue in found] == [timedelta(milliseconds=cue.start_ms) for cue in made]
    assert [cue.end for cue in found] == [timedelta(milliseconds=cue.end_ms) for cue in made]
    if not any("-->" in line for cue in made for line in cue.lines):
        assert [tuple(cue.content.split("\n")) for cue in found] == [cue.lines for cue in made]


@given(SEGMENTS)
@example([segment(text="--->")])
@example([segment(text="a -----> b")])
def test_no_text_of_an_srt_holds_the_arrow_of_a_time_line(segments: list[Segment]) -> None:
    lines = written(transcript(*segments), "srt").splitlines()
    assert sum("-->" in line for line in lines) == len(cues_of(transcript(*segments)))


def test_an_arrow_in_the_text_of_an_srt_is_shortened() -> None:
    assert "\nfrom A -> B\n" in written(transcript(segment(text="from A --> B")), "srt")


LONG = "It was the first evening of the year on which one could smell the spring."


def test_an_srt_looks_as_players_expect() -> None:
    made = written(transcript(segment(0, 1.5, "One."), segment(3661.001, 3666, LONG)), "srt")
    assert made == (
        "1\n00:00:00,000 --> 00:00:02,000\nOne.\n\n"
        "2\n01:01:01,001 --> 01:01:06,500\n"
        "It was the first evening of the year\non which one could smell the spring.\n\n"
    )


@pytest.mark.parametrize(("layout", "lines"), [(Layout(line_chars=80), 1), (Layout(line_chars=30), 3)])
def test_a_transcript_says_how_its_lines_are_laid_out(layout: Layout, lines: int) -> None:
    made = written(transcript(segment(0, 6, LONG), layout=layout.model_copy(update={"lines": lines})), "vtt")
    assert len(made.strip().splitlines()) == 3 + lines


def test_times_beyond_99_hours_are_read_back_from_srt() -> None:
    [cue] = srt.parse(written(transcript(segment(100 * 3600 + 61.5, 100 * 3600 + 62)), "srt"))
    assert cue.start == timedelta(hours=100, minutes=1, seconds=1, milliseconds=500)


# WebVTT


@given(SEGMENTS)
def test_vtt_is_read_back_as_it_was_meant(segments: list[Segment]) -> None:
    made = cues_of(transcript(*segments))
    found = webvtt.from_string(written(transcript(*segments), "vtt"))
    assert [(cue.start, cue.end) for cue in found] == [
        (timecode(cue.start_ms, "."), timecode(cue.end_ms, ".")) for cue in made
    ]
    texts = [cue.raw_text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&") for cue in found]
    assert [tuple(text.split("\n")) for text in texts] == [cue.lines for cue in made]


def test_a_vtt_escapes_what_it_gives_a_meaning() -> None:
    assert "\n&lt;b&gt; R&amp;D &amp;lt; --&gt;\n" in written(transcript(segment(text="<b> R&D &lt; -->")), "vtt")


def test_a_vtt_looks_as_browsers_expect() -> None:
    made = written(transcript(segment(0, 1.5, "One."), segment(3661.001, 3666, LONG)), "vtt")
    assert made == (
        "WEBVTT\n\n00:00:00.000 --> 00:00:02.000\nOne.\n\n"
        "01:01:01.001 --> 01:01:06.500\nIt was the first evening of the year\non which one could smell the spring.\n\n"
    )


def test_times_beyond_99_hours_are_read_back_from_vtt() -> None:
    [cue] = webvtt.from_string(written(transcript(segment(100 * 3600 + 61.5, 100 * 3600 + 62)), "vtt"))
    assert cue.start == "100:01:01.500"


# The others


@given(SEGMENTS)
def test_txt_has_one_segment_a_line_as_they_stand(segments: list[Segment]) -> None:
    expected = [text for text in (one_line(s.text) for s in segments) if text]
    made = written(transcript(*segments), "txt")
    assert made.splitlines() == expected
    assert not made or made.endswith("\n")


@given(SEGMENTS)
def test_every_row_of_a_tsv_has_three_columns(segments: list[Segment]) -> None:
    heading, *rows = (line.split("\t") for line in written(transcript(*segments), "tsv").splitlines())
    assert heading == ["start", "end", "text"]
    assert [(int(start), int(end), text) for start, end, text in rows] == [
        (cue.start_ms, cue.end_ms, " ".join(cue.lines)) for cue in cues_of(transcript(*segments))
    ]


@given(SEGMENTS)
def test_json_with_words_is_the_canonical_transcript(segments: list[Segment]) -> None:
    whole = transcript(*segments, layout=Layout(words=True))
    assert Transcript.model_validate_json(written(whole, "json")) == whole
    assert json.loads(written(whole, "json")) == whole.model_dump(mode="json")


def test_json_has_no_times_of_words_unless_they_are_asked_for() -> None:
    spoken = segment(text="Hello.", words=(Word(0.1, 0.9, "Hello."),))
    [said] = json.loads(written(transcript(spoken), "json"))["segments"]
    assert "words" not in said
    assert Transcript.model_validate_json(written(transcript(spoken), "json")).segments == (
        spoken.model_copy(update={"words": ()}),
    )
    [said] = json.loads(written(transcript(spoken, layout=Layout(words=True)), "json"))["segments"]
    assert said["words"] == [[0.1, 0.9, "Hello."]]


@pytest.mark.parametrize("score", [float("nan"), float("inf"), float("-inf")])
def test_a_score_that_is_no_number_is_refused_or_kept(score: float) -> None:
    """Otherwise the record is written, cannot be read, and the recording is transcribed again every night."""
    try:
        whole = transcript(segment(average_log_probability=score))
    except ValidationError:
        return
    assert Transcript.model_validate_json(written(whole, "json")).segments[0].text == "Hello."


def test_a_time_without_end_is_no_segment() -> None:
    with pytest.raises(ValidationError):
        segment(end_s=float("inf"))


@pytest.mark.parametrize(
    ("fmt", "made"), [("txt", b""), ("srt", b""), ("vtt", b"WEBVTT\n\n"), ("tsv", b"start\tend\ttext\n")]
)
def test_a_recording_in_which_nobody_speaks_has_empty_text_files(fmt: str, made: bytes) -> None:
    assert render(transcript(), fmt) == made


@pytest.mark.parametrize("fmt", [fmt for fmt in BUILT_IN if fmt not in ("docx", "pdf")])
@given(segments=SEGMENTS)
def test_every_format_of_text_is_utf_8_and_the_same_each_time(fmt: str, segments: list[Segment]) -> None:
    whole = transcript(*segments)
    assert render(whole, fmt).decode().encode() == render(whole, fmt)
    assert render(whole, fmt) == render(Transcript.model_validate_json(whole.model_dump_json()), fmt)


@pytest.mark.parametrize(
    ("ms", "said"),
    [(0, "00:00:00.000"), (999, "00:00:00.999"), (59_999, "00:00:59.999"), (60_000, "00:01:00.000"),
     (3_600_000, "01:00:00.000"), (359_999_999, "99:59:59.999"), (360_000_000, "100:00:00.000")],
)  # fmt: skip
def test_a_timestamp_carries_over(ms: int, said: str) -> None:
    assert timecode(ms, ".") == said


# The list of formats


@pytest.mark.parametrize(
    ("text", "names"),
    [("txt", ("txt",)), ("txt,srt", ("txt", "srt")), (" TXT , .srt,", ("txt", "srt")), ("srt,txt,srt", ("srt", "txt"))],
)
def test_formats_are_read_kindly_and_kept_in_order(text: str, names: tuple[str, ...]) -> None:
    assert check_formats(text) == names


def test_an_unknown_format_is_refused_with_those_there_are() -> None:
    with pytest.raises(SetupError, match=r"'odt'.*txt, vtt, srt, json, tsv"):
        check_formats("txt,odt")


@pytest.mark.parametrize("text", ["", " ", ",", " , "])
def test_no_format_at_all_is_refused(text: str) -> None:
    with pytest.raises(SetupError, match="No format"):
        check_formats(text)
