"""List the recordings that the rows of a table name, and read them."""

import posixpath
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass

from nightscribe.shared.audio.readable import Readable
from nightscribe.shared.errors import NightscribeError, PermanentError, SetupError
from nightscribe.shared.model.jobs import is_below_source
from nightscribe.shared.model.recording import Folder, Recording, Unreadable
from nightscribe.shared.process.concurrency import map_concurrently
from nightscribe.shared.process.liveness import report_alive
from nightscribe.shared.storage.base import RecordingSource
from nightscribe.shared.storage.content import StatesHashes
from nightscribe.shared.storage.table.table import Row, Table

_URL = re.compile(r"([a-z][a-z0-9+.-]*)://([^/]+)/(.+)", re.IGNORECASE)
REMOTE_CONCURRENCY = 16
AGAIN_S = 10.0  # then the table is read again for a recording that it did not name
OUTSIDE = "lies outside the folder of the table; put the table into a folder above the recordings"
Place = tuple[str, str]
"""The address of another source, such as `s3://bucket`, and a path in it."""


@dataclass(frozen=True)
class Entry:
    """A row of the table and the recording that it names."""

    row: Row
    recording: str | None
    """Path of the recording below the source; None if the row names none that can be used."""
    problem: str | None = None
    """Why the row names no recording that can be used, as a sentence."""
    note: str = ""
    """What a person may want to know about the row."""


@dataclass(frozen=True)
class Listing:
    """A table and what its rows name."""

    name: str
    table: Table
    entries: tuple[Entry, ...]
    audio_column: str
    text_column: str | None
    remote: Mapping[str, Place]
    """For recordings elsewhere, the place and the path in it, by their paths below this source."""


class TableSource:
    """The recordings in the rows of a table. Paths are relative to the place in which the table lies."""

    def __init__(
        self, place: RecordingSource, read: Callable[[], Listing], elsewhere: Callable[[str], RecordingSource]
    ) -> None:
        """`elsewhere` opens the source of a place that a row names, such as `s3://bucket`."""
        self._place, self._read, self._open = place, read, elsewhere
        self._others: dict[str, RecordingSource] = {}
        self._known: Listing | None = None
        self._read_at = 0.0
        self.names_recordings = True
        self.max_concurrency = place.max_concurrency

    def listing(self) -> Listing:
        """Read the table now. Raises: SetupError: if it cannot be used."""
        self._read_at = time.monotonic()
        self._known = self._read()
        if self._known.remote:
            self.max_concurrency = max(self._place.max_concurrency, REMOTE_CONCURRENCY)
        return self._known

    def folders(self) -> Iterator[Folder]:
        """See `RecordingSource.folders`; a row that names no recording is something that cannot be read."""
        listing = self.listing()
        by_folder: dict[str, dict[str, Row]] = {"": {}}
        unreadable: dict[str, list[Unreadable]] = {}
        for entry in listing.entries:
            if entry.recording is None:
                unreadable.setdefault("", []).append(
                    Unreadable(f"{listing.name}, row {entry.row.number}", entry.problem or "")
                )
                continue
            folder = entry.recording[: entry.recording.rfind("/") + 1]
            while folder not in by_folder:  # and those above it
                by_folder[folder] = {}
                folder = folder[: folder.rfind("/", 0, -1) + 1]
            by_folder[entry.recording[: entry.recording.rfind("/") + 1]].setdefault(entry.recording, entry.row)
        below: dict[str, list[str]] = {}
        for folder in by_folder:
            if folder:
                parent = folder[: folder.rfind("/", 0, -1) + 1]
                below.setdefault(parent, []).append(folder[len(parent) : -1])
        for folder in sorted(by_folder, key=lambda path: path.split("/")):
            yield self._folder(
                Folder(folder, [], unreadable.get(folder, []), sorted(below.get(folder, []))), by_folder[folder]
            )

    def _folder(self, folder: Folder, rows: Mapping[str, Row]) -> Folder:
        for path, look in map_concurrently(self.stat, sorted(rows), self.max_concurrency):
            report_alive()
            try:
                folder.recordings.append(look())
            except PermanentError:
                reason = f"Row {rows[path].number} of the table names it, and there is no such file."
                folder.unreadable.append(Unreadable(path, reason))
            except NightscribeError as error:
                folder.unreadable.append(Unreadable(path, f"Row {rows[path].number} of the table names it. {error}"))
        return folder

    def stat(self, path: str) -> Recording:
        """See `RecordingSource.stat`."""
        source, there = self._where(path)
        found = source.stat(there)
        return Recording(path, found.size, found.mtime_ns)

    def fingerprint(self, recording: Recording) -> str:
        """See `RecordingSource.fingerprint`."""
        source, there = self._where(recording.path)
        return source.fingerprint(Recording(there, recording.size, recording.mtime_ns))

    def local(self, path: str) -> AbstractContextManager[Readable]:
        """See `RecordingSource.local`."""
        source, there = self._where(path)
        return source.local(there)

    def stated_sha256(self, path: str) -> str | None:
        """See `StatesHashes.stated_sha256`."""
        source, there = self._where(path)
        return source.stated_sha256(there) if isinstance(source, StatesHashes) else None

    def _where(self, path: str) -> tuple[RecordingSource, str]:
        """Return the source that has a recording, and its path there. Only what the table names is read elsewhere."""
        listing = self._known or self.listing()
        found = listing.remote.get(path)
        if found is None and time.monotonic() - self._read_at > AGAIN_S and self._may_be_elsewhere(path):
            found = self.listing().remote.get(path)  # the row may be new
        if found is None:
            return self._place, path
        place, there = found
        if place not in self._others:
            self._others[place] = self._open(place)
        return self._others[place], there

    def _may_be_elsewhere(self, path: str) -> bool:
        scheme = path.partition("/")[0]
        return scheme.isalnum() and scheme.islower() and path.count("/") >= 2


def named_recording(value: str, root: str, prefix: str) -> tuple[str, Place | None]:
    """Return the path of the recording that a cell names, and the place and path of one that lies elsewhere.

    `root`: the absolute path of the place in which the table lies, or "". `prefix`: the folder below it to which names
    are relative, "" or ending in "/".
    Raises: ValueError: with a sentence, if it names none that can be used.
    """
    if value.casefold().startswith("file:///"):
        return named_recording(value[len("file://") :], root, prefix)
    if match := _URL.fullmatch(value):
        scheme, place, path = match[1].casefold(), match[2], match[3]
        recording = f"{scheme}/{place}/{path}"
        if not is_below_source(recording):
            raise ValueError(f"It names {value!r}, which is not the address of a file.")
        return recording, (f"{scheme}://{place}", path)
    path = value.replace("\\", "/") if "\\" in value and "/" not in value else value
    if path.startswith("/"):
        if not root or not posixpath.normpath(path).startswith(f"{root.rstrip('/')}/"):
            raise ValueError(f"It names {value!r}, which {OUTSIDE}.")
        path = posixpath.normpath(path)[len(root.rstrip("/")) + 1 :]
    else:
        path = posixpath.normpath(prefix + path)
    if path.startswith("../") or path == "..":
        raise ValueError(f"It names {value!r}, which {OUTSIDE}.")
    if not is_below_source(path):
        raise ValueError(f"It names {value!r}, which is not the path of a recording.")
    return path, None


def entries_of(
    table: Table, column: str, locate: Callable[[str], tuple[str, Place | None]]
) -> tuple[tuple[Entry, ...], dict[str, Place]]:
    """Return what the rows of a table name, and where those recordings are that lie elsewhere.

    A recording that several rows name is transcribed once, and all of them get its text.
    """
    found: list[Entry] = []
    first: dict[str, int] = {}
    remote: dict[str, Place] = {}
    for row in table.rows:
        try:
            path, elsewhere = _named(row, column, locate)
        except ValueError as error:
            found.append(Entry(row, None, str(error)))
            continue
        if path in first:
            note = f"names the same recording as row {first[path]}, so both get its text"
            found.append(Entry(row, path, note="; ".join(filter(None, (f"has {row.note}" if row.note else "", note)))))
            continue
        first[path] = row.number
        if elsewhere:
            remote[path] = elsewhere
        found.append(Entry(row, path, note=f"has {row.note}" if row.note else ""))
    if not table.rows:
        raise SetupError("The table has no rows below the names of its columns.")
    return tuple(found), remote


def _named(row: Row, column: str, locate: Callable[[str], tuple[str, Place | None]]) -> tuple[str, Place | None]:
    if row.problem:
        raise ValueError(row.problem)
    if not (value := row.text(column)):
        raise ValueError(f"It names no recording: its cell {column!r} is empty.")
    return locate(value)
