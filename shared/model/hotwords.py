"""Read lists of words that an engine should listen for: names, places and terms that it would not expect."""

import json
from collections.abc import Iterable
from pathlib import Path

from nightscribe.shared.errors import ValueRefused

FILE = ".nightscribe-hotwords.txt"
"""Name of the file in a source folder that lists words for the recordings in that folder and below it."""
MOST_WORDS = 500
MOST_BYTES = 16 * 1024  # as JSON: every job carries them
LONGEST_WORD = 100
LONGEST_PROMPT = 500


def check_hotwords(words: Iterable[str]) -> tuple[str, ...]:
    """Return the words without empty ones and repetitions, in their order.

    Raises: ValueRefused: if there are too many, or one is too long.
    """
    found = tuple(dict.fromkeys(filter(None, (" ".join(word.split()) for word in words))))
    if long := next((word for word in found if len(word) > LONGEST_WORD), None):
        raise ValueRefused(f"{long[:30]!r}… is longer than {LONGEST_WORD} characters; list single words and names.")
    if len(found) > MOST_WORDS or len(json.dumps(found)) > MOST_BYTES:
        raise ValueRefused(
            f"{len(found)} words to listen for are too many; list at most {MOST_WORDS}, those that come out wrong."
        )
    return found


def parse_hotwords(text: str) -> tuple[str, ...]:
    """Return the words of an option: separated by commas, or in a file whose name follows an `@`.

    Raises: ValueRefused: if the file cannot be read, or as `check_hotwords` does.
    """
    if not text.startswith("@"):
        return check_hotwords(text.split(","))
    try:
        return read_hotwords(Path(text[1:]).expanduser().read_bytes())
    except OSError as error:
        raise ValueRefused(f"{text[1:]!r} cannot be read ({error.strerror}).") from None


def read_hotwords(content: bytes) -> tuple[str, ...]:
    """Return the words of a file, separated by line ends or commas; a line that begins with # is a comment.

    Raises: ValueRefused: if it is not text in UTF-8, or as `check_hotwords` does.
    """
    try:
        lines = content.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise ValueRefused("The list of words is not text in UTF-8; save it as UTF-8.") from None
    return check_hotwords(word for line in lines if not line.lstrip().startswith("#") for word in line.split(","))


def prompt(text: str) -> str:
    """Return a prompt on one line. Raises: ValueRefused: if it is longer than an engine can use."""
    found = " ".join(text.split())
    if len(found) > LONGEST_PROMPT:
        raise ValueRefused(f"It has {len(found)} characters; an engine uses {LONGEST_PROMPT} at most, so shorten it.")
    return found
