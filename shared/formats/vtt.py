"""Write WebVTT subtitles, which browsers show."""

from nightscribe.shared.formats.cues import cues_of
from nightscribe.shared.formats.format import Format, same_words
from nightscribe.shared.formats.timecodes import timecode
from nightscribe.shared.model.transcript import Transcript


def render(transcript: Transcript) -> bytes:
    """Return one block per cue, with WebVTT's special characters escaped."""
    blocks = (
        f"{timecode(cue.start_ms, '.')} --> {timecode(cue.end_ms, '.')}\n{_escape(cue.lines)}\n\n"
        for cue in cues_of(transcript)
    )
    return ("WEBVTT\n\n" + "".join(blocks)).encode()


def _escape(lines: tuple[str, ...]) -> str:
    return "\n".join(lines).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


FORMAT = Format("vtt", ".vtt", "text/vtt; charset=utf-8", render, same_words(render), is_subtitle=True)
