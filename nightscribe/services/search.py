"""Search the transcripts of a destination, and keep the index for that up to date."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import structlog

from nightscribe.search.base import Filters, SearchResult, Totals
from nightscribe.search.place import delete, index_path, only_updater, open_index
from nightscribe.search.sqlite_index import IndexDamaged, SqliteIndex
from nightscribe.search.update import Updated, update, update_failures
from nightscribe.services.events import Indexing, OnEvent, ignore
from nightscribe.shared.destination.records import Records
from nightscribe.shared.errors import NightscribeError
from nightscribe.shared.storage.base import Location, StorageOptions

log = structlog.get_logger()

REMOTE_AGE_S = 300.0
"""A bucket is listed before a search only if that was not done for this long, because it takes time and costs money."""
SOURCE = "source"

T = TypeVar("T")


@dataclass(frozen=True)
class Indexed:
    """The result of bringing an index up to date."""

    path: Path
    """File of the index."""
    updated: Updated
    totals: Totals


@dataclass(frozen=True)
class Searched:
    """The result of a search, and where the recordings are."""

    result: SearchResult
    source: str | None
    """Folder or bucket of the recordings, where it is known."""


def index(
    dest: Location,
    *,
    options: StorageOptions | None = None,
    source: Location | None = None,
    rebuild: bool = False,
    on_event: OnEvent = ignore,
) -> Indexed:
    """Bring the index of a destination up to date; with `rebuild`, make it again from the records.

    `source`: where the recordings are, to remember for the links in results.

    Raises: RetryableError: if the destination is unreachable. SetupError: if the index cannot be written.
    """
    path = index_path(dest)

    def work(opened: SqliteIndex) -> Indexed:
        if source is not None:
            opened.set_note(SOURCE, str(source.absolute()))
        updated = _update(dest, opened, options, on_event)
        return Indexed(path, updated, opened.totals())

    with only_updater(path, lambda: on_event(Indexing(None))):
        if rebuild:
            kept = _source_in(path)
            delete(path)
            if kept and source is None:
                with open_index(path) as opened:
                    opened.set_note(SOURCE, kept)
        return _with_index(path, work)


def search(
    dest: Location,
    query: str,
    filters: Filters | None = None,
    *,
    limit: int = 20,
    offset: int = 0,
    fresh: bool = True,
    options: StorageOptions | None = None,
    on_event: OnEvent = ignore,
) -> Searched:
    """Return the passages that match a query. No query is an error.

    `fresh`: first bring the index up to date, which takes milliseconds where nothing has changed. A bucket is listed
    at most every five minutes for that.

    Raises: RetryableError: if the destination is unreachable. SetupError: if the index cannot be written.
    """
    path = index_path(dest)

    def work(opened: SqliteIndex) -> Searched:
        checked_at = opened.totals().checked_at
        if checked_at is None or (fresh and (dest.local_path is not None or _age_s(checked_at) > REMOTE_AGE_S)):
            # While another process is updating a complete index, the search need not wait for it.
            with only_updater(path, (lambda: on_event(Indexing(None))) if checked_at is None else None) as is_free:
                if is_free:
                    _update(dest, opened, options, on_event)
        found = opened.search(query, filters or Filters(), limit=max(0, limit), offset=max(0, offset))
        return Searched(found, opened.note(SOURCE) or _source_of(dest, options))

    return _with_index(path, work)


def update_if_there(dest: Location, options: StorageOptions) -> None:
    """Bring the index up to date if somebody has made one. It is no part of the work, so errors are only logged."""
    path = index_path(dest)
    if not path.exists():
        return
    try:
        index(dest, options=options)
    except NightscribeError as error:
        log.warning("index.not_updated", why=str(error))


def _update(dest: Location, opened: SqliteIndex, options: StorageOptions | None, on_event: OnEvent) -> Updated:
    store = dest.open_store(options or StorageOptions())
    update_failures(store, opened)
    return update(store, opened, lambda n: on_event(Indexing(n)))


def _with_index(path: Path, work: Callable[[SqliteIndex], T]) -> T:
    """Return what `work` returns with the index. If that turns out to be damaged, it is made again once."""
    try:
        with open_index(path) as opened:
            return work(opened)
    except IndexDamaged as error:
        log.warning("index.damaged", why=str(error))
        delete(path)
    with open_index(path) as opened:
        return work(opened)


def _source_in(path: Path) -> str | None:
    if not path.exists():
        return None
    with open_index(path) as opened:
        return opened.note(SOURCE)


def _source_of(dest: Location, options: StorageOptions | None) -> str | None:
    last = Records(dest.open_store(options or StorageOptions())).last_run()
    return last.source if last else None


def _age_s(at: datetime) -> float:
    return (datetime.now(UTC) - at).total_seconds()
