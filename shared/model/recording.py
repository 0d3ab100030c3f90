"""A file of the source, and what else a look at its folders finds."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Recording:
    """A file of the source that may hold sound. `path` is relative to the source, with forward slashes."""

    path: str
    size: int
    mtime_ns: int | None


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Something in the source that cannot be looked at, and what to do about it in a plain sentence."""

    path: str
    reason: str


@dataclass(frozen=True, slots=True)
class Folder:
    """What lies directly in one folder of the source, whose `path` is "" or ends in "/"."""

    path: str
    recordings: list[Recording]
    unreadable: list[Unreadable]
    below: list[str]
    """Names of the folders in it, those that are not entered among them."""
