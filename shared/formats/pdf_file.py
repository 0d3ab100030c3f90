"""Write a PDF: a title, the facts, and paragraphs with their times and speakers.

typst (Apache-2.0, a package without dependencies) lays out the pages. It shapes and orders every script, breaks lines
where each script allows it, finds the system's fonts by itself, and writes PDF/UA. That standard has tags for screen
readers and forbids characters that no font has, so such a transcript is refused and no page ever shows empty boxes.
"""

import json
import re
from functools import cache
from importlib.resources import files

from nightscribe.shared.errors import FormatError
from nightscribe.shared.formats.document import Document, clock, document_of
from nightscribe.shared.formats.format import Format
from nightscribe.shared.formats.seal import is_sealed, seal
from nightscribe.shared.model.transcript import Transcript

# The first comes with typst, so that a page in Latin, Greek or Cyrillic letters looks the same on every machine. typst
# takes characters that it lacks from any font of the system that has them.
FONTS = ("Libertinus Serif", "Noto Serif", "Noto Sans", "DejaVu Sans")
# Chinese, Japanese and Korean share characters, which each draws in its own way.
FONTS_OF = {
    "zh": ("Noto Serif CJK SC", "Noto Sans CJK SC", "Songti SC", "PingFang SC"),
    "yue": ("Noto Serif CJK HK", "Noto Sans CJK HK", "Songti TC", "PingFang HK"),
    "ja": ("Noto Serif CJK JP", "Noto Sans CJK JP", "Hiragino Mincho ProN"),
    "ko": ("Noto Serif CJK KR", "Noto Sans CJK KR", "Apple SD Gothic Neo"),
}
MISSING = re.compile(r"the text [`\"]*(.+?)[`\"]* could not be displayed")
ESCAPE = re.compile(r"\\u\{([0-9a-f]+)\}")
MOST = 12  # characters in a message
COMMENT = b"\n%"


def render(transcript: Transcript) -> bytes:
    """Return the document, with its seal in a comment at the end.

    Raises: FormatError: if no font of this machine has some of the characters.
    """
    document = document_of(transcript)
    body = _compiled(document) + COMMENT
    return body + seal(body, transcript, document) + b"\n"


def is_same(content: bytes, transcript: Transcript) -> bool:
    """Return whether the file is as it was written, whatever fonts it was written with, and says the same."""
    return is_sealed(content, transcript, document_of(transcript), end=b"\n")


def _compiled(document: Document) -> bytes:
    import typst

    values = {
        "title": document.title or "…",  # the standard demands one
        "facts": document.facts_line,
        "doubts": document.doubts,
        "language": document.language or "en",
        "rtl": document.is_right_to_left,
        "fonts": [*FONTS_OF.get(document.language or "", ()), *FONTS],
        "named": bool(document.speakers),
        "paragraphs": [
            {"speaker": each.speaker, "time": clock(each.start_s), "text": each.text} for each in document.paragraphs
        ],
    }
    try:
        return typst.compile(
            _template(), format="pdf", sys_inputs={"document": json.dumps(values)}, pdf_standards="ua-1"
        )
    except typst.TypstError as error:
        if missing := MISSING.findall(str(error)):
            raise FormatError(_no_font(missing)) from None
        raise


@cache
def _template() -> bytes:
    return files("nightscribe.shared.formats").joinpath("pdf_file.typ").read_bytes()


def _no_font(missing: list[str]) -> str:
    escaped = [ESCAPE.sub(lambda found: chr(int(found[1], 16)), each) for each in missing]
    characters = "".join(
        each if each.isprintable() else f"U+{ord(each):04X} " for each in dict.fromkeys("".join(escaped)[:MOST])
    ).strip()
    return (
        f"No font on this machine has the characters “{characters}”, so a PDF would show empty boxes. Install a font "
        "that has them (on Debian, fonts-noto-core and fonts-noto-cjk), or choose docx or html."
    )


FORMAT = Format("pdf", ".pdf", "application/pdf", render, is_same, needs=("typst",), extra="documents")
