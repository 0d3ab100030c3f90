"""Write SubRip subtitles, which almost every player shows.

SubRip has no place for speakers, so a name stands before the words wherever another speaker begins, as in broadcasters'
guidelines. Two who share a cue have a line each, which begins with a dash.
"""

import re

from nightscribe.shared.formats.cues import cues_of
from nightscribe.shared.formats.format import Format, same_words
from nightscribe.shared.formats.timecodes import timecode
from nightscribe.shared.model.transcript import Transcript


def render(transcript: Transcript) -> bytes:
    """Return one numbered block per cue. SubRip cannot escape an arrow, so one in the text is shortened."""
    blocks = []
    for number, cue in enumerate(cues_of(transcript, named=True), 1):
        text = re.sub(r"-+->", "->", "\n".join(cue.lines))  # some players would read the arrow as a time line
        blocks.append(f"{number}\n{timecode(cue.start_ms, ',')} --> {timecode(cue.end_ms, ',')}\n{text}\n\n")
    return "".join(blocks).encode()


FORMAT = Format("srt", ".srt", "text/plain; charset=utf-8", render, same_words(render), is_subtitle=True)
