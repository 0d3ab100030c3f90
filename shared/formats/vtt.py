"""Write WebVTT subtitles, which browsers show. A speaker's words are in a voice span, `<v Name>`."""

from itertools import groupby

from nightscribe.shared.formats.cues import Cue, cues_of
from nightscribe.shared.formats.format import Format, same_words
from nightscribe.shared.formats.timecodes import timecode
from nightscribe.shared.model.transcript import Transcript


def render(transcript: Transcript) -> bytes:
    """Return one block per cue, with WebVTT's special characters escaped."""
    blocks = (
        f"{timecode(cue.start_ms, '.')} --> {timecode(cue.end_ms, '.')}\n{_text(cue)}\n\n"
        for cue in cues_of(transcript)
    )
    return ("WEBVTT\n\n" + "".join(blocks)).encode()


def _text(cue: Cue) -> str:
    if not cue.speakers:
        return _escape("\n".join(cue.lines))
    voices = [
        (name, "\n".join(_escape(line) for _, line in group))
        for name, group in groupby(zip(cue.speakers, cue.lines, strict=True), key=lambda each: each[0])
    ]
    if len(voices) == 1:  # a voice span that fills its cue needs no end
        [(name, text)] = voices
        return f"<v {_escape(name)}>{text}" if name else text
    return "\n".join(f"<v {_escape(name)}>{text}</v>" if name else text for name, text in voices)


def _escape(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


FORMAT = Format("vtt", ".vtt", "text/vtt; charset=utf-8", render, same_words(render), is_subtitle=True)
