"""Records in a real folder: what is written is read back, and what is damaged is not there."""

import json
import os
import socket
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from making import OPTIONS, WHEN, activity, failure, job, part, run_of, segment, slice_of, transcript

from nightscribe.shared.destination.json_store import NewerRecord
from nightscribe.shared.destination.keys import JOBS, RUN, failure_key, parts_folder, transcript_key
from nightscribe.shared.destination.partial_results import CLAIM_SUFFIX, CUTS, NewerPart
from nightscribe.shared.destination.records import Records
from nightscribe.shared.errors import PermanentError, RetryableError
from nightscribe.shared.formats.registry import BUILT_IN, render, suffix_of
from nightscribe.shared.model.jobs import FormatName, Layout
from nightscribe.shared.model.transcript import Correction, Flag, Provenance, Review, Transcript, Word, utc_now
from nightscribe.shared.model.versioned import Stored
from nightscribe.shared.process import identity
from nightscribe.shared.process.identity import process_name, short_name
from nightscribe.shared.storage.base import Fence
from nightscribe.shared.storage.folder.store import FolderStore

ALL = tuple(BUILT_IN)
DONE = transcript(
    segment(0, 1, "Räksmörgås & <b>."), segment(1, 2, "🎤"), flags=(Flag.TRUNCATED,), redo="run-1", mtime_ns=2**60 + 1
)


@pytest.fixture
def records(tmp_path: Path) -> Records:
    """An empty destination."""
    return Records(FolderStore(tmp_path))


def damage(records: Records, key: str, content: bytes) -> None:
    records.store.put(key, content)


# Finished recordings


def test_a_finished_transcript_is_read_back_whole(records: Records) -> None:
    records.finish(DONE, ("txt",))
    assert records.transcript("talk.mp3") == DONE


def test_how_it_was_made_is_read_without_its_text(records: Records) -> None:
    records.finish(DONE, ())
    found = records.provenance("talk.mp3")
    assert found is not None
    assert not hasattr(found, "segments")
    assert Provenance.model_validate(found.model_dump()) == Provenance.model_validate(
        DONE.model_dump(exclude={"segments"})
    )


class Ends(FolderStore):
    """Gives away nothing but the ends of files."""

    def get(self, key: str) -> bytes | None:
        raise AssertionError(f"{key} was read whole")


def test_of_a_long_transcript_only_the_ends_are_read(tmp_path: Path) -> None:
    """A million of them are compared at each run."""
    long = transcript(*(segment(n, n + 1, "words " * 50) for n in range(1000)))
    Records(FolderStore(tmp_path)).finish(long, ())
    assert Records(Ends(tmp_path)).provenance("talk.mp3") == records_of(tmp_path).provenance("talk.mp3")
    assert Records(Ends(tmp_path)).provenance("other.mp3") is None


def records_of(folder: Path) -> Records:
    return Records(FolderStore(folder))


ODD = [
    '","segments":[',
    '"segments":[]',
    "\\",
    '\\"',
    ',"segments":[',
    "]}",
    '{"segments":[',
    "a" * 250,
    "é" * 4000,
    "\n",
]


@pytest.mark.parametrize("odd", ODD, ids=range(len(ODD)))
def test_what_a_recording_is_called_does_not_change_how_it_is_read(records: Records, odd: str) -> None:
    odd_one = transcript(segment(text=odd), stem=odd, engine=odd, fingerprint=odd)
    records.finish(odd_one, ())
    found = records.provenance("talk.mp3")
    assert found is not None
    assert (found.stem, found.engine, found.fingerprint) == (odd, odd, odd)


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("turned", [True, False])
def test_a_transcript_that_someone_has_written_in_another_way_is_read_as_well(
    records: Records, indent: int | None, turned: bool
) -> None:
    items = list(DONE.model_dump(mode="json").items())
    written = json.dumps(dict(reversed(items) if turned else items), indent=indent) + "\n"
    records.store.put(transcript_key("talk.mp3"), written.encode())
    found = records.provenance("talk.mp3")
    assert found is not None
    assert found.redo == "run-1"


def test_finishing_writes_the_formats_asked_for(records: Records) -> None:
    records.finish(DONE, ("vtt", "json"))
    assert set(records.store.names("")) == {"talk.vtt", "talk.json"}
    assert records.store.get("talk.vtt") == render(DONE, "vtt")


def test_what_somebody_else_put_there_is_kept_beside(records: Records) -> None:
    """It came after the director looked, or between two tries."""
    records.store.put("talk.vtt", b"my own notes")
    records.finish(DONE, ("txt", "vtt", "srt"))
    assert records.store.get("talk (kept).vtt") == b"my own notes"
    assert records.store.get("talk.vtt") == render(DONE, "vtt")
    assert set(records.store.names("")) == {"talk.txt", "talk.vtt", "talk.srt", "talk (kept).vtt"}


@pytest.mark.parametrize("left", ["whole", "damaged", "gone"])
def test_texts_of_an_earlier_transcript_are_written_over(records: Records, left: str) -> None:
    """Without that one nobody knows whose they are."""
    before = DONE.model_copy(update={"fingerprint": "9-old", "segments": (segment(text="As it was."),)})
    records.finish(before, ("txt",))
    key = transcript_key("talk.mp3")
    if left == "damaged":
        records.store.put(key, (records.store.get(key) or b"")[:-1])
    elif left == "gone":
        records.store.delete(key)
    records.finish(DONE, ("txt", "srt"))
    assert records.store.get("talk.txt") == render(DONE, "txt")
    assert ("talk (kept).txt" in records.store.names("")) == (left != "whole")


def test_two_who_put_a_recording_together_write_the_same(records: Records) -> None:
    """At another moment, which the canonical transcript and its copy tell."""
    formats = [fmt for fmt in BUILT_IN if fmt != "pdf"]  # a PDF is refused where no font has a picture that DONE holds
    records.finish(DONE, formats)
    records.finish(DONE.model_copy(update={"finished_at": utc_now()}), formats)
    assert set(records.store.names("")) == {f"talk{suffix_of(fmt)}" for fmt in formats}


def test_missing_texts_are_written_and_no_other(records: Records) -> None:
    records.store.put("talk.srt", b"edited")
    records.texts.put_missing(DONE, ("txt", "srt"))
    assert records.store.get("talk.srt") == b"edited"
    assert records.store.get("talk.txt") == render(DONE, "txt")


class Failing(FolderStore):
    """A disk that is full from the n-th file on."""

    room = 0

    def put(self, key: str, content: bytes, *, durable: bool = True) -> None:
        self._take_room()
        super().put(key, content, durable=durable)

    def put_new(self, key: str, content: bytes) -> bool:
        self._take_room()
        return super().put_new(key, content)

    def _take_room(self) -> None:
        if not self.room:
            raise RetryableError("No space left on device.")
        self.room -= 1


@pytest.mark.parametrize("room", range(3))
def test_a_recording_is_not_finished_before_its_last_text_file_is_there(tmp_path: Path, room: int) -> None:
    store = Failing(tmp_path)
    store.room = room
    records = Records(store)
    with pytest.raises(RetryableError):
        records.finish(DONE, ("txt", "vtt", "srt"))
    assert records.provenance("talk.mp3") is None
    assert len(store.names("")) == room


def test_nothing_is_known_of_a_recording_never_seen(records: Records) -> None:
    assert records.provenance("a.mp3") is None
    assert records.transcript("a.mp3") is None
    assert records.failure("a.mp3") is None
    assert records.partial_results.get(job(), slice_of()) is None
    assert list(records.activities()) == []
    assert not records.partial_results.claimed_stem("a.mp3")


WHOLE = DONE.model_dump(mode="json")
DAMAGED = [
    b"", b"\0" * 500, b"{", b"null", b"[]", b"{}", b"\xff\xfe", DONE.model_dump_json().encode()[:-20],
    json.dumps(WHOLE | {"version": 0}).encode(), b"[" * 100_000, b'{"version": 1' + b" " * 1000,
    b'{"version": "new"}', b'{"version": 3',
]  # fmt: skip


def everywhere(records: Records, content: bytes) -> None:
    """Let it be all that any record of `a.mp3` says."""
    folder = parts_folder("a.mp3")
    records.partial_results.claim(job(slice_of("a.mp3")), slice_of("a.mp3"), worker="here-1", message="m")
    records.partial_results.put(job(slice_of("a.mp3")), slice_of("a.mp3"), part())
    records.partial_results.keep_cuts("a.mp3", "10-abc", (1.0,))
    of_parts = [folder + name for name in records.store.names(folder)]
    assert len(of_parts) == 3
    for key in (transcript_key("a.mp3"), failure_key("a.mp3"), JOBS + "here-1.json", RUN, *of_parts):
        records.store.put(key, content)


def assert_no_work_is_known(records: Records) -> None:
    assert records.transcript("a.mp3") is None
    assert records.orphan(transcript_key("a.mp3")) is None
    assert records.provenance_at(transcript_key("a.mp3")) is None
    assert records.partial_results.get(job(slice_of("a.mp3")), slice_of("a.mp3")) is None
    with pytest.raises(PermanentError, match="can no longer be read"):
        records.partial_results.all(job(slice_of("a.mp3")), slice_of("a.mp3"))
    assert records.partial_results.claimed_stem("a.mp3") is None
    assert (
        records.partial_results.claimed_by(job(slice_of("a.mp3")), slice_of("a.mp3"), besides="other", for_s=1e6)
        is None
    )
    assert records.partial_results.kept_cuts("a.mp3", "10-abc") is None
    assert records.last_run() is None
    assert list(records.activities()) == []


@pytest.mark.parametrize("content", DAMAGED)
def test_a_damaged_record_counts_as_absent(records: Records, content: bytes) -> None:
    """After a power cut or a careless edit; one of them must not end the night."""
    everywhere(records, content)
    assert records.provenance("a.mp3") is None
    assert records.failure("a.mp3") is None
    assert_no_work_is_known(records)


WRONG_STEM = {"stem": "../../etc/motd"}


@pytest.mark.parametrize("changed", [{"size": "many"}, {"stem": None}, WRONG_STEM, {"engine": 7}, {"options": {}}])
def test_a_transcript_with_a_wrong_field_counts_as_absent(records: Records, changed: dict[str, Any]) -> None:
    records.store.put(transcript_key("a.mp3"), json.dumps(WHOLE | changed).encode())
    assert records.provenance("a.mp3") is None
    assert records.transcript("a.mp3") is None


@pytest.mark.parametrize("changed", [{"engine": 7}, {"segments": None}, {"decoded_s": "long"}])
def test_a_part_with_a_wrong_field_counts_as_absent(records: Records, changed: dict[str, Any]) -> None:
    records.partial_results.put(job(), slice_of(), part())
    [name] = records.store.names(parts_folder("talk.mp3"))
    damage(records, parts_folder("talk.mp3") + name, json.dumps(part().model_dump(mode="json") | changed).encode())
    assert records.partial_results.get(job(), slice_of()) is None


@pytest.mark.parametrize("indent", [None, 2])
def test_a_result_of_a_newer_version_is_never_taken_for_absent(records: Records, indent: int | None) -> None:
    """Else an old machine would overwrite what a new one has done; whoever asks is told what to do."""
    newer = json.dumps({"version": 3, "recording": "a.mp3", "mood": "calm", "segments": []}, indent=indent).encode()
    everywhere(records, newer)
    for ask, key in ((records.provenance, transcript_key("a.mp3")), (records.failure, failure_key("a.mp3"))):
        with pytest.raises(NewerRecord, match=r"a newer nightscribe \(version 3 of .* Update nightscribe\.") as raised:
            ask("a.mp3")
        assert repr(key) in str(raised.value)
    # Notes about unfinished work are made again. What was transcribed is not: a newer worker goes on with it.
    partial = records.partial_results
    for read in (partial.get, partial.all):
        with pytest.raises(NewerPart, match="a newer nightscribe"):
            read(job(slice_of("a.mp3")), slice_of("a.mp3"))
    assert partial.stored(job(slice_of("a.mp3")), slice_of("a.mp3")) == {0}
    assert partial.claimed_stem("a.mp3") is None
    assert partial.kept_cuts("a.mp3", "10-abc") is None
    assert records.last_run() is None
    assert list(records.activities()) == []


def test_of_a_transcript_that_lost_its_end_it_is_known_how_it_was_made(records: Records) -> None:
    """Where its text files are, for one."""
    made = transcript(segment(text="word " * 5000), stem="talk.mp3", formats=("txt",))
    records.finish(made, ())
    before = records.provenance("talk.mp3")
    whole = records.store.get(transcript_key("talk.mp3"))
    assert whole is not None
    for n_bytes in (len(whole) - 1, len(whole) // 2, whole.index(b"segments") + 12):
        damage(records, transcript_key("talk.mp3"), whole[:n_bytes])
        assert records.provenance("talk.mp3") is None
        assert records.damaged("talk.mp3") == before
    damage(records, transcript_key("talk.mp3"), whole[:100])
    assert records.damaged("talk.mp3") is None
    assert records.damaged("nowhere.mp3") is None


@pytest.mark.parametrize("cuts", [(0.0,), (-1.0, 5.0), (5.0, 5.0), (9.0, 1.0), (float("nan"),), (float("inf"),)])
def test_cuts_that_cannot_be_are_made_anew(records: Records, cuts: tuple[float, ...]) -> None:
    damage(records, parts_folder("a.mp3") + CUTS, json.dumps({"fingerprint": "1", "cuts": cuts}).encode())
    assert records.partial_results.kept_cuts("a.mp3", "1") is None


def test_files_of_others_among_the_parts_are_no_parts(records: Records) -> None:
    """Programs that keep folders in step on two machines leave copies under names of their own."""
    records.partial_results.put(job(), slice_of(), part())
    folder = parts_folder("talk.mp3")
    [name] = records.store.names(folder)
    for other in (name.replace(".json", " (conflicted copy).json"), name + ".bak", name.replace("0.json", ".json")):
        damage(records, folder + other, b"{}")
    assert len(records.store.names(folder)) == 4
    assert records.partial_results.stored(job(), slice_of()) == {0}
    assert records.partial_results.all(job(), slice_of()) == [part()]


def test_a_damaged_record_is_replaced_by_the_next_one(records: Records) -> None:
    damage(records, transcript_key("talk.mp3"), b"{")
    records.finish(DONE, ())
    assert records.transcript("talk.mp3") == DONE


# Fields of other releases, and of the second version

MARK = {"mood": "calm"}


def with_marks(value: Any) -> Any:
    """A record into which another release wrote a field wherever there is room for one."""
    if isinstance(value, dict):
        return {name: with_marks(each) for name, each in value.items()} | MARK
    return [with_marks(each) for each in value] if isinstance(value, list) else value


def test_a_rename_keeps_what_other_releases_wrote(records: Records) -> None:
    written = with_marks(DONE.model_dump(mode="json"))
    records.store.put(transcript_key("talk.mp3"), json.dumps(written).encode())
    old = records.transcript("talk.mp3")
    assert old
    records.rename(old, "new.mp3", 7, "new", ("txt",))
    kept = records.store.get(transcript_key("new.mp3"))
    assert kept
    assert json.loads(kept) == written | {"version": 2, "recording": "new.mp3", "stem": "new", "mtime_ns": 7}


@pytest.mark.parametrize("made", [activity(), run_of(), failure(), part(segment()), DONE])
def test_a_field_of_another_release_is_kept_in_every_record(records: Records, made: Stored) -> None:
    written = with_marks(made.model_dump(mode="json"))
    again = type(made).model_validate(written).model_copy(update={})
    assert json.loads(again.model_dump_json()) | {"version": 1} == written | {"version": 1}


WORDS = (Word(0.0, 0.5, "Hello", "anna"), Word(0.5, 1.0, " there."))
REVIEWED = Review(by="Berta", at=WHEN)
CORRECTION = Correction(by="Berta", at=WHEN, start_s=0.0, end_s=1.0, before="Hallo.", after="Hello.")
NEW = [
    transcript(formats=("txt", "ass")),
    transcript(segment(speaker="anna")),
    transcript(segment(words=WORDS)),
    transcript(segment(average_log_probability=None)),
    transcript(segment(no_speech_probability=None)),
    transcript(segment(compression_ratio=None)),
    transcript(content_sha256="0" * 64),
    transcript(reviewed=REVIEWED),
    transcript(segment(), corrections=(CORRECTION,)),
]


@pytest.mark.parametrize("made", NEW)
def test_what_is_new_in_the_second_version_is_read_back_and_needs_it(records: Records, made: Transcript) -> None:
    records.finish(made, ())
    assert made.version == 2
    assert records.transcript("talk.mp3") == made
    found = records.provenance("talk.mp3")
    assert found
    assert (found.content_sha256, found.reviewed) == (made.content_sha256, made.reviewed)


def test_a_copy_states_the_version_that_it_needs() -> None:
    assert DONE.version == 1
    newer = DONE.model_copy(update={"content_sha256": "0" * 64})
    assert newer.version == 2
    assert newer.model_copy(update={"content_sha256": None}).version == 1


def test_a_word_without_a_speaker_is_a_list_of_three(records: Records) -> None:
    """So the first version reads it."""
    [first, second] = json.loads(transcript(segment(words=WORDS)).model_dump_json())["segments"][0]["words"]
    assert (first, second) == ([0.0, 0.5, "Hello", "anna"], [0.5, 1.0, " there."])


def test_how_a_corrected_transcript_was_made_is_read_from_the_ends_of_its_file(tmp_path: Path) -> None:
    """However much was corrected."""
    records_of(tmp_path).finish(transcript(segment(), corrections=(CORRECTION,) * 500), ())
    assert Records(Ends(tmp_path)).provenance("talk.mp3") is not None


# Corrections


def again(text: str, **changes: Any) -> Transcript:
    """The same recording, heard once more."""
    return DONE.model_copy(update={"segments": (segment(text=text),)} | changes)


def test_what_someone_corrected_is_kept_beside_what_is_written_over_it(records: Records) -> None:
    """It may be the work of an evening, and a redo of all recordings is one command."""
    records.finish(DONE, ("txt", "srt"))
    records.store.put("talk.txt", b"with corrections\n")
    records.finish(again("Once more."), ("txt", "srt"))
    assert records.store.get("talk.txt") == b"Once more.\n"
    assert records.store.get("talk (kept).txt") == b"with corrections\n"
    assert set(records.store.names("")) == {"talk.txt", "talk.srt", "talk (kept).txt"}


def test_corrections_are_kept_once_and_never_written_over_themselves(records: Records) -> None:
    """A try may be killed after it has kept one; and somebody may correct the second text as well."""
    records.finish(DONE, ("txt",))
    records.store.put("talk.txt", b"first corrections\n")
    records.store.put("talk (kept).txt", b"first corrections\n")
    records.finish(again("Once more."), ("txt",))
    assert set(records.store.names("")) == {"talk.txt", "talk (kept).txt"}
    records.store.put("talk.txt", b"second corrections\n")
    records.finish(again("And again."), ("txt",))
    assert records.store.get("talk (kept).txt") == b"first corrections\n"
    assert records.store.get("talk (kept 2).txt") == b"second corrections\n"


@pytest.mark.parametrize("fmt", ["srt", "vtt", "tsv"])
def test_a_text_whose_lines_are_only_broken_elsewhere_is_no_correction(records: Records, fmt: FormatName) -> None:
    """An older version may have done it so."""
    records.finish(DONE, (fmt,))
    written = records.store.get(f"talk.{fmt}")
    assert written
    records.store.put(f"talk.{fmt}", written.replace(b" ", b"\n"))
    records.finish(again("Once more."), (fmt,))
    assert records.store.names("") == [f"talk.{fmt}"]


# Renaming


def test_a_renamed_recording_takes_its_transcript_and_texts_along(records: Records) -> None:
    records.finish(DONE, ("txt", "srt"))
    records.rename(DONE, "2013/new.wav", 7, "2013/new", ("txt", "srt"))
    moved = records.transcript("2013/new.wav")
    assert moved == DONE.model_copy(update={"recording": "2013/new.wav", "mtime_ns": 7, "stem": "2013/new"})
    assert records.transcript("talk.mp3") is None
    assert records.store.names("") == []
    assert set(records.store.names("2013/")) == {"new.txt", "new.srt"}
    assert records.store.get("2013/new.srt") == render(DONE, "srt")


def test_a_text_file_that_someone_has_edited_goes_along_as_it_is(records: Records) -> None:
    records.finish(DONE, ("txt", "srt"))
    records.store.put("talk.txt", b"with corrections\n")
    records.rename(DONE, "new.mp3", 7, "new", ("txt", "srt"))
    assert records.store.get("new.txt") == b"with corrections\n"
    assert records.store.get("new.srt") == render(DONE, "srt")
    assert set(records.store.names("")) == {"new.txt", "new.srt"}


def test_a_file_beside_it_of_a_format_that_was_never_written_stays_where_it_is(records: Records) -> None:
    """It may be anybody's."""
    records.finish(DONE, ("txt",))
    records.store.put("talk.json", b"a list of somebody else")
    records.rename(DONE, "new.mp3", 7, "new", ("txt",))
    assert records.store.get("talk.json") == b"a list of somebody else"


def test_a_rename_onto_a_name_with_files_of_somebody_keeps_them_beside(records: Records) -> None:
    """Corrections of a recording that is gone, or a list of its own that has that name by chance."""
    records.finish(DONE, ("txt", "srt"))
    records.store.put("talk.srt", b"mine, corrected")
    records.store.put("talk.json", b"somebody's list")
    records.store.put("new.txt", b"corrections of a recording that is gone")
    records.store.put("new.srt", b"and more of them")
    records.store.put("new.json", b"another list")
    records.rename(DONE, "new.mp3", 7, "new", ("txt", "srt"))
    assert {name: records.store.get(name) for name in records.store.names("")} == {
        "new.txt": render(DONE, "txt"),
        "new.srt": b"mine, corrected",
        "new (kept).txt": b"corrections of a recording that is gone",
        "new (kept).srt": b"and more of them",
        "new.json": b"another list",
        "talk.json": b"somebody's list",
    }


def test_corrections_of_a_format_that_is_not_asked_for_now_go_along_as_well(records: Records) -> None:
    """It was asked for when the recording was transcribed."""
    records.finish(DONE, ("txt", "srt"))
    records.store.put("talk.srt", b"corrected")
    records.rename(DONE, "new.mp3", 7, "new", ("txt",))
    assert set(records.store.names("")) == {"new.txt", "new.srt"}
    assert records.store.get("new.srt") == b"corrected"


def test_paragraphs_that_somebody_made_of_the_lines_of_a_text_are_kept(records: Records) -> None:
    """Not a word is changed, and it is work all the same."""
    records.finish(DONE, ("txt",))
    joined = render(DONE, "txt").replace(b"\n", b" ")
    records.store.put("talk.txt", joined)
    records.rename(DONE, "new.mp3", 7, "new", ("txt",))
    assert records.store.get("new.txt") == joined
    records.finish(again("Once more.", recording="new.mp3", stem="new"), ("txt",))
    assert records.store.get("new (kept).txt") == joined


def test_subtitles_written_later_in_another_layout_are_ours(records: Records) -> None:
    """Their transcript tells the layout of the first ones."""
    narrow = Layout(line_chars=20, lines=1)
    long = again("It was the best of times, it was the worst of times, it was the age of wisdom.")
    records.finish(long, ("txt",))
    records.texts.put_missing(long.model_copy(update={"layout": narrow}), ("srt",))
    assert records.store.get("talk.srt") != render(long, "srt")
    records.finish(again("Once more.", layout=narrow), ("txt", "srt"))
    assert set(records.store.names("")) == {"talk.txt", "talk.srt"}


class CaseBlind(FolderStore):
    """As on most disks of macOS: `a` and `A` are one file."""

    def get(self, key: str) -> bytes | None:
        return super().get(key.lower())

    def ends(self, key: str, n_first: int, n_last: int) -> tuple[bytes, bytes] | None:
        return super().ends(key.lower(), n_first, n_last)

    def put(self, key: str, content: bytes, *, durable: bool = True) -> None:
        super().put(key.lower(), content, durable=durable)

    def put_if_same(self, key: str, content: bytes, before: bytes, fence: Fence | None = None) -> bool:
        return super().put_if_same(key.lower(), content, before, fence)

    def put_new(self, key: str, content: bytes) -> bool:
        return super().put_new(key.lower(), content)

    def is_one(self, key: str, other: str) -> bool:
        return super().is_one(key.lower(), other.lower())

    def delete(self, key: str) -> None:
        super().delete(key.lower())


def test_a_name_that_only_changes_its_case_loses_nothing_where_both_are_one_file(tmp_path: Path) -> None:
    records = Records(CaseBlind(tmp_path))
    records.finish(DONE, ("txt", "srt"))
    records.store.put("talk.txt", b"corrected")
    records.rename(DONE, "Talk.mp3", 7, "Talk", ("txt", "srt"))
    assert records.store.get("Talk.txt") == b"corrected"
    assert records.store.get("Talk.srt") == render(DONE, "srt")
    moved = records.transcript("Talk.mp3")
    assert moved
    assert moved.recording == "Talk.mp3"


def test_two_names_of_one_file_are_known_as_such(records: Records) -> None:
    records.store.put("a.txt", b"words")
    records.store.put("b.txt", b"words")
    assert records.store.is_one("a.txt", "../" + Path(records.store.root).name + "/a.txt")  # type: ignore[attr-defined]
    assert not records.store.is_one("a.txt", "b.txt")
    assert not records.store.is_one("a.txt", "c.txt")


def test_a_recording_renamed_under_the_same_stem_keeps_its_texts(records: Records) -> None:
    """Another extension alone: the text files are the same ones."""
    records.finish(DONE, ("txt", "srt"))
    records.rename(DONE, "talk.wav", 7, "talk", ("txt", "srt"))
    assert set(records.store.names("")) == {"talk.txt", "talk.srt"}
    assert records.transcript("talk.wav") is not None


# Parts


def test_parts_are_whole_only_when_the_last_one_is_there(records: Records) -> None:
    slices = [slice_of(index=i, cuts=(10.0, 20.0)) for i in range(3)]
    whole = job(*slices)
    results = [part(segment(i * 10.0, i * 10.0 + 1, str(i))) for i in range(3)]
    for number in (2, 0):
        records.partial_results.put(whole, slices[number], results[number])
        assert records.partial_results.all(whole, slices[0]) is None
    assert records.partial_results.get(whole, slices[2]) == results[2]
    records.partial_results.put(whole, slices[1], results[1])
    assert records.partial_results.all(whole, slices[1]) == results


def test_parts_of_other_options_or_other_sound_are_not_taken(records: Records) -> None:
    records.partial_results.put(job(), slice_of(), part())
    assert records.partial_results.get(job(options=OPTIONS.model_copy(update={"model": "base"})), slice_of()) is None
    assert records.partial_results.get(job(redo="again"), slice_of()) is None
    changed = slice_of(fingerprint="10-def")
    assert records.partial_results.get(job(changed), changed) is None
    assert records.partial_results.get(job(formats=("json",)), slice_of()) == part()


def test_it_is_told_which_slices_have_their_parts(records: Records) -> None:
    slices = [slice_of(index=i, cuts=(10.0, 20.0)) for i in range(3)]
    whole = job(*slices)
    assert records.partial_results.stored(whole, slices[0]) == frozenset()
    for number in (2, 0):
        records.partial_results.put(whole, slices[number], part())
    assert records.partial_results.stored(whole, slices[1]) == {0, 2}
    elsewhere = slice_of(cuts=(11.0, 20.0))
    assert records.partial_results.stored(job(elsewhere), elsewhere) == frozenset()


def test_where_a_recording_was_cut_is_known_until_it_is_finished_or_changed(records: Records) -> None:
    assert records.partial_results.kept_cuts("talk.mp3", "10-abc") is None
    records.partial_results.keep_cuts("talk.mp3", "10-abc", (600.02, 1199.98))
    assert records.partial_results.kept_cuts("talk.mp3", "10-abc") == (600.02, 1199.98)
    assert records.partial_results.kept_cuts("talk.mp3", "10-def") is None
    records.partial_results.drop("talk.mp3")
    assert records.partial_results.kept_cuts("talk.mp3", "10-abc") is None


def test_dropping_parts_leaves_nothing_of_them_and_touches_no_other(records: Records) -> None:
    records.partial_results.put(job(), slice_of(), part())
    records.partial_results.put(job(redo="again"), slice_of(), part())
    other = slice_of("other.mp3")
    for slice_ in (slice_of(), other):
        records.partial_results.claim(job(slice_), slice_, worker="here-1", message="m")
    assert records.partial_results.claimed_stem("talk.mp3")
    records.partial_results.drop("talk.mp3")
    assert not records.partial_results.claimed_stem("talk.mp3")
    assert records.partial_results.claimed_stem("other.mp3")
    assert list(records.store.walk(parts_folder("talk.mp3"))) == []


# Who has what in hand


def test_of_two_who_begin_a_slice_first_one_does(records: Records) -> None:
    """The same once more is that one, who has not heard of it; who takes over from the dead does not ask."""
    assert records.partial_results.claim(job(), slice_of(), worker="here-1", message="first", is_first=True)
    assert records.partial_results.claim(job(), slice_of(), worker="here-1", message="first", is_first=True)
    assert not records.partial_results.claim(job(), slice_of(), worker="here-2", message="second", is_first=True)
    assert records.partial_results.claim(job(), slice_of(), worker="here-2", message="second")
    assert not records.partial_results.claim(job(), slice_of(), worker="here-1", message="first", is_first=True)


def test_what_is_kept_of_several_recordings_is_told_by_its_names(records: Records) -> None:
    other = slice_of("2012/other.mp3")
    records.partial_results.claim(job(), slice_of(), worker="here-1", message="m")
    records.partial_results.put(job(other), other, part())
    assert records.partial_results.kept(["talk.mp3", "2012/other.mp3", "2012/never.mp3"]) == {
        "talk.mp3": {records.partial_results.name(job(), slice_of(), CLAIM_SUFFIX)},
        "2012/other.mp3": {records.partial_results.name(job(other), other)},
        "2012/never.mp3": frozenset(),
    }


def test_a_slice_is_claimed_by_a_message_while_its_worker_reports(records: Records) -> None:
    records.partial_results.claim(job(), slice_of(), worker="here-1", message="first")
    records.report(activity(worker="here-1", message="first", updated_at=utc_now()))
    assert records.partial_results.claimed_by(job(), slice_of(), besides="second", for_s=60) == "here-1"
    # The same message again has left whoever had it before; and another redo is other work.
    assert records.partial_results.claimed_by(job(), slice_of(), besides="first", for_s=60) is None
    assert records.partial_results.claimed_by(job(redo="again"), slice_of(), besides="second", for_s=60) is None
    records.partial_results.release(job(), slice_of())
    assert records.partial_results.claimed_by(job(), slice_of(), besides="second", for_s=60) is None


@pytest.mark.parametrize(
    "changes",
    [{"message": "third"}, {"worker": "there-2"}, {"silent_s": 61.0}],
    ids=["has another job now", "is no more", "was not heard of for long"],
)
def test_a_slice_is_not_held_by_a_worker_that(records: Records, tmp_path: Path, changes: dict[str, Any]) -> None:
    records.partial_results.claim(job(), slice_of(), worker="here-1", message="first")
    silent_s = changes.pop("silent_s", 0.0)
    now = {"worker": "here-1", "message": "first", "updated_at": utc_now()}
    records.report(activity(**(now | changes)))
    reported(tmp_path, silent_s)
    assert records.partial_results.claimed_by(job(), slice_of(), besides="second", for_s=60) is None


def reported(dest: Path, silent_s: float) -> None:
    """Let the workers' reports be that old by the clock of the files."""
    for path in (dest / ".nightscribe" / "jobs").iterdir():
        os.utime(path, (path.stat().st_mtime - silent_s,) * 2)


@pytest.mark.parametrize("ahead_s", [-7200.0, 7200.0])
def test_a_worker_whose_clock_is_wrong_keeps_its_slices_while_it_reports(
    records: Records, tmp_path: Path, ahead_s: float
) -> None:
    """What it says of the time does not count, only when its report was written."""
    records.partial_results.claim(job(), slice_of(), worker="here-1", message="first")
    records.report(activity(worker="here-1", message="first", updated_at=utc_now() + timedelta(seconds=ahead_s)))
    assert records.partial_results.claimed_by(job(), slice_of(), besides="second", for_s=60) == "here-1"
    records.forget_activities()
    assert [found.worker for found in records.activities()] == ["here-1"]
    reported(tmp_path, 61.0)
    assert records.partial_results.claimed_by(job(), slice_of(), besides="second", for_s=60) is None
    reported(tmp_path, 3600.0)
    records.forget_activities()
    assert list(records.activities()) == []


def test_a_worker_of_another_machine_with_this_name_has_not_ended(
    records: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its process cannot be looked for here: containers on one host's network even share the process id."""
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    with monkeypatch.context() as there:
        there.setattr(identity, "machine_id", lambda: "0123456789ab")
        namesake = process_name(ended.pid)
    assert namesake != process_name(ended.pid)
    assert short_name(namesake) == short_name(process_name(ended.pid)) == f"{socket.gethostname()}-{ended.pid}"
    records.report(activity(worker=namesake, updated_at=utc_now()))
    records.report(activity(worker=process_name(ended.pid), updated_at=utc_now()))
    records.forget_activities()
    assert [found.worker for found in records.activities()] == [namesake]


# Failures


def test_a_failure_is_remembered_until_it_is_forgiven(records: Records) -> None:
    records.fail(failure())
    assert records.failure("talk.mp3") == failure()
    records.fail(failure(reason="It is empty (0 bytes).", mtime_ns=None))
    assert records.failure("talk.mp3") == failure(reason="It is empty (0 bytes).", mtime_ns=None)
    for _ in range(2):
        records.forgive("talk.mp3")
    assert records.failure("talk.mp3") is None


# Activity


def test_what_workers_do_is_known_until_they_leave(records: Records) -> None:
    for worker in ("b-2", "a-1"):
        records.report(activity(worker=worker, done_s=3.5))
    assert [a.worker for a in records.activities()] == ["a-1", "b-2"]
    records.leave("a-1")
    assert list(records.activities()) == [activity(worker="b-2", done_s=3.5)]


def test_what_the_dead_said_is_forgotten_and_what_others_say_is_not(records: Records, tmp_path: Path) -> None:
    """A run on another machine may be at work on the same recordings, and goes by what its workers say."""
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    now, long_ago = utc_now(), utc_now() - timedelta(days=1)
    here, dead = process_name(os.getpid()), process_name(ended.pid)
    for worker, updated_at in ((here, now), (dead, now), ("elsewhere-1", now), ("elsewhere-2", long_ago)):
        records.report(activity(worker=worker, updated_at=updated_at))
    os.utime(tmp_path / ".nightscribe" / "jobs" / "elsewhere-2.json", (long_ago.timestamp(),) * 2)
    records.forget_activities()
    assert {found.worker for found in records.activities()} == {here, "elsewhere-1"}


def test_what_is_only_for_people_may_fail(tmp_path: Path) -> None:
    records = Records(FolderStore(tmp_path / "gone"))
    records.report(activity())
    records.leave("here-1")
    assert not (tmp_path / "gone").exists()


def test_a_record_is_read_by_the_next_release_with_the_fields_of_today() -> None:
    """Its fields are a promise; whoever adds one gives it a default."""
    assert Transcript.model_validate_json(json.dumps({k: WHOLE[k] for k in WHOLE if k not in ("redo", "version")}))
