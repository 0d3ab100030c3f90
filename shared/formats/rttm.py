"""Write RTTM (Rich Transcription Time Marked), which programs that compare speaker labels read.

Source: NIST, RT-09 evaluation plan, appendix A. A line has ten fields between spaces, so no field may hold a space.
"""

from collections.abc import Iterator

from nightscribe.shared.formats.format import Format, same_words
from nightscribe.shared.formats.line_breaks import one_line
from nightscribe.shared.model.transcript import Transcript


def render(transcript: Transcript) -> bytes:
    """Return one SPEAKER line per turn: the recording, channel 1, start and length in seconds, and the speaker."""
    recording = _field(transcript.stem.rpartition("/")[2])
    names = {each.label: each.name or each.label for each in transcript.speakers}
    return "".join(
        f"SPEAKER {recording} 1 {start_s:.3f} {end_s - start_s:.3f} <NA> <NA> {_field(names.get(who, who))} <NA> <NA>\n"
        for start_s, end_s, who in _turns(transcript)
        if end_s > start_s
    ).encode()


def _turns(transcript: Transcript) -> Iterator[tuple[float, float, str]]:
    """Yield start, end and speaker of each turn; without turns, those of the segments that have a speaker."""
    if transcript.turns:
        yield from ((turn.start_s, turn.end_s, turn.speaker) for turn in transcript.turns)
    else:
        yield from ((each.start_s, each.end_s, each.speaker) for each in transcript.segments if each.speaker)


def _field(text: str) -> str:
    """Return text as one field."""
    return "_".join(one_line(text).split()) or "_"


FORMAT = Format("rttm", ".rttm", "text/plain; charset=utf-8", render, same_words(render))
