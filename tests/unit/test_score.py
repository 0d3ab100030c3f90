"""Error rates of the texts in a table."""

import json
from pathlib import Path

import pytest

from nightscribe.services.score import as_json, normalised, row_score, score, units
from nightscribe.shared.destination.json_store import JsonStore
from nightscribe.shared.destination.keys import TABLE
from nightscribe.shared.errors import SetupError
from nightscribe.shared.model.table_record import TableRecord
from nightscribe.shared.storage.base import StorageOptions
from nightscribe.shared.storage.folder.location import FolderLocation
from nightscribe.shared.storage.folder.store import FolderStore
from nightscribe.shared.storage.table.table import Row
from nightscribe.views.score import score_lines

COLUMNS = ("generated_text", "language", "confidence", "flags", "duration")
TABLE_TEXT = """path,sentence,generated_text,language,confidence,flags,duration
a.mp3,Hello you.,hello you,en,,,1
b.mp3,"It's 3.5 well-known points, isn’t it?",its 3.5 well known points isnt that it,en,,,1
c.mp3,你好，世界。,你好世上,zh,,,1
d.mp3,Nothing heard,,,,no speech,1
e.mp3,,whatever,en,,,1
f.mp3,Not done,,,,failed: gone,
g.mp3,=Sum it,'=Sum it,en,,,1
"""


def dest(tmp_path: Path, content: str = TABLE_TEXT, text_column: str | None = "sentence") -> FolderLocation:
    store = FolderStore(tmp_path)
    (tmp_path / "clips.csv").write_text(content)
    note = TableRecord(
        source="x", name="clips.csv", key="clips.csv", hashes=(), audio_column="path", text_column=text_column,
        columns=COLUMNS,
    )  # fmt: skip
    JsonStore(store).save(TABLE, note)
    return FolderLocation(tmp_path)


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("Hello,  WORLD!", "hello world"),
        ("it’s  don't", "its dont"),
        ("well-known – e.g. 3.5 or 1,000 €", "well known e g 3.5 or 1,000"),
        ("Ｆｕｌｌ ﬁne", "full fine"),
        ("Straße naïve", "strasse naïve"),
        ("हिन्दी में", "हिन्दी में"),
    ],
)
def test_case_and_signs_do_not_count(text: str, plain: str) -> None:
    assert normalised(text) == plain


def test_words_are_characters_where_no_space_divides_them() -> None:
    assert units("你好 世界", "zh") == list("你好世界")
    assert units("hello you", "en") == ["hello", "you"]
    counted = row_score(Row(2, {}), "a.mp3", "en", "One two three.", "one too three four")
    assert (counted.word_errors, counted.n_words, counted.character_errors) == (2, 3, 5)


def test_errors_are_counted_by_language_and_the_worst_rows_come_first(tmp_path: Path) -> None:
    found = score(dest(tmp_path), StorageOptions(), worst=2)
    by_language = {each.language: (each.n_rows, each.n_words, each.word_error_rate) for each in found.languages}
    assert by_language == {
        "en": (3, 2 + 7 + 2, round(1 / 11, 4)), "zh": (1, 4, 0.25), "unknown": (1, 2, 1.0),
    }  # fmt: skip
    assert (found.n_without_truth, found.n_without_text) == (1, 1)
    assert [each.recording for each in found.worst] == ["d.mp3", "c.mp3"]
    assert json.loads(as_json(found))["languages"]["zh"]["word_error_rate"] == 0.25
    lines = "\n".join(score_lines(found))
    assert "row 5, 100 %: d.mp3" in lines
    assert "(nothing)" in lines


def test_without_a_table_or_its_true_texts_it_says_so(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="holds no table"):
        score(FolderLocation(tmp_path), StorageOptions())
    place = dest(tmp_path, TABLE_TEXT.replace("sentence", "words"), text_column=None)
    with pytest.raises(SetupError, match="--text-column"):
        score(place, StorageOptions())
    assert score(place, StorageOptions(), column="words").text_column == "words"
