"""Write Markdown: a heading, the facts, and paragraphs with their times and speakers.

Source: CommonMark 0.31. What would be read as markup is escaped in ways that all dialects share.
"""

import re

from nightscribe.shared.formats.document import Document, clock, document_of
from nightscribe.shared.formats.format import Format, same_bytes
from nightscribe.shared.model.transcript import Transcript

_MARKUP = re.compile(r"([\\`*_{}\[\]])")
_ENTITIES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", "~": "&#126;"})
_BLOCK = re.compile(r"^(?:[#+-]|\d{1,9}(?=[.)]))")  # headings, lists and rules, at the beginning of a line


def render(transcript: Transcript) -> bytes:
    """Return the document, in UTF-8."""
    return "\n\n".join(_blocks(document_of(transcript))).encode() + b"\n"


def _blocks(document: Document) -> list[str]:
    blocks = [f"# {_text(document.title)}", _text(document.facts_line)]
    if document.doubts:
        blocks.append("\n".join(["> **Please check**", ">", *(f"> - {_text(doubt)}" for doubt in document.doubts)]))
    for each in document.paragraphs:
        time = f"*{clock(each.start_s)}*"
        if each.speaker:
            blocks.append(f"**{_text(each.speaker)}** {time}")
            blocks.append(_text(each.text))
        elif document.speakers:
            blocks.append(_text(each.text))
        else:
            blocks.append(f"{time} {_text(each.text)}")
    return blocks


def _text(text: str) -> str:
    escaped = _MARKUP.sub(r"\\\1", text.translate(_ENTITIES))
    begin = _BLOCK.match(escaped)
    if not begin:
        return escaped
    at = begin.end() if escaped[0].isdecimal() else 0
    return f"{escaped[:at]}\\{escaped[at:]}"


FORMAT = Format("md", ".md", "text/markdown; charset=utf-8", render, same_bytes(render))
