"""Plain text: one segment a line."""

from nightscribe.shared.formats.format import Format, same_bytes
from nightscribe.shared.formats.line_breaks import one_line
from nightscribe.shared.model.transcript import Transcript


def render(transcript: Transcript) -> bytes:
    """Return the text of each segment that says something, in UTF-8."""
    lines = (one_line(segment.text) for segment in transcript.segments)
    return "".join(f"{line}\n" for line in lines if line).encode()


# Lines joined into paragraphs are somebody's work although no word has changed, hence `same_bytes`.
FORMAT = Format("txt", ".txt", "text/plain; charset=utf-8", render, same_bytes(render))
