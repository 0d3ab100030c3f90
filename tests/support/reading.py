"""Read files of every format with the libraries of other programs, to see what a person sees in them."""

import io

import docx
import pypdf


def text_in(fmt: str, content: bytes) -> str:
    """Return the text of a file."""
    if fmt == "docx":
        return "\n".join(each.text for each in docx.Document(io.BytesIO(content)).paragraphs)
    if fmt == "pdf":
        return "\n".join(page.extract_text() for page in pypdf.PdfReader(io.BytesIO(content)).pages)
    return content.decode()
