"""Write plain text: one segment per line, or with speakers one paragraph per turn."""

from itertools import groupby

from nightscribe.shared.formats.document import running_text
from nightscribe.shared.formats.format import Format, same_bytes
from nightscribe.shared.formats.line_breaks import one_line
from nightscribe.shared.formats.speakers import shown_names
from nightscribe.shared.model.transcript import Transcript


def render(transcript: Transcript) -> bytes:
    """Return the text of each segment that is not empty, in UTF-8.

    If speakers are shown, each turn is one paragraph that begins with a name.
    """
    names = shown_names(transcript)
    said = [(names.get(segment.speaker), one_line(segment.text)) for segment in transcript.segments]
    if not names:
        return "".join(f"{line}\n" for _, line in said if line).encode()
    turns = groupby(((name, line) for name, line in said if line), key=lambda each: each[0])
    paragraphs = (
        f"{name}: {text}" if name else text for name, each in turns for text in [running_text(t for _, t in each)]
    )
    return ("\n\n".join(paragraphs) + "\n").encode()


# `same_bytes`, because lines joined into paragraphs are a person's work although no word has changed.
FORMAT = Format("txt", ".txt", "text/plain; charset=utf-8", render, same_bytes(render))
