"""Write a Word document (.docx): a title, the facts, and paragraphs with their times and speakers.

Names, times and paragraphs have styles of their own, so that a person changes how all of them look in one place.
"""

import io
import zipfile
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from nightscribe.shared.formats.document import Document, clock, document_of
from nightscribe.shared.formats.format import Format
from nightscribe.shared.formats.seal import LENGTH, is_sealed, seal
from nightscribe.shared.model.transcript import Transcript

if TYPE_CHECKING:
    from docx.document import Document as WordDocument

SPEAKER, TIME, FACTS, DOUBT, PASSAGE = "Speaker", "Time", "Facts", "Please check", "Passage"
EARLIEST = (1980, 1, 1, 0, 0, 0)  # of a file in a zip archive; the same transcript gives the same bytes at any time
EAST_ASIAN = {"zh": "zh-CN", "yue": "zh-HK", "ja": "ja-JP", "ko": "ko-KR"}
GREY, AMBER = "6B7280", "8A5200"


def render(transcript: Transcript) -> bytes:
    """Return the document, with its seal as the comment of the zip archive."""
    document = document_of(transcript)
    body = _repacked(_saved(document, transcript))
    return body + seal(body, transcript, document)


def is_same(content: bytes, transcript: Transcript) -> bool:
    """Return whether no program has saved the file since it was written, and it says what the transcript does."""
    return is_sealed(content, transcript, document_of(transcript))


def _saved(document: Document, transcript: Transcript) -> bytes:
    import docx
    from docx.shared import Cm

    made = docx.Document()
    package = made.part.package
    for name, relation in [*package.rels.items()]:
        if relation.reltype.endswith("/thumbnail"):  # of the empty page that python-docx begins with
            del package.rels[name]
    _set_properties(made, document, transcript)
    for section in made.sections:
        section.page_width, section.page_height = Cm(21), Cm(29.7)
        section.left_margin = section.right_margin = Cm(2.5)
        section.top_margin = section.bottom_margin = Cm(2.2)
    _add_styles(made)
    _set_language(made, document)
    rtl = document.is_right_to_left
    runs: list[tuple[str, str | None]]
    _paragraph(made, "Title", [(document.title, None)], rtl=rtl)
    _paragraph(made, FACTS, [(document.facts_line, None)])
    if document.doubts:
        doubts = "".join(f"\n{doubt}" for doubt in document.doubts)
        _paragraph(made, DOUBT, [("Please check", SPEAKER), (doubts, None)])
    for each in document.paragraphs:
        time = (clock(each.start_s), TIME)
        if each.speaker:
            head = _paragraph(made, PASSAGE, [(each.speaker, SPEAKER), ("  ", None), time], rtl=rtl)
            head.paragraph_format.keep_with_next = True
            head.paragraph_format.space_after = 0
            runs = [(each.text, None)]
        elif document.speakers:
            runs = [(each.text, None)]
        else:
            runs = [time, ("  ", None), (each.text, None)]
        _paragraph(made, PASSAGE, runs, rtl=rtl)
    _number_pages(made)
    buffer = io.BytesIO()
    made.save(buffer)
    return buffer.getvalue()


def _set_properties(made: "WordDocument", document: Document, transcript: Transcript) -> None:
    about = made.core_properties
    about.title, about.author, about.comments = document.title[:255], "nightscribe", ""
    about.created = about.modified = transcript.finished_at.replace(tzinfo=None)
    about.language = document.language or ""


def _add_styles(made: "WordDocument") -> None:
    from docx.enum.style import WD_STYLE_TYPE
    from docx.oxml.ns import qn
    from docx.shared import Pt, RGBColor

    def style(name: str, kind: Any, size_pt: float | None = None, colour: str | None = None) -> Any:
        new = made.styles.add_style(name, kind)
        if size_pt:
            new.font.size = Pt(size_pt)
            _also_for_complex_scripts(new, "w:szCs", str(round(2 * size_pt)))
        if colour:
            new.font.color.rgb = RGBColor.from_string(colour)
        return new

    title = made.styles["Title"]
    title.font.size, title.font.color.rgb = Pt(24), RGBColor.from_string("1C2333")
    for border in title.element.findall(f".//{qn('w:pBdr')}"):
        border.getparent().remove(border)
    _also_for_complex_scripts(title, "w:szCs", "48")
    made.styles["Normal"].font.size = Pt(11)
    facts = style(FACTS, WD_STYLE_TYPE.PARAGRAPH, 10, GREY)
    facts.paragraph_format.space_after = Pt(14)
    doubt = style(DOUBT, WD_STYLE_TYPE.PARAGRAPH, 10, AMBER)
    doubt.paragraph_format.space_after = Pt(8)
    passage = style(PASSAGE, WD_STYLE_TYPE.PARAGRAPH)
    passage.paragraph_format.space_after = Pt(8)
    passage.paragraph_format.line_spacing = 1.25
    for each in (facts, doubt, passage):
        each.base_style = made.styles["Normal"]
    speaker = style(SPEAKER, WD_STYLE_TYPE.CHARACTER)
    speaker.font.bold = speaker.font.cs_bold = True
    style(TIME, WD_STYLE_TYPE.CHARACTER, 9, GREY)


def _also_for_complex_scripts(style: Any, tag: str, value: str) -> None:
    """Set a property of letters that Word keeps apart for scripts such as Arabic."""
    from docx.oxml import OxmlElement
    from docx.oxml.ns import qn

    properties = style.element.get_or_add_rPr()
    for old in properties.findall(qn(tag)):
        properties.remove(old)
    element = OxmlElement(tag)
    element.set(qn("w:val"), value)
    size = properties.find(qn("w:sz"))
    size.addnext(element) if size is not None else properties.append(element)


def _set_language(made: "WordDocument", document: Document) -> None:
    """State the language, by which Word checks the spelling and chooses the shapes of Chinese characters."""
    from docx.oxml.ns import qn

    code = document.language
    if not code:
        return
    kind = "w:bidi" if document.is_right_to_left else "w:eastAsia" if code in EAST_ASIAN else "w:val"
    for element in made.styles.element.iter(qn("w:lang")):
        element.set(qn(kind), EAST_ASIAN.get(code, code))


def _paragraph(made: "WordDocument", style: str, runs: Sequence[tuple[str, str | None]], *, rtl: bool = False) -> Any:
    from docx.oxml import OxmlElement

    paragraph = made.add_paragraph(style=style)
    if rtl:
        properties = paragraph._p.get_or_add_pPr()  # noqa: SLF001  python-docx has no word for it
        properties.append(OxmlElement("w:bidi"))
    for text, name in runs:
        run = paragraph.add_run(text, style=name)
        if rtl and name != TIME:
            run.font.rtl = True
    return paragraph


def _number_pages(made: "WordDocument") -> None:
    """Put the number of the page into the footer."""
    from docx.enum.text import WD_ALIGN_PARAGRAPH
    from docx.oxml import OxmlElement
    from docx.oxml.ns import qn

    footer = made.sections[0].footer.paragraphs[0]
    footer.alignment = WD_ALIGN_PARAGRAPH.CENTER
    run = footer.add_run(style=TIME)._r  # noqa: SLF001  as above
    for kind, text in (("begin", None), (None, "PAGE"), ("end", None)):
        if kind:
            element = OxmlElement("w:fldChar")
            element.set(qn("w:fldCharType"), kind)
        else:
            element = OxmlElement("w:instrText")
            element.text = text
        run.append(element)


def _repacked(content: bytes) -> bytes:
    """Return a zip archive with the same files, without their times, that lacks only its comment."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as new:
        for entry in old.infolist():
            new.writestr(zipfile.ZipInfo(entry.filename, EARLIEST), old.read(entry), zipfile.ZIP_DEFLATED)
        new.comment = b" " * LENGTH
    return buffer.getvalue()[:-LENGTH]


FORMAT = Format(
    "docx",
    ".docx",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    render,
    is_same,
    needs=("docx",),
    extra="documents",
)
