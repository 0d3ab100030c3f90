"""Compare the texts of a table with what was truly said."""

import json
import unicodedata
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec

from nightscribe.shared.destination.json_store import JsonStore
from nightscribe.shared.destination.keys import TABLE
from nightscribe.shared.destination.records import Records
from nightscribe.shared.errors import ExtraMissing, SetupError
from nightscribe.shared.model.table_record import TableRecord
from nightscribe.shared.storage.base import Location, StorageOptions
from nightscribe.shared.storage.table.columns import text_column
from nightscribe.shared.storage.table.table import Row, read_table

BY_CHARACTER = frozenset({"zh", "yue", "ja", "th", "lo", "my", "km", "bo"})
"""Languages whose words no space divides: their characters are counted as words."""
LANGUAGE_COLUMNS = ("locale", "lang", "language")
MODULE = "rapidfuzz"


@dataclass(frozen=True)
class RowScore:
    """The errors of one row."""

    number: int
    recording: str
    language: str
    truth: str
    text: str
    word_errors: int
    n_words: int
    character_errors: int
    n_characters: int

    @property
    def word_error_rate(self) -> float:
        """Return the errors for each word that was said."""
        return self.word_errors / max(1, self.n_words)


@dataclass(frozen=True)
class Errors:
    """The errors of several rows together."""

    language: str
    """Code of the language; "" for all together."""
    n_rows: int
    n_words: int
    word_error_rate: float
    n_characters: int
    character_error_rate: float


@dataclass(frozen=True)
class Score:
    """How right the texts of a table are."""

    table: str
    text_column: str
    languages: tuple[Errors, ...]
    """By the number of words, most first."""
    total: Errors
    worst: tuple[RowScore, ...]
    n_without_truth: int
    n_without_text: int


def score(dest: Location, storage: StorageOptions, *, column: str = "", worst: int = 10) -> Score:
    """Compare the texts in the table of a destination with its column of what was truly said.

    `column`: the name of that column; "" to find it by its name.
    Raises: SetupError: if there is no such table or column, or a package is missing.
    """
    if find_spec(MODULE) is None:
        raise ExtraMissing("`score` needs a package that is not installed.", "score")
    records = Records(dest.open_store(storage))
    note = JsonStore(records.store).load(TableRecord, TABLE)
    content = records.store.get(note.key) if note else None
    if note is None or content is None:
        raise SetupError(
            f"DEST {str(dest)!r} holds no table; `score` compares the texts of a `run` whose SOURCE is a table."
        )
    table = read_table(note.key, content)
    own = [each for each in table.columns if each not in note.columns]
    truth = text_column(own, column) if column or not note.text_column else note.text_column
    if truth is None:
        raise SetupError(
            f"The table {dest.display(note.key)!r} has no column with what was truly said, such as sentence or text; "
            "name it with --text-column."
        )
    text, language = note.columns[0], note.columns[1]
    given = next((each for each in own if each.casefold() in LANGUAGE_COLUMNS), None)
    rows, n_without_truth, n_without_text = [], 0, 0
    for row in table.rows:
        if not row.text(truth):
            n_without_truth += 1
        elif not row.text(text) and not row.text(note.columns[4]):
            n_without_text += 1
        else:
            spoken = (row.text(given) or row.text(language)).casefold().replace("_", "-").partition("-")[0]
            rows.append(row_score(row, row.text(note.audio_column), spoken, row.text(truth), row.text(text)))
    by_language: dict[str, list[RowScore]] = defaultdict(list)
    for each in rows:
        by_language[each.language].append(each)
    found = [_errors(code or "unknown", some) for code, some in by_language.items()]
    in_order = sorted(rows, key=lambda each: (-each.word_error_rate, -each.word_errors, each.number))
    return Score(
        dest.display(note.key),
        truth,
        tuple(sorted(found, key=lambda each: (-each.n_words, each.language))),
        _errors("", rows),
        tuple(each for each in in_order[:worst] if each.word_errors),
        n_without_truth,
        n_without_text,
    )


def row_score(row: Row, recording: str, language: str, truth: str, text: str) -> RowScore:
    """Count the errors of one row: words and characters to replace, insert or delete."""
    from rapidfuzz.distance import Levenshtein

    said, heard = normalised(truth), normalised(text)
    words, heard_words = units(said, language), units(heard, language)
    characters, heard_characters = said.replace(" ", ""), heard.replace(" ", "")
    return RowScore(
        row.number,
        recording,
        language,
        truth,
        text,
        Levenshtein.distance(words, heard_words),
        len(words),
        Levenshtein.distance(characters, heard_characters),
        len(characters),
    )


def normalised(text: str) -> str:
    """Return a text without case, punctuation and other signs, in one form of each letter.

    An apostrophe joins the letters beside it, a hyphen divides words. Accents are kept, and numbers stay as they are
    written.
    """
    joined = unicodedata.normalize("NFKC", text).casefold()
    kept = []
    for at, char in enumerate(joined):
        if char in "'’ʼ`´":
            continue
        kind = unicodedata.category(char)
        is_decimal_point = char in ".," and joined[at - 1 : at].isdigit() and joined[at + 1 : at + 2].isdigit()
        kept.append(char if kind[0] in "LNM" or is_decimal_point else " ")
    return " ".join(unicodedata.normalize("NFC", "".join(kept)).split())


def units(text: str, language: str) -> list[str]:
    """Return the words of a normalised text, or its characters if no spaces divide words in the language."""
    return list(text.replace(" ", "")) if language in BY_CHARACTER else text.split()


def _errors(language: str, rows: Sequence[RowScore]) -> Errors:
    n_words, n_characters = sum(each.n_words for each in rows), sum(each.n_characters for each in rows)
    return Errors(
        language,
        len(rows),
        n_words,
        round(sum(each.word_errors for each in rows) / max(1, n_words), 4),
        n_characters,
        round(sum(each.character_errors for each in rows) / max(1, n_characters), 4),
    )


def as_json(found: Score) -> str:
    """Return a score as one JSON object."""

    def errors(each: Errors) -> dict[str, object]:
        return {
            "rows": each.n_rows,
            "words": each.n_words,
            "word_error_rate": each.word_error_rate,
            "characters": each.n_characters,
            "character_error_rate": each.character_error_rate,
        }

    return json.dumps(
        {
            "table": found.table,
            "text_column": found.text_column,
            "languages": {each.language: errors(each) for each in found.languages},
            "total": errors(found.total),
            "rows_without_truth": found.n_without_truth,
            "rows_without_text": found.n_without_text,
            "worst": [
                {
                    "row": each.number,
                    "recording": each.recording,
                    "language": each.language,
                    "word_error_rate": round(each.word_error_rate, 4),
                    "truth": each.truth,
                    "text": each.text,
                }
                for each in found.worst
            ],
        },
        ensure_ascii=False,
    )
