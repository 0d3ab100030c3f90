"""The text formats: pure functions of the canonical transcript."""

import re
from collections.abc import Callable
from functools import lru_cache
from typing import cast

from nightscribe.shared.errors import ValueRefused
from nightscribe.shared.formats.cues import Cue, cues
from nightscribe.shared.formats.line_breaks import one_line
from nightscribe.shared.model.jobs import FormatName, Layout
from nightscribe.shared.model.transcript import Segment, Transcript


@lru_cache(maxsize=1)  # the formats of one transcript are made one after the other
def _cues(segments: tuple[Segment, ...], layout: Layout) -> list[Cue]:
    return cues(segments, layout)


def timestamp(ms: int, point: str) -> str:
    """`HH:MM:SS` + `point` + milliseconds; hours grow past two digits when they must."""
    seconds, ms = divmod(ms, 1000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{seconds:02}{point}{ms:03}"


def to_txt(transcript: Transcript) -> str:
    """One segment a line."""
    lines = (one_line(segment.text) for segment in transcript.segments)
    return "".join(f"{line}\n" for line in lines if line)


def to_srt(transcript: Transcript) -> str:
    """SubRip."""
    blocks = []
    for number, cue in enumerate(_cues(transcript.segments, transcript.layout), 1):
        text = re.sub(r"-+->", "->", "\n".join(cue.lines))  # some players would read the arrow as a time line
        blocks.append(f"{number}\n{timestamp(cue.start_ms, ',')} --> {timestamp(cue.end_ms, ',')}\n{text}\n\n")
    return "".join(blocks)


def to_vtt(transcript: Transcript) -> str:
    """WebVTT, with the characters it gives a meaning escaped."""
    return "WEBVTT\n\n" + "".join(
        f"{timestamp(cue.start_ms, '.')} --> {timestamp(cue.end_ms, '.')}\n{_escape(cue.lines)}\n\n"
        for cue in _cues(transcript.segments, transcript.layout)
    )


def _escape(lines: tuple[str, ...]) -> str:
    return "\n".join(lines).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def to_tsv(transcript: Transcript) -> str:
    """Start and end of each cue in milliseconds and its text, separated by tabs, under a heading line."""
    rows = (
        f"{cue.start_ms}\t{cue.end_ms}\t{' '.join(cue.lines)}\n"
        for cue in _cues(transcript.segments, transcript.layout)
    )
    return "start\tend\ttext\n" + "".join(rows)


def to_json(transcript: Transcript) -> str:
    """The canonical transcript (`docs/transcript.schema.json`), with the times of words where they are asked for."""
    hidden = None if transcript.layout.words else {"segments": {"__all__": {"words"}}}
    return transcript.model_dump_json(indent=2, exclude=hidden) + "\n"


FORMATS: dict[FormatName, Callable[[Transcript], str]] = {
    "txt": to_txt,
    "vtt": to_vtt,
    "srt": to_srt,
    "json": to_json,
    "tsv": to_tsv,
}


def check_formats(text: str) -> tuple[FormatName, ...]:
    """The formats of a list such as `txt,srt`, each once. Raises: ValueRefused: if one is unknown or none is given."""
    names = tuple(dict.fromkeys(name.strip().lower().removeprefix(".") for name in text.split(",") if name.strip()))
    if unknown := [name for name in names if name not in FORMATS]:
        raise ValueRefused(f"Unknown format {unknown[0]!r}. There are: {', '.join(FORMATS)}.")
    if not names:
        raise ValueRefused(f"No format is asked for. Give some of: {', '.join(FORMATS)}.")
    return cast("tuple[FormatName, ...]", names)


def render(transcript: Transcript, fmt: FormatName) -> bytes:
    """One text file of a transcript, UTF-8."""
    return FORMATS[fmt](transcript).encode()
