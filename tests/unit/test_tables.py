"""Tables as sources: what people save is read, bad rows cost only themselves, and no program runs what is written."""

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from making import file, segment, transcript

from nightscribe.director.backlog import Settled
from nightscribe.director.plan.estimate import LengthEstimate
from nightscribe.director.scan.scanner import Scanner
from nightscribe.services.request import Request
from nightscribe.services.run_progress import RunProgress
from nightscribe.services.table_output import TableOutput, free_name
from nightscribe.shared.destination.records import Records
from nightscribe.shared.errors import PermanentError, SetupError
from nightscribe.shared.settings import load_settings
from nightscribe.shared.storage.base import StorageOptions
from nightscribe.shared.storage.folder.location import FolderLocation
from nightscribe.shared.storage.folder.store import FolderStore
from nightscribe.shared.storage.registry import parse_location
from nightscribe.shared.storage.table.columns import audio_column, new_columns, text_column
from nightscribe.shared.storage.table.location import TableLocation, with_layout
from nightscribe.shared.storage.table.source import TableSource, named_recording
from nightscribe.shared.storage.table.spreadsheet import guarded, unguarded
from nightscribe.shared.storage.table.table import Table, read_table

PLAIN = 'filename,text\na.wav,"Hello, ""world"""\nb.wav,"two\nlines"\n'


def cells(table: Table, column: str) -> list[str]:
    return [row.text(column) for row in table.rows]


def written(table: Table, *values: str) -> bytes:
    return table.write(("said",), [(value,) for value in values])


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("t.csv", PLAIN.encode()),
        ("t.csv", PLAIN.encode("utf-8-sig")),
        ("t.csv", PLAIN.encode("utf-16")),
        ("t.csv", PLAIN.replace("\n", "\r\n", 1).encode()),
        ("t.csv", b"sep=;\r\n" + PLAIN.replace("e,t", "e;t").replace("wav,", "wav;").encode()),
        ("t.csv", PLAIN.replace("e,t", "e;t").replace("wav,", "wav;").encode()),
        ("t.tsv", PLAIN.replace("e,t", "e\tt").replace("wav,", "wav\t").encode()),
        (
            "t.jsonl",
            b'{"filename": "a.wav", "text": "Hello, \\"world\\""}\n\n{"filename": "b.wav", "text": "two\\nlines"}\n',
        ),
    ],
)
def test_a_table_is_read_as_people_save_it_and_written_in_the_same_format(name: str, content: bytes) -> None:
    table = read_table(name, content)
    assert (cells(table, "filename"), cells(table, "text")) == (["a.wav", "b.wav"], ['Hello, "world"', "two\nlines"])
    again = read_table(name, written(table, "Guten Tag, ñ", "文字"))
    assert (cells(again, "text"), cells(again, "said")) == (cells(table, "text"), ["Guten Tag, ñ", "文字"])
    assert again.columns == ("filename", "text", "said")


def test_parquet_keeps_the_types_of_its_columns() -> None:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    out = io.BytesIO()
    parquet.write_table(pyarrow.table({"path": ["a.wav", "b.wav"], "n": [1, 2]}), out)
    table = read_table("t.parquet", out.getvalue())
    again = parquet.read_table(io.BytesIO(table.write(("said", "duration"), [("Hi", 1.5), (None, None)])))
    assert again.to_pylist() == [
        {"path": "a.wav", "n": 1, "said": "Hi", "duration": 1.5},
        {"path": "b.wav", "n": 2, "said": None, "duration": None},
    ]
    with pytest.raises(SetupError, match="cannot be read as Parquet"):
        read_table("t.parquet", b"PAR1 but not really")


def test_windows_1252_is_read_with_a_doubt_that_is_stated() -> None:
    table = read_table("t.csv", "filename,text\nä.wav,Grüße – 5 €\n".encode("cp1252"))
    assert cells(table, "text") == ["Grüße – 5 €"]
    assert "read as Windows-1252" in table.notes[0]
    assert "line 2" in table.notes[0]
    assert written(table, "Ñandú").decode("utf-8-sig").splitlines()[1] == "ä.wav,Grüße – 5 €,Ñandú"
    with pytest.raises(SetupError, match="not text in UTF-8"):
        read_table("t.csv", b"filename\n\x81\x8d.wav\n")


def test_quotation_marks_that_quote_nothing_swallow_no_rows() -> None:
    """Tables with tabs, such as those of Common Voice, may hold them as they are."""
    table = read_table("t.tsv", b'path\tsentence\na.mp3\t"Hi, she said.\nb.mp3\tNo.\nc.mp3\t"Yes", he said.\n')
    assert cells(table, "sentence") == ['"Hi, she said.', "No.", '"Yes", he said.']
    assert [row.number for row in table.rows] == [2, 3, 4]


def test_a_row_of_another_length_is_kept_and_noted() -> None:
    table = read_table("t.csv", b"a,path,b\n1,x.wav\n1,y.wav,2,3\n")
    assert cells(table, "path") == ["x.wav", "y.wav"]
    assert [row.note for row in table.rows] == ["2 cells, but 3 names of columns", "4 cells, but 3 names of columns"]
    assert written(table, "X", "Y").decode().splitlines() == ["a,path,b,said", "1,x.wav,,X", "1,y.wav,2,Y,3"]


def test_a_damaged_line_of_json_is_written_again_as_it_was() -> None:
    table = read_table("t.jsonl", b'{"path": "a.wav", "deep": {"n": [1]}}\n{"path": \n[1]\n')
    assert [row.problem for row in table.rows] == [None, "It is not JSON.", "It is not a JSON object."]
    lines = written(table, "A", "B", "C").decode().splitlines()
    assert json.loads(lines[0]) == {"path": "a.wav", "deep": {"n": [1]}, "said": "A"}
    assert lines[1:] == ['{"path": ', "[1]"]


@pytest.mark.parametrize("cell", ["=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", "\t=1", " =1", "＝1+1", "- Hello."])
def test_no_cell_is_written_that_a_program_takes_for_a_formula(cell: str) -> None:
    out = io.StringIO()
    csv.writer(out).writerow(["a.wav", cell])
    content = b"path,note\r\n" + out.getvalue().encode()
    [row] = list(csv.reader(io.StringIO(written(read_table("t.csv", content), cell).decode())))[1:]
    assert row[1:] == [f"'{cell}", f"'{cell}"]


@pytest.mark.parametrize("cell", ["-5", "+4.5", "-1e-3", "3%", "a=b", "", "it's", "'quoted'"])
def test_other_cells_stay_as_they_are(cell: str) -> None:
    assert guarded(cell) == unguarded(cell) == cell


@given(st.text())
def test_a_guarded_cell_can_be_read_again(cell: str) -> None:
    assert unguarded(guarded(cell)) == cell or cell.startswith("'")


@given(st.lists(st.tuples(st.text(st.characters(codec="utf-8")), st.text(st.characters(codec="utf-8"))), max_size=4))
def test_any_cells_survive(rows: list[tuple[str, str]]) -> None:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n", quoting=csv.QUOTE_ALL)
    writer.writerows([("path", "text"), *rows])
    table = read_table("t.csv", out.getvalue().encode())
    kept = [row for row in rows if any(row)]
    assert [(row.raw[0], row.raw[1]) for row in table.rows] == kept
    again = read_table("t.csv", table.write(("said",), [("x",)] * len(kept)))
    assert [tuple(map(unguarded, row.raw[:2])) for row in again.rows] == [tuple(map(unguarded, row)) for row in kept]


def test_the_column_of_recordings_is_found_by_its_name() -> None:
    assert audio_column(("id", "Audio_FilePath", "text"), "", "t") == "Audio_FilePath"
    assert audio_column(("id", "path", "filename"), "", "t") == "filename"
    assert audio_column(("id", "take"), "TAKE", "t") == "take"
    with pytest.raises(SetupError, match=r"no column that names the recordings.*'id', 'take'.*--audio-column"):
        audio_column(("id", "take"), "", "t")
    with pytest.raises(SetupError, match="no column 'wav'"):
        audio_column(("id", "path"), "wav", "t")
    assert text_column(("path", "sentence")) == "sentence"
    assert text_column(("path", "words")) is None


def test_no_column_of_the_user_is_replaced() -> None:
    assert new_columns(("path",)) == ("generated_text", "language", "confidence", "flags", "duration")
    taken = ("Duration", "language", "generated_text", "generated_language")
    assert new_columns(taken) == (
        "generated_text_2", "generated_language_2", "confidence", "flags", "generated_duration",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("value", "path", "place"),
    [
        ("a/b.wav", "a/b.wav", None),
        ("./a//b.wav", "a/b.wav", None),
        ("a\\b.wav", "a/b.wav", None),
        ("/data/corpus/a/b.wav", "a/b.wav", None),
        ("file:///data/corpus/b.wav", "b.wav", None),
        ("s3://calls/2024/a b.wav", "s3/calls/2024/a b.wav", ("s3://calls", "2024/a b.wav")),
    ],
)
def test_a_cell_names_a_recording(value: str, path: str, place: Any) -> None:
    assert named_recording(value, "/data/corpus", "") == (path, place)


@pytest.mark.parametrize(
    "value", ["../a.wav", "a/../../b.wav", "/etc/passwd", "/data/corpus2/a.wav", "/data/corpus/../x", "..", ".", "a\0b",
              ".nightscribe/run.json", "s3://bucket/../../x", "\\\\server\\share\\a.wav"],
)  # fmt: skip
def test_a_path_that_leads_out_is_refused(value: str) -> None:
    with pytest.raises(ValueError, match=r"^It names .*\.$"):
        named_recording(value, "/data/corpus", "")


def table_in(folder: Path, content: str, name: str = "clips.csv") -> TableLocation:
    found = parse_location(str(file(folder / name, content.encode())))
    assert isinstance(found, TableLocation)
    return found


def folders_of(source: TableSource) -> dict[str, tuple[list[str], list[str]]]:
    return {
        folder.path: ([each.path for each in folder.recordings], [each.reason for each in folder.unreadable])
        for folder in source.folders()
    }


def test_a_table_is_a_source_whose_bad_rows_cost_only_themselves(tmp_path: Path) -> None:
    for name in ("a.wav", "sub/deep/b.dat", "no-suffix"):
        file(tmp_path / name)
    location = table_in(tmp_path, "path\nsub/deep/b.dat\na.wav\n\n../x.wav\n a.wav \nnone.wav\nno-suffix\n''\n")
    source = location.open_source(StorageOptions())
    found = folders_of(source)
    assert list(found) == ["", "sub/", "sub/deep/"]
    assert found[""][0] == ["a.wav", "no-suffix"]
    assert found["sub/deep/"] == (["sub/deep/b.dat"], [])
    assert [reason.split(".")[0] for reason in found[""][1]] == [
        "It names '", "Row 9 of the table names it, and there is no such file",
        "Row 7 of the table names it, and there is no such file",
    ]  # fmt: skip
    scan = Scanner(source, Records(FolderStore(tmp_path / "out")), ("txt",), settle_s=0).scan()
    assert [each.recording.path for each in scan.missing] == ["a.wav", "no-suffix", "sub/deep/b.dat"]
    assert source.listing().entries[3].note == "names the same recording as row 3, so both get its text"
    assert parse_location(str(location.absolute())) == location.absolute()
    with pytest.raises(SetupError, match="is a table; give a folder"):
        location.open_store(StorageOptions())


def test_only_what_the_table_names_is_read_elsewhere(tmp_path: Path) -> None:
    opened: list[str] = []

    def elsewhere(place: str) -> Any:
        opened.append(place)
        raise PermanentError("no", code="gone")

    location = table_in(tmp_path, "path\ns3://calls/a.wav\n")
    plain = location.open_source(StorageOptions())
    source = TableSource(FolderLocation(tmp_path).open_source(StorageOptions()), plain.listing, elsewhere)
    with pytest.raises(PermanentError, match="no longer in the source"):
        source.stat("s3/secrets/key")
    assert not opened
    with pytest.raises(PermanentError, match=r"^no$"):
        source.stat("s3/calls/a.wav")
    assert opened == ["s3://calls"]


def test_common_voice_and_librispeech_are_used_as_they_lie(tmp_path: Path) -> None:
    voice, libri = tmp_path / "cv/en", tmp_path / "LibriSpeech"
    file(voice / "clips/x_1.mp3")
    header = "client_id\tpath\tsentence\tlocale\n"
    location = table_in(voice, f'{header}9\tx_1.mp3\tHi "you.\ten\n', "validated.tsv")
    for options, where in (
        (StorageOptions(), location),
        (
            StorageOptions(layout="common-voice"),
            with_layout(FolderLocation(voice), StorageOptions(layout="common-voice")),
        ),
    ):
        listing = where.open_source(options).listing()  # type: ignore[attr-defined]
        assert [each.recording for each in listing.entries] == ["clips/x_1.mp3"]
        assert (listing.text_column, listing.entries[0].row.text("sentence")) == ("sentence", 'Hi "you.')
    file(libri / "84/1/84-1-0000.flac")
    file(libri / "84/1/84-1.trans.txt", b"84-1-0000 GO, SAID HE\n84-1-0001 GONE\n")
    corpus = with_layout(FolderLocation(libri), StorageOptions(layout="librispeech"))
    listing = corpus.open_source(StorageOptions()).listing()  # type: ignore[attr-defined]
    assert listing.name == "LibriSpeech.csv"
    assert [each.recording for each in listing.entries] == ["84/1/84-1-0000.flac", "84/1/84-1-0001.flac"]
    assert cells(listing.table, "text") == ["GO, SAID HE", "GONE"]
    with pytest.raises(SetupError, match="does not have the layout of Common Voice"):
        with_layout(FolderLocation(libri), StorageOptions(layout="common-voice"))
    with pytest.raises(SetupError, match="does not have the layout of LibriSpeech"):
        with_layout(FolderLocation(voice), StorageOptions(layout="librispeech")).check_source(StorageOptions())


# The table in the destination


class Place:
    """A table with two recordings, and a destination."""

    def __init__(self, tmp_path: Path, content: str = "path,note\na.wav,=1\nb.wav,x\n../c.wav,y\n") -> None:
        for name in ("a.wav", "b.wav"):
            file(tmp_path / "in" / name)
        self.out = tmp_path / "out"
        self.out.mkdir(exist_ok=True)
        self.request = Request(table_in(tmp_path / "in", content), FolderLocation(self.out), load_settings())

    def finish(self, name: str, text: str, **changes: Any) -> None:
        found = self.request.recordings.stat(name)
        about = {
            "recording": name, "stem": name.removesuffix(".wav"), "decoded_s": 2.5, "size": found.size,
            "mtime_ns": found.mtime_ns, "fingerprint": self.request.recordings.fingerprint(found), **changes,
        }  # fmt: skip
        self.request.records.finish(transcript(segment(text=text), segment(1, 2, "And."), **about), ())

    def table(self) -> TableOutput:
        source = self.request.recordings
        assert isinstance(source, TableSource)
        return TableOutput(self.request.records, source.listing(), "clips.csv")

    def progress(self) -> RunProgress:
        return RunProgress(self.request.scanner(settle_s=0).scan(), LengthEstimate())

    def rows(self, name: str = "clips.csv") -> list[Sequence[str]]:
        return list(csv.reader(io.StringIO((self.out / name).read_text())))


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_the_table_is_written_while_the_run_goes_on_and_filled_by_the_next(place: Place) -> None:
    table, progress = place.table(), place.progress()
    written = table.write(progress)
    assert (written.n_rows, written.n_texts) == (3, 0)
    assert [row[2] for row in place.rows()] == ["generated_text", "", "", ""]
    place.finish("a.wav", "Hello,")
    missing = next(each for each in progress.scan.missing if each.recording.path == "a.wav")
    done = place.request.records.provenance("a.wav")
    assert done
    progress.settle(Settled(missing, done))
    assert table.write(progress).n_texts == 1
    head, a, b, c = place.rows()
    assert head == ["path", "note", "generated_text", "language", "confidence", "flags", "duration"]
    assert (a[:4], a[5:]) == (["a.wav", "'=1", "Hello, And.", "en"], ["", "2.5"])
    assert 0.5 < float(a[4]) < 1
    assert b == ["b.wav", "x", "", "", "", "", ""]
    assert c[5].startswith("failed: It names '../c.wav'")
    place.finish("b.wav", "@Next", flags=("low confidence",))
    assert place.table().write(place.progress()).n_texts == 2
    assert place.rows()[2][2:4] == ["'@Next And.", "en"]
    assert place.rows()[2][5:] == ["low confidence", "2.5"]


def test_nobodys_file_is_overwritten_and_no_change_of_a_person_is_lost(place: Place) -> None:
    """Not even the table itself, if it lies in the destination."""
    (place.out / "clips.csv").write_text("mine")
    place.table().write(place.progress())
    assert (place.out / "clips.csv").read_text() == "mine"
    assert len(place.rows("clips (2).csv")) == 4
    (place.out / "clips (2).csv").write_text("edited")
    place.finish("a.wav", "Hello.")
    place.table().write(place.progress())
    assert place.rows("clips (2).csv")[1][2] == "Hello. And."
    assert (place.out / "clips (2) (kept).csv").read_text() == "edited"
    assert free_name(place.request.records.store, "clips.csv") == "clips (3).csv"


def test_an_interrupted_write_is_known_as_ours(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.table().write(place.progress())
    before = (place.out / "clips.csv").read_bytes()
    place.finish("a.wav", "Hello.")
    put = FolderStore.put

    def killed(store: FolderStore, key: str, content: bytes, *, durable: bool = True) -> None:
        if key == "clips.csv":
            raise KeyboardInterrupt
        put(store, key, content, durable=durable)

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(FolderStore, "put", killed)
        place.table().write(place.progress())
    assert (place.out / "clips.csv").read_bytes() == before
    place.table().write(place.progress())
    assert place.rows()[1][2] == "Hello. And."
    assert sorted(path.name for path in place.out.glob("*.csv")) == ["clips.csv"]
