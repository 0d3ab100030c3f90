"""Subtitles for players, read back by readers that know nothing of this program."""

import re
import subprocess
from pathlib import Path

import pysubs2
import pytest
import srt
from hypothesis import example, given
from hypothesis import strategies as st
from making import segment, transcript

from nightscribe.shared.audio.probe import ffmpeg_path
from nightscribe.shared.formats.cues import Cue, cues_of
from nightscribe.shared.formats.registry import is_same, render
from nightscribe.shared.formats.timecodes import centiseconds
from nightscribe.shared.model.jobs import Layout
from nightscribe.shared.model.transcript import Segment

# fmt: off
NASTY = st.sampled_from([
    "{b}", "{", "}", "{\\pos(1,2)}", "\\N", "\\n", "\\h", "\\", "-->", "[00:01]", "[00:01.00]", "<00:01.00>", "[ar:x]",
    "[Events]", "Dialogue: 0,", ",", ";", "مرحبا بالعالم", "שלום", "\n\n", "\r\n", "\x00", "\u2028", "x" * 300,
    "漢" * 60,
])
# fmt: on
TEXT = st.lists(st.one_of(NASTY, st.text()), max_size=5).map("".join)
TIME_S = st.floats(0, 300_000) | st.floats(0, 3)  # pysubs2 reads two digits of hours
SEGMENTS = st.lists(st.builds(segment, TIME_S, TIME_S, TEXT), max_size=6)
HOSTILE = [
    segment(0, 2, "a {b} \\N c"),
    segment(2.5, 2.9, "[Music] {N"),
    segment(3, 5, "[00:01] x --> [ar:y] <00:09.00> z"),
    segment(6, 8, "مرحبا {بالعالم}"),
    segment(9, 20, "x" * 120),
    segment(21, 22, "ends with \\"),
    segment(3725.5, 3727, "Late."),
]
LONG = "It was the first evening of the year on which one could smell the spring."


def shown(text: str) -> str:
    """Return what a viewer sees: a word joiner has no width."""
    return text.replace("\u2060", "")


def converted(content: bytes, suffix: str, folder: Path) -> list[srt.Subtitle]:
    """Return what ffmpeg reads in a file of subtitles."""
    (folder / f"talk{suffix}").write_bytes(content)
    # fmt: off
    done = subprocess.run(
        [ffmpeg_path(), "-v", "error", "-nostdin", "-i", folder / f"talk{suffix}", "-c:s", "text", "-f", "srt", "-"],
        capture_output=True, check=True,
    )
    # fmt: on
    assert not done.stderr, done.stderr.decode()
    return list(srt.parse(done.stdout.decode().replace("\\{{}", "{")))  # SubRip may hold commands as well


def as_shown(cues: list[Cue]) -> list[str]:
    return [shown("\n".join(cue.lines)) for cue in cues]


# Advanced SubStation Alpha


@given(SEGMENTS)
@example(HOSTILE)
def test_ass_is_read_back_as_it_was_meant(segments: list[Segment]) -> None:
    whole = transcript(*segments)
    made = cues_of(whole)
    found = pysubs2.SSAFile.from_string(render(whole, "ass").decode(), format_="ass")
    # pysubs2 knows no escape for a brace, and shows a backslash.
    assert [shown(event.plaintext) for event in found] == [text.replace("{", "\\") for text in as_shown(made)]
    times = [(10 * centiseconds(cue.start_ms), 10 * centiseconds(cue.end_ms)) for cue in made]
    assert [(event.start, event.end) for event in found] == times
    assert {event.style for event in found} <= set(found.styles)


def test_pysubs2_writes_what_it_read() -> None:
    content = render(transcript(*HOSTILE), "ass").decode()
    found = pysubs2.SSAFile.from_string(content, format_="ass")
    again = pysubs2.SSAFile.from_string(found.to_string("ass"), format_="ass")
    assert [(event.start, event.end, event.text) for event in again] == [
        (event.start, event.end, event.text) for event in found
    ]


def test_ffmpeg_reads_ass(tmp_path: Path) -> None:
    whole = transcript(*HOSTILE)
    found = converted(render(whole, "ass"), ".ass", tmp_path)
    assert [shown(event.content) for event in found] == as_shown(cues_of(whole))


def test_libass_renders_ass_without_complaint(tmp_path: Path) -> None:
    (tmp_path / "talk.ass").write_bytes(render(transcript(*HOSTILE), "ass"))
    # fmt: off
    done = subprocess.run(
        [ffmpeg_path(), "-v", "error", "-nostdin", "-f", "lavfi", "-i", "color=black:s=320x180:d=8:r=1",
         "-vf", "ass=talk.ass", "-f", "null", "-"],
        capture_output=True, check=True, cwd=tmp_path,
    )
    # fmt: on
    assert not done.stderr, done.stderr.decode()


def test_an_ass_looks_as_players_expect() -> None:
    made = render(transcript(segment(0, 1.5, "One."), segment(36061.004, 36066, LONG)), "ass").decode()
    assert made.startswith("[Script Info]\n; Written by nightscribe\nTitle: talk\nScriptType: v4.00+\n")
    assert made.endswith(
        "Dialogue: 0,0:00:00.00,0:00:02.00,Default,,0,0,0,,One.\n"
        "Dialogue: 0,10:01:01.00,10:01:06.50,Default,,0,0,0,,"
        "It was the first evening of the year\\Non which one could smell the spring.\n"
    )


# LRC


def test_ffmpeg_reads_lrc(tmp_path: Path) -> None:
    """A line may be hours into the recording, and hold what looks like a time."""
    whole = transcript(*HOSTILE)
    found = [event for event in converted(render(whole, "lrc"), ".lrc", tmp_path) if event.content]
    assert [shown(event.content) for event in found] == [" ".join(cue.lines) for cue in cues_of(whole)]
    assert [round(event.start.total_seconds() * 100) for event in found] == [
        centiseconds(cue.start_ms) for cue in cues_of(whole)
    ]


@given(SEGMENTS)
@example(HOSTILE)
def test_lrc_is_read_back_by_players_that_look_for_times_anywhere(segments: list[Segment]) -> None:
    whole = transcript(*segments)
    lines = render(whole, "lrc").decode().splitlines()
    timed = [line for line in lines if re.match(r"\[\d", line)]
    assert all(len(re.findall(r"[\[<]\s*\w+\s*:", line)) == 1 for line in lines)
    texts = [line.partition("]")[2] for line in timed]
    assert [shown(text) for text in texts if text] == [shown(" ".join(cue.lines)) for cue in cues_of(whole)]
    starts = [line[1:].partition("]")[0].split(":") for line in timed]
    hundredths = [int(minutes) * 6000 + round(float(seconds) * 100) for minutes, seconds in starts]
    assert hundredths == sorted(hundredths)


def test_an_lrc_looks_as_players_expect() -> None:
    made = render(transcript(segment(0, 1.5, "One."), segment(2, 3, "Two."), segment(6060.25, 6066, LONG)), "lrc")
    assert made.decode() == (
        "[ti:talk]\n[re:nightscribe]\n[length:101:06.50]\n"
        "[00:00.00]One.\n[00:02.00]Two.\n[00:03.50]\n"
        f"[101:00.25]{LONG}\n[101:06.50]\n"
    )


# Both


@pytest.mark.parametrize("fmt", ["ass", "lrc"])
def test_a_recording_in_which_nobody_speaks_has_only_a_head(fmt: str, tmp_path: Path) -> None:
    made = render(transcript(), fmt)
    assert made
    assert b"Dialogue" not in made
    assert b"[length" not in made


@pytest.mark.parametrize("fmt", ["ass", "lrc"])
def test_subtitles_in_another_layout_are_the_same(fmt: str) -> None:
    narrow = transcript(segment(0, 6, LONG), layout=Layout(line_chars=40, lines=2))
    wide = transcript(segment(0, 6, LONG), layout=Layout(line_chars=80, lines=2))
    assert is_same(render(wide, fmt), narrow, fmt)
    assert not is_same(render(wide, fmt).replace(b"spring", b"rain"), narrow, fmt)


@pytest.mark.parametrize("fmt", ["ass", "lrc"])
@pytest.mark.parametrize("stem", ["a/[ti:x]", "b {c}", "[00:01]", "new\nline"])
def test_the_name_of_a_recording_does_not_break_the_head(fmt: str, stem: str) -> None:
    plain, odd = render(transcript(*HOSTILE), fmt), render(transcript(*HOSTILE, stem=stem), fmt)
    assert len(odd.splitlines()) == len(plain.splitlines())
