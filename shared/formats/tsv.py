"""Write tab-separated values, which spreadsheets read."""

from nightscribe.shared.formats.cues import cues_of
from nightscribe.shared.formats.format import Format, same_words
from nightscribe.shared.model.transcript import Transcript


def render(transcript: Transcript) -> bytes:
    """Return a heading line, then the start and end of each cue in milliseconds and its text on one line."""
    rows = (f"{cue.start_ms}\t{cue.end_ms}\t{' '.join(cue.lines)}\n" for cue in cues_of(transcript))
    return ("start\tend\ttext\n" + "".join(rows)).encode()


FORMAT = Format("tsv", ".tsv", "text/tab-separated-values; charset=utf-8", render, same_words(render))
