"""Decide whether a transcript and its text files can be right. Pure."""

import json

from nightscribe.shared.model.transcript import Transcript

TOLERANCE_S = 2.0  # by which a last word may outlast the sound: engines work in windows


def time_fault(transcript: Transcript) -> str | None:
    """Return what is wrong with the times of a transcript in a plain sentence, or None."""
    length_s = max(transcript.decoded_s, transcript.container_s or 0.0)
    before_s = 0.0
    for number, segment in enumerate(transcript.segments, 1):
        if segment.end_s < segment.start_s:
            return f"Segment {number} ends before it begins ({segment.start_s:.2f} s to {segment.end_s:.2f} s)."
        if segment.start_s < before_s:
            return f"Segment {number} begins at {segment.start_s:.2f} s, before the one in front of it."
        if segment.end_s > length_s + TOLERANCE_S:
            return f"Segment {number} ends at {segment.end_s:.2f} s, and the recording at {length_s:.2f} s."
        for word in segment.words:
            if not 0 <= word.start_s <= word.end_s <= length_s + TOLERANCE_S:
                return f"A word of segment {number} has no possible times ({word.start_s:.2f} s to {word.end_s:.2f} s)."
        before_s = segment.start_s
    return None


def is_damaged_text(content: bytes, rendered: bytes, content_type: str) -> bool:
    """Return whether a text file that differs from its record is damaged rather than corrected by a person.

    Damaged is what no editor leaves: nothing, half a line at the end of an exact beginning, bytes that are no text.
    """
    if not content.strip():
        return bool(rendered.strip())
    if rendered.startswith(content) and not content.endswith(b"\n"):
        return True
    if not content_type.startswith(("text/", "application/json")):
        return False
    text = _decoded(content)
    if text is None or "\0" in text:
        return True
    return content_type.startswith("application/json") and not _is_json(text)


def _decoded(content: bytes) -> str | None:
    encoding = "utf-16" if content.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig"
    try:
        return content.decode(encoding)
    except UnicodeDecodeError:
        return None


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True
