"""A source compared with a destination, both real folders. Nothing is decoded, so the recordings need not be any."""

import os
import shutil
import time
import wave
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from making import HOUR_S, OPTIONS, WHEN, failure, file, job, part, segment, slice_of, transcript

from nightscribe.director.backlog import Backlog
from nightscribe.director.scan.scanner import Scan, Scanner
from nightscribe.shared.destination.keys import FAILURES, HASHES, TRANSCRIPTS, hash_key, parts_folder, transcript_key
from nightscribe.shared.destination.records import Records
from nightscribe.shared.formats.registry import render
from nightscribe.shared.model.jobs import Layout, Slice
from nightscribe.shared.model.speaker_options import same_labels
from nightscribe.shared.model.transcript import Provenance, Transcript
from nightscribe.shared.storage.content import content_sha256
from nightscribe.shared.storage.fingerprint import FINGERPRINT_BYTES
from nightscribe.shared.storage.folder.source import FolderSource
from nightscribe.shared.storage.folder.store import FolderStore

FORMATS = ("txt", "vtt", "srt")


def no_sleep(seconds: float) -> None:
    raise AssertionError(f"slept {seconds} s for nothing")


class Location:
    """A source and a destination."""

    def __init__(self, folder: Path) -> None:
        self.source = folder / "in"
        self.dest = folder / "out"
        self.source.mkdir()
        self.dest.mkdir()
        self.records = Records(FolderStore(self.dest))

    def scan(self, **changes: Any) -> Scan:
        values: dict[str, Any] = {"formats": FORMATS, "settle_s": 3.0, "sleep": no_sleep}
        source = FolderSource(self.source, leave_out=self.dest)
        return Scanner(**({"source": source, "records": self.records} | values | changes)).scan()

    def recording(self, path: str, content: bytes | None = None, *, age_s: float = HOUR_S) -> Path:
        return file(self.source / path, path.encode() if content is None else content, age_s=age_s)

    def finish(self, path: str, stem: str | None = None, *, hashed: bool = True, **changes: Any) -> Transcript:
        """Transcribe it, as it is now; without a hash, as an earlier release did."""
        source = FolderSource(self.source)
        seen = source.stat(path)
        made = transcript(
            segment(text=f"Words of {path}."),
            **{
                "recording": path,
                "fingerprint": source.fingerprint(seen),
                "size": seen.size,
                "mtime_ns": seen.mtime_ns,
                "stem": stem or path.rpartition(".")[0] or path,
            }
            | changes,
        )
        self.records.finish(made, FORMATS, sha256=content_sha256(source, path) if hashed else None)
        return made

    def fail(self, path: str, **changes: Any) -> None:
        """Let it fail, as it is now."""
        source = FolderSource(self.source)
        seen = source.stat(path)
        values = {"fingerprint": source.fingerprint(seen), "size": seen.size, "mtime_ns": seen.mtime_ns}
        self.records.fail(failure(path, **(values | changes)))

    def slice_of(self, path: str) -> Slice:
        """The whole recording, as it is now."""
        source = FolderSource(self.source)
        seen = source.stat(path)
        return slice_of(path, fingerprint=source.fingerprint(seen), size=seen.size)

    def texts(self) -> dict[str, bytes]:
        """What a user sees in the destination."""
        found = (path.relative_to(self.dest) for path in self.dest.rglob("*") if path.is_file())
        return {p.as_posix(): (self.dest / p).read_bytes() for p in found if p.parts[0] != ".nightscribe"}

    def everything(self) -> dict[str, tuple[bytes, int]]:
        """Every byte and time in the destination."""
        found = [path for path in self.dest.rglob("*") if path.is_file()]
        return {p.relative_to(self.dest).as_posix(): (p.read_bytes(), p.stat().st_mtime_ns) for p in found}


@pytest.fixture
def place(tmp_path: Path) -> Location:
    """An empty source and an empty destination."""
    return Location(tmp_path)


def names(missing: Backlog) -> dict[str, str]:
    """Path and stem of each."""
    return {m.recording.path: m.stem for m in missing}


# New recordings


def test_a_new_recording_is_missing(place: Location) -> None:
    place.recording("2012/talk.mp3", b"sound")
    place.recording("other.wav")
    found = place.scan()
    assert names(found.missing) == {"other.wav": "other", "2012/talk.mp3": "2012/talk"}
    assert found.n_recordings == 2
    [talk] = [m for m in found.missing if m.stem == "2012/talk"]
    source = FolderSource(place.source)
    assert talk.recording == source.stat("2012/talk.mp3")


def test_progress_counts_what_was_seen(place: Location) -> None:
    for name in ("a.mp3", "b/c.mp3", "b/notes.txt"):
        place.recording(name)
    counted: list[int] = []
    source = FolderSource(place.source)
    Scanner(source, place.records, FORMATS, settle_s=3.0, sleep=no_sleep).scan(counted.append)
    assert counted == [1, 3]


@pytest.mark.usefixtures("ffmpeg")
def test_a_look_at_one_large_folder_is_not_taken_for_silence(place: Location, monkeypatch: pytest.MonkeyPatch) -> None:
    """A million recordings in one take an hour, and so do as many of which each transcript has moved."""
    for name in ("a.mp3", "b.mp3", "c.unknown", "d.unknown"):
        place.recording(name, b"sound of " + name.encode())
        place.finish(name)
    place.recording("e.unknown")
    beats: list[str] = []
    for module in ("scanner", "discover"):
        monkeypatch.setattr(f"nightscribe.director.scan.{module}.report_alive", lambda: beats.append("scan"))
    monkeypatch.setattr("nightscribe.director.scan.renames.report_alive", lambda: beats.append("renames"))
    place.scan()
    assert beats.count("scan") > 5
    for name in ("a.mp3", "b.mp3"):
        (place.source / name).rename(place.source / f"new {name}")
    beats.clear()
    assert len(place.scan().renamed) == 2
    assert beats.count("renames") >= 4


def test_of_two_recordings_that_differ_only_in_extension_each_gets_its_full_name(place: Location) -> None:
    for name in ("a.mp3", "a.wav", "b/a.mp3"):
        place.recording(name)
    assert names(place.scan().missing) == {"a.mp3": "a.mp3", "a.wav": "a.wav", "b/a.mp3": "b/a"}


def test_a_neighbour_that_is_no_recording_takes_no_name_away(place: Location) -> None:
    for name in ("a.mp3", "a.txt", "a.jpg", "a.json"):
        place.recording(name)
    assert names(place.scan().missing) == {"a.mp3": "a"}


def test_an_empty_recording_is_one_and_its_worker_will_say_what_it_lacks(place: Location) -> None:
    place.recording("a.mp3", b"")
    assert names(place.scan().missing) == {"a.mp3": "a"}


def test_a_source_that_is_its_own_destination_finds_its_recordings_and_no_texts(tmp_path: Path) -> None:
    place = Location(tmp_path)
    place.dest = place.source
    place.records = Records(FolderStore(place.source))
    place.recording("a.mp3")
    place.recording("b.mp3")
    place.finish("a.mp3")
    found = place.scan()
    assert names(found.missing) == {"b.mp3": "b"}
    assert found.n_finished == 1


# Finished recordings


def test_a_finished_recording_is_left_alone(place: Location) -> None:
    place.recording("2012/talk.mp3")
    place.finish("2012/talk.mp3", decoded_s=60.0, processing_s=4.0)
    before = place.everything()
    found = place.scan()
    assert (names(found.missing), found.n_finished, found.n_recordings) == ({}, 1, 1)
    assert (found.finished_audio_s, found.finished_processing_s, found.other_options) == (60.0, 4.0, 0)
    assert place.everything() == before


def test_a_finished_recording_of_the_same_size_and_time_is_not_even_read(place: Location) -> None:
    """A million recordings on a share are compared in this way."""
    recording = place.recording("talk.mp3", b"sound")
    place.finish("talk.mp3")
    times = recording.stat().st_atime_ns, recording.stat().st_mtime_ns
    recording.write_bytes(b"noise")
    os.utime(recording, ns=times)
    assert place.scan().n_finished == 1


def test_a_finished_recording_of_another_time_is_still_the_same_if_its_content_is(place: Location) -> None:
    """As after a copy to a new disk."""
    recording = place.recording("talk.mp3")
    place.finish("talk.mp3")
    os.utime(recording, (1_000_000_000, 1_000_000_000))
    found = place.scan()
    assert (names(found.missing), found.n_finished) == ({}, 1)


@pytest.mark.parametrize("content", [b"other", b"longer sound"], ids=["same size", "other size"])
def test_a_changed_recording_is_missing_and_keeps_the_place_of_its_texts(place: Location, content: bytes) -> None:
    place.recording("talk.mp3", b"sound")
    place.finish("talk.mp3", stem="talk.mp3")
    place.recording("talk.mp3", content, age_s=60)
    found = place.scan()
    assert names(found.missing) == {"talk.mp3": "talk.mp3"}
    assert found.n_finished == 0


@pytest.mark.parametrize("stem", ["talk", "talk.mp3"])
def test_a_recording_whose_transcript_lost_its_end_is_done_again_where_its_texts_are(
    place: Location, stem: str
) -> None:
    """Not taken for the work of another tool, nor given a second set of texts."""
    place.recording("talk.mp3")
    place.finish("talk.mp3", stem)
    record = place.dest / transcript_key("talk.mp3")
    record.write_bytes(record.read_bytes()[:-20])
    found = place.scan()
    assert (names(found.missing), found.n_finished, found.n_foreign) == ({"talk.mp3": stem}, 0, 0)


def test_texts_of_which_nothing_is_known_any_more_are_left_alone(place: Location) -> None:
    """The transcript is no more than a zero: all texts are there, and nobody can tell whose they are."""
    place.recording("talk.mp3")
    place.finish("talk.mp3")
    (place.dest / transcript_key("talk.mp3")).write_bytes(b"\0" * 4096)
    found = place.scan()
    assert (names(found.missing), found.n_foreign, found.n_recordings) == ({}, 1, 1)


@pytest.mark.parametrize("redo", [False, True])
@pytest.mark.parametrize("kind", [TRANSCRIPTS, FAILURES])
def test_what_a_newer_version_has_written_is_left_alone_and_said_so(place: Location, kind: str, redo: bool) -> None:
    """An older machine at work in the same place must not undo what a newer one has done."""
    for name in ("a.mp3", "b.mp3", "talk.mp3"):
        place.recording(name)
    place.records.store.put(kind + "talk.mp3.json", b'{"version": 3, "shape": "unheard of"}')
    place.records.store.put(kind + "gone.mp3.json", b'{"version": 3, "size": 6}')
    before = place.everything()
    found = place.scan(redo=redo)
    assert names(found.missing) == {"a.mp3": "a", "b.mp3": "b"}
    [told] = found.unreadable
    assert told.path == "talk.mp3"
    assert told.reason == (
        f"'{kind}talk.mp3.json' was written by a newer nightscribe (version 3 of its format) and is left unchanged. "
        "Update nightscribe."
    )
    assert place.everything() == before


def test_a_transcript_of_a_newer_version_is_no_trouble_to_its_neighbours(place: Location) -> None:
    """Where their names would collide with its texts, or a rename is looked for."""
    place.recording("talk.mp3")
    place.records.store.put(transcript_key("talk.wav"), b'{"version": 3}')
    for fmt in FORMATS:
        place.records.store.put(f"talk.{fmt}", b"theirs")
    found = place.scan(formats=("txt",))
    assert (names(found.missing), found.unreadable) == ({"talk.mp3": "talk.mp3"}, [])


def test_a_deleted_text_file_is_written_again_without_transcribing(place: Location) -> None:
    place.recording("2012/talk.mp3")
    done = place.finish("2012/talk.mp3")
    (place.dest / "2012" / "talk.vtt").unlink()
    found = place.scan()
    assert (names(found.missing), found.rewritten) == ({}, ["2012/talk.vtt"])
    assert place.texts()["2012/talk.vtt"] == render(done, "vtt")


def test_a_format_asked_for_later_is_written_without_transcribing(place: Location) -> None:
    place.recording("talk.mp3")
    done = place.finish("talk.mp3")
    found = place.scan(formats=("txt", "tsv"))
    assert (names(found.missing), found.rewritten) == ({}, ["talk.tsv"])
    assert place.texts()["talk.tsv"] == render(done, "tsv")


def test_a_text_file_that_is_written_again_looks_as_is_asked_for_now(place: Location) -> None:
    place.recording("talk.mp3")
    done = place.finish("talk.mp3")
    (place.dest / "talk.json").unlink(missing_ok=True)
    layout = Layout(line_chars=20, words=True)
    assert place.scan(formats=("json", "txt"), layout=layout).rewritten == ["talk.json"]
    assert place.texts()["talk.json"] == render(done.model_copy(update={"layout": layout}), "json")


def test_texts_follow_the_layout_that_is_asked_for(place: Location) -> None:
    place.recording("talk.mp3")
    done = place.finish("talk.mp3")
    (place.dest / "talk.srt").write_bytes(mine := place.texts()["talk.srt"].replace(b" ", b"\n", 1))
    layout = Layout(line_chars=10, subtitles="netflix")
    before = place.everything()
    assert place.scan(layout=layout, dry_run=True).laid_out == ["talk.vtt"]
    assert place.everything() == before
    assert place.scan(layout=layout).laid_out == ["talk.vtt"]
    assert place.texts()["talk.vtt"] == render(done.model_copy(update={"layout": layout}), "vtt")
    assert place.texts()["talk.srt"] == mine
    laid_out = place.records.transcript("talk.mp3")
    assert laid_out is not None
    assert (laid_out.layout, laid_out.version) == (layout, 2)
    assert place.scan(layout=layout).laid_out == []


def test_an_edited_text_file_is_never_overwritten(place: Location) -> None:
    place.recording("talk.mp3")
    place.finish("talk.mp3")
    (place.dest / "talk.txt").write_text("with corrections")
    (place.dest / "talk.srt").unlink()
    place.scan()
    assert place.texts()["talk.txt"] == b"with corrections"


def test_a_transcript_with_other_options_is_finished_but_counted(place: Location) -> None:
    for name in ("a.mp3", "b.mp3"):
        place.recording(name)
    place.finish("a.mp3", decoded_s=60.0, processing_s=4.0)
    place.finish("b.mp3", options=OPTIONS.model_copy(update={"model": "base"}), decoded_s=60.0, processing_s=9.0)
    found = place.scan(is_current=lambda done: done.options == OPTIONS)
    assert (found.n_finished, found.other_options, names(found.missing)) == (2, 1, {})
    assert found.finished_processing_s == 4.0


def test_redo_makes_finished_recordings_missing_where_their_texts_are(place: Location) -> None:
    for name in ("a.mp3", "b.mp3"):
        place.recording(name)
    place.finish("a.mp3", stem="a.mp3")
    before = place.everything()
    found = place.scan(redo=True)
    assert names(found.missing) == {"a.mp3": "a.mp3", "b.mp3": "b"}
    assert found.n_finished == 0
    assert place.everything() == before


# Text files that are not ours


def test_texts_of_another_tool_are_left_alone_and_their_recording_is_finished(place: Location) -> None:
    place.recording("talk.mp3")
    for name in ("talk.txt", "talk.vtt", "talk.srt"):
        file(place.dest / name, b"somebody else's")
    before = place.everything()
    found = place.scan()
    assert (names(found.missing), found.n_foreign, found.n_finished, found.n_recordings) == ({}, 1, 0, 1)
    assert place.everything() == before


def test_beside_some_texts_of_another_tool_ours_get_the_full_name(place: Location) -> None:
    place.recording("talk.mp3")
    file(place.dest / "talk.vtt", b"somebody else's")
    assert names(place.scan().missing) == {"talk.mp3": "talk.mp3"}


def test_a_lone_text_is_nobodys_transcript(place: Location) -> None:
    """Notes beside a recording: it is transcribed, and they are not touched."""
    place.recording("talk.mp3")
    file(place.dest / "talk.txt", b"notes")
    found = place.scan(formats=("txt",))
    assert names(found.missing) == {"talk.mp3": "talk.mp3"}
    assert found.n_foreign == 0


def test_texts_of_another_tool_under_the_full_name_count_as_well(place: Location) -> None:
    place.recording("talk.mp3")
    for name in ("talk.txt", "talk.mp3.txt", "talk.mp3.vtt", "talk.mp3.srt"):
        file(place.dest / name)
    assert place.scan().n_foreign == 1


def test_texts_that_a_crash_left_without_a_record_are_ours_and_are_replaced(place: Location) -> None:
    """The parts that led to them are still there."""
    place.recording("talk.mp3")
    file(place.dest / "talk.txt", b"ours")
    place.records.partial_results.claim(job(), slice_of("talk.mp3"), worker="here-1", message="message")
    assert names(place.scan().missing) == {"talk.mp3": "talk"}
    for name in ("talk.vtt", "talk.srt"):
        file(place.dest / name, b"ours")
    found = place.scan()
    assert names(found.missing) == {"talk.mp3": "talk"}
    assert found.n_foreign == 0


# Failures


def test_what_failed_before_is_left_alone(place: Location) -> None:
    place.recording("talk.mp3")
    place.fail("talk.mp3")
    found = place.scan()
    assert not found.missing
    assert [f.recording for f in found.failed_before] == ["talk.mp3"]
    assert found.n_recordings == 1


@pytest.mark.parametrize(("later_s", "is_kept"), [(-1, False), (1, True)])
def test_a_failure_from_before_the_transcript_is_removed(place: Location, later_s: float, is_kept: bool) -> None:
    """A worker that was suspended may have written it late. One from afterwards is of a redo, and users must see it."""
    place.recording("talk.mp3")
    made = place.finish("talk.mp3")
    place.fail("talk.mp3", failed_at=made.finished_at + timedelta(seconds=later_s))
    assert place.scan(dry_run=True).n_finished == 1
    assert place.records.failure("talk.mp3") is not None
    assert place.scan().n_finished == 1
    assert (place.records.failure("talk.mp3") is not None) is is_kept


def test_parts_from_before_the_transcript_are_removed(place: Location) -> None:
    """Their worker died just before it would have done that. Those from afterwards are of a redo in progress."""
    place.recording("talk.mp3")
    slice_ = place.slice_of("talk.mp3")
    older, newer = job(slice_), job(slice_, redo="run 2")
    for made in (older, newer):
        place.records.partial_results.put(made, slice_, part())
        place.records.partial_results.claim(made, slice_, worker="there-1", message="m")
    place.finish("talk.mp3")
    folder = place.dest / parts_folder("talk.mp3")
    finished_at = (place.dest / transcript_key("talk.mp3")).stat().st_mtime
    for path in folder.iterdir():
        shift_s = -1 if path.name.startswith(older.part_id(slice_)) else 1
        os.utime(path, (finished_at + shift_s,) * 2)
    kept = {path.name for path in folder.iterdir() if not path.name.startswith(older.part_id(slice_))}
    assert len(kept) == 2
    assert place.scan(dry_run=True).n_finished == 1
    assert len(list(folder.iterdir())) == 4
    assert place.scan().n_finished == 1
    assert {path.name for path in folder.iterdir()} == kept


def test_what_failed_before_is_tried_again_when_asked_for(place: Location) -> None:
    place.recording("talk.mp3")
    place.fail("talk.mp3")
    found = place.scan(retry_failed=True)
    assert names(found.missing) == {"talk.mp3": "talk"}
    assert found.failed_before == []


def test_what_failed_before_is_tried_again_when_it_has_changed(place: Location) -> None:
    place.recording("talk.mp3", b"sound")
    place.fail("talk.mp3")
    place.recording("talk.mp3", b"whole sound")
    assert names(place.scan().missing) == {"talk.mp3": "talk"}


def test_what_failed_without_a_known_time_is_recognised_by_its_content(place: Location) -> None:
    place.recording("talk.mp3", b"sound")
    place.fail("talk.mp3", mtime_ns=None)
    assert len(place.scan().failed_before) == 1


def test_a_recording_that_was_finished_and_then_replaced_by_a_broken_one_is_left_alone_as_well(place: Location) -> None:
    """Its old transcript is still there; without a look at the failure, it would fail again every night."""
    place.recording("talk.mp3", b"sound")
    place.finish("talk.mp3")
    place.recording("talk.mp3", b"broken sound")
    place.fail("talk.mp3")
    found = place.scan()
    assert not found.missing
    assert [f.recording for f in found.failed_before] == ["talk.mp3"]


# Renames


def test_a_renamed_recording_keeps_its_transcript(place: Location) -> None:
    recording = place.recording("talk.mp3")
    place.recording("other.mp3")
    done = place.finish("talk.mp3")
    (place.source / "2012").mkdir()
    recording.rename(place.source / "2012" / "speech.mp3")
    found = place.scan()
    assert names(found.missing) == {"other.mp3": "other"}
    assert (found.renamed, found.n_finished) == ([("talk.mp3", "2012/speech.mp3")], 1)
    assert place.texts() == {f"2012/speech.{fmt}": render(done, fmt) for fmt in FORMATS}
    again = place.scan()
    assert (again.renamed, again.n_finished, again.rewritten) == ([], 1, [])


def twins(length: int = 300_000) -> tuple[bytes, bytes]:
    """Two recordings that differ in their middle only, as those of a recorder that pads its files with silence."""
    ends = bytes(100_000)
    return tuple(ends + middle * (length - 2 * len(ends)) + ends for middle in (b"a", b"b"))  # type: ignore[return-value]


def test_a_recording_with_the_ends_of_one_that_is_gone_gets_no_transcript_of_it(place: Location) -> None:
    """Its size and fingerprint are those of a recording with another middle."""
    one, other = twins()
    place.recording("a.wav", one)
    place.finish("a.wav")
    (place.source / "a.wav").unlink()
    place.recording("b.wav", other)
    found = place.scan()
    assert (names(found.missing), found.renamed) == ({"b.wav": "b"}, [])
    assert set(place.texts()) == {f"a.{fmt}" for fmt in FORMATS}


def test_each_of_two_such_recordings_keeps_its_own_transcript_when_both_are_renamed(place: Location) -> None:
    for name, content in zip(("a.wav", "b.wav"), twins(), strict=True):
        place.recording(name, content)
        place.finish(name)
    (place.source / "a.wav").rename(place.source / "y.wav")
    (place.source / "b.wav").rename(place.source / "x.wav")
    assert sorted(place.scan().renamed) == [("a.wav", "y.wav"), ("b.wav", "x.wav")]
    assert b"Words of a.wav" in place.texts()["y.txt"]
    (place.source / "y.wav").rename(place.source / "z.wav")  # and the proof has moved as well
    assert place.scan().renamed == [("y.wav", "z.wav")]
    assert set(place.records.store.walk(HASHES)) == {hash_key("x.wav"), hash_key("z.wav")}


def test_a_recording_overwritten_in_its_middle_is_missing(place: Location) -> None:
    one, other = twins()
    place.recording("a.wav", one)
    place.finish("a.wav")
    place.recording("a.wav", other, age_s=HOUR_S - 60)
    assert names(place.scan().missing) == {"a.wav": "a"}
    job_, source = job(place.slice_of("a.wav")), FolderSource(place.source)
    assert job_.slices[0].fingerprint == source.fingerprint(source.stat("a.wav"))
    done = place.records.provenance("a.wav")
    assert done is not None
    assert not done.settles(job_, job_.slices[0])  # or its worker would leave it out
    assert names(place.scan().missing) == {"a.wav": "a"}


def test_a_recording_whose_time_alone_has_changed_is_read_once(
    place: Location, monkeypatch: pytest.MonkeyPatch
) -> None:
    recording = place.recording("a.wav", twins()[0])
    place.finish("a.wav")
    os.utime(recording, (1_000_000_000, 1_000_000_000))
    assert place.scan(dry_run=True).n_finished == 1
    assert place.scan().n_finished == 1
    monkeypatch.setattr(FolderSource, "local", lambda *_: pytest.fail("it was read"))
    monkeypatch.setattr(FolderSource, "fingerprint", lambda *_: pytest.fail("it was read"))
    assert place.scan().n_finished == 1


def test_without_a_hash_neither_a_rename_nor_another_time_is_believed(place: Location) -> None:
    """An earlier release finished them, and what was transcribed can no longer be proven."""
    for name in ("a.wav", "b.wav"):
        place.recording(name, name.encode() * 2**15)
        place.finish(name, hashed=False)
    (place.source / "a.wav").rename(place.source / "c.wav")
    os.utime(place.source / "b.wav", (1_000_000_000, 1_000_000_000))
    found = place.scan()
    assert (names(found.missing), found.renamed) == ({"b.wav": "b", "c.wav": "c"}, [])
    assert list(place.records.store.walk(HASHES)) == []


def test_of_a_short_file_the_fingerprint_is_proof_enough(place: Location) -> None:
    """It is a hash of all of it, so that none is written besides."""
    for name in ("a.wav", "b.wav"):
        place.recording(name, name.encode() * (2 * FINGERPRINT_BYTES // len(name)))
        place.finish(name, hashed=False)
    (place.source / "a.wav").rename(place.source / "c.wav")
    os.utime(place.source / "b.wav", (1_000_000_000, 1_000_000_000))
    found = place.scan()
    assert (found.n_finished, found.renamed, len(found.missing)) == (2, [("a.wav", "c.wav")], 0)
    assert list(place.records.store.walk(HASHES)) == []


def test_what_an_earlier_release_finished_is_hashed_without_being_transcribed(
    place: Location, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a.wav", "b.wav"):
        place.recording(name, name.encode() * 2**15)
        place.finish(name, hashed=False)
    before = place.everything()
    place.scan(dry_run=True)
    assert place.everything() == before
    assert place.scan(hashing_s=-1).n_finished == 2  # no time is left for any
    assert place.everything() == before
    found = place.scan()
    assert (found.n_finished, len(found.missing)) == (2, 0)
    assert {key: place.everything()[key] for key in before} == before
    assert set(place.records.store.walk(HASHES)) == {hash_key("a.wav"), hash_key("b.wav")}
    (place.source / "a.wav").rename(place.source / "c.wav")
    assert place.scan().renamed == [("a.wav", "c.wav")]
    monkeypatch.setattr(FolderSource, "local", lambda *_: pytest.fail("it was read"))
    assert place.scan().n_finished == 2


def test_a_hash_of_the_transcript_before_proves_nothing(place: Location) -> None:
    """An earlier release has transcribed the recording anew since, and left the hash as it was."""
    one, other = twins()
    place.recording("a.wav", one)
    before = place.finish("a.wav")
    place.recording("a.wav", other)
    place.finish("a.wav", hashed=False, finished_at=before.finished_at + timedelta(hours=1))
    (place.source / "a.wav").unlink()
    place.recording("b.wav", one)
    assert place.scan().renamed == []


def test_a_copy_is_transcribed_for_itself_while_its_original_is_there(place: Location) -> None:
    place.recording("talk.mp3", b"sound")
    place.finish("talk.mp3")
    place.recording("copy.mp3", b"sound")
    found = place.scan()
    assert (names(found.missing), found.renamed, found.n_finished) == ({"copy.mp3": "copy"}, [], 1)


def test_the_transcript_of_a_deleted_recording_stays(place: Location) -> None:
    place.recording("talk.mp3")
    place.finish("talk.mp3")
    (place.source / "talk.mp3").unlink()
    place.recording("other.mp3")
    before = place.texts()
    place.scan()
    assert place.texts() == before


def test_a_whole_folder_that_was_renamed_keeps_its_transcripts(place: Location) -> None:
    for name in ("2012/a.mp3", "2012/deep/b.mp3", "2013/c.mp3"):
        place.recording(name)
        place.finish(name)
    (place.source / "2012").rename(place.source / "Twelve")
    found = place.scan()
    assert not found.missing
    assert found.renamed == [("2012/a.mp3", "Twelve/a.mp3"), ("2012/deep/b.mp3", "Twelve/deep/b.mp3")]
    assert found.n_finished == 3
    assert set(place.texts()) == {
        f"{stem}.{fmt}" for stem in ("Twelve/a", "Twelve/deep/b", "2013/c") for fmt in FORMATS
    }


def test_a_recording_moved_out_of_a_folder_that_is_left_empty_keeps_its_transcript(place: Location) -> None:
    recording = place.recording("2012/a.mp3")
    place.finish("2012/a.mp3")
    recording.rename(place.source / "b.mp3")
    assert place.scan().renamed == [("2012/a.mp3", "b.mp3")]


def test_where_something_cannot_be_looked_at_no_transcript_of_it_is_given_away(place: Location, tmp_path: Path) -> None:
    """What a folder holds that leads out of the source now, or is away, may still be there."""
    place.recording("2012/talk.mp3", b"sound")
    place.finish("2012/talk.mp3")
    (place.source / "2012").rename(tmp_path / "elsewhere")
    (place.source / "2012").symlink_to(tmp_path / "elsewhere")
    place.recording("copy.mp3", b"sound")
    found = place.scan()
    assert (found.renamed, names(found.missing)) == ([], {"copy.mp3": "copy"})


def test_something_that_cannot_be_looked_at_does_not_keep_others_from_their_transcripts(place: Location) -> None:
    """It may be there for years."""
    recording = place.recording("talk.mp3")
    place.finish("talk.mp3")
    recording.rename(place.source / "speech.mp3")
    place.recording(os.fsdecode(b"caf\xe9.mp3"), b"sound")
    (place.source / "lost.mp3").symlink_to("nowhere.mp3")
    found = place.scan()
    assert (found.renamed, names(found.missing)) == ([("talk.mp3", "speech.mp3")], {})
    assert len(found.unreadable) == 2


def test_a_recording_moved_to_where_its_records_have_no_room_ends_no_look(place: Location) -> None:
    """The director names it when its job is made; the others are queued."""
    recording = place.recording("talk.mp3")
    place.finish("talk.mp3")
    deep = place.source.joinpath(*["x" * 200] * 18)
    deep.mkdir(parents=True)
    (place.dest / "deep").mkdir()
    place.recording("other.mp3")
    recording.rename(deep / "talk.mp3")
    before = place.texts()
    narrow = Records(FolderStore(place.dest))
    narrow.store.takes = lambda key: len(key) < 3000  # type: ignore[method-assign]
    found = place.scan(records=narrow)
    assert found.renamed == []
    assert len(found.missing) == 2
    assert place.texts() == before


def test_a_text_that_cannot_be_read_keeps_only_its_own_recording_from_its_transcript(place: Location) -> None:
    """It is another user's perhaps; the recording is transcribed anew then."""
    for name in ("a.mp3", "b.mp3"):
        recording = place.recording(name)
        place.finish(name)
        recording.rename(place.source / f"new {name}")
    (place.dest / "a.srt").unlink()
    (place.dest / "a.srt").mkdir()  # reading it fails, as it would there
    found = place.scan()
    assert found.renamed == [("b.mp3", "new b.mp3")]
    assert names(found.missing) == {"new a.mp3": "new a"}


def test_a_note_that_cannot_be_read_ends_no_look(place: Location) -> None:
    """That of a move which was cut short, on a disk that begins to fail."""
    place.recording("talk.mp3")
    place.finish("talk.mp3")
    (place.dest / ".nightscribe/parts/talk.mp3/renamed.begun").mkdir(
        parents=True
    )  # reading it fails, as it would there
    place.recording("other.mp3")
    found = place.scan()
    assert (names(found.missing), found.n_finished) == ({"other.mp3": "other"}, 1)


def test_two_that_swap_names_swap_transcripts_or_are_done_again(place: Location) -> None:
    """Whatever is done, no recording may be left with the words of the other."""
    place.recording("a.mp3", b"sound of a")
    place.recording("b.mp3", b"sound of b", age_s=HOUR_S + 5)
    for name in ("a.mp3", "b.mp3"):
        place.finish(name)
    (place.source / "a.mp3").rename(place.source / "c.mp3")
    (place.source / "b.mp3").rename(place.source / "a.mp3")
    (place.source / "c.mp3").rename(place.source / "b.mp3")
    found = place.scan()
    assert set(names(found.missing)) | {new for _, new in found.renamed} == {"a.mp3", "b.mp3"}


# Being written


def recent_scan(place: Location, during_sleep: Callable[[], object]) -> tuple[Scan, list[float]]:
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        during_sleep()

    # By a clock that stands still: a machine that does so for a moment would make them look old.
    now_s = (place.source / "new.mp3").stat().st_mtime + 1
    return place.scan(sleep=sleep, now=lambda: now_s), slept


def test_a_recording_changed_a_moment_ago_is_looked_at_twice(place: Location) -> None:
    place.recording("old.mp3")
    place.recording("new.mp3", age_s=1)
    found, slept = recent_scan(place, lambda: None)
    assert set(names(found.missing)) == {"old.mp3", "new.mp3"}
    assert slept == [pytest.approx(2.05)]


@pytest.mark.parametrize(
    "change",
    [
        lambda path: path.write_bytes(path.read_bytes() + b"more"),
        os.utime,
        lambda path: path.unlink(),
    ],
    ids=["grows", "is touched", "vanishes"],
)
def test_a_recording_that_is_still_being_written_is_left_for_the_next_run(
    place: Location, change: Callable[[Path], object]
) -> None:
    copied = place.recording("new.mp3", age_s=1)
    place.recording("quiet.mp3", age_s=1)
    found, _ = recent_scan(place, lambda: change(copied))
    assert set(names(found.missing)) == {"quiet.mp3"}
    assert (found.being_written, found.n_recordings) == (["new.mp3"], 2)


def test_a_time_in_the_future_is_a_wrong_clock(place: Location) -> None:
    place.recording("talk.mp3", age_s=-HOUR_S)
    assert names(place.scan().missing) == {"talk.mp3": "talk"}


def test_nothing_is_waited_for_when_everything_is_old_or_finished(place: Location) -> None:
    """`no_sleep` would fail."""
    place.recording("old.mp3", age_s=3.5)
    place.recording("new.mp3", age_s=0)
    place.finish("new.mp3")
    assert names(place.scan().missing) == {"old.mp3": "old"}


def test_the_clock_is_the_one_that_was_passed_in(place: Location) -> None:
    place.recording("talk.mp3")
    changed_s = (place.source / "talk.mp3").stat().st_mtime
    slept: list[float] = []
    place.scan(now=lambda: changed_s + 2.0, sleep=slept.append)
    assert slept == [pytest.approx(1.05)]
    place.scan(now=lambda: changed_s + 3.0)


# Names that do not tell


def sound(path: Path) -> Path:
    with wave.open(str(path), "wb") as made:
        made.setnchannels(1)
        made.setsampwidth(2)
        made.setframerate(16_000)
        made.writeframes(bytes(3200))
    changed = time.time() - HOUR_S
    os.utime(path, (changed, changed))
    return path


@pytest.mark.usefixtures("ffmpeg")
def test_a_file_whose_name_does_not_tell_is_looked_into(place: Location) -> None:
    sound(place.source / "recording")
    sound(place.source / "call.2012-01-05")
    place.recording("letter", b"Dear diary, today I recorded nothing.\n")
    place.recording("data.xyz", bytes(range(256)) * 10)
    place.recording("empty", b"")
    found = place.scan()
    assert set(names(found.missing)) == {"recording", "call.2012-01-05"}
    assert (found.n_recordings, found.unreadable) == (2, [])


@pytest.mark.usefixtures("ffmpeg")
def test_of_a_file_that_grows_only_the_last_look_is_remembered(place: Location) -> None:
    """A director that watches may look at it for weeks."""
    scanner = Scanner(FolderSource(place.source), place.records, FORMATS, settle_s=3.0, sleep=no_sleep)
    for n in range(1, 4):
        place.recording("growing.data", b"no sound" * n)
        scanner.scan()
    assert len(scanner._recording_filter._has_audio) == 1


def test_a_file_with_the_name_of_something_else_is_not_looked_into(place: Location) -> None:
    sound(place.source / "sound.txt")
    assert place.scan().n_recordings == 0


@pytest.mark.parametrize("name", ["A.MP3", "b.M4a", "c.oPuS", "film.mkv"])
def test_an_extension_counts_in_any_case(place: Location, name: str) -> None:
    place.recording(name)
    assert set(names(place.scan().missing)) == {name}


# What cannot be read


def test_a_recording_that_vanishes_while_it_is_compared_is_said_to_be_gone(place: Location) -> None:
    place.recording("a.mp3")
    place.recording("b.mp3")
    place.finish("a.mp3", mtime_ns=None)

    class Vanishing(FolderSource):
        def fingerprint(self, recording: Any) -> str:
            (self.root / "a.mp3").unlink(missing_ok=True)
            return super().fingerprint(recording)

    found = Scanner(Vanishing(place.source), place.records, FORMATS, settle_s=3.0, sleep=no_sleep).scan()
    assert names(found.missing) == {"b.mp3": "b"}
    assert [(u.path, u.reason) for u in found.unreadable] == [("a.mp3", "'a.mp3' is no longer in the source.")]


def test_a_new_recording_is_not_read(place: Location) -> None:
    """A million of them are fingerprinted when they are queued, not before the first can be."""

    class Shut(FolderSource):
        def fingerprint(self, recording: Any) -> str:
            raise AssertionError(f"{recording.path} was read")

    place.recording("a.mp3", b"other")
    place.finish("a.mp3")
    place.recording("a.mp3", b"longer sound")
    place.recording("b.mp3", b"sound")
    found = Scanner(Shut(place.source), place.records, FORMATS, settle_s=3.0, sleep=no_sleep).scan()
    assert names(found.missing) == {"a.mp3": "a", "b.mp3": "b"}


def test_a_name_that_is_no_text_is_counted_and_said(place: Location) -> None:
    place.recording(os.fsdecode(b"caf\xe9.mp3"), b"sound")
    place.recording("a.mp3")
    found = place.scan()
    assert names(found.missing) == {"a.mp3": "a"}
    assert [u.path for u in found.unreadable] == ["caf\\xe9.mp3"]
    assert found.n_recordings == 2


@pytest.mark.parametrize("name", ["a" * 251 + ".mp3", "日" * 83 + ".mp3", "line\nbreak.mp3", "-rf.mp3", "$(x) 'y'.mp3"])
def test_a_recording_of_any_name_is_found_finished_when_it_is(place: Location, name: str) -> None:
    place.recording(name, b"sound")
    assert set(names(place.scan().missing)) == {name}
    place.finish(name)
    assert place.scan().n_finished == 1


# Only looking


def test_a_dry_run_finds_the_same_and_changes_nothing(place: Location) -> None:
    for name in ("done.mp3", "old name.mp3", "new.mp3", "failed.mp3"):
        place.recording(name)
    place.finish("done.mp3")
    place.finish("old name.mp3")
    place.fail("failed.mp3")
    (place.dest / "done.txt").unlink()
    (place.source / "old name.mp3").rename(place.source / "new name.mp3")
    before = place.everything()
    looked = place.scan(dry_run=True)
    assert place.everything() == before
    done = place.scan()
    assert place.everything() != before
    for scan in (looked, done):
        assert names(scan.missing) == {"new.mp3": "new"}
        assert (scan.n_finished, len(scan.failed_before)) == (2, 1)
        assert scan.rewritten == ["done.txt"]
        assert scan.renamed == [("old name.mp3", "new name.mp3")]


def test_a_dry_run_into_a_folder_that_is_not_there_makes_none(place: Location) -> None:
    place.recording("a.mp3")
    shutil.rmtree(place.dest)
    assert names(place.scan(dry_run=True).missing) == {"a.mp3": "a"}
    assert not place.dest.exists()


def test_what_a_scan_has_seen_adds_up(place: Location) -> None:
    for name in ("done.mp3", "new.mp3", "failed.mp3", "foreign.mp3"):
        place.recording(name)
    place.finish("done.mp3")
    place.fail("failed.mp3")
    for fmt in FORMATS:
        file(place.dest / f"foreign.{fmt}")
    assert place.scan().n_recordings == 4


def test_is_current_is_asked_with_what_is_recorded(place: Location) -> None:
    place.recording("talk.mp3")
    place.finish("talk.mp3")
    asked: list[Provenance] = []
    place.scan(is_current=lambda done: bool(asked.append(done)) or True)
    assert [(p.recording, p.finished_at) for p in asked] == [("talk.mp3", WHEN)]


# Other people's files


def test_notes_of_the_user_stay_when_work_on_the_recording_was_interrupted(place: Location) -> None:
    """The parts tell where our texts go; the notes beside them are not ours for that."""
    place.recording("talk.mp3")
    (place.dest / "talk.txt").write_text("my notes")
    [missing] = place.scan().missing
    assert missing.stem == "talk.mp3"
    whole = slice_of("talk.mp3", stem=missing.stem)
    place.records.partial_results.claim(job(whole), whole, worker="here-1", message="message")
    assert names(place.scan().missing) == {"talk.mp3": "talk.mp3"}


def test_a_free_name_is_found_where_both_usual_ones_are_the_users(place: Location) -> None:
    place.recording("talk.mp3")
    (place.dest / "talk.txt").write_text("my notes")
    (place.dest / "talk.mp3.txt").write_text("more notes")
    assert names(place.scan().missing) == {"talk.mp3": "talk.mp3 (2)"}


def test_a_corrected_text_survives_a_change_of_the_recordings_extension(place: Location) -> None:
    place.recording("talk.mp3")
    place.finish("talk.mp3")
    (place.dest / "talk.txt").write_text("corrected by hand")
    (place.source / "talk.mp3").rename(place.source / "talk.MP3")
    found = place.scan()
    assert found.renamed == [("talk.mp3", "talk.MP3")]
    assert place.texts()["talk.txt"] == b"corrected by hand"


def test_a_redo_with_another_format_leaves_the_users_file_of_that_name(place: Location) -> None:
    place.recording("talk.mp3")
    place.finish("talk.mp3")
    (place.dest / "talk.json").write_text("{}")
    assert names(place.scan(redo=True, formats=("txt", "json")).missing) == {"talk.mp3": "talk.mp3"}
    assert names(place.scan(redo=True).missing) == {"talk.mp3": "talk"}


def test_texts_of_a_deleted_recording_are_not_taken_for_another_tools(place: Location) -> None:
    gone = place.recording("talk.wav")
    place.finish("talk.wav")
    gone.unlink()
    place.recording("talk.mp3", b"something else")
    assert names(place.scan().missing) == {"talk.mp3": "talk.mp3"}


def test_a_sidecar_of_metadata_is_no_transcript(place: Location) -> None:
    place.recording("talk.mp3")
    (place.dest / "talk.json").write_text("{}")
    assert names(place.scan(formats=("json",)).missing) == {"talk.mp3": "talk.mp3"}


def test_a_link_up_does_not_lead_to_everything_else(place: Location) -> None:
    place.recording("talk.mp3")
    file(place.source.parent / "private.mp3", b"private")
    (place.source / "up").symlink_to("..")
    assert names(place.scan().missing) == {"talk.mp3": "talk"}


# Labels of speakers


LABELLED = OPTIONS.model_copy(update={"speakers": "auto"})


def label_wanted(wanted: str) -> Callable[[Provenance], bool]:
    return lambda done: same_labels(done.options, OPTIONS.model_copy(update={"speakers": wanted}))


def only_speakers(found: Scan) -> dict[str, bool]:
    return {each.recording.path: each.only_speakers for each in found.missing}


def test_a_finished_recording_lacks_only_the_labels_that_are_asked_for_later(place: Location) -> None:
    for name in ("done.mp3", "labelled.mp3", "new.mp3"):
        place.recording(name)
    place.finish("done.mp3", "elsewhere")
    place.finish("labelled.mp3", options=LABELLED)
    found = place.scan(has_labels=label_wanted("auto"))
    assert only_speakers(found) == {"done.mp3": True, "new.mp3": False}
    assert names(found.missing)["done.mp3"] == "elsewhere"
    assert (found.n_finished, found.missing.n_only_speakers) == (1, 1)


def test_another_number_of_speakers_labels_again_and_none_leaves_the_labels(place: Location) -> None:
    place.recording("labelled.mp3")
    place.finish("labelled.mp3", options=LABELLED)
    assert only_speakers(place.scan(has_labels=label_wanted("2"))) == {"labelled.mp3": True}
    before = place.everything()
    assert only_speakers(place.scan(has_labels=label_wanted("off"))) == {}
    assert place.everything() == before


def test_a_recording_whose_labels_failed_is_left_alone_until_it_is_retried(place: Location) -> None:
    place.recording("done.mp3")
    place.finish("done.mp3")
    place.fail("done.mp3", reason="It was removed.")
    found = place.scan(has_labels=label_wanted("auto"))
    assert (len(found.missing), [each.reason for each in found.failed_before]) == (0, ["It was removed."])
    assert place.scan().n_finished == 1
    assert only_speakers(place.scan(has_labels=label_wanted("auto"), retry_failed=True)) == {"done.mp3": True}


def test_a_recording_to_label_takes_over_no_other_transcript(place: Location) -> None:
    """A copy of a recording that was deleted has the same content."""
    place.recording("a.mp3", b"same")
    place.finish("a.mp3")
    place.recording("b.mp3", b"same")
    place.finish("b.mp3")
    (place.source / "a.mp3").unlink()
    found = place.scan(has_labels=label_wanted("auto"))
    assert found.renamed == []
    assert only_speakers(found) == {"b.mp3": True}
    assert place.records.transcript("a.mp3")
