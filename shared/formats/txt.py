"""Write plain text, one segment per line."""

from nightscribe.shared.formats.format import Format, same_bytes
from nightscribe.shared.formats.line_breaks import one_line
from nightscribe.shared.model.transcript import Transcript


def render(transcript: Transcript) -> bytes:
    """Return the text of each segment that is not empty, in UTF-8."""
    lines = (one_line(segment.text) for segment in transcript.segments)
    return "".join(f"{line}\n" for line in lines if line).encode()


# `same_bytes`, because lines joined into paragraphs are a person's work although no word has changed.
FORMAT = Format("txt", ".txt", "text/plain; charset=utf-8", render, same_bytes(render))
