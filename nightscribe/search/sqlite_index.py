"""Keep the index in one file, with SQLite's FTS5.

The full-text table holds only tokens ("contentless"): the texts themselves lie compressed beside it, one value for each
recording, because a search reads those of a few hits only. The rows of one recording have consecutive numbers, so that
a filter of recordings is a filter of ranges. FTS5 removes a row of such a table if it gets the tokens of that row
again, which are computed from the text.
"""

import json
import sqlite3
import zlib
from bisect import bisect_right
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any, Self

from nightscribe.search import folding, library, spelling
from nightscribe.search.base import COUNTED, Entry, Filters, Hit, Passage, SearchResult, Totals, from_ms
from nightscribe.search.query_language import All, Either, Near, Node, Term, parse, phrase, terms
from nightscribe.search.snippets import marks
from nightscribe.search.spelling import LEAST_LETTERS
from nightscribe.shared.destination.keys import FAILURES, TRANSCRIPTS
from nightscribe.shared.errors import MachineError, NightscribeError, SetupError
from nightscribe.shared.model.failure import Failure

SCHEMA = 2
BUSY_TIMEOUT_S = 60.0
MAX_RANGES = 2_000
"""If a filter leaves more ranges of rows, the hits are filtered one by one, because enough of them are soon found."""

_TABLES = """
CREATE TABLE recordings (
    id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, revision TEXT NOT NULL, digest BLOB NOT NULL,
    recording TEXT NOT NULL, stem TEXT NOT NULL, language TEXT, recorded_ms INTEGER NOT NULL, duration_s REAL NOT NULL,
    first INTEGER NOT NULL, n INTEGER NOT NULL
);
CREATE INDEX by_row ON recordings (first);
CREATE INDEX by_name ON recordings (recording);
CREATE TABLE texts (id INTEGER PRIMARY KEY, passages BLOB NOT NULL);
CREATE TABLE words (word TEXT PRIMARY KEY, n INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE folders (path TEXT PRIMARY KEY, state TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE notes (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE VIRTUAL TABLE passages USING fts5 (text, speaker, content='', columnsize=0, tokenize="ascii tokenchars '+#'");
"""


class IndexDamaged(NightscribeError):
    """The index cannot be read, so it must be deleted and made again."""

    code = "index_damaged"


class SqliteIndex:
    """See `SearchIndex`. Use an instance in the thread that made it; processes may use the same file."""

    def __init__(self, path: Path) -> None:
        """Open an index, and create it if it is missing or of another release.

        Raises: IndexDamaged: if the file is damaged. SetupError: if SQLite lacks FTS5, or the file cannot be opened.
        """
        self.path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SetupError(
                f"The folder of the search index cannot be created ({error.strerror}: {error.filename})."
            ) from None
        with self._guarded():
            self._connection = sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, isolation_level=None)
            self._run("PRAGMA page_size = 16384")  # the compressed text of a recording would waste half a small page
            self._run("PRAGMA journal_mode = WAL")  # readers and a writer do not wait for each other
            self._run("PRAGMA synchronous = NORMAL")
            self._run("PRAGMA secure_delete = ON")  # what is forgotten leaves no trace in free pages
            self._run("PRAGMA cache_size = -32000")
            self._run("PRAGMA temp_store = MEMORY")
            self._prepare()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    # The records that are in it

    def folders(self) -> Mapping[str, str]:
        """See `SearchIndex.folders`."""
        with self._guarded():
            return dict(self._run("SELECT path, state FROM folders"))

    def known(self, folder: str) -> Mapping[str, str]:
        """See `SearchIndex.known`."""
        with self._guarded():
            found = self._run("SELECT key, revision FROM recordings WHERE key >= ? AND key < ?", _below(folder))
            return {key: revision for key, revision in found if "/" not in key[len(folder) :]}

    def put(self, entries: Iterable[Entry]) -> int:
        """See `SearchIndex.put`."""
        n, changes = 0, Counter[str]()
        with self._writing():
            for entry in entries:
                old = self._run("SELECT id, digest FROM recordings WHERE key = ?", (entry.key,))
                library.put_transcript(self._run, entry)
                if old and old[0][1] == entry.digest:
                    self._run("UPDATE recordings SET revision = ? WHERE id = ?", (entry.revision, old[0][0]))
                    continue
                if old:
                    self._remove(old[0][0], changes)
                self._add(entry, changes)
                n += 1
            self._count(changes)
        return n

    def remove(self, keys: Collection[str]) -> None:
        """See `SearchIndex.remove`."""
        changes = Counter[str]()
        with self._writing():
            library.remove(self._run, (TRANSCRIPTS + key for key in keys))
            for key in keys:
                for (number,) in self._run("SELECT id FROM recordings WHERE key = ?", (key,)):
                    self._remove(number, changes)
            self._count(changes)

    def set_folders(self, states: Mapping[str, str]) -> None:
        """See `SearchIndex.set_folders`."""
        with self._writing():
            self._connection.executemany("INSERT OR REPLACE INTO folders VALUES (?, ?)", states.items())

    def remove_folder(self, folder: str) -> int:
        """See `SearchIndex.remove_folder`."""
        with self._guarded():
            keys = [
                key for (key,) in self._run("SELECT key FROM recordings WHERE key >= ? AND key < ?", _below(folder))
            ]
        self.remove(keys)
        with self._writing():
            self._run("DELETE FROM folders WHERE path >= ? AND path < ?", _below(folder))
        return len(keys)

    def note(self, name: str) -> str | None:
        """See `SearchIndex.note`."""
        with self._guarded():
            found = self._run("SELECT value FROM notes WHERE name = ?", (name,))
            return str(found[0][0]) if found else None

    def set_note(self, name: str, value: str) -> None:
        """See `SearchIndex.set_note`."""
        with self._writing():
            self._run("INSERT OR REPLACE INTO notes VALUES (?, ?)", (name, value))

    # The list of recordings

    def recordings(
        self, choice: library.Choice, sort: library.Sort = "newest", *, limit: int, offset: int = 0
    ) -> library.LibraryPage:
        """Return some of the chosen recordings, finished or failed."""
        with self._guarded(), self._reading():
            return library.listed(self._run, choice, sort, limit=limit, offset=offset)

    def stretch(
        self, choice: library.Choice, sort: library.Sort, *, limit: int, after: library.Mark | None
    ) -> library.Stretch:
        """Return the chosen recordings that follow a mark; without one, the first of them."""
        with self._guarded(), self._reading():
            return library.stretch(self._run, choice, sort, limit=limit, after=after)

    def count_recordings(self, choice: library.Choice) -> tuple[int, float]:
        """Return how many recordings are chosen, and their length in seconds."""
        with self._guarded(), self._reading():
            return library.counted(self._run, choice)

    def facets(self, folder: str = "") -> library.Facets:
        """Return what there is to choose from in a folder ("" for all) and below it."""
        with self._guarded(), self._reading():
            return library.facets(self._run, folder)

    def next_in_doubt(self, after: str | None = None) -> str | None:
        """Return the recording with the most passages in doubt, or the one that follows another one."""
        with self._guarded(), self._reading():
            return library.next_in_doubt(self._run, after)

    def failed_folders(self) -> Mapping[str, str]:
        """Return the state that each folder of failures had when it was last compared."""
        with self._guarded():
            return dict(self._run("SELECT path, state FROM failed_folders"))

    def known_failures(self, folder: str) -> Mapping[str, str]:
        """Return the revisions of the failures directly in a folder ("" or ending in "/"), by key."""
        with self._guarded():
            return library.known_failures(self._run, folder)

    def put_failures(
        self, folder: str, state: str, failures: Mapping[str, tuple[str, Failure]], removed: Iterable[str]
    ) -> None:
        """Add, replace and remove failures of a folder, and note its state. `failures`: revision and record by key."""
        with self._writing():
            for key, (revision, failure) in failures.items():
                library.put_failure(self._run, key, revision, failure)
            library.remove(self._run, (FAILURES + key for key in removed))
            self._run("INSERT OR REPLACE INTO failed_folders VALUES (?, ?)", (folder, state))

    def remove_failed_folder(self, folder: str) -> None:
        """Remove a folder of failures that is gone."""
        with self._writing():
            self._run("DELETE FROM library WHERE key >= ? AND key < ?", _below(FAILURES + folder))
            self._run("DELETE FROM failed_folders WHERE path >= ? AND path < ?", _below(folder))

    def erase_removed(self) -> None:
        """Rewrite the index without the tokens of removed recordings, which FTS5 otherwise keeps for a while."""
        with self._writing():
            self._run("INSERT INTO passages (passages) VALUES ('optimize')")
        with self._guarded():
            self._run("PRAGMA wal_checkpoint(TRUNCATE)")

    def totals(self) -> Totals:
        """See `SearchIndex.totals`."""
        with self._guarded():
            [(n_recordings, n_passages)] = self._run("SELECT count(*), coalesce(sum(n), 0) FROM recordings")
            return Totals(n_recordings, n_passages, self._n_bytes(), self.checked_at())

    def _n_bytes(self) -> int:
        files = [self.path, self.path.with_name(self.path.name + "-wal")]
        return sum(path.stat().st_size for path in files if path.exists())

    def checked_at(self) -> datetime | None:
        """Return when the index was last compared with the records."""
        checked_at = self.note("checked_at")
        return datetime.fromisoformat(checked_at) if checked_at else None

    def _add(self, entry: Entry, changes: Counter[str]) -> None:
        [(first,)] = self._run(
            "SELECT coalesce((SELECT first + max(n, 1) FROM recordings ORDER BY first DESC LIMIT 1), 1)"
        )
        row = (
            *(entry.key, entry.revision, entry.digest, entry.recording, entry.stem, entry.language),
            *(round(entry.recorded_at.timestamp() * 1000), entry.duration_s, first, len(entry.passages)),
        )
        columns = "key, revision, digest, recording, stem, language, recorded_ms, duration_s, first, n"
        self._run(f"INSERT INTO recordings ({columns}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", row)  # noqa: S608
        [(number,)] = self._run("SELECT last_insert_rowid()")
        self._run("INSERT INTO texts VALUES (?, ?)", (number, _packed(entry.passages)))
        rows = list(_rows(first, entry.passages))
        self._connection.executemany("INSERT INTO passages (rowid, text, speaker) VALUES (?, ?, ?)", rows)
        for _, text, _ in rows:
            changes.update(set(text.split()))

    def _remove(self, number: int, changes: Counter[str]) -> None:
        [(first, packed)] = self._run(
            "SELECT first, passages FROM recordings JOIN texts USING (id) WHERE id = ?", (number,)
        )
        rows = list(_rows(first, _unpacked(packed)))
        self._connection.executemany(
            "INSERT INTO passages (passages, rowid, text, speaker) VALUES ('delete', ?, ?, ?)", rows
        )
        self._run("DELETE FROM texts WHERE id = ?", (number,))
        self._run("DELETE FROM recordings WHERE id = ?", (number,))
        for _, text, _ in rows:
            changes.subtract(set(text.split()))

    def _count(self, changes: Counter[str]) -> None:
        """Change how often each word occurs. Words are sorted, which is faster for a tree of them."""
        for token in [token for token in changes if len(token) < LEAST_LETTERS or folding.is_unspaced(token)]:
            del changes[token]  # nobody's spelling is checked by them
        self._connection.executemany(
            "INSERT INTO words VALUES (?, ?) ON CONFLICT (word) DO UPDATE SET n = n + excluded.n",
            sorted((word, n) for word, n in changes.items() if n > 0),
        )
        less = sorted((n, word) for word, n in changes.items() if n < 0)
        self._connection.executemany("UPDATE words SET n = n + ? WHERE word = ?", less)
        self._connection.executemany("DELETE FROM words WHERE word = ? AND n <= 0", ((word,) for _, word in less))

    # Searching

    def search(self, query: str, filters: Filters, *, limit: int, offset: int) -> SearchResult:
        """See `SearchIndex.search`."""
        node = parse(query)
        with self._guarded(), self._reading():
            rows = self._found(node, filters) if node else []
            has_more = len(rows) > COUNTED
            if has_more and offset + limit > COUNTED and node:
                rows = self._rows(_expression(node, filters), self._ranges(filters), offset + limit + 1)
            elif not has_more:
                rows = self._sorted(rows, node, filters)
            hits = self._hits(rows[offset : offset + limit], node)
            [(n_recordings,)] = self._run("SELECT count(*) FROM recordings")
            return SearchResult(
                query=query,
                hits=hits,
                offset=offset,
                n_hits=min(len(rows), COUNTED) if has_more else len(rows),
                has_more_hits=has_more,
                is_searchable=node is not None,
                suggestion=None if rows or not node else self._suggestion(query, node),
                n_recordings=n_recordings,
                checked_at=self.checked_at(),
            )

    def _found(self, node: Node, filters: Filters) -> list[int]:
        return self._rows(_expression(node, filters), self._ranges(filters), COUNTED + 1)

    def _rows(self, expression: str, ranges: list[tuple[int, int]] | None, limit: int) -> list[int]:
        """Return the numbers of at most `limit` rows, the last first. Ranges are sorted, and their ends exclusive."""
        match = "SELECT rowid FROM passages WHERE passages MATCH ?"
        if ranges is None:
            return [row for (row,) in self._run(f"{match} ORDER BY rowid DESC LIMIT ?", (expression, limit))]
        rows: list[int] = []
        if len(ranges) <= MAX_RANGES:
            for first, end in reversed(ranges):
                # FTS5 finds the first row of a range faster than the last one.
                within = f"{match} AND rowid BETWEEN ? AND ? ORDER BY rowid LIMIT ?"
                found = self._run(within, (expression, first, end - 1, limit - len(rows)))
                rows += [row for (row,) in reversed(found)]
                if len(rows) >= limit:
                    break
            return rows
        starts = [first for first, _ in ranges]
        with closing(self._connection.execute(f"{match} ORDER BY rowid DESC", (expression,))) as cursor:
            for (row,) in cursor:
                at = bisect_right(starts, row) - 1
                if at >= 0 and row < ranges[at][1]:
                    rows.append(row)
                    if len(rows) >= limit:
                        break
        return rows

    def _ranges(self, filters: Filters) -> list[tuple[int, int]] | None:
        """Return the rows of the recordings that pass the filters, as sorted ranges, or None if all pass."""
        if not filters.is_of_recordings:
            return None
        conditions, values = ["n > 0"], list[Any]()
        if filters.language:
            conditions.append("language = ?")
            values.append(filters.language)
        if folder := filters.folder.strip("/"):
            conditions.append("(recording = ? OR (recording >= ? AND recording < ?))")
            values += [folder, *_below(f"{folder}/")]
        if filters.since:
            conditions.append("recorded_ms >= ?")
            values.append(filters.since.timestamp() * 1000)
        if filters.until:
            conditions.append("recorded_ms < ?")
            values.append(filters.until.timestamp() * 1000)
        where = " AND ".join(conditions)
        ranges: list[tuple[int, int]] = []
        for first, n in self._run(f"SELECT first, n FROM recordings WHERE {where} ORDER BY first", values):  # noqa: S608
            if ranges and ranges[-1][1] == first:
                ranges[-1] = (ranges[-1][0], first + n)
            else:
                ranges.append((first, first + n))
        return ranges

    def _sorted(self, rows: list[int], node: Node | None, filters: Filters) -> list[int]:
        """Sort hits: the whole query as a phrase first, then the latest recordings, then by time."""
        whole = phrase(node)
        as_phrase: set[int] = set()
        if whole and rows:
            ranges = [(rows[-1], rows[0] + 1)]
            as_phrase = set(self._rows(_expression(whole, filters), ranges, len(rows)))
        places = self._recordings_of(rows, "recorded_ms, recording, first")

        def order(row: int) -> tuple[bool, int, str, int]:
            recorded_ms, recording, first = places[row]
            return row not in as_phrase, -recorded_ms, recording, row - first

        return sorted(rows, key=order)

    def _recordings_of(self, rows: Iterable[int], columns: str) -> dict[int, tuple[Any, ...]]:
        """Return these columns of the recording of each row."""
        select = f"SELECT {columns}, first, n FROM recordings WHERE first <= ? ORDER BY first DESC LIMIT 1"  # noqa: S608
        found: dict[int, tuple[Any, ...]] = {}
        *last, first, end = (), 0, 0
        for row in sorted(rows):
            if not first <= row < end:
                [(*last, first, n)] = self._run(select, (row,))
                end = first + n
            found[row] = tuple(last)
        return found

    def _hits(self, rows: list[int], node: Node | None) -> tuple[Hit, ...]:
        sought = terms(node)
        places = self._recordings_of(rows, "id, recording, stem, language, recorded_ms, first")
        texts: dict[int, list[Passage]] = {}
        hits = []
        for row in rows:
            number, recording, stem, language, recorded_ms, first = places[row]
            if number not in texts:
                [(packed,)] = self._run("SELECT passages FROM texts WHERE id = ?", (number,))
                texts[number] = _unpacked(packed)
            passage = texts[number][row - first]
            hits.append(
                Hit(
                    recording=recording,
                    start_s=passage.start_s,
                    end_s=passage.end_s,
                    text=passage.text,
                    marks=marks(passage.text, sought),
                    speaker=passage.speaker,
                    language=language,
                    recorded_at=from_ms(recorded_ms),
                    stem=stem,
                )
            )
        return tuple(hits)

    def _suggestion(self, query: str, node: Node) -> str | None:
        """Return the query with similar words that occur, or None if all its words occur or nothing is similar."""
        suggested = query
        for term in terms(node):
            if not term.is_word or self._n_of(term.tokens):
                continue
            similar = spelling.similar(term.tokens[0], self._n_of, self._words_with)
            if similar is None:
                return None
            suggested = suggested.replace(term.text, similar, 1)
        return suggested if suggested != query else None

    def _n_of(self, words: Collection[str]) -> dict[str, int]:
        """Return how often those of these words occur that do."""
        listed = tuple(words)
        marks_ = ",".join("?" * len(listed))
        return dict(self._run(f"SELECT word, n FROM words WHERE word IN ({marks_})", listed))  # noqa: S608

    def _words_with(self, beginning: str) -> list[tuple[str, int]]:
        return self._run("SELECT word, n FROM words WHERE word >= ? AND word < ?", _below(beginning))

    # The file

    def _prepare(self) -> None:
        if self._version() == _version():
            return
        with self._writing():
            if self._version() == _version():  # another process was faster
                return
            for name, kind in self._run("SELECT name, type FROM sqlite_master WHERE sql LIKE 'CREATE VIRTUAL%'"):
                self._run(f"DROP {kind} {name}")
            for name, kind in self._run("SELECT name, type FROM sqlite_master WHERE type = 'table'"):
                self._run(f"DROP {kind} IF EXISTS {name}")
            for statement in filter(str.strip, (_TABLES + library.TABLES).split(";\n")):
                self._run(statement)
            self._run(f"PRAGMA user_version = {_version()}")

    def _version(self) -> int:
        [(version,)] = self._run("PRAGMA user_version")
        return int(version)

    def _run(self, statement: str, values: Iterable[Any] = ()) -> list[tuple[Any, ...]]:
        return self._connection.execute(statement, tuple(values)).fetchall()

    @contextmanager
    def _reading(self) -> Iterator[None]:
        """Let all statements see the same state, whatever another process writes meanwhile."""
        self._run("BEGIN")
        try:
            yield
        finally:
            self._run("COMMIT")

    @contextmanager
    def _writing(self) -> Iterator[None]:
        with self._guarded():
            self._run("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                with suppress(sqlite3.Error):
                    self._run("ROLLBACK")
                raise
            self._run("COMMIT")

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:
            reason = str(error)
            if "no such module" in reason:
                raise SetupError("This Python's SQLite has no full-text search (FTS5); use another Python.") from None
            if "disk" in reason and "full" in reason:
                raise MachineError(
                    f"The search index {str(self.path)!r} cannot be written: the disk is full."
                ) from None
            if "malformed" in reason or "no such" in reason or "not a database" in reason:
                raise IndexDamaged(f"The search index {str(self.path)!r} is damaged ({reason}).") from error
            raise MachineError(f"The search index {str(self.path)!r} cannot be used now ({reason}).") from error
        except sqlite3.DatabaseError as error:
            raise IndexDamaged(f"The search index {str(self.path)!r} is damaged ({error}).") from error


def _version() -> int:
    return SCHEMA * 1000 + folding.VERSION


def _below(beginning: str) -> tuple[str, str]:
    """Return the bounds of all strings with this beginning, the second one exclusive."""
    return beginning, beginning + "\U0010ffff"


def _rows(first: int, passages: Iterable[Passage]) -> Iterator[tuple[int, str, str]]:
    for row, passage in enumerate(passages, first):
        yield row, folding.fold(passage.text), folding.fold(passage.speaker or "")


def _packed(passages: Iterable[Passage]) -> bytes:
    listed = [
        [round(each.start_s * 1000), round(each.end_s * 1000), each.text, *([each.speaker] if each.speaker else [])]
        for each in passages
    ]
    return zlib.compress(json.dumps(listed, ensure_ascii=False, separators=(",", ":")).encode())


def _unpacked(packed: bytes) -> list[Passage]:
    return [
        Passage(start_ms / 1000, end_ms / 1000, text, speaker[0] if speaker else None)
        for start_ms, end_ms, text, *speaker in json.loads(zlib.decompress(packed))
    ]


def _expression(node: Node, filters: Filters) -> str:
    """Return the query in the language of FTS5, where every token is quoted."""
    expression = "{text} : (" + _fts(node) + ")"
    speaker = folding.fold(filters.speaker)
    if filters.speaker:
        # A name without letters matches no speaker.
        expression += ' AND {speaker} : "' + (speaker or "-") + '"'
    return expression


def _fts(node: Node) -> str:
    match node:
        case Term():
            return '"' + " ".join(node.tokens) + '"' + (" *" if node.is_prefix else "")
        case Near():
            return f"NEAR({' '.join(map(_fts, node.terms))}, {node.distance})"
        case Either():
            return " OR ".join(f"({_fts(part)})" for part in node.parts)
        case All():
            expression = " AND ".join(f"({_fts(part)})" for part in node.parts)
            return "(" + expression + ")" + "".join(f" NOT ({_fts(part)})" for part in node.without)
