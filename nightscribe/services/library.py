"""List the recordings of a destination, from the search index, which must be brought up to date by `search.index`."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from nightscribe.search.library import Choice, Facets, LibraryPage, Sort
from nightscribe.search.place import index_path, open_index
from nightscribe.search.sqlite_index import SqliteIndex
from nightscribe.shared.storage.base import Location

T = TypeVar("T")


@dataclass(frozen=True)
class Listed:
    """A page of recordings, and what there is to choose from."""

    page: LibraryPage
    facets: Facets
    checked_at: datetime | None
    """When the list was last compared with all records; None while that is done for the first time."""


def list_recordings(
    dest: Location, choice: Choice, sort: Sort = "newest", *, limit: int = 50, offset: int = 0
) -> Listed:
    """Return some of the chosen recordings, as the index knows them.

    Raises: SetupError: if the index cannot be opened.
    """

    def read(index: SqliteIndex) -> Listed:
        return Listed(
            page=index.recordings(choice, sort, limit=max(0, limit), offset=max(0, offset)),
            facets=index.facets(choice.folder.strip("/")),
            checked_at=index.totals().checked_at,
        )

    return _with_index(dest, read)


def next_in_doubt(dest: Location, after: str | None = None) -> str | None:
    """Return the recording with the most passages in doubt, or the one that follows another one; None at the end."""
    return _with_index(dest, lambda index: index.next_in_doubt(after))


def _with_index(dest: Location, read: Callable[[SqliteIndex], T]) -> T:
    with open_index(index_path(dest)) as index:
        return read(index)
