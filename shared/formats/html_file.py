"""Write a web page with a player, in which the words light up as they are spoken and a click on one plays it.

The page is one file. It requests nothing but the recording, which it looks for beside itself, or where
`?recording=` says; a person can also choose the file. Its Content-Security-Policy allows nothing else.
"""

import hashlib
from base64 import b64encode
from collections.abc import Iterator
from functools import cache
from html import escape
from importlib.resources import files
from string import Template
from urllib.parse import quote

from nightscribe.shared.formats.document import Document, Paragraph, clock, document_of
from nightscribe.shared.formats.format import Format
from nightscribe.shared.formats.line_breaks import breakable, one_line
from nightscribe.shared.formats.seal import is_sealed, seal
from nightscribe.shared.model.paths import suffix
from nightscribe.shared.model.transcript import Segment, Transcript

VIDEO = frozenset("3gp avi divx f4v flv m2ts m4v mkv mov mp4 mpeg mpg mts mxf ogm ogv rmvb ts vob webm wmv".split())  # noqa: SIM905
COMMENT, COMMENT_END = b"<!-- ", b" -->\n"


def render(transcript: Transcript) -> bytes:
    """Return the page, with its seal in a comment at the end."""
    document = document_of(transcript)
    body = _page(document).encode() + COMMENT
    return body + seal(body, transcript, document) + COMMENT_END


def is_same(content: bytes, transcript: Transcript) -> bool:
    """Return whether the page is as it was written, also by another release, and says what the transcript does."""
    return is_sealed(content, transcript, document_of(transcript), end=COMMENT_END)


def _page(document: Document) -> str:
    kind = "video" if suffix(document.recording).removeprefix(".").casefold() in VIDEO else "audio"
    source = escape(quote(document.recording))
    return Template(_part("html")).substitute(
        language=escape(document.language or ""),
        direction="rtl" if document.is_right_to_left else "ltr",
        title=escape(document.title),
        facts=" · ".join(f"<bdi>{escape(fact)}</bdi>" for fact in document.facts),
        doubts=_doubts(document),
        media=f'<{kind} controls preload="metadata" data-src="{source}"></{kind}>',
        recording=escape(document.recording),
        paragraphs="\n".join(_paragraph(each, named=bool(document.speakers)) for each in document.paragraphs),
        style=_part("css"),
        style_hash=_hash("css"),
        script=_part("js"),
        script_hash=_hash("js"),
    )


@cache
def _part(kind: str) -> str:
    return files("nightscribe.shared.formats").joinpath(f"html_file.{kind}").read_text(encoding="utf-8")


@cache
def _hash(kind: str) -> str:
    return "sha256-" + b64encode(hashlib.sha256(_part(kind).encode()).digest()).decode()


def _doubts(document: Document) -> str:
    if not document.doubts:
        return ""
    rows = "".join(f"<p>{escape(doubt)}</p>" for doubt in document.doubts)
    return f'<div class="doubts" dir="ltr"><p><strong>Please check</strong></p>{rows}</div>'


def _paragraph(paragraph: Paragraph, *, named: bool) -> str:
    start_s = f"{paragraph.start_s:g}"
    time = f'<a class="time" data-s="{start_s}" href="#t={start_s}">{clock(paragraph.start_s)}</a>'
    text = "".join(_segments(paragraph))
    if paragraph.speaker:
        return f'<h2><bdi>{escape(paragraph.speaker)}</bdi>{time}</h2>\n<p dir="auto">{text}</p>'
    return f'<p dir="auto">{"" if named else time}{text}</p>'


def _segments(paragraph: Paragraph) -> Iterator[str]:
    before = ""
    for segment in paragraph.segments:
        text = one_line(segment.text)
        if before and not breakable(before[-1], text[0]):
            yield " "
        doubtful = ' doubtful" title="The model was not sure of this passage' if segment.confidence is not None else ""
        words = _words(segment, text)
        timed = f' data-w="{words}"' if words else ""
        times = f'data-s="{segment.start_s:g}" data-e="{segment.end_s:g}"'
        yield f'<span class="said{doubtful}" {times}{timed}>{escape(text)}</span>'
        before = text


def _words(segment: Segment, text: str) -> str:
    """Return `LENGTH,OFFSET` for each word: UTF-16 units of the text, and hundredths of a second from its start.

    Empty if the words do not make up the text.
    """
    pairs, taken = [], ""
    for word in segment.words:
        plain = one_line(word.text)
        if not plain:
            continue
        written = f" {plain}" if taken and word.text[:1].isspace() else plain
        taken += written
        offset = max(0, round(100 * (word.start_s - segment.start_s)))
        pairs.append(f"{len(written.encode('utf-16-le', 'surrogatepass')) // 2},{offset}")
    return " ".join(pairs) if taken == text and len(pairs) > 1 else ""


FORMAT = Format("html", ".html", "text/html; charset=utf-8", render, is_same)
