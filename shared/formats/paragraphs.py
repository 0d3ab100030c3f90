"""Write plain text in paragraphs, divided by pauses and speakers, for reading and pasting elsewhere."""

from nightscribe.shared.formats.document import document_of
from nightscribe.shared.formats.format import Format, same_bytes
from nightscribe.shared.model.transcript import Transcript


def render(transcript: Transcript) -> bytes:
    """Return paragraphs with empty lines between them, in UTF-8. A name stands where another speaker begins."""
    paragraphs = document_of(transcript).paragraphs
    return "\n".join(
        f"{each.speaker}: {each.text}\n" if each.speaker else f"{each.text}\n" for each in paragraphs
    ).encode()


FORMAT = Format("paragraphs", ".paragraphs.txt", "text/plain; charset=utf-8", render, same_bytes(render))
