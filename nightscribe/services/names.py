"""Choose recordings by their paths. Pure."""

from collections.abc import Sequence
from fnmatch import fnmatchcase


def is_chosen(recording: str, names: Sequence[str]) -> bool:
    """Return whether a path matches or contains one of several patterns, ignoring case; an empty list names all."""
    path = recording.casefold()
    return not names or any(name.casefold() in path or fnmatchcase(path, name.casefold()) for name in names)
