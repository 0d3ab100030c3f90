"""Recognize files that are still as they were written, although writing them again would give other bytes. Pure.

A PDF depends on the fonts of the machine, and a later release may draw a page differently. So the last bytes of a file
say what it was made from, and hash what precedes them. A program that saves the file, whether or not its user has
changed a word, leaves them out or makes them wrong. Then the file counts as a person's work.
"""

import hashlib
import json
import re

from nightscribe.shared.formats.document import Document
from nightscribe.shared.formats.line_breaks import one_line
from nightscribe.shared.formats.speakers import shown_names
from nightscribe.shared.model.transcript import Transcript

_SEAL = re.compile(rb"nightscribe ([0-9a-f]{64}) ([0-9a-f]{64})")
LENGTH = len("nightscribe ") + 64 + 1 + 64


def seal(body: bytes, transcript: Transcript, document: Document) -> bytes:
    """Return the `LENGTH` bytes that vouch for `body`, the bytes before them in the file."""
    return b"nightscribe %s %s" % (_hash(body), _hash(_source(transcript, document)))


def is_sealed(content: bytes, transcript: Transcript, document: Document, end: bytes = b"") -> bool:
    """Return whether a file was made from this transcript and is unchanged. `end`: what follows its seal."""
    at = len(content) - len(end) - LENGTH
    if at < 0 or not content.endswith(end):
        return False
    found = _SEAL.fullmatch(content, at, at + LENGTH)
    if not found or found[1] != _hash(content[:at]):
        return False
    return found[2] == _hash(_source(transcript, document))


def has_seal(content: bytes) -> bool:
    """Return whether there is a seal in the last bytes of a file, of whichever transcript."""
    return _SEAL.search(content) is not None


def _source(transcript: Transcript, document: Document) -> bytes:
    """Return all of a transcript that a document says, however it is laid out."""
    names = shown_names(transcript)
    said = [(each.start_s, each.end_s, names.get(each.speaker), one_line(each.text)) for each in transcript.segments]
    return json.dumps([document.title, document.facts, document.doubts, said]).encode()


def _hash(content: bytes) -> bytes:
    return hashlib.sha256(content).hexdigest().encode()
