"""What people correct is kept beside the engine's words, flows into every text, and is never lost."""

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st
from making import OPTIONS, WHEN, run_of, segment, transcript
from support.buckets import TestBucket

import nightscribe
from nightscribe.cli.main import cli
from nightscribe.search.base import Filters
from nightscribe.services.correct import Corrected, correct, correct_passage, discard_unplaced, undo
from nightscribe.services.search import search
from nightscribe.shared.destination.keys import transcript_key
from nightscribe.shared.destination.records import HAND_EDIT, Records
from nightscribe.shared.errors import ValueRefused
from nightscribe.shared.formats.hand_edits import edits_in, is_same_in_words, patched, with_changes, words_in
from nightscribe.shared.formats.registry import render
from nightscribe.shared.model.corrections import Change, applied, carried, corrected, corrections_of, tokens_of
from nightscribe.shared.model.jobs import Layout
from nightscribe.shared.model.speakers import Speaker
from nightscribe.shared.model.transcript import Correction, Transcript, Word
from nightscribe.shared.settings import Settings
from nightscribe.shared.storage.base import Fence, Location
from nightscribe.shared.storage.folder.location import FolderLocation
from nightscribe.shared.storage.folder.store import FolderStore
from nightscribe.views.correct import seconds

FORMATS = ("txt", "vtt", "srt")
DOG = [Word(4, 4.5, "Over"), Word(4.5, 5, " the"), Word(5, 6, " lazy"), Word(6, 7, " dog,"), Word(7, 9, " end.")]
MADE = transcript(
    segment(0, 4, "The quick brown fox jumps."),
    segment(4, 9, "Over the lazy dog, end.", words=tuple(DOG)),
    segment(9, 12, "And the fox sleeps."),
    formats=FORMATS,
    decoded_s=12.0,
)
JAPANESE = transcript(segment(0, 4, "東京都の予算です。"), language="ja", formats=FORMATS, decoded_s=4.0)


def edited(made: Transcript, fmt: str, change: Callable[[str], str]) -> bytes:
    return change(render(made, fmt).decode()).encode()


def learnt(made: Transcript, fmt: str, content: bytes) -> Transcript:
    """The transcript with the corrections that a file holds."""
    edits = edits_in(content, made, fmt)
    assert edits
    return with_changes(made, edits.changes, by="Berta", at=WHEN)


def said(made: Transcript) -> list[str]:
    return [each.text for each in corrected(made).segments]


def pairs(made: Transcript) -> list[tuple[str, str]]:
    return [(each.before, each.after) for each in made.corrections]


# One text


@pytest.mark.parametrize(
    ("fmt", "change", "expected"),
    [
        ("txt", lambda text: text.replace("quick", "quirky"), [("quick", "quirky")]),
        ("vtt", lambda text: text.replace("quick", "quirky"), [("quick", "quirky")]),
        ("srt", lambda text: text.replace("quick", "quirky"), [("quick", "quirky")]),
        ("srt", lambda text: text.replace("quick", "very quick"), [("The", "The very")]),
        ("txt", lambda text: text.replace(" lazy", ""), [("lazy", "")]),
        ("txt", lambda text: "Hello. " + text, [("The", "Hello. The")]),
        ("txt", lambda text: text + "Bye.\n", [("sleeps.", "sleeps. Bye.")]),
        ("txt", lambda text: text.replace("jumps.\nOver", "jumped over"), [("jumps. Over", "jumped over")]),
        ("vtt", lambda text: text.replace("lazy", "&lt;lazy&amp;"), [("lazy", "<lazy&")]),
        ("txt", lambda text: text.replace("the fox", "a fox"), [("the", "a")]),
    ],
)
def test_changed_words_become_corrections(
    fmt: str, change: Callable[[str], str], expected: list[tuple[str, str]]
) -> None:
    content = edited(MADE, fmt, change)
    new = learnt(MADE, fmt, content)
    assert pairs(new) == expected
    assert is_same_in_words(content, new, fmt)
    assert new.segments == MADE.segments
    for other in FORMATS:
        assert [each.text for each in words_in(render(new, other).decode(), other)] == [
            token.text for token in tokens_of(new, by_time=True)
        ]


@pytest.mark.parametrize(
    ("fmt", "content"),
    [
        ("txt", edited(MADE, "txt", lambda text: text.replace("\n", "\r\n"))),
        ("txt", b"\xef\xbb\xbf" + render(MADE, "txt")),
        ("txt", render(MADE, "txt").decode().encode("utf-16")),
        ("txt", edited(MADE, "txt", lambda text: text.replace(".\n", ". ").strip())),
        ("txt", edited(MADE, "txt", lambda text: text.replace(" ", "\n\n"))),
        ("srt", edited(MADE, "srt", lambda text: text.replace("brown fox", "brown\nfox").replace("\n", "\r\n"))),
        ("srt", edited(MADE, "srt", lambda text: text.replace("00:00:04", "00:00:05"))),
        ("vtt", edited(MADE, "vtt", lambda text: text.replace("VTT\n", "VTT\n\nNOTE\n").replace("The", "<b>The</b>"))),
        ("vtt", edited(MADE, "vtt", lambda text: text.replace(".000\n", ".000 align:left\n"))),
    ],
)  # fmt: skip
def test_another_layout_is_no_correction(fmt: str, content: bytes) -> None:
    assert edits_in(content, MADE, fmt) is None
    assert is_same_in_words(content, MADE, fmt)


def test_a_line_break_in_a_script_without_spaces_is_no_correction() -> None:
    content = edited(JAPANESE, "srt", lambda text: text.replace("予算", "予\n算"))
    assert edits_in(content, JAPANESE, "srt") is None
    new = learnt(JAPANESE, "txt", edited(JAPANESE, "txt", lambda text: text.replace("予算", "予定")))
    assert (pairs(new), said(new)) == ([("算", "定")], ["東京都の予定です。"])


@pytest.mark.parametrize(
    "content", [b"", b"\n", render(MADE, "txt")[:31], b"My own notes on something else altogether. " * 9, b"\0" * 99]
)
def test_a_damaged_or_foreign_file_is_no_correction(content: bytes) -> None:
    long = MADE.model_copy(update={"segments": tuple(segment(n, n + 1, f"Number {n} of many.") for n in range(30))})
    assert edits_in(content, long if content[:1] != b"T" else MADE, "txt") is None


def test_words_that_stay_keep_their_times() -> None:
    new = corrected(
        learnt(MADE, "txt", edited(MADE, "txt", lambda text: text.replace("lazy dog,", "crazy cats and dogs,")))
    )
    words = new.segments[1].words
    assert [word.text for word in words] == ["Over", " the", " crazy", " cats", " and", " dogs,", " end."]
    assert (words[1], words[-1]) == (DOG[1], DOG[-1])
    assert [word.start_s for word in words] == sorted(word.start_s for word in words)
    assert (words[2].start_s, words[5].end_s) == (5, 7)
    renamed = corrected(learnt(MADE, "txt", edited(MADE, "txt", lambda text: text.replace("lazy", "crazy"))))
    assert renamed.segments[1].words[2] == DOG[2]._replace(text=" crazy")


def test_the_right_one_of_equal_words_is_corrected() -> None:
    """Also in a segment whose words have no times, after others in it have become longer."""
    made = transcript(segment(0, 6, "the cat the dog the cow"), formats=FORMATS)
    new = learnt(made, "txt", b"the unbelievably enormous hippopotamus the dog a cow\n")
    assert said(new) == ["the unbelievably enormous hippopotamus the dog a cow"]
    again = learnt(new, "txt", b"the unbelievably enormous hippopotamus a dog a cow\n")
    assert said(again) == ["the unbelievably enormous hippopotamus a dog a cow"]
    assert again.corrections[: len(new.corrections)] == new.corrections


EDITS = st.lists(
    st.tuples(
        st.integers(0, 30), st.sampled_from(["cut", "add", "swap"]), st.sampled_from(["fox", "the", "東京", "x-y", "Ü"])
    ),
    max_size=6,
)


@given(
    EDITS,
    st.sampled_from(FORMATS),
    st.lists(st.sampled_from(["the fox the dog", "a b a b a", "東京都の予算", "Yes."]), min_size=1, max_size=6),
    st.booleans(),
)
def test_whatever_is_changed_is_in_the_record_afterwards(
    edits: list[tuple[int, str, str]], fmt: str, texts: list[str], is_narrow: bool
) -> None:
    layout = Layout(line_chars=12) if is_narrow else Layout()
    made = transcript(
        *(segment(3 * at, 3 * at + 3, text) for at, text in enumerate(texts)), formats=FORMATS, layout=layout
    )
    content = render(made, fmt).decode()
    for at, kind, word in edits:
        if not (places := words_in(content, fmt)):
            break
        place = places[at % len(places)]
        after = {"cut": "", "add": f"{place.text} {word}", "swap": word}[kind]
        content = content[: place.start] + after + content[place.end :]
    if (found := edits_in(content.encode(), made, fmt)) is None:
        return
    new = with_changes(made, found.changes, by="Berta", at=WHEN)
    assert is_same_in_words(content.encode(), new, fmt)
    assert not applied(new).unplaced
    assert Transcript.model_validate_json(new.model_dump_json()) == new
    # What is carried over to the same words is the same.
    shifted = made.model_copy(
        update={"segments": tuple(each.model_copy(update={"start_s": each.start_s + 0.1}) for each in made.segments)}
    )
    assert carried(new, shifted) == new.corrections


def test_a_layout_that_a_person_has_made_gets_new_words() -> None:
    content = b"\xef\xbb\xbfThe quick brown fox jumps. Over the lazy dog, end.\r\n\r\nAnd the fox sleeps."
    new = learnt(
        MADE, "srt", edited(MADE, "srt", lambda text: text.replace("lazy ", "").replace("quick", "very quick"))
    )
    assert patched(content, new, "txt") == content.replace(b"lazy ", b"").replace(b"The quick", b"The very quick")


# A transcript that is made again


def made_again(*texts: str) -> Transcript:
    return transcript(
        *(segment(4 * at + 0.2, 4 * at + 4, text) for at, text in enumerate(texts)), finished_at=WHEN + timedelta(1)
    )


OLD = learnt(MADE, "txt", edited(MADE, "txt", lambda text: text.replace("quick", "quirky").replace("lazy", "crazy")))


DOG_TEXT, CRAZY = "Over the lazy dog, end.", "Over the crazy dog, end."


@pytest.mark.parametrize(
    ("texts", "expected", "n_unplaced"),
    [
        (["The quick brown fox jumps.", DOG_TEXT], ["The quirky brown fox jumps.", CRAZY], 0),
        (
            ["Well, the quick one.", "It jumps over a lazy dog."],
            ["Well, the quirky one.", "It jumps over a crazy dog."],
            0,
        ),
        (["The quirky brown fox jumps.", DOG_TEXT], ["The quirky brown fox jumps.", CRAZY], 0),
        (["The sick brown fox jumps.", DOG_TEXT], ["The sick brown fox jumps.", CRAZY], 1),
        (["", ""], ["", ""], 2),
    ],
)
def test_corrections_follow_their_words_into_a_new_transcript(
    texts: list[str], expected: list[str], n_unplaced: int
) -> None:
    new = made_again(*texts)
    merged = new.model_copy(update={"corrections": carried(OLD, new)})
    assert said(merged) == expected
    unplaced = applied(merged).unplaced
    assert len(unplaced) == n_unplaced
    assert all(each.by == "Berta" for each in merged.corrections)
    # And once more with the first words, where all are placed again.
    back = MADE.model_copy(update={"corrections": carried(merged, MADE)})
    if n_unplaced < 2:
        assert said(back)[1] == "Over the crazy dog, end."


# In a destination


@pytest.fixture(params=["folder", "bucket"])
def place(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Location:
    """A destination with one transcript."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    if request.param == "folder":
        (tmp_path / "dest").mkdir()
        made: Location = FolderLocation(tmp_path / "dest")
    else:
        bucket: TestBucket = request.getfixturevalue("bucket")
        made = bucket.at("texts/")
    records = records_of(made)
    records.finish(MADE, FORMATS)
    records.put_run(run_of(source="/in"))
    return made


def records_of(place: Location) -> Records:
    return Records(place.open_store(Settings().storage))


def texts_of(place: Location) -> dict[str, str]:
    store = records_of(place).store
    return {name: (store.get(name) or b"").decode() for name in store.names("")}


def change_text(place: Location, name: str, *changes: tuple[str, str]) -> None:
    store = records_of(place).store
    content = (store.get(name) or b"").decode()
    for before, after in changes:
        assert before in content
        content = content.replace(before, after)
    store.put(name, content.encode())


def record_of(place: Location) -> Transcript:
    found = records_of(place).transcript("talk.mp3")
    assert found
    return found


def looked(place: Location, **more: Any) -> Corrected | None:
    done = correct(place, by="Berta", options=Settings().storage, **more)
    assert done.n_checked == 1
    return done.recordings[0] if done.recordings else None


@pytest.mark.usefixtures("sockets")
def test_an_edited_text_flows_into_the_record_the_other_texts_and_the_search(place: Location) -> None:
    change_text(place, "talk.txt", ("quick", "quirky"), (".\nOver", ". Over"))
    before = texts_of(place)
    dry = looked(place, dry_run=True)
    assert dry and [(each.before, each.after) for each in dry.corrections] == [("quick", "quirky")]
    assert (texts_of(place), record_of(place)) == (before, MADE)
    done = looked(place)
    assert done and (done.sources, sorted(done.written), done.left) == (("talk.txt",), ["talk.srt", "talk.vtt"], ())
    after = texts_of(place)
    assert set(after) == set(before)
    assert after["talk.txt"] == before["talk.txt"]  # the person's paragraphs
    assert all("quirky" in text for text in after.values())
    record = record_of(place)
    assert (record.segments, record.version, record.corrections[0].by) == (MADE.segments, 2, "Berta")
    assert looked(place) is None
    assert len(search(place, "quirky", Filters()).result) == 1
    # The next correction goes into the text with the person's paragraphs, too.
    again = correct_passage(place, "talk.mp3", 10, "And the fox snores.", by="Carl", options=Settings().storage)
    assert sorted(again.written) == ["talk.srt", "talk.txt", "talk.vtt"]
    assert texts_of(place)["talk.txt"] == after["talk.txt"].replace("sleeps", "snores")
    taken_back = undo(place, "talk.mp3", by="Carl", options=Settings().storage)
    assert [(each.before, each.after) for each in taken_back.corrections] == [("snores.", "sleeps.")]
    assert texts_of(place) == after
    assert len(record_of(place).corrections) == 3
    assert looked(place) is None


@pytest.mark.usefixtures("sockets")
def test_edits_of_several_files_are_united_or_reported(place: Location) -> None:
    change_text(place, "talk.txt", ("quick", "quirky"))
    change_text(place, "talk.srt", ("sleeps", "snores"))
    done = looked(place)
    assert done and done.sources == ("talk.txt", "talk.srt")
    assert all("quirky" in text and "snores" in text for text in texts_of(place).values())
    change_text(place, "talk.txt", ("lazy", "crazy"))
    change_text(place, "talk.vtt", ("lazy", "hazy"), ("fox", "ox"))
    before, record = texts_of(place), record_of(place)
    done = looked(place)
    assert done and (set(done.contradicting), done.corrections) == ({"talk.txt", "talk.vtt"}, ())
    assert (texts_of(place), record_of(place)) == (before, record)
    records_of(place).store.delete("talk.txt")
    done = looked(place)
    assert done and not done.contradicting
    assert "hazy" in texts_of(place)["talk.srt"]


def test_a_process_that_dies_between_record_and_texts_takes_nothing_back(tmp_path: Path) -> None:
    place = FolderLocation(tmp_path)
    records_of(place).finish(MADE, FORMATS)
    for word in ("quirky", "slow"):
        written = edited(MADE, "txt", lambda text, word=word: text.replace("quick", word))  # type: ignore[misc]
        records_of(place).revise("talk.mp3", lambda old, written=written: learnt(old, "txt", written))  # type: ignore[misc]
    assert "quick" in texts_of(place)["talk.txt"]
    done = looked(place)
    assert done and (done.corrections, len(done.written)) == ((), 3)
    assert all("slow" in text for text in texts_of(place).values())


@pytest.mark.parametrize("is_absorbed", [True, False])
def test_a_redo_keeps_corrections(tmp_path: Path, is_absorbed: bool) -> None:
    """Also those that nobody has looked at yet, whose file is kept as it was."""
    place = FolderLocation(tmp_path)
    records_of(place).finish(MADE, FORMATS)
    change_text(place, "talk.txt", ("quick", "quirky"), ("lazy", "crazy"))
    if is_absorbed:
        looked(place)
    new = made_again("Well, the quick brown fox jumps.", "Over the hazy dog, end.", "And the fox sleeps.")
    records_of(place).finish(new.model_copy(update={"formats": FORMATS}), FORMATS)
    assert said(record_of(place))[:2] == ["Well, the quirky brown fox jumps.", "Over the hazy dog, end."]
    assert record_of(place).corrections[0].by == ("Berta" if is_absorbed else HAND_EDIT)
    assert all(
        "Well, the quirky brown" in text
        for name, text in texts_of(place).items()
        if "kept" not in name and name != "talk.srt"
    )
    if not is_absorbed:
        assert "The quirky brown" in texts_of(place)["talk (kept).txt"]
    done = looked(place)
    assert done and [each.after for each in done.unplaced] == ["the crazy dog,"]
    discard_unplaced(place, "talk.mp3")
    assert looked(place) is None
    assert "quirky" in said(record_of(place))[0]


def test_a_rename_keeps_corrections(tmp_path: Path) -> None:
    place = FolderLocation(tmp_path)
    records_of(place).finish(MADE, FORMATS)
    correct_passage(place, "talk.mp3", 1, "The quirky fox.", by="Berta")
    records_of(place).rename(record_of(place), "new/name.mp3", 1, "new/name", FORMATS)
    moved = records_of(place).transcript("new/name.mp3")
    assert moved and said(moved)[0] == "The quirky fox."
    assert "quirky" in (tmp_path / "new/name.srt").read_text()
    assert not (tmp_path / "talk.txt").exists()


class Interrupted(FolderStore):
    """Lets another process correct the transcript just before the first exchange."""

    def __init__(self, root: Path, meanwhile: Callable[[], object]) -> None:
        super().__init__(root)
        self._meanwhile: list[Callable[[], object]] = [meanwhile]

    def put_if_same(self, key: str, content: bytes, before: bytes, fence: Fence | None = None) -> bool:
        if key == transcript_key("talk.mp3") and self._meanwhile:
            self._meanwhile.pop()()
        return super().put_if_same(key, content, before, fence)


@pytest.mark.parametrize("what", ["correct", "redo"])
def test_corrections_at_the_same_time_are_all_kept(tmp_path: Path, what: str) -> None:
    place = FolderLocation(tmp_path)
    records_of(place).finish(MADE, FORMATS)
    records = Records(
        Interrupted(tmp_path, lambda: correct_passage(place, "talk.mp3", 1, "The quirky brown fox jumps.", by="Carl"))
    )
    if what == "redo":
        records.finish(MADE.model_copy(update={"redo": "1"}), FORMATS)
    else:
        records.revise(
            "talk.mp3", lambda old: learnt(old, "txt", edited(old, "txt", lambda text: text.replace("lazy", "crazy")))
        )
        assert "crazy" in said(record_of(place))[1]
    assert "quirky" in said(record_of(place))[0]


@pytest.mark.usefixtures("sockets")
def test_an_exchange_fails_if_the_file_has_changed(place: Location) -> None:
    store = records_of(place).store
    assert hasattr(store, "put_if_same") or hasattr(store, "put_version")
    from nightscribe.shared.storage.base import put_if_same

    store.put("x", b"1")
    assert not put_if_same(store, "x", b"3", b"2")
    assert not put_if_same(store, "y", b"3", b"2")
    assert (store.get("x"), store.get("y")) == (b"1", None)
    assert put_if_same(store, "x", b"3", b"1")
    assert store.get("x") == b"3"


# The command, and Python


@pytest.fixture
def dest(tmp_path: Path) -> Path:
    """A folder with one transcript."""
    Records(FolderStore(tmp_path)).finish(MADE, FORMATS)
    return tmp_path


def call(*arguments: str | Path) -> Result:
    return CliRunner().invoke(cli, ["correct", *map(str, arguments)], prog_name="nightscribe")


def test_the_command_shows_a_diff(dest: Path) -> None:
    change_text(FolderLocation(dest), "talk.txt", ("quick", "quirky"))
    expected = ["talk.mp3, from talk.txt", "     0:00  - quick", "           + quirky"]
    result = call(dest, "--dry-run")
    rest = ["  Its other texts would be written again.", "Would take 1 correction in 1 transcript."]
    assert result.stdout.splitlines() == [*expected, *rest]
    result = call(dest, "--by", "Anna")
    assert result.stdout.splitlines() == [
        *expected,
        "  Written: talk.vtt, talk.srt",
        "Took 1 correction in 1 transcript.",
    ]
    assert result.exit_code == 0
    assert call(dest).stdout == "No new correction in 1 transcript.\n"
    assert record_of(FolderLocation(dest)).corrections[0].by == "Anna"


def test_the_command_corrects_a_passage_and_takes_it_back(dest: Path) -> None:
    assert call(dest, "talk.mp3", "--at", "0:05", "Over the crazy dog, end.").exit_code == 0
    assert "crazy" in (dest / "talk.srt").read_text()
    found = json.loads(call(dest, "talk.mp3", "--undo", "--json").stdout)
    assert [(each["before"], each["after"]) for each in found["recordings"][0]["corrections"]] == [("crazy", "lazy")]
    assert "crazy" not in (dest / "talk.srt").read_text()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["talk.mp3", "--at", "soon", "x"], "--at is 'soon': give seconds or a time such as 1:02:03."),
        (["talk.mp3", "--at", "99", "x"], "Nobody speaks at 1:39 in 'talk.mp3'; give a time at which there is text."),
        (["talk.mp3", "--at", "1"], "With --at, give one recording and its new text."),
        (["nosuch"], "No transcript matches 'nosuch'; give a part of a recording's path, or a glob."),
        (["--undo"], "With --undo, give one recording."),
        (["talk.mp3", "--undo", "--at", "1"], "Give only one of --at, --undo and --discard-unplaced."),
        (["talk.mp3", "--undo"], "'talk.mp3' has no correction that could be taken back."),
        (["other.mp3", "--undo"], "'other.mp3' has no transcript; give the path of a recording below SOURCE."),
    ],
)
def test_wrong_use_is_a_sentence(dest: Path, arguments: list[str], sentence: str) -> None:
    result = call(dest, *arguments)
    assert result.exit_code == 2
    assert result.stderr.strip().splitlines()[-1] == f"Error: {sentence}"


def test_files_that_contradict_each_other_are_exit_code_1(dest: Path) -> None:
    change_text(FolderLocation(dest), "talk.txt", ("quick", "quirky"))
    change_text(FolderLocation(dest), "talk.srt", ("quick", "sick"))
    result = call(dest)
    assert result.exit_code == 1
    assert "Not taken: talk.txt and talk.srt say different things in the same place." in result.stdout


def test_words_are_added_where_the_engine_found_none(tmp_path: Path) -> None:
    place = FolderLocation(tmp_path)
    records_of(place).finish(transcript(formats=FORMATS, decoded_s=9.0), FORMATS)
    correct_passage(place, "talk.mp3", 2.0, "Somebody whispers.", by="Berta")
    assert said(record_of(place)) == ["Somebody whispers."]
    assert "00:00:02,000" in (tmp_path / "talk.srt").read_text()


def test_python_corrects_too(dest: Path) -> None:
    (dest / ".nightscribe/run.json").write_text(run_of().model_dump_json())
    destination = nightscribe.open_destination(dest)
    found = destination.correct("talk.mp3", 1.0, "The quirky brown fox jumps.", by="Anna")
    assert found.text.startswith("The quirky")
    assert isinstance(found.corrections[0], nightscribe.Correction)
    assert found.record.segments == MADE.segments
    assert '"text": "The quirky brown fox jumps."' in found.to("json")
    with pytest.raises(ValueRefused, match="has no transcript"):
        destination.correct("other.mp3", 1.0, "x", by="Anna")
    with pytest.raises(ValueRefused, match="Nobody speaks at 0:50"):
        destination.correct("talk.mp3", 50.0, "x", by="Anna")


def test_times_are_read_as_people_write_them() -> None:
    assert [seconds(text) for text in ("12.3", "1:02", "1:02:03.5")] == [12.3, 62, 3723.5]


def test_a_correction_of_a_correction_is_placed() -> None:
    tokens = tokens_of(OLD)
    [at] = [n for n, token in enumerate(tokens) if token.text == "quirky"]
    again = corrections_of(OLD, tokens, [Change(at, at + 1, "odd")], by="Carl", at=WHEN)
    assert said(OLD.model_copy(update={"corrections": (*OLD.corrections, *again)}))[0] == "The odd brown fox jumps."


def test_a_correction_whose_words_are_not_there_is_reported() -> None:
    lost = Correction(by="Berta", at=WHEN, start_s=0, end_s=1, before="slow", after="fast")
    found = applied(MADE.model_copy(update={"corrections": (lost,)}))
    assert (found.segments, found.unplaced) == (MADE.segments, (lost,))


def test_a_name_of_a_speaker_is_no_trouble_and_the_command_says_how_to_name_a_voice(dest: Path) -> None:
    labelled = transcript(
        segment(0, 4, "The quick brown fox jumps.", speaker="Speaker 1"),
        segment(4, 9, "Over the lazy dog.", speaker="Speaker 2"),
        recording="two.mp3",
        stem="two",
        formats=FORMATS,
        options=OPTIONS.model_copy(update={"speakers": "auto"}),
        speakers=(Speaker(label="Speaker 1", clean_s=4), Speaker(label="Speaker 2", clean_s=5)),
    )
    Records(FolderStore(dest)).finish(labelled, FORMATS)
    change_text(FolderLocation(dest), "two.txt", ("Speaker 2:", "Anna:"))
    for arguments in ((dest, "--dry-run"), (dest,), (dest,)):
        result = call(*arguments)
        assert result.exit_code == 0
        assert "two.txt differs only in names of speakers" in result.stdout
        assert "nightscribe speakers name DEST 'two.mp3#N' NAME" in result.stdout
    assert "Anna: Over the lazy dog." in (dest / "two.txt").read_text()


def test_a_dry_run_names_files_that_would_be_left(dest: Path) -> None:
    (dest / "talk.srt").write_bytes(b"")
    dry, real = call(dest, "--dry-run"), call(dest)
    assert "  Left as it is: talk.srt differs from its record" in dry.stdout
    assert dry.stdout == real.stdout
    assert dry.exit_code == real.exit_code == 1
