"""The contents of a source: recordings, folders, and what cannot be read."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Recording:
    """A file in the source that may hold sound. `path` is relative to the source, with forward slashes."""

    path: str
    size: int
    mtime_ns: int | None


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Something in the source that cannot be read; `reason` says why and what to do, in one plain sentence."""

    path: str
    reason: str


@dataclass(frozen=True, slots=True)
class Folder:
    """The direct contents of one folder of the source, whose `path` is "" or ends in "/"."""

    path: str
    recordings: list[Recording]
    unreadable: list[Unreadable]
    below: list[str]
    """Names of all folders in it, including those that are skipped."""
    lists: list[str] = field(default_factory=list)
    """Names of nightscribe's own files in it, which say how to transcribe what lies there."""
