"""Write tab-separated values, which spreadsheets read."""

from nightscribe.shared.formats.cues import cues_of
from nightscribe.shared.formats.format import Format, same_words
from nightscribe.shared.formats.speakers import shown_names
from nightscribe.shared.model.transcript import Transcript


def render(transcript: Transcript) -> bytes:
    """Return a heading line, then the start and end of each cue in milliseconds and its text on one line.

    If speakers are shown, their column precedes the text.
    """
    if not shown_names(transcript):
        rows = (f"{cue.start_ms}\t{cue.end_ms}\t{' '.join(cue.lines)}\n" for cue in cues_of(transcript))
        return ("start\tend\ttext\n" + "".join(rows)).encode()
    rows = (
        f"{cue.start_ms}\t{cue.end_ms}\t{cue.speaker or ''}\t{' '.join(cue.lines)}\n" for cue in cues_of(transcript)
    )
    return ("start\tend\tspeaker\ttext\n" + "".join(rows)).encode()


FORMAT = Format("tsv", ".tsv", "text/tab-separated-values; charset=utf-8", render, same_words(render))
