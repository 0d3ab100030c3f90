"""Write Advanced SubStation Alpha subtitles (v4.00+) in one plain style.

Source: the format notes of libass and ffmpeg's `ass` demuxer. Times are in hundredths of a second.
"""

from nightscribe.shared.formats.cues import Cue, cues_of
from nightscribe.shared.formats.format import Format
from nightscribe.shared.formats.line_breaks import one_line
from nightscribe.shared.formats.timecodes import centiseconds
from nightscribe.shared.model.transcript import Transcript

HEAD = """\
[Script Info]
; Written by nightscribe
Title: {title}
ScriptType: v4.00+
WrapStyle: 0
ScaledBorderAndShadow: yes
PlayResX: 1280
PlayResY: 720

[V4+ Styles]
Format: Name, Fontname, Fontsize, PrimaryColour, SecondaryColour, OutlineColour, BackColour, Bold, Italic, Underline, \
StrikeOut, ScaleX, ScaleY, Spacing, Angle, BorderStyle, Outline, Shadow, Alignment, MarginL, MarginR, MarginV, Encoding
Style: Default,Arial,48,&H00FFFFFF,&H000000FF,&H00000000,&H80000000,0,0,0,0,100,100,0,0,1,2,1,2,64,64,40,1

[Events]
Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text
"""

LINE_BREAK = "\\N"
# ffmpeg escapes in the same way. `{` begins a command: libass reads `\{` as a brace and `{}` as an empty command.
# Readers without escapes, such as VSFilter, read `{{}` as a command and show a backslash; a plain `\{` would make them
# hide the text after it. A word joiner after a backslash keeps `\N` in a text from breaking the line.
WORD_JOINER = "\u2060"
_ESCAPES = str.maketrans({"{": "\\{{}" + WORD_JOINER, "\\": "\\" + WORD_JOINER})


def render(transcript: Transcript) -> bytes:
    """Return one `Dialogue` line per cue, in UTF-8, with the speaker's name where another one begins."""
    events = (
        f"Dialogue: 0,{_time(cue.start_ms)},{_time(cue.end_ms)},Default,{_name(cue)},0,0,0,,"
        f"{LINE_BREAK.join(line.translate(_ESCAPES) for line in cue.lines)}\n"
        for cue in cues_of(transcript, named=True)
    )
    title = one_line(transcript.stem.rpartition("/")[2])
    return (HEAD.format(title=title) + "".join(events)).encode()


def _name(cue: Cue) -> str:
    """Return the field for the speaker, which commas divide from others."""
    return (cue.speaker or "").replace(",", ";")


def is_same(content: bytes, transcript: Transcript) -> bool:
    """Return whether a file has the same head, times and words, ignoring line breaks."""
    return _words(content) == _words(render(transcript))


def _time(ms: int) -> str:
    seconds, hundredths = divmod(centiseconds(ms), 100)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}.{hundredths:02}"


def _words(content: bytes) -> list[bytes]:
    return content.replace(LINE_BREAK.encode(), b" ").split()


FORMAT = Format("ass", ".ass", "text/x-ssa; charset=utf-8", render, is_same, is_subtitle=True)
