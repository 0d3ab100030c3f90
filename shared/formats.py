"""The text formats: pure functions of the canonical transcript."""

import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import cast

from shared.errors import ValueRefused
from shared.jobs import Format
from shared.transcript import Segment, Transcript

MIN_CUE_MS = 100  # players drop a cue of no length


@dataclass(frozen=True)
class Cue:
    """Words on the screen from `start_ms` to `end_ms`, one line."""

    start_ms: int
    end_ms: int
    text: str


def cues(segments: Sequence[Segment]) -> list[Cue]:
    """Segments as cues in order of time: none empty, none shorter than `MIN_CUE_MS`, none overlapping the next."""
    made: list[Cue] = []
    for segment in sorted(segments, key=lambda s: (s.start_s, s.end_s)):
        text = one_line(segment.text)
        if not text:
            continue
        start_ms, end_ms = round(segment.start_s * 1000), round(segment.end_s * 1000)
        if made and start_ms < made[-1].end_ms:
            # The model's ends are less sure than its starts, so an overlap is taken from the earlier cue.
            if start_ms - made[-1].start_ms >= MIN_CUE_MS:
                made[-1] = replace(made[-1], end_ms=start_ms)
            else:
                start_ms = made[-1].end_ms
        made.append(Cue(start_ms, max(end_ms, start_ms + MIN_CUE_MS), text))
    return made


def one_line(text: str) -> str:
    """Text without line breaks, control characters or what UTF-8 cannot hold: a blank line would end a cue."""
    # Joiners and direction marks belong to scripts that need them; a byte order mark belongs nowhere in a text.
    plain = "".join(" " if unicodedata.category(c) in {"Cc", "Cs"} or c == "\ufeff" else c for c in text)
    return " ".join(plain.split())


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
    for number, cue in enumerate(cues(transcript.segments), 1):
        text = re.sub(r"-+->", "->", cue.text)  # some players would read the arrow as a time line
        blocks.append(f"{number}\n{timestamp(cue.start_ms, ',')} --> {timestamp(cue.end_ms, ',')}\n{text}\n\n")
    return "".join(blocks)


def to_vtt(transcript: Transcript) -> str:
    """WebVTT, with the characters it gives a meaning escaped."""
    return "WEBVTT\n\n" + "".join(
        f"{timestamp(cue.start_ms, '.')} --> {timestamp(cue.end_ms, '.')}\n{_escape(cue.text)}\n\n"
        for cue in cues(transcript.segments)
    )


def _escape(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def to_tsv(transcript: Transcript) -> str:
    """Start and end in milliseconds and the text, separated by tabs, under a heading line."""
    rows = (f"{cue.start_ms}\t{cue.end_ms}\t{cue.text}\n" for cue in cues(transcript.segments))
    return "start\tend\ttext\n" + "".join(rows)


def to_json(transcript: Transcript) -> str:
    """The canonical transcript itself (`docs/transcript.schema.json`)."""
    return transcript.model_dump_json(indent=2) + "\n"


FORMATS: dict[Format, Callable[[Transcript], str]] = {
    "txt": to_txt,
    "vtt": to_vtt,
    "srt": to_srt,
    "json": to_json,
    "tsv": to_tsv,
}


def check_formats(text: str) -> tuple[Format, ...]:
    """The formats of a list such as `txt,srt`, each once. Raises: ValueRefused: if one is unknown or none is given."""
    names = tuple(dict.fromkeys(name.strip().lower().removeprefix(".") for name in text.split(",") if name.strip()))
    if unknown := [name for name in names if name not in FORMATS]:
        raise ValueRefused(f"Unknown format {unknown[0]!r}. There are: {', '.join(FORMATS)}.")
    if not names:
        raise ValueRefused(f"No format is asked for. Give some of: {', '.join(FORMATS)}.")
    return cast("tuple[Format, ...]", names)


def render(transcript: Transcript, fmt: Format) -> bytes:
    """One text file of a transcript, UTF-8."""
    return FORMATS[fmt](transcript).encode()
