"""List the recordings of a destination, from the search index, which must be brought up to date by `search.index`."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from nightscribe.search.library import Choice, Facets, LibraryPage, Mark, Sort, Stretch
from nightscribe.search.place import index_path, open_index
from nightscribe.search.sqlite_index import SqliteIndex
from nightscribe.shared.storage.base import Location

T = TypeVar("T")


@dataclass(frozen=True)
class Listed:
    """A page of recordings."""

    page: LibraryPage
    checked_at: datetime | None
    """When the list was last compared with all records; None while that is done for the first time."""


@dataclass(frozen=True)
class Counted:
    """How many recordings are chosen."""

    n: int
    duration_s: float


def list_recordings(
    dest: Location, choice: Choice, sort: Sort = "newest", *, limit: int = 50, offset: int = 0
) -> Listed:
    """Return some of the chosen recordings, as the index knows them.

    Raises: SetupError: if the index cannot be opened.
    """

    def read(index: SqliteIndex) -> Listed:
        return Listed(
            page=index.recordings(choice, sort, limit=max(0, limit), offset=max(0, offset)),
            checked_at=index.checked_at(),
        )

    return _with_index(dest, read)


def list_after(
    dest: Location, choice: Choice, sort: Sort = "newest", *, limit: int = 50, after: Mark | None = None
) -> Stretch:
    """Return the chosen recordings that follow a mark, or the first of them. It takes as long for the last ones.

    Raises: SetupError: if the index cannot be opened.
    """
    return _with_index(dest, lambda index: index.stretch(choice, sort, limit=max(1, limit), after=after))


def count(dest: Location, choice: Choice) -> Counted:
    """Return how many recordings are chosen, and how long they are.

    Raises: SetupError: if the index cannot be opened.
    """
    return _with_index(dest, lambda index: Counted(*index.count_recordings(choice)))


def checked_at(dest: Location) -> datetime | None:
    """Return when the list was last compared with all records; None while that is done for the first time.

    Raises: SetupError: if the index cannot be opened.
    """
    return _with_index(dest, lambda index: index.checked_at())


def facets(dest: Location, folder: str = "") -> Facets:
    """Return what there is to choose from in a folder and below it.

    Raises: SetupError: if the index cannot be opened.
    """
    return _with_index(dest, lambda index: index.facets(folder.strip("/")))


def next_in_doubt(dest: Location, after: str | None = None) -> str | None:
    """Return the recording with the most passages in doubt, or the one that follows another one; None at the end."""
    return _with_index(dest, lambda index: index.next_in_doubt(after))


def _with_index(dest: Location, read: Callable[[SqliteIndex], T]) -> T:
    with open_index(index_path(dest)) as index:
        return read(index)
