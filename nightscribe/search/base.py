"""Define what is searched, what is found, and the interface of an index.

`SqliteIndex` is the index of one machine. A search engine for a fleet implements the same protocol.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Protocol

COUNTED = 1_000
"""Hits are counted and sorted up to this number. More are too many for a person to read."""


@dataclass(frozen=True)
class Passage:
    """A stretch of about one sentence, with its times in seconds from the beginning of the recording."""

    start_s: float
    end_s: float
    text: str
    speaker: str | None = None


@dataclass(frozen=True)
class Summary:
    """What a list of recordings shows of a transcript besides its language and its length."""

    finished_at: datetime | None = None
    model: str = ""
    speakers: tuple[str, ...] = ()
    """Names, or labels where there is no name."""
    flags: tuple[str, ...] = ()
    n_doubtful: int = 0
    """Passages in doubt at which nobody has looked."""
    n_corrections: int = 0
    is_reviewed: bool = False


@dataclass(frozen=True)
class Entry:
    """A recording as it is put into an index."""

    key: str
    """Key of its record below the folder of transcripts."""
    revision: str
    """State of the record in its store, which changes whenever it is written."""
    digest: bytes
    """Hash of the record. A record that was only copied has another revision, and the same digest."""
    recording: str
    stem: str
    language: str | None
    recorded_at: datetime
    """When the recording was last changed, or transcribed where its source knows no times."""
    duration_s: float
    passages: tuple[Passage, ...]
    summary: Summary = field(default_factory=Summary)


@dataclass(frozen=True)
class Filters:
    """What to search in. An empty field excludes nothing."""

    speaker: str = ""
    """Words of a speaker's name."""
    language: str = ""
    """Code of a language."""
    folder: str = ""
    """Path of a folder below the source, or the path of one recording."""
    since: datetime | None = None
    until: datetime | None = None
    """End of the time, exclusive."""

    @property
    def is_of_recordings(self) -> bool:
        """Return whether they exclude whole recordings."""
        return bool(self.language or self.folder or self.since or self.until)


@dataclass(frozen=True)
class Hit:
    """A passage that was found."""

    recording: str
    """Path of the recording below its source."""
    start_s: float
    end_s: float
    text: str
    """The whole passage."""
    marks: tuple[tuple[int, int], ...]
    """Beginning and end of each place in the text that matches, in order; they do not overlap."""
    speaker: str | None
    language: str | None
    recorded_at: datetime
    """When the recording was last changed, or transcribed where its source knows no times."""
    stem: str
    """Path of its text files in the destination, without extension."""


@dataclass(frozen=True)
class SearchResult:
    """One page of what was found: first passages with all words as one phrase, then the latest recordings."""

    query: str
    hits: tuple[Hit, ...]
    offset: int
    """Number of hits before this page."""
    n_hits: int
    """Number of all hits; at least this many if `has_more_hits`."""
    has_more_hits: bool
    """Whether there are more than `COUNTED` hits. They are then sorted by when they came into the index."""
    is_searchable: bool = True
    """Whether the query holds a letter or a digit."""
    suggestion: str | None = None
    """The query with words that occur, if nothing was found and a word is spelt as in no transcript."""
    n_recordings: int = 0
    """Number of recordings in the index."""
    checked_at: datetime | None = None
    """When the index was last compared with the records."""

    def __len__(self) -> int:
        return len(self.hits)


@dataclass(frozen=True)
class Totals:
    """The size of an index."""

    n_recordings: int = 0
    n_passages: int = 0
    n_bytes: int = 0
    checked_at: datetime | None = None


class SearchIndex(Protocol):
    """Holds the passages of all recordings. Every call is atomic, and processes may make them at the same time."""

    def folders(self) -> Mapping[str, str]:
        """Return the state that each folder of records had when it was last compared; "" if it must be compared."""
        ...

    def known(self, folder: str) -> Mapping[str, str]:
        """Return the revisions of the records directly in a folder ("" or ending in "/"), by key."""
        ...

    def put(self, entries: Iterable[Entry]) -> int:
        """Add recordings, or replace them; return how many differ from what was there."""
        ...

    def remove(self, keys: Collection[str]) -> None:
        """Remove recordings by the keys of their records."""
        ...

    def set_folders(self, states: Mapping[str, str]) -> None:
        """Note the states of folders that were compared."""
        ...

    def remove_folder(self, folder: str) -> int:
        """Remove a folder that is gone, with every recording below it; return how many there were."""
        ...

    def note(self, name: str) -> str | None:
        """Return a value that was noted, such as `checked_at`, the time when all folders were compared; or None."""
        ...

    def set_note(self, name: str, value: str) -> None:
        """Note a value."""
        ...

    def search(self, query: str, filters: Filters, *, limit: int, offset: int) -> SearchResult:
        """Return the hits of a query. No query is an error."""
        ...

    def totals(self) -> Totals:
        """Return how much the index holds."""
        ...


def from_ms(ms: int) -> datetime:
    """Return a time from milliseconds since 1970."""
    return datetime.fromtimestamp(ms / 1000, UTC)


@dataclass
class Batch:
    """Entries that are put into an index together."""

    entries: list[Entry] = field(default_factory=list)
    n_passages: int = 0

    def add(self, entry: Entry) -> None:
        """Add an entry."""
        self.entries.append(entry)
        self.n_passages += len(entry.passages)
