"""List recordings with what is known of them, from a table beside the search index.

The table has a row for each transcript and each failure. Like the index, it is made from the records.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import chain
from typing import Any, Literal, get_args

from nightscribe.search.base import Entry, from_ms
from nightscribe.shared.destination.keys import FAILURES, TRANSCRIPTS
from nightscribe.shared.model.failure import Failure

TABLES = """
CREATE TABLE library (
    key TEXT PRIMARY KEY, is_failed INTEGER NOT NULL, revision TEXT NOT NULL, recording TEXT NOT NULL,
    folder TEXT NOT NULL, name TEXT NOT NULL, sought TEXT NOT NULL, language TEXT, duration_s REAL NOT NULL,
    ended_ms INTEGER NOT NULL, model TEXT NOT NULL, speakers TEXT NOT NULL, flags TEXT NOT NULL,
    n_doubtful INTEGER NOT NULL, n_corrections INTEGER NOT NULL, is_reviewed INTEGER NOT NULL, code TEXT NOT NULL,
    reason TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX library_by_name ON library (name, key);
CREATE INDEX library_by_end ON library (ended_ms, key);
CREATE INDEX library_by_length ON library (duration_s, key);
CREATE INDEX library_by_doubt ON library (n_doubtful, key);
CREATE INDEX library_by_folder ON library (folder);
CREATE TABLE failed_folders (path TEXT PRIMARY KEY, state TEXT NOT NULL) WITHOUT ROWID;
"""

Sort = Literal["name", "newest", "oldest", "longest", "shortest", "doubt"]
State = Literal["done", "failed", "review", "reviewed"]
SORTS: tuple[Sort, ...] = get_args(Sort)
STATES: tuple[State, ...] = get_args(State)
_SORTED_BY: dict[Sort, tuple[str, bool]] = {
    "name": ("name", False),
    "newest": ("ended_ms", True),
    "oldest": ("ended_ms", False),
    "longest": ("duration_s", True),
    "shortest": ("duration_s", False),
    "doubt": ("n_doubtful", True),
}
"""The column of each order, and whether it descends."""
_ORDERS: dict[Sort, str] = {
    sort: f"{column} DESC, key DESC" if descends else f"{column}, key"
    for sort, (column, descends) in _SORTED_BY.items()
}
_STATES: dict[State, str] = {
    "done": "NOT is_failed",
    "failed": "is_failed",
    "review": "n_doubtful > 0",
    "reviewed": "is_reviewed",
}
_ITEM = (
    "recording, is_failed, language, duration_s, ended_ms, model, speakers, flags, n_doubtful, n_corrections, "
    "is_reviewed, code, reason"
)

Run = Callable[..., list[tuple[Any, ...]]]
"""Executes a statement with values, and returns the rows."""


@dataclass(frozen=True)
class Choice:
    """Which recordings to list. An empty field excludes nothing."""

    text: str = ""
    """A part of the path."""
    folder: str = ""
    """A folder below the source; the folders below it are included."""
    state: State | None = None
    flag: str = ""
    language: str = ""
    speaker: str = ""
    """A whole name, or the label of somebody who has none."""
    code: str = ""
    """Code of a failure."""


@dataclass(frozen=True)
class Item:
    """A recording in a list."""

    recording: str
    is_failed: bool
    language: str | None
    duration_s: float
    ended_at: datetime
    """When it was finished, or failed."""
    model: str
    speakers: tuple[str, ...]
    flags: tuple[str, ...]
    n_doubtful: int
    n_corrections: int
    is_reviewed: bool
    code: str
    reason: str


@dataclass(frozen=True)
class LibraryPage:
    """Some of the recordings that were chosen."""

    items: tuple[Item, ...]
    offset: int
    n_total: int
    duration_s: float
    """Length of all that were chosen, also of those on other pages."""


@dataclass(frozen=True)
class Mark:
    """The last recording of a stretch of the list, after which the next one begins."""

    value: str | float
    """By which it is sorted."""
    key: str


@dataclass(frozen=True)
class Stretch:
    """Some of the recordings that were chosen, without a count of the others."""

    items: tuple[Item, ...]
    end: Mark | None
    """None if there are no more."""


@dataclass(frozen=True)
class Facets:
    """How many recordings have each property, the most frequent first."""

    n_recordings: int
    n_failed: int
    n_to_review: int
    n_reviewed: int
    languages: Mapping[str, int]
    flags: Mapping[str, int]
    speakers: Mapping[str, int]
    folders: Mapping[str, int]
    """Folders directly below the chosen one, by path, with the recordings below them; sorted."""
    codes: Mapping[str, int]


def put_transcript(run: Run, entry: Entry) -> None:
    """Add or replace the row of a transcript."""
    summary = entry.summary
    ended_at = summary.finished_at or entry.recorded_at
    _put(
        run,
        (TRANSCRIPTS + entry.key, 0, entry.revision),
        entry.recording,
        (entry.language, entry.duration_s, _ms(ended_at), summary.model),
        (_packed(summary.speakers), _packed(summary.flags), summary.n_doubtful, summary.n_corrections),
        (int(summary.is_reviewed), "", ""),
    )


def put_failure(run: Run, key: str, revision: str, failure: Failure) -> None:
    """Add or replace the row of a failure. `key`: below the folder of failures."""
    _put(
        run,
        (FAILURES + key, 1, revision),
        failure.recording,
        (None, 0.0, _ms(failure.failed_at), ""),
        ("[]", "[]", 0, 0),
        (0, failure.code, failure.reason),
    )


def _put(run: Run, own: tuple[str, int, str], recording: str, *others: tuple[Any, ...]) -> None:
    folder, _, name = recording.rpartition("/")
    values = [*own, recording, folder, name.casefold(), recording.casefold(), *chain.from_iterable(others)]
    run(f"INSERT OR REPLACE INTO library VALUES ({', '.join('?' * len(values))})", values)  # noqa: S608


def remove(run: Run, keys: Iterable[str]) -> None:
    """Remove rows. `keys`: of their records."""
    for key in keys:
        run("DELETE FROM library WHERE key = ?", (key,))


def listed(run: Run, choice: Choice, sort: Sort, *, limit: int, offset: int) -> LibraryPage:
    """Return some of the chosen recordings."""
    n_total, duration_s = counted(run, choice)
    where, values = _where(choice)
    rows = run(
        f"SELECT {_ITEM} FROM library{where} ORDER BY {_ORDERS[sort]} LIMIT ? OFFSET ?",  # noqa: S608
        [*values, limit, offset],
    )
    return LibraryPage(tuple(map(_item, rows)), offset, n_total, duration_s)


def stretch(run: Run, choice: Choice, sort: Sort, *, limit: int, after: Mark | None) -> Stretch:
    """Return the chosen recordings that follow a mark, however far from the beginning it is."""
    where, values = _where(choice)
    column, descends = _SORTED_BY[sort]
    if after is not None:
        where += f"{' AND' if where else ' WHERE'} ({column}, key) {'<' if descends else '>'} (?, ?)"
        values += [after.value, after.key]
    rows = run(
        f"SELECT {_ITEM}, {column}, key FROM library{where} ORDER BY {_ORDERS[sort]} LIMIT ?",  # noqa: S608
        [*values, limit + 1],
    )
    items = tuple(_item(row[:-2]) for row in rows[:limit])
    return Stretch(items, Mark(*rows[limit - 1][-2:]) if len(rows) > limit else None)


def counted(run: Run, choice: Choice) -> tuple[int, float]:
    """Return how many recordings are chosen, and their length in seconds."""
    where, values = _where(choice)
    [(n, duration_s)] = run(f"SELECT count(*), coalesce(sum(duration_s), 0) FROM library{where}", values)  # noqa: S608
    return n, duration_s


def facets(run: Run, folder: str) -> Facets:
    """Return what there is to choose from in a folder and below it."""
    where, values = _where(Choice(folder=folder))

    def grouped_by(column: str) -> list[tuple[Any, int]]:
        grouped = f"SELECT {column}, count(*) FROM library{where} GROUP BY {column} ORDER BY count(*) DESC"  # noqa: S608
        return run(grouped, values)

    sums = ", ".join(f"coalesce(sum({condition}), 0)" for condition in ("is_failed", "n_doubtful > 0", "is_reviewed"))
    [(n, n_failed, n_to_review, n_reviewed)] = run(f"SELECT count(*), {sums} FROM library{where}", values)  # noqa: S608
    start = len(folder) + 1 if folder else 0
    folders: dict[str, int] = {}
    for path, each in grouped_by("folder"):
        if len(path) > len(folder):
            below = path[: path.index("/", start)] if "/" in path[start:] else path
            folders[below] = folders.get(below, 0) + each
    return Facets(
        n_recordings=n,
        n_failed=n_failed,
        n_to_review=n_to_review,
        n_reviewed=n_reviewed,
        languages={code: each for code, each in grouped_by("language") if code},
        flags=_united(grouped_by("flags")),
        speakers=_united(grouped_by("speakers")),
        folders=dict(sorted(folders.items(), key=lambda each: each[0].casefold())),
        codes={code: each for code, each in grouped_by("code") if code},
    )


def next_in_doubt(run: Run, after: str | None) -> str | None:
    """Return the recording with the most passages in doubt, or the one that follows another one; None at the end."""
    where, values = "n_doubtful > 0", list[Any]()
    if after is not None and (found := run("SELECT n_doubtful, key FROM library WHERE recording = ?", (after,))):
        where += " AND (n_doubtful, key) < (?, ?)"
        values += found[0]
    rows = run(f"SELECT recording FROM library WHERE {where} ORDER BY {_ORDERS['doubt']} LIMIT 1", values)  # noqa: S608
    return str(rows[0][0]) if rows else None


def known_failures(run: Run, folder: str) -> dict[str, str]:
    """Return the revisions of the failures directly in a folder ("" or ending in "/"), by key below all failures."""
    top = FAILURES + folder
    found = run("SELECT key, revision FROM library WHERE key >= ? AND key < ?", (top, top + "\U0010ffff"))
    return {key[len(FAILURES) :]: revision for key, revision in found if "/" not in key[len(top) :]}


def _where(choice: Choice) -> tuple[str, list[Any]]:
    conditions, values = list[str](), list[Any]()
    if choice.text.strip():
        for word in choice.text.casefold().split():
            conditions.append("instr(sought, ?)")
            values.append(word)
    if folder := choice.folder.strip("/"):
        conditions.append("(folder = ? OR (folder >= ? AND folder < ?))")
        values += [folder, f"{folder}/", f"{folder}0"]  # "0" follows "/"
    if choice.state:
        conditions.append(_STATES[choice.state])
    for column, value in (("language", choice.language), ("code", choice.code)):
        if value:
            conditions.append(f"{column} = ?")
            values.append(value)
    for column, value in (("flags", choice.flag), ("speakers", choice.speaker)):
        if value:
            conditions.append(f"instr({column}, ?)")
            values.append(json.dumps(value, ensure_ascii=False))
    return (f" WHERE {' AND '.join(conditions)}" if conditions else ""), values


def _item(row: tuple[Any, ...]) -> Item:
    recording, is_failed, language, duration_s, ended_ms, model, speakers, flags, *rest = row
    n_doubtful, n_corrections, is_reviewed, code, reason = rest
    return Item(
        recording=recording,
        is_failed=bool(is_failed),
        language=language,
        duration_s=duration_s,
        ended_at=from_ms(ended_ms),
        model=model,
        speakers=tuple(json.loads(speakers)),
        flags=tuple(json.loads(flags)),
        n_doubtful=n_doubtful,
        n_corrections=n_corrections,
        is_reviewed=bool(is_reviewed),
        code=code,
        reason=reason,
    )


def _packed(values: Iterable[str]) -> str:
    return json.dumps(list(values), ensure_ascii=False)


def _united(counted: Iterable[tuple[Any, int]]) -> dict[str, int]:
    found: dict[str, int] = {}
    for packed, n in counted:
        for value in json.loads(packed):
            found[value] = found.get(value, 0) + n
    return dict(sorted(found.items(), key=lambda each: -each[1]))


def _ms(at: datetime) -> int:
    return round(at.timestamp() * 1000)
