"""Read tables in the formats that people have, and write them again with further columns.

Reading never fails because of one row: its problem is kept with it, and it is written again as it was.
"""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from nightscribe.shared.errors import ExtraMissing, SetupError
from nightscribe.shared.model.paths import suffix
from nightscribe.shared.storage.table.spreadsheet import guarded, unguarded

JSON_LINES = (".jsonl", ".ndjson")
SUFFIXES = (".csv", ".tsv", *JSON_LINES, ".parquet")
LONGEST_CELL = 2**27
_BOMS = ((b"\xef\xbb\xbf", "utf-8"), (b"\xff\xfe\x00\x00", "utf-32"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))


@dataclass(frozen=True)
class Row:
    """One row, with its values by column."""

    number: int
    """As a spreadsheet program counts: the names of the columns are row 1. In JSON lines, the number of the line."""
    values: Mapping[str, Any]
    raw: Any = field(repr=False, default=None)
    """What was read, to be written again."""
    problem: str | None = None
    """Why the row cannot be used, as a sentence without its number."""
    note: str = ""
    """What is doubtful about it."""

    def text(self, column: str | None) -> str:
        """Return a value as text; "" if there is none."""
        value = self.values.get(column) if column else None
        return "" if value is None else unguarded(str(value)).strip()


class Form(Protocol):
    """How a table was written."""

    def write(self, table: "Table", columns: Sequence[str], values: Sequence[Sequence[Any]]) -> bytes:
        """Return the table with further columns; `values` has a row for each row of the table, None for no value."""
        ...


@dataclass(frozen=True)
class Table:
    """A table in memory."""

    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    form: Form
    notes: tuple[str, ...] = ()
    """What is doubtful about the whole table, as sentences."""

    def write(self, columns: Sequence[str], values: Sequence[Sequence[Any]]) -> bytes:
        """Return the table with further columns, in the format in which it was read."""
        return self.form.write(self, columns, values)


def read_table(name: str, content: bytes) -> Table:
    """Read a table; its suffix says in which format. Raises: SetupError: if it is none."""
    kind = suffix(name)
    if kind == ".parquet":
        return _read_parquet(name, content)
    text, encoding, notes = _decoded(name, content)
    if not text.strip():
        raise SetupError(f"The table {name!r} is empty; its first row must name the columns.")
    if kind in JSON_LINES:
        return _read_json_lines(text, notes)
    return _read_delimited(name, text, encoding, notes, is_tab=kind == ".tsv")


def _decoded(name: str, content: bytes) -> tuple[str, str, tuple[str, ...]]:
    """Return the text, the encoding in which to write it again, and what is doubtful about it."""
    for mark, encoding in _BOMS:
        if content.startswith(mark):
            try:
                return content.decode("utf-8-sig" if encoding == "utf-8" else encoding), "utf-8-sig", ()
            except UnicodeDecodeError:
                raise SetupError(f"The table {name!r} is damaged: it is not valid {encoding.upper()}.") from None
    try:
        return content.decode(), "utf-8", ()
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        try:
            text = content.decode("cp1252")
        except UnicodeDecodeError:
            raise SetupError(f"The table {name!r} is not text in UTF-8 (line {line}). Save it as CSV UTF-8.") from None
        note = (
            f"The table {name!r} is not text in UTF-8 (line {line}), so it was read as Windows-1252; if letters are "
            "wrong, save it as CSV UTF-8."
        )
        return text, "utf-8-sig", (note,)


# Delimited text


@dataclass(frozen=True)
class _Delimited:
    encoding: str
    delimiter: str
    line_end: str
    first_line: str = ""
    """A line before the names of the columns that tells Excel the delimiter."""

    def write(self, table: Table, columns: Sequence[str], values: Sequence[Sequence[Any]]) -> bytes:
        """See `Form.write`."""
        n = len(table.columns)
        lines: list[list[str]] = [[*table.columns, *columns]]
        for row, new in zip(table.rows, values, strict=True):
            lines.append([*row.raw[:n], *[""] * (n - len(row.raw)), *map(_cell, new), *row.raw[n:]])
        # The library quotes a carriage return only if it is part of its line ends, and a reader ends a line there.
        is_odd = self.line_end == "\n" and any("\r" in cell for line in lines for cell in line)
        out = io.StringIO()
        out.write(self.first_line)
        quoting: Any = csv.QUOTE_ALL if is_odd else csv.QUOTE_MINIMAL
        writer = csv.writer(out, delimiter=self.delimiter, lineterminator=self.line_end, quoting=quoting)
        writer.writerows([guarded(cell) for cell in line] for line in lines)
        return out.getvalue().encode(self.encoding)


def _cell(value: Any) -> str:
    return "" if value is None else str(value)


def _read_delimited(name: str, text: str, encoding: str, notes: tuple[str, ...], *, is_tab: bool) -> Table:
    first_line = ""
    if text[:4].casefold() == "sep=" and (end := text.find("\n")) > 0:  # for Excel
        first_line, text = text[: end + 1], text[end + 1 :]
    header = text.partition("\n")[0]
    delimiter = "\t" if is_tab else max(",;\t|", key=lambda each: (header.count(each), each == ","))
    if first_line:
        delimiter = first_line[4:5]
    rows = _parsed(text, delimiter, is_tab=is_tab)
    if not rows:
        raise SetupError(f"The table {name!r} is empty; its first row must name the columns.")
    columns = tuple(unguarded(cell.strip()) for cell in rows[0][1])
    found = []
    for number, cells in rows[1:]:
        note = "" if len(cells) == len(columns) else f"{len(cells)} cells, but {len(columns)} names of columns"
        found.append(Row(number, dict(zip(columns, cells, strict=False)), cells, note=note))
    line_end = "\r\n" if "\r\n" in text else "\n"
    form = _Delimited(encoding, delimiter, line_end, first_line)
    return Table(columns, tuple(found), form, notes)


def _parsed(text: str, delimiter: str, *, is_tab: bool) -> list[tuple[int, list[str]]]:
    """Return the rows that are not empty, with their numbers.

    Some programs write quotation marks as they are, above all into tables with tabs. Whichever way gives the rows as
    many cells as there are columns is the right one.
    """
    ways = [(csv.QUOTE_MINIMAL, True), (csv.QUOTE_MINIMAL, False), (csv.QUOTE_NONE, False)]
    if is_tab and not any(line.count('"') % 2 for line in text.splitlines()):
        ways = [ways[0], ways[2], ways[1]]
    elif is_tab:
        ways = [ways[0], ways[2]] if _is_well_quoted(text, delimiter) else [ways[2]]
    best: tuple[int, list[tuple[int, list[str]]]] | None = None
    for quoting, strict in ways:
        try:
            rows = _rows(text, delimiter, quoting, strict=strict)
        except csv.Error:
            continue
        n_odd = sum(len(cells) != len(rows[0][1]) for _, cells in rows) if rows else 0
        if best is None or n_odd < best[0]:
            best = n_odd, rows
        if not n_odd:
            break
    return best[1] if best else []


def _is_well_quoted(text: str, delimiter: str) -> bool:
    try:
        rows = _rows(text, delimiter, csv.QUOTE_MINIMAL, strict=True)
    except csv.Error:
        return False
    return bool(rows) and all(len(cells) == len(rows[0][1]) for _, cells in rows)


def _rows(text: str, delimiter: str, quoting: Any, *, strict: bool) -> list[tuple[int, list[str]]]:
    csv.field_size_limit(LONGEST_CELL)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, quoting=quoting, strict=strict)
    return [(number, cells) for number, cells in enumerate(reader, 1) if any(cells)]


# JSON lines


@dataclass(frozen=True)
class _JsonLines:
    def write(self, table: Table, columns: Sequence[str], values: Sequence[Sequence[Any]]) -> bytes:
        """See `Form.write`."""
        lines = [
            json.dumps({**row.raw, **dict(zip(columns, new, strict=True))}, ensure_ascii=False)
            if isinstance(row.raw, dict)
            else row.raw
            for row, new in zip(table.rows, values, strict=True)
        ]
        return "".join(f"{line}\n" for line in lines).encode()


def _read_json_lines(text: str, notes: tuple[str, ...]) -> Table:
    rows = []
    columns: dict[str, None] = {}
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            found = json.loads(line)
        except (ValueError, RecursionError):
            rows.append(Row(number, {}, line.rstrip("\r"), "It is not JSON."))
            continue
        if isinstance(found, dict):
            columns |= dict.fromkeys(found)
            rows.append(Row(number, found, found))
        else:
            rows.append(Row(number, {}, line.rstrip("\r"), "It is not a JSON object."))
    return Table(tuple(columns), tuple(rows), _JsonLines(), notes)


# Parquet


@dataclass(frozen=True)
class _Parquet:
    read: Any

    def write(self, table: Table, columns: Sequence[str], values: Sequence[Sequence[Any]]) -> bytes:
        """See `Form.write`."""
        import pyarrow
        from pyarrow import parquet

        del table
        whole = self.read
        for n, name in enumerate(columns):
            column = [row[n] for row in values]
            kind = pyarrow.float64() if any(isinstance(each, float) for each in column) else pyarrow.string()
            whole = whole.append_column(name, pyarrow.array(column, kind))
        out = io.BytesIO()
        parquet.write_table(whole, out)
        return out.getvalue()


def _read_parquet(name: str, content: bytes) -> Table:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise ExtraMissing("Tables in Parquet need a package that is not installed.", "parquet") from None
    try:
        read = parquet.read_table(io.BytesIO(content))
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        raise SetupError(f"The table {name!r} cannot be read as Parquet ({str(error).splitlines()[0]}).") from None
    rows = tuple(Row(number, values) for number, values in enumerate(read.to_pylist(), 2))
    return Table(tuple(read.column_names), rows, _Parquet(read))
