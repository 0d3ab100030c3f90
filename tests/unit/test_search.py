"""All transcripts are searched through an index that follows the records. Nothing that is typed is an error."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st
from making import WHEN, run_of, segment, transcript
from support.buckets import TestBucket

import nightscribe
from nightscribe.cli.main import cli
from nightscribe.search.base import Entry, Filters, Hit, Passage
from nightscribe.search.dates import filters_from
from nightscribe.search.folding import fold, tokens
from nightscribe.search.place import index_path, is_shared
from nightscribe.search.query_language import parse, terms
from nightscribe.search.snippets import marks, snippet
from nightscribe.search.sqlite_index import SqliteIndex
from nightscribe.search.update import Updated, update
from nightscribe.services.search import index, search, update_if_there
from nightscribe.shared.destination.keys import transcript_key
from nightscribe.shared.destination.records import Records
from nightscribe.shared.errors import ValueRefused
from nightscribe.shared.settings import Settings
from nightscribe.shared.storage.base import Location
from nightscribe.shared.storage.folder.location import FolderLocation
from nightscribe.shared.storage.folder.store import FolderStore
from nightscribe.views.search import clock

DAY_NS = 24 * 3600 * 10**9
SPOKEN: dict[str, tuple[str, list[str]]] = {
    "2012/talk.mp3": ("en", ["We moved the budget to Berlin.", "I don't know C++ at all.", "A naïve budget meeting."]),
    "2012/b/street.mp3": ("de", ["Die Straße nach Łódź ist lang.", "Người Việt ở Đà Nẵng."]),
    "tokyo.mp3": ("ja", ["東京都の予算です。", "これは本です。"]),
    "thai.mp3": ("th", ["สวัสดีครับผมชื่อจอห์น"]),
    "call.wav": ("en", ["The meeting about the budget was short."]),
}


def finish(records: Records, recording: str, language: str, texts: list[str], **changes: Any) -> None:
    segments = [segment(3 * at, 3 * at + 3, text, speaker=f"Anna {at}") for at, text in enumerate(texts)]
    mtime_ns = list(SPOKEN).index(recording) * DAY_NS + 10**18 if recording in SPOKEN else 1
    stem = recording.rpartition(".")[0]
    values = {"recording": recording, "stem": stem, "language": language, "mtime_ns": mtime_ns, "formats": ()}
    made = transcript(*segments, **(values | changes))
    records.finish(made, made.formats)


@pytest.fixture
def dest(tmp_path: Path) -> Path:
    """A destination with a few transcripts, after a run that is over."""
    (tmp_path / "dest").mkdir()
    records = Records(FolderStore(tmp_path / "dest"))
    for recording, (language, texts) in SPOKEN.items():
        finish(records, recording, language, texts)
    records.put_run(run_of(source=str(tmp_path / "source"), ended_at=WHEN))
    return tmp_path / "dest"


@pytest.fixture(scope="session")
def filled(tmp_path_factory: pytest.TempPathFactory) -> SqliteIndex:
    """An index of the same, only to be read."""
    made = SqliteIndex(tmp_path_factory.mktemp("index") / "index.sqlite")
    made.put(
        Entry(
            key=f"{recording}.json",
            revision="1",
            digest=recording.encode(),
            recording=recording,
            stem=recording,
            language=language,
            recorded_at=datetime.fromtimestamp(10**9 + at * 24 * 3600, UTC),
            duration_s=10.0,
            passages=tuple(Passage(3.0 * n, 3.0 * n + 3, text, f"Anna {n}") for n, text in enumerate(texts)),
        )
        for at, (recording, (language, texts)) in enumerate(SPOKEN.items())
    )
    return made


def texts(found: tuple[Hit, ...]) -> set[str]:
    return {hit.text for hit in found}


def find(filled: SqliteIndex, query: str, **filters: Any) -> set[str]:
    found = filled.search(query, filters_from(**filters), limit=100, offset=0)
    assert all(hit.marks for hit in found.hits)
    return texts(found.hits)


def call(*arguments: str | Path) -> Result:
    return CliRunner().invoke(cli, [str(each) for each in arguments], prog_name="nightscribe")


MOVED, CPP, NAIVE = SPOKEN["2012/talk.mp3"][1]
STREET, DA_NANG = SPOKEN["2012/b/street.mp3"][1]
TOKYO, BOOK = SPOKEN["tokyo.mp3"][1]
[THAI] = SPOKEN["thai.mp3"][1]
[SHORT] = SPOKEN["call.wav"][1]


# What is found


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("budget", {MOVED, NAIVE, SHORT}),
        ("BUDGET", {MOVED, NAIVE, SHORT}),
        ("budget meeting", {NAIVE, SHORT}),
        ('"budget meeting"', {NAIVE}),
        ("„budget meeting“", {NAIVE}),
        ("budget OR strasse", {MOVED, NAIVE, SHORT, STREET}),
        ("(naive OR moved) budget", {NAIVE, MOVED}),
        ("budget NOT meeting", {MOVED}),
        ("budget -meeting", {MOVED}),
        ("bud* meet*", {NAIVE, SHORT}),
        ("moved NEAR berlin", {MOVED}),
        ("moved NEAR/1 berlin", set()),
        ("NEAR(meeting budget, 2)", {NAIVE, SHORT}),
        ("naive", {NAIVE}),
        ("naïve", {NAIVE}),
        ("strasse", {STREET}),
        ("STRAẞE", {STREET}),
        ("lodz", {STREET}),
        ("da nang", {DA_NANG}),
        ("nguoi viet", {DA_NANG}),
        ("don't", {CPP}),
        ("don’t", {CPP}),
        ("dont", {CPP}),
        ("C++", {CPP}),
        ("東", {TOKYO}),
        ("都", {TOKYO}),
        ("京都", {TOKYO}),
        ("東京都", {TOKYO}),
        ("東都", set()),
        ("本", {BOOK}),
        ("です", {TOKYO, BOOK}),
        ("ส", {THAI}),
        ("สวัสดี", {THAI}),
        ("จอห์น", {THAI}),
        ("", set()),
        ('"', set()),
        ("*", set()),
        ("😀", set()),
        ("AND", set()),
        ("NOT budget", {MOVED, NAIVE, SHORT}),
        ("budget AND", set()),
    ],
)
def test_what_is_typed_is_found(filled: SqliteIndex, query: str, found: set[str]) -> None:
    assert find(filled, query) == found


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        ({"speaker": "anna 2"}, {NAIVE}),
        ({"speaker": "ANNA"}, {MOVED, NAIVE, SHORT}),
        ({"speaker": "berta"}, set()),
        ({"speaker": "?"}, set()),
        ({"language": "en"}, {MOVED, NAIVE, SHORT}),
        ({"language": "German"}, set()),
        ({"folder": "2012"}, {MOVED, NAIVE}),
        ({"folder": "/2012/"}, {MOVED, NAIVE}),
        ({"folder": "201"}, set()),
        ({"folder": "call.wav"}, {SHORT}),
        ({"since": "2001-09-13"}, {SHORT}),
        ({"until": "2001-09-12"}, {MOVED, NAIVE}),
        ({"since": "2001", "until": "2001-09"}, {MOVED, NAIVE, SHORT}),
        ({"since": "2002"}, set()),
    ],
)
def test_filters_leave_out_the_rest(filled: SqliteIndex, filters: dict[str, str], found: set[str]) -> None:
    assert find(filled, "budget", **filters) == found


def test_a_filter_that_leaves_many_ranges_finds_the_same(filled: SqliteIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nightscribe.search.sqlite_index.MAX_RANGES", 0)
    assert find(filled, "budget", language="en", folder="2012") == {MOVED, NAIVE}


@given(
    st.text()
    | st.lists(
        st.sampled_from(["AND", "OR", "NOT", "NEAR", "NEAR/3", "(", ")", '"', "*", "-", "a", "東", "don't", ","])
    ).map(" ".join)
)
def test_nothing_that_is_typed_is_an_error(filled: SqliteIndex, query: str) -> None:
    filled.search(query, Filters(speaker=query, folder=query), limit=5, offset=0)


@given(st.text())
def test_tokens_have_their_places(text: str) -> None:
    assert fold(text) == " ".join(token.text for token in tokens(text))
    for word in text.split():
        assert (
            not terms(parse(word.replace('"', "")))
            or marks(text, terms(parse(f'"{word.replace(chr(34), "")}"'))) is not None
        )
    for token in tokens(text):
        assert 0 <= token.start < token.end <= len(text)


@pytest.mark.parametrize(
    ("text", "folded"),
    [
        ("Straße Đặng Ølberg Łódź ﬁne", "strasse dang olberg lodz fine"),
        ("l'homme d’État Anna's can't", "l homme d etat anna s cant"),
        ("ﾊﾞｯｸﾞ 서울에서", "バッ ッグ グ 서울 울에 에서 서"),
        ("हिन्दी", "हिन्दी"),
        ("שָׁלוֹם مُحَمَّد", "שלום محمد"),
        ("İstanbul ISI ısı", "istanbul isi isi"),
        ("AT&T 3.5 a_b F#", "at t 3 5 a b f#"),
    ],
)
def test_spelling_is_folded(text: str, folded: str) -> None:
    assert fold(text) == folded


def test_a_misspelt_word_is_corrected(filled: SqliteIndex) -> None:
    for wrong, right in [("budgte", "budget"), ("buget meeting", "budget meeting"), ("berlim", "berlin")]:
        found = filled.search(wrong, Filters(), limit=5, offset=0)
        assert (found.n_hits, found.suggestion) == (0, right)
    assert filled.search("xylophone", Filters(), limit=5, offset=0).suggestion is None
    assert filled.search("berlin meeting", Filters(), limit=5, offset=0).suggestion is None


def test_phrases_come_first_then_the_latest_recordings(filled: SqliteIndex) -> None:
    found = filled.search("budget meeting", Filters(), limit=5, offset=0)
    assert [hit.text for hit in found.hits] == [NAIVE, SHORT]
    found = filled.search("budget", Filters(), limit=5, offset=0)
    assert [hit.text for hit in found.hits] == [SHORT, MOVED, NAIVE]


def test_pages_follow_each_other(filled: SqliteIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where there are more hits than are counted."""
    for counted, has_more in [(1000, False), (2, True)]:
        monkeypatch.setattr("nightscribe.search.sqlite_index.COUNTED", counted)
        pages = [filled.search("budget", Filters(), limit=1, offset=at) for at in range(4)]
        assert [page.has_more_hits for page in pages[:3]] == [has_more] * 3
        assert [len(page) for page in pages] == [1, 1, 1, 0]
        assert texts(tuple(hit for page in pages for hit in page.hits)) == {MOVED, NAIVE, SHORT}


def test_hits_are_marked_where_they_match(filled: SqliteIndex) -> None:
    def marked(query: str) -> list[str]:
        [hit] = filled.search(query, Filters(), limit=5, offset=0).hits
        return [hit.text[start:end] for start, end in hit.marks]

    assert marked("strasse") == ["Straße"]
    assert marked("京") == ["京"]
    assert marked("予算") == ["予算"]
    assert marked("don't c++") == ["don't", "C++"]
    assert marked('"meeting about"') == ["meeting about".partition(" ")[0] + " about"]


def test_a_long_passage_is_cut_around_the_hit() -> None:
    text = "word " * 100 + "budget " + "word " * 100
    cut, places = snippet(text, marks(text, terms(parse("budget"))))
    assert cut.startswith("…word") and cut.endswith("word…") and len(cut) < 170
    assert [cut[a:b] for a, b in places] == ["budget"]


def test_a_date_that_is_none_is_refused() -> None:
    for wrong in ("yesterday", "2012-13", "2012-02-30", "0000"):
        with pytest.raises(ValueRefused, match="is not a date; give a year, a month or a day"):
            filters_from(since=wrong)


# The index follows the records


@pytest.fixture(params=["folder", "bucket"])
def place(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Location:
    """An empty destination. The index of a bucket lies in the cache of this user."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    if request.param == "folder":
        (tmp_path / "dest").mkdir()
        return FolderLocation(tmp_path / "dest")
    bucket: TestBucket = request.getfixturevalue("bucket")
    return bucket.at("texts/")


@pytest.mark.usefixtures("sockets")
def test_the_index_follows_the_records(place: Location, tmp_path: Path) -> None:
    records = Records(place.open_store(Settings().storage))
    records.put_run(run_of(source="/in"))
    for recording, (language, spoken) in SPOKEN.items():
        finish(records, recording, language, spoken)
    path = index_path(place)
    assert path.is_relative_to(tmp_path / ("dest/.nightscribe" if place.local_path else "cache/nightscribe/search"))

    def brought() -> Updated:
        return index(place, options=Settings().storage).updated

    assert brought() == Updated(n_changed=5)
    assert brought() == Updated()
    finish(records, "call.wav", "en", ["A longer meeting."])
    records.store.delete(transcript_key("2012/b/street.mp3"))
    records.store.put(transcript_key("thai.mp3"), b"{")
    finish(records, "new/new.mp3", "en", ["Something new."])
    assert brought() == Updated(n_changed=2, n_removed=1, n_unreadable=1)
    assert texts(search(place, "meeting").result.hits) == {NAIVE, "A longer meeting."}
    for query in ("strasse", "จอห์น", "short"):
        assert not search(place, query).result.hits
    assert search(place, "new").source == "/in"
    again = index(place, options=Settings().storage, rebuild=True)
    assert (again.totals.n_recordings, again.totals.n_passages) == (4, 7)


def test_a_search_finds_what_was_finished_a_moment_ago(dest: Path) -> None:
    records, place = Records(FolderStore(dest)), FolderLocation(dest)
    for number in range(5):
        finish(records, f"x{number}.mp3", "en", [f"Number {number}."])
        assert len(search(place, f"number {number}").result) == 1
        assert len(search(place, "number").result) == number + 1
    (dest / transcript_key("x0.mp3")).unlink()
    assert len(search(place, "number").result) == 4
    assert len(search(place, "number", fresh=False).result) == 4


class Counted(FolderStore):
    """Counts what is read."""

    n_read = 0

    def get(self, key: str) -> bytes | None:
        self.n_read += 1
        return super().get(key)


def test_only_changed_records_are_read(dest: Path, tmp_path: Path) -> None:
    store, made = Counted(dest), SqliteIndex(tmp_path / "index.sqlite")
    for path in [*(dest / ".nightscribe").rglob("*"), dest / ".nightscribe"]:
        os.utime(path, (10**9, 10**9))
    assert (update(store, made).n_changed, store.n_read) == (5, 5)
    assert (update(store, made).n_changed, store.n_read) == (0, 5)
    finish(Records(FolderStore(dest)), "call.wav", "en", ["Another."])
    assert (update(store, made).n_changed, store.n_read) == (1, 6)
    os.utime(dest / transcript_key("tokyo.mp3"), (10**9 + 1, 10**9 + 1))  # as a copy would be
    assert (update(store, made).n_changed, store.n_read) == (0, 7)


class Plain:
    """A store of another package, with no more than it must have."""

    max_concurrency = 1

    def __init__(self, store: FolderStore) -> None:
        self.get, self.walk = store.get, store.walk


def test_a_store_without_revisions_is_indexed_too(dest: Path, tmp_path: Path) -> None:
    store: Any = Plain(FolderStore(dest))
    made = SqliteIndex(tmp_path / "index.sqlite")
    assert update(store, made) == Updated(n_changed=5)
    (dest / transcript_key("tokyo.mp3")).unlink()
    assert update(store, made) == Updated(n_removed=1)


def contents(path: Path) -> object:
    made = SqliteIndex(path)
    return sorted(
        (hit.recording, hit.start_s, hit.text) for hit in made.search("number*", Filters(), limit=1000, offset=0).hits
    ), made._run("SELECT word, n FROM words ORDER BY word")


UPDATING = """
import sys
from pathlib import Path
from nightscribe.search import update as module
from nightscribe.search.sqlite_index import SqliteIndex
from nightscribe.shared.storage.folder.store import FolderStore
module.BATCH_RECORDINGS = 3
module.update(FolderStore(Path(sys.argv[1])), SqliteIndex(Path(sys.argv[2])), lambda n: print(n, flush=True))
"""


def updating(dest: Path, path: Path) -> "subprocess.Popen[str]":
    return subprocess.Popen([sys.executable, "-c", UPDATING, dest, path], stdout=subprocess.PIPE, text=True)


def test_updates_that_are_killed_or_made_at_once_leave_the_same_index(dest: Path, tmp_path: Path) -> None:
    records = Records(FolderStore(dest))
    for number in range(60):
        finish(records, f"{number % 4}/x{number}.mp3", "en", [f"Number number{number}.", "And so on."])
    alone, together = tmp_path / "alone.sqlite", tmp_path / "together.sqlite"
    update(FolderStore(dest), SqliteIndex(alone))
    killed = updating(dest, together)
    assert killed.stdout
    while killed.stdout.readline() != "20\n":
        pass
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    killed.stdout.close()
    both = [updating(dest, together) for _ in range(2)]
    for each in both:
        each.communicate()
        assert each.returncode == 0
    assert contents(together) == contents(alone)


@pytest.mark.parametrize("damage", [lambda content: b"not a database" * 1000, lambda content: content[:20_000]])
def test_a_damaged_index_is_made_again(dest: Path, damage: Callable[[bytes], bytes]) -> None:
    place = FolderLocation(dest)
    index(place)
    path = index_path(place)
    path.write_bytes(damage(path.read_bytes()))
    assert texts(search(place, "berlin").result.hits) == {MOVED}


def test_an_index_of_another_release_is_made_again(dest: Path) -> None:
    place = FolderLocation(dest)
    index(place)
    with SqliteIndex(index_path(place)) as made:
        made._run("PRAGMA user_version = 1")
    assert texts(search(place, "berlin").result.hits) == {MOVED}


def test_a_run_updates_only_an_index_that_is_there(dest: Path) -> None:
    place = FolderLocation(dest)
    update_if_there(place, Settings().storage)
    assert not index_path(place).exists()
    index(place)
    finish(Records(FolderStore(dest)), "call.wav", "en", ["Changed."])
    update_if_there(place, Settings().storage)
    assert len(search(place, "changed", fresh=False).result) == 1


def test_the_index_of_a_network_share_lies_in_the_cache(tmp_path: Path) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_text(
        "1 0 0:1 / / rw - ext4 /dev/sda rw\n"
        f"2 1 0:2 / {str(tmp_path.resolve()).replace(' ', chr(92) + '040')}/share rw - nfs4 host:/x rw\n"
    )
    assert is_shared(tmp_path / "share/texts", mounts)
    assert not is_shared(tmp_path / "shared", mounts)
    assert not is_shared(tmp_path, tmp_path / "nowhere")


# The command and Python


def test_the_command_prints_hits_and_how_to_play_them(dest: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nightscribe.views.search.PLAYERS", {})
    result = call("search", dest, "budget", "meeting", "--limit", "1")
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        "2012/talk.mp3  0:06  Anna 2",
        "  A naïve **budget** **meeting**.",
        f"  file://{dest.parent}/source/2012/talk.mp3#t=6",
        "1 to 1 of 2 hits in 5 transcripts. --page 2 shows more.",
    ]
    second = call("search", dest, "budget meeting", "--limit", "1", "--page", "2", "--source", "s3://in/x")
    assert second.stdout.splitlines()[2:] == ["  s3://in/x/call.wav#t=0", "2 to 2 of 2 hits in 5 transcripts."]


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("xylophone", "Nothing found in 5 transcripts.\n"),
        ("budgte", "Nothing found in 5 transcripts.\nDid you mean: budget\n"),
        ("*", "There is nothing to search for: give a word, or at least one letter or digit.\n"),
    ],
)
def test_nothing_found_is_exit_code_1(dest: Path, query: str, said: str) -> None:
    result = call("search", dest, query)
    assert (result.exit_code, result.stdout) == (1, said)


def test_the_command_prints_json(dest: Path) -> None:
    found = json.loads(call("search", dest, "berlin", "--json").stdout)
    assert found["n_hits"] == 1
    assert found["hits"][0] | {"recorded_at": None} == {
        "recording": "2012/talk.mp3", "start_s": 0.0, "end_s": 3.0, "speaker": "Anna 0", "text": MOVED,
        "marks": [[23, 29]], "language": "en", "recorded_at": None, "stem": "2012/talk",
    }  # fmt: skip


def test_what_is_said_cannot_control_the_terminal(dest: Path) -> None:
    finish(Records(FolderStore(dest)), "evil.mp3", "en", ["an \x1b[2J evil word"])
    assert "␛[2J **evil** word" in call("search", dest, "evil").stdout


def test_the_index_command_says_what_it_did(dest: Path) -> None:
    first = call("index", dest, "--source", "/somewhere").stdout.splitlines()
    assert first[0] == "Indexed: 5 new or changed transcripts, 0 removed."
    assert first[1].startswith("Index: 5 transcripts, 9 passages, ")
    assert call("index", dest).stdout.startswith("The index was up to date.\n")
    call("index", dest, "--rebuild")
    assert search(FolderLocation(dest), "berlin").source == "/somewhere"


def test_a_place_without_records_is_refused(tmp_path: Path) -> None:
    for arguments in (["search", tmp_path, "x"], ["index", tmp_path]):
        assert "holds no records of nightscribe" in call(*arguments).stderr


def test_python_searches_too(dest: Path) -> None:
    found = nightscribe.open_destination(dest).search("budget", folder="2012", limit=1)
    assert isinstance(found, nightscribe.SearchResult)
    assert (found.n_hits, len(found), found.hits[0].recording) == (2, 1, "2012/talk.mp3")


def test_a_time_is_shown_as_players_show_it() -> None:
    assert [clock(seconds) for seconds in (0.9, 61, 3661.5, 36_000)] == ["0:00", "1:01", "1:01:01", "10:00:00"]


def test_a_search_takes_no_time_where_nothing_has_changed(dest: Path) -> None:
    """Folders are looked at, and no file: their times say whether one has changed."""
    place = FolderLocation(dest)
    for path in [*(dest / ".nightscribe").rglob("*"), dest / ".nightscribe"]:
        os.utime(path, (10**9, 10**9))
    search(place, "berlin")
    (dest / transcript_key("call.wav")).chmod(0)
    before = time.time()
    assert len(search(place, "berlin").result) == 1
    assert SqliteIndex(index_path(place)).totals().checked_at.timestamp() >= before - 1  # type: ignore[union-attr]
