"""Choose recordings by their paths. Pure."""

from collections.abc import Sequence
from fnmatch import fnmatchcase
from glob import escape


def is_chosen(recording: str, names: Sequence[str]) -> bool:
    """Return whether a path matches or contains one of several patterns, ignoring case; an empty list names all."""
    path = recording.casefold()
    return not names or any(name.casefold() in path or fnmatchcase(path, name.casefold()) for name in names)


def pattern_of(recording: str) -> str:
    """Return a pattern that chooses this recording and no other one, for `is_chosen` and `is_exactly`."""
    for at, character in enumerate(recording):
        if character.isalnum():  # in brackets, it is neither the whole name, nor a part of one or a folder
            return f"{escape(recording[:at])}[{character}]{escape(recording[at + 1 :])}"
    return escape(recording)


def is_exactly(recording: str, names: Sequence[str]) -> bool:
    """Return whether one of several names is the path of a recording, a folder above it, or a glob of its whole path.

    Unlike `is_chosen`, parts of names choose nothing: this decides what is deleted.
    """
    return any(
        recording == name or recording.startswith(f"{name.rstrip('/')}/") or fnmatchcase(recording, name)
        for name in names
        if name.strip("/")
    )
