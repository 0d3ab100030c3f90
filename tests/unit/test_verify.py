"""A destination is checked as a whole, and mended where that needs no transcription. Nothing written is lost by it."""

import hashlib
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from making import WHEN, activity, failure, file, job, part, run_of, segment, slice_of, transcript
from support.buckets import TestBucket

from nightscribe.cli.main import cli
from nightscribe.director.scan.scanner import Scanner
from nightscribe.services.events import Event, Verifying
from nightscribe.services.integrity import is_damaged_text, time_fault
from nightscribe.services.verification.findings import Verified
from nightscribe.services.verify import IN_HAND_S, verify
from nightscribe.shared.destination.keys import HASHES, JOBS, RUN, failure_key, hash_key, parts_folder, transcript_key
from nightscribe.shared.destination.records import RENAMED, Records, _Renaming
from nightscribe.shared.formats.registry import render
from nightscribe.shared.model.transcript import Transcript, Word, utc_now
from nightscribe.shared.storage.base import StorageOptions
from nightscribe.shared.storage.fingerprint import fingerprint
from nightscribe.shared.storage.folder.location import FolderLocation
from nightscribe.shared.storage.folder.store import FolderStore
from nightscribe.terminal import visible
from nightscribe.views.verify import lines

FORMATS = ("txt", "vtt", "srt")
SOUND = b"sound " * 40_000
LONG = bytes(range(256)) * 20_000  # several blocks of the cache


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Two recordings."""
    for name, content in (("talk.mp3", SOUND), ("2012/interview.mp3", SOUND[::-1])):
        file(tmp_path / "source" / name, content)
    return tmp_path / "source"


@pytest.fixture
def dest(tmp_path: Path) -> Path:
    """The destination."""
    (tmp_path / "dest").mkdir()
    return tmp_path / "dest"


@pytest.fixture
def records(source: Path, dest: Path) -> Records:
    """The finished transcripts of both, after a run that is over."""
    records = Records(FolderStore(dest))
    for path in sorted(source.rglob("*.mp3")):
        made = transcript_of(path, source)
        records.finish(made, made.formats)
    records.put_run(run_of(source=str(source), ended_at=WHEN))
    return records


def transcript_of(path: Path, source: Path, **changes: Any) -> Transcript:
    content = path.read_bytes()
    name = path.relative_to(source).as_posix()
    values: dict[str, Any] = {
        "recording": name,
        "stem": name.removesuffix(".mp3"),
        "size": len(content),
        "mtime_ns": path.stat().st_mtime_ns,
        "fingerprint": fingerprint(len(content), lambda first, n: content[first : first + n]),
        "content_sha256": hashlib.sha256(content).hexdigest(),
        "decoded_s": 10.0,
        "formats": FORMATS,
    }
    return transcript(segment(0, 4, f"It is {name}."), segment(4, 9, "And no more."), **(values | changes))


def checked(dest: Path, source: Path | None = None, **more: Any) -> Verified:
    return verify(FolderLocation(dest), FolderLocation(source) if source else None, **more)


def kinds(verified: Verified) -> list[tuple[str, str]]:
    return sorted((each.kind, each.path) for each in verified.problems)


def all_files(root: Path) -> dict[str, bytes]:
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def call(*arguments: str | Path) -> Result:
    return CliRunner().invoke(cli, ["verify", *map(str, arguments)], prog_name="nightscribe")


def scanner(source: Path, records: Records) -> Scanner:
    return Scanner(FolderLocation(source).open_source(StorageOptions()), records, FORMATS, settle_s=0)


TALK = transcript_key("talk.mp3")


# All is well


@pytest.mark.parametrize("repair", [False, True])
def test_a_whole_destination_is_clean_and_is_not_touched(
    records: Records, source: Path, dest: Path, repair: bool
) -> None:
    before = all_files(dest)
    found = checked(dest, source, repair=repair)
    assert kinds(found) == []
    assert found.is_clean
    assert (found.n_transcripts, found.n_texts, found.n_recordings, found.n_unfinished) == (2, 6, 2, 0)
    assert all_files(dest) == before


def test_without_a_source_no_recording_is_read(records: Records, source: Path, dest: Path) -> None:
    (source / "talk.mp3").write_bytes(b"another")
    found = checked(dest)
    assert found.is_clean
    assert found.n_recordings == 0


def test_it_says_how_far_it_is(records: Records, dest: Path) -> None:
    told: list[Event] = []
    checked(dest, on_event=told.append)
    assert told == [Verifying(0, 2), Verifying(1, 2)]


# Records


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "cut off": lambda content: content[: len(content) // 2],
    "zeros": lambda content: bytes(len(content)),
    "empty": lambda content: b"",
    "a field is gone": lambda content: content.replace(b'"decoded_s"', b'"decoded"'),
    "negative": lambda content: content.replace(b'"start_s":0.0', b'"start_s":-7.0'),
}


@pytest.mark.parametrize("how", DAMAGE)
def test_a_damaged_record_is_found_and_set_aside_and_its_recording_done_again(
    records: Records, source: Path, dest: Path, how: str
) -> None:
    """Its texts are there: without a note of whose they are, the recording would count as done by another tool."""
    damaged = DAMAGE[how]((dest / TALK).read_bytes())
    (dest / TALK).write_bytes(damaged)
    assert kinds(checked(dest, source)) == [("record_damaged", TALK)]
    assert (dest / TALK).read_bytes() == damaged
    mended = checked(dest, source, repair=True)
    assert mended.is_clean
    assert kinds(mended) == [("record_damaged", TALK)]
    assert (dest / ".nightscribe/damaged/transcripts/talk.mp3.json").read_bytes() == damaged
    scan = scanner(source, records).scan()
    assert [(missing.recording.path, missing.stem) for missing in scan.missing] == [("talk.mp3", "talk")]
    assert scan.n_foreign == 0
    again = checked(dest, source)
    assert again.is_clean
    assert again.n_unfinished == 1


def test_a_correction_outlives_the_damage_of_its_record(records: Records, source: Path, dest: Path) -> None:
    (dest / TALK).write_bytes(b"{")
    (dest / "talk.txt").write_bytes(b"It was talk, dear.\n")
    checked(dest, repair=True)
    records.finish(transcript_of(source / "talk.mp3", source), FORMATS)
    assert (dest / "talk (kept).txt").read_bytes() == b"It was talk, dear.\n"


def test_what_is_set_aside_twice_is_kept_twice(records: Records, dest: Path) -> None:
    for content in (b"{1", b"{2", b"{2"):
        (dest / TALK).write_bytes(content)
        assert checked(dest, repair=True).is_clean
    kept = [content for name, content in all_files(dest).items() if "/damaged/" in name]
    assert sorted(kept) == [b"{1", b"{2"]


@pytest.mark.parametrize("key", [failure_key("a.mp3"), RUN, f"{JOBS}here-1.json"])
def test_other_records_are_checked_too(records: Records, dest: Path, key: str) -> None:
    records.store.put(key, b'{"version": 1}')
    assert kinds(checked(dest)) == [("record_damaged", key)]
    assert checked(dest, repair=True).is_clean
    assert not (dest / key).exists()


def test_a_record_of_a_newer_release_is_named_and_left(records: Records, dest: Path) -> None:
    content = (dest / TALK).read_bytes().replace(b'"version":2', b'"version":99')
    (dest / TALK).write_bytes(content)
    found = checked(dest, repair=True)
    assert kinds(found) == [("record_newer", TALK)]
    assert not found.is_clean
    assert (dest / TALK).read_bytes() == content


def test_a_copy_of_a_record_under_another_name_is_found(records: Records, dest: Path) -> None:
    """As tools that synchronise folders make them."""
    copy = transcript_key("talk (conflict).mp3")
    (dest / copy).write_bytes((dest / TALK).read_bytes())
    assert kinds(checked(dest)) == [("record_misplaced", copy)]
    assert checked(dest, repair=True).is_clean
    assert checked(dest).n_transcripts == 2


def test_a_record_that_cannot_be_read_at_all_is_a_problem(records: Records, dest: Path) -> None:
    (dest / TALK).unlink()
    (dest / TALK).mkdir()
    (dest / TALK / "x.json").write_bytes(b"{}")
    assert [kind for kind, _ in kinds(checked(dest))] == ["record_damaged", *["text_without_record"] * 3]


# Times


@pytest.mark.parametrize(
    ("segments", "said"),
    [
        ([segment(0, 1), segment(1, 2)], None),
        ([segment(0, 3), segment(2, 4)], None),
        ([segment(3, 4), segment(1, 2)], "Segment 2 begins at 1.00 s, before the one in front of it."),
        ([segment(3, 2)], "Segment 1 ends before it begins (3.00 s to 2.00 s)."),
        ([segment(9, 10.5)], None),
        ([segment(9, 400)], "Segment 1 ends at 400.00 s, and the recording at 10.00 s."),
        ([segment(0, 2, words=(Word(-1, 1, "Hello."),))], "A word of segment 1 has no possible times"),
        ([segment(0, 2, words=(Word(1, 0.5, "Hello."),))], "A word of segment 1 has no possible times"),
    ],
)
def test_times_that_cannot_be_are_found(segments: list[Any], said: str | None) -> None:
    found = time_fault(transcript(*segments, decoded_s=10.0))
    assert found == said or (said and found and found.startswith(said))


def test_a_record_with_times_that_cannot_be_is_named_and_left(records: Records, source: Path, dest: Path) -> None:
    bad = transcript_of(source / "talk.mp3", source, segments=(segment(5, 6), segment(1, 2)))
    records.finish(bad, FORMATS)
    found = checked(dest, repair=True)
    assert kinds(found) == [("times", TALK)]
    assert not found.is_clean


# Texts


def test_a_missing_text_is_written_again(records: Records, dest: Path) -> None:
    before = (dest / "talk.srt").read_bytes()
    (dest / "talk.srt").unlink()
    assert kinds(checked(dest)) == [("text_missing", "talk.srt")]
    assert checked(dest, repair=True).is_clean
    assert (dest / "talk.srt").read_bytes() == before


def test_a_text_corrected_by_hand_is_said_to_be_so_and_is_no_problem(records: Records, dest: Path) -> None:
    (dest / "talk.txt").write_text("It is Talk, M.P. And no more.\n")
    (dest / "2012/interview.vtt").write_bytes(b"\xff\xfe" + "WEBVTT\n".encode("utf-16-le"))
    found = checked(dest, repair=True)
    assert found.is_clean
    assert found.problems == ()
    assert set(found.corrected) == {"talk.txt", "2012/interview.vtt"}
    assert (dest / "talk.txt").read_text() == "It is Talk, M.P. And no more.\n"


@pytest.mark.parametrize("content", [b"", b"It is ta", b"\xff\xfa\x00", bytes(40)])
def test_a_damaged_text_is_named_and_left(records: Records, dest: Path, content: bytes) -> None:
    (dest / "talk.txt").write_bytes(content)
    found = checked(dest, repair=True)
    assert kinds(found) == [("text_damaged", "talk.txt")]
    assert not found.is_clean
    assert (dest / "talk.txt").read_bytes() == content


@pytest.mark.parametrize(
    ("content", "kind", "is_damaged"),
    [
        (b"a\n", "text/plain", False),  # the last line was removed by a person
        (b"a\nb", "text/plain", True),
        (b'{"a": 1', "application/json", True),
        (b'{"a": 1}', "application/json", False),
        (b"PK\x03\x04\x00", "application/zip", False),
    ],
)
def test_damage_is_what_no_editor_leaves(content: bytes, kind: str, is_damaged: bool) -> None:
    assert is_damaged_text(content, b"a\nbc\n", kind) is is_damaged


@pytest.mark.parametrize("name", ["lost.txt", "2012/lost.srt"])
def test_a_text_of_no_record_is_named_and_left(records: Records, dest: Path, name: str) -> None:
    file(dest / name, b"words\n")
    found = checked(dest, repair=True)
    assert kinds(found) == [("text_without_record", name)]
    assert not found.is_clean
    assert (dest / name).exists()


def test_texts_that_were_kept_and_files_of_other_kinds_are_no_strays(records: Records, dest: Path) -> None:
    for name in ("talk (kept).txt", "talk (kept 2).srt", "talk.json", "cover.jpg", ".hidden.txt"):
        file(dest / name)
    for name in ("report.html", "my notes.md", "my thesis.docx", "manual.pdf", "saved.html"):
        file(dest / name)
    assert checked(dest).problems == ()
    file(dest / "lost.html", render(transcript(), "html"))
    assert kinds(checked(dest)) == [("text_without_record", "lost.html")]


def test_where_recordings_and_texts_share_a_folder_a_text_may_be_anybody_s(tmp_path: Path) -> None:
    file(tmp_path / "talk.mp3", SOUND)
    file(tmp_path / "shopping.txt", b"bread\n")
    records = Records(FolderStore(tmp_path))
    made = transcript_of(tmp_path / "talk.mp3", tmp_path)
    records.finish(made, made.formats)
    records.put_run(run_of(source=str(tmp_path), ended_at=WHEN))
    for source in (None, tmp_path):
        found = checked(tmp_path, source)
        assert found.problems == ()
        assert not found.searched_texts


# Recordings


def test_a_recording_that_changed_in_the_middle_is_found(records: Records, source: Path, dest: Path) -> None:
    """Neither its size nor its time nor its ends tell."""
    path = source / "talk.mp3"
    stat = path.stat()
    path.write_bytes(SOUND[:100_000] + b"X" + SOUND[100_001:])
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    before = all_files(dest)
    found = checked(dest, source, repair=True)
    assert kinds(found) == [("recording_changed", "talk.mp3")]
    assert not found.is_clean
    assert all_files(dest) == before


def test_missing_hashes_are_counted_and_written_by_a_repair(records: Records, source: Path, dest: Path) -> None:
    """Only for recordings that are certainly those that were transcribed; short ones need none."""
    for name, content in (("long.mp3", LONG), ("changed.mp3", LONG), ("short.mp3", SOUND[:1000])):
        path = file(source / name, content)
        made = transcript_of(path, source, content_sha256=None)
        records.finish(made, made.formats)
    os.utime(source / "changed.mp3", (1, 1))
    found = checked(dest, source)
    assert (found.n_hashed, found.n_unhashed, found.is_clean) == (0, 1, True)
    assert "Without a hash of the whole content: 1 recording; --repair writes them." in lines(found, repair=False)
    mended = checked(dest, source, repair=True)
    assert (mended.n_hashed, mended.n_unhashed, mended.is_clean) == (1, 0, True)
    assert "Hashes of the whole content written: 1 recording." in lines(mended, repair=True)
    done = records.provenance("long.mp3")
    assert done is not None
    content_hash = records.content_hash(done)
    assert content_hash is not None
    assert content_hash.sha256 == hashlib.sha256(LONG).hexdigest()
    assert checked(dest, source).n_unhashed == 0


def test_a_hash_of_no_transcript_or_an_earlier_one_is_left_over(records: Records, source: Path, dest: Path) -> None:
    done = records.provenance("talk.mp3")
    assert done is not None
    records.put_content_hash(done, 1, "0" * 64)
    assert checked(dest).is_clean
    records.put_content_hash(done.model_copy(update={"finished_at": WHEN + timedelta(days=1)}), 1, "0" * 64)
    records.put_content_hash(done.model_copy(update={"recording": "gone.mp3"}), 1, "0" * 64)
    file(dest / hash_key("damaged.mp3"), b"{")
    file(dest / HASHES / "notes.txt")
    wanted = [
        ("left_over", hash_key("gone.mp3")),
        ("left_over", hash_key("talk.mp3")),
        ("record_damaged", hash_key("damaged.mp3")),
        ("stray", f"{HASHES}notes.txt"),
    ]
    assert kinds(checked(dest)) == wanted
    mended = checked(dest, repair=True)
    assert [each.kind for each in mended.problems if not each.mended] == ["stray"]
    assert kinds(checked(dest)) == wanted[-1:]


def test_of_a_record_without_a_hash_the_ends_are_compared(records: Records, source: Path, dest: Path) -> None:
    path = source / "talk.mp3"
    records.finish(transcript_of(path, source, content_sha256=None), FORMATS)
    assert checked(dest, source).is_clean
    path.write_bytes(SOUND[:-1] + b"X")
    assert kinds(checked(dest, source)) == [("recording_changed", "talk.mp3")]


def test_a_recording_that_is_gone_is_named(records: Records, source: Path, dest: Path) -> None:
    (source / "talk.mp3").unlink()
    assert kinds(checked(dest, source)) == [("recording_missing", "talk.mp3")]


# What is left over


def begin(records: Records, recording: str = "talk.mp3", fingerprint: str = "10-abc", n: int = 1) -> None:
    """Begin work on a recording that is cut in two, of which so many parts are there."""
    each = slice_of(recording, fingerprint=fingerprint, cuts=(5.0,), stem=recording.removesuffix(".mp3"))
    half = job(each)
    records.partial_results.keep_cuts(recording, fingerprint, (5.0,))
    records.partial_results.claim(half, each, worker="gone-1", message="m")
    for index in range(n):
        records.partial_results.put(half, each.model_copy(update={"index": index}), part(segment()))


def finished_fingerprint(records: Records) -> str:
    done = records.provenance("talk.mp3")
    assert done
    return done.fingerprint


def test_parts_and_claims_of_a_finished_recording_are_left_over(records: Records, dest: Path) -> None:
    begin(records, fingerprint=finished_fingerprint(records))
    assert kinds(checked(dest)) == [("left_over", parts_folder("talk.mp3"))]
    assert checked(dest, repair=True).is_clean
    assert not (dest / parts_folder("talk.mp3")).exists()


@pytest.mark.parametrize("recording", ["talk.mp3", "new.mp3"])
def test_unfinished_work_is_no_problem(records: Records, source: Path, dest: Path, recording: str) -> None:
    """A recording that has changed, or was never finished: the next run goes on with both."""
    file(source / "new.mp3", SOUND)
    begin(records, recording)
    found = checked(dest, source, repair=True)
    assert found.is_clean
    assert found.n_unfinished == 1
    assert len(all_files(dest / parts_folder(recording))) == 3


def test_unfinished_work_on_a_recording_that_is_gone_is_set_aside(records: Records, source: Path, dest: Path) -> None:
    begin(records, "gone.mp3")
    assert checked(dest).is_clean  # without the source nobody knows
    assert kinds(checked(dest, source)) == [("left_over", parts_folder("gone.mp3"))]
    assert checked(dest, source, repair=True).is_clean
    assert len(all_files(dest / ".nightscribe/damaged/parts/gone.mp3")) == 3


def test_a_damaged_part_is_set_aside_so_that_its_stretch_is_done_again(records: Records, dest: Path) -> None:
    begin(records, "new.mp3", n=2)
    paths = sorted((dest / parts_folder("new.mp3")).glob("*-?.json"))
    paths[0].write_bytes(b"{")
    key = paths[0].relative_to(dest).as_posix()
    assert kinds(checked(dest)) == [("record_damaged", key)]
    assert checked(dest, repair=True).is_clean
    assert not paths[0].exists()
    assert paths[1].exists()


def test_a_file_that_is_not_ours_among_the_records_is_named(records: Records, dest: Path) -> None:
    names = [f"{parts_folder('x.mp3')}notes.txt", ".nightscribe/transcripts/Thumbs.db", ".nightscribe/jobs/x"]
    for name in names:
        file(dest / name)
    assert kinds(checked(dest, repair=True)) == sorted(("stray", name) for name in names)


def test_the_note_of_an_unfinished_rename_is_found_and_the_rename_finished(
    records: Records, source: Path, dest: Path
) -> None:
    """The director was killed once the record had its new name, and before the old one was gone."""
    old = records.transcript("talk.mp3")
    assert old
    (source / "talk.mp3").rename(source / "speech.mp3")
    new = old.model_copy(update={"recording": "speech.mp3", "stem": "speech"})
    note = parts_folder("speech.mp3") + RENAMED
    records.store.put(note, _Renaming(stem="speech", before="talk.mp3").model_dump_json().encode())
    records.finish(new, FORMATS)
    assert ("rename_unfinished", note) in kinds(checked(dest))
    assert not checked(dest, repair=True).is_clean  # only the source tells whether there is a talk.mp3 again
    assert (dest / note).exists()
    checked(dest, source, repair=True)
    assert checked(dest, source).problems == ()
    assert not (dest / "talk.txt").exists()
    assert (dest / "speech.txt").exists()


@pytest.mark.parametrize(("age_s", "is_removed"), [(60.0, False), (2 * 3600.0, True)])
def test_temporary_files_are_found_and_old_ones_removed(
    records: Records, dest: Path, age_s: float, is_removed: bool
) -> None:
    names = [".nightscribe-other.host-7-0a.tmp", "2012/.nightscribe-other.host-7-0a.tmp", ".nightscribe/trial-there-7"]
    for name in names:
        file(dest / name, b"half", age_s=age_s)
    assert kinds(checked(dest)) == sorted(("temporary_file", name) for name in names)
    assert checked(dest, repair=True).is_clean is is_removed
    assert [(dest / name).exists() for name in names] == [not is_removed] * 3


# Beside a run


def at_work(records: Records, *, by: str) -> None:
    """Somebody reports, perhaps on a machine that is called as this one is, where that process is not to be found."""
    now = utc_now()
    process = f"{socket.gethostname()}-{dead_pid()}" if "namesake" in by else "elsewhere-1"
    if by.startswith("run"):
        records.put_run(run_of(process=process, began_at=now, updated_at=now))
    else:
        records.report(activity(worker=process, updated_at=now))


def dead_pid() -> int:
    """Return the id of a process that has ended."""
    done = subprocess.Popen([sys.executable, "-c", ""])
    done.wait()
    return done.pid


@pytest.mark.parametrize("by", ["run", "worker", "run of a namesake", "worker of a namesake"])
def test_what_a_run_at_work_may_have_in_hand_is_no_stray(records: Records, source: Path, dest: Path, by: str) -> None:
    at_work(records, by=by)
    begin(records, fingerprint=finished_fingerprint(records))
    file(dest / "new.txt", b"words\n", age_s=5)
    file(dest / ".nightscribe-other.host-7-0a.tmp", b"half", age_s=5)
    before = all_files(dest)
    found = checked(dest, source, repair=True)
    assert found.is_at_work
    assert found.problems == ()
    assert all_files(dest) == before


def test_a_run_that_broke_off_long_ago_is_at_work_no_more(records: Records, dest: Path) -> None:
    records.put_run(run_of())
    records.report(activity(worker="elsewhere-1"))
    assert checked(dest).is_at_work  # its clock may be wrong: the time of the file counts
    for path in (dest / RUN, dest / JOBS / "elsewhere-1.json"):
        os.utime(path, (WHEN.timestamp(),) * 2)
    assert not checked(dest).is_at_work


def test_beside_a_run_only_what_is_old_is_removed_and_no_record_is_touched(records: Records, dest: Path) -> None:
    at_work(records, by="run")
    begin(records, fingerprint=finished_fingerprint(records))
    (dest / "2012/interview.txt").unlink()
    (dest / transcript_key("2012/interview.mp3")).write_bytes(b"{")
    for path in (dest / parts_folder("talk.mp3")).iterdir():
        os.utime(path, (time.time() - 2 * IN_HAND_S,) * 2)
    found = checked(dest, repair=True)
    assert {each.kind: bool(each.mended) for each in found.problems} == {"left_over": True, "record_damaged": False}
    assert (dest / transcript_key("2012/interview.mp3")).read_bytes() == b"{"


def test_a_record_that_is_written_anew_meanwhile_is_not_set_aside(
    records: Records, dest: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = (dest / TALK).read_bytes()
    (dest / TALK).write_bytes(b"{")
    get, n_reads = FolderStore.get, [0]

    def read(store: FolderStore, key: str) -> bytes | None:
        if key == TALK:
            n_reads[0] += 1
            if n_reads[0] == 2:
                (dest / TALK).write_bytes(good)
        return get(store, key)

    monkeypatch.setattr(FolderStore, "get", read)
    assert not checked(dest, repair=True).is_clean
    assert (dest / TALK).read_bytes() == good
    assert checked(dest).is_clean


# Buckets


def filled(bucket: TestBucket) -> Records:
    """Two recordings below in/, and their finished transcripts below out/."""
    records = Records(bucket.at("out/").open_store(StorageOptions()))
    for path, content in (("talk.mp3", LONG), ("2012/clip.mp3", LONG[:1000])):
        bucket.put(f"in/{path}", content)
        made = transcript(
            segment(0, 4, f"It is {path}."),
            recording=path,
            stem=path.removesuffix(".mp3"),
            size=len(content),
            fingerprint=fingerprint(len(content), lambda first, n, content=content: content[first : first + n]),
            content_sha256=hashlib.sha256(content).hexdigest(),
            decoded_s=5.0,
            formats=("txt", "srt"),
        )
        records.finish(made, made.formats)
    records.put_run(run_of(source=f"s3://{bucket.name}/in", ended_at=WHEN))
    return records


def test_a_destination_in_a_bucket_is_checked_and_mended(bucket: TestBucket) -> None:
    records = filled(bucket)
    source, dest = bucket.at("in/"), bucket.at("out/")
    clean = verify(dest, source)
    assert clean.problems == ()
    assert (clean.n_transcripts, clean.n_texts, clean.n_recordings) == (2, 4, 2)
    records.store.delete("talk.srt")
    records.store.put(transcript_key("2012/clip.mp3"), b"{")
    bucket.put("in/talk.mp3", LONG[:2_000_000] + b"X" + LONG[2_000_001:])
    done = records.provenance("talk.mp3")
    assert done
    each = slice_of(fingerprint=done.fingerprint)
    records.partial_results.put(job(each), each, part(segment()))
    bucket.put("out/lost.txt", b"words")
    expected = {
        ("text_missing", "talk.srt"): True,
        ("record_damaged", transcript_key("2012/clip.mp3")): True,
        ("recording_changed", "talk.mp3"): False,
        ("left_over", parts_folder("talk.mp3")): True,
        ("text_without_record", "lost.txt"): False,
    }
    found = verify(dest, source)
    assert {(each.kind, each.path): each.mended for each in found.problems} == dict.fromkeys(expected)
    mended = verify(dest, source, repair=True)
    assert {(each.kind, each.path): bool(each.mended) for each in mended.problems} == expected
    assert bucket.get("out/.nightscribe/damaged/transcripts/2012/clip.mp3.json") == b"{"
    assert bucket.get("out/talk.srt")


def test_the_age_of_an_object_is_told_by_the_clock_of_its_server(
    bucket: TestBucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    objects = bucket.objects()
    assert objects.age_s("a.txt") is None
    objects.put("a.txt", b"words")
    age_s = objects.age_s("a.txt")
    assert age_s is not None
    assert age_s < 60
    said = {
        "ContentLength": 5,
        "ETag": "x",
        "LastModified": WHEN,
        "ResponseMetadata": {"HTTPHeaders": {"date": format_datetime(WHEN + timedelta(hours=2), usegmt=True)}},
    }
    monkeypatch.setattr(objects, "_call", lambda *_, **__: said)
    assert objects.age_s("a.txt") == 2 * 3600


# The command


def test_the_exit_code_tells(records: Records, source: Path, dest: Path) -> None:
    assert call(dest).exit_code == 0
    assert call(dest, source).exit_code == 0
    (dest / "talk.srt").unlink()
    assert call(dest).exit_code == 1
    assert call(dest, "--repair").exit_code == 0
    (dest / "talk.txt").write_bytes(b"")
    assert call(dest, "--repair").exit_code == 1


def test_wrong_use_ends_with_two(records: Records, source: Path, dest: Path, tmp_path: Path) -> None:
    assert call(tmp_path / "nowhere").exit_code == 2
    assert call(source).exit_code == 2  # it holds no records
    assert call(dest, tmp_path / "nowhere").exit_code == 2
    assert call().exit_code == 2


def test_what_it_says_of_a_clean_destination(records: Records, source: Path, dest: Path) -> None:
    (dest / "talk.txt").write_text("Corrected.\n")
    assert call(dest, source).stdout.splitlines() == [
        "Checked: 2 transcripts, 6 texts, 2 recordings.",
        "Corrected by hand, and left as they are: 1 text.",
        "  talk.txt",
        "All is well.",
    ]


def test_what_it_says_of_problems(records: Records, dest: Path) -> None:
    records.fail(failure("bad.mp3"))
    (dest / "talk.srt").unlink()
    (dest / TALK.replace("talk", "2012/interview")).write_bytes(b"{")
    said = call(dest).stdout.splitlines()
    assert said[0] == "Checked: 1 transcript, 2 texts, 1 failure."
    assert said[1] == "Found: 2 problems."
    assert "  talk.srt: It is missing." in said
    assert said[-1] == "--repair repairs what needs no transcription."
    mended = call(dest, "--repair").stdout.splitlines()
    assert "  talk.srt: It is missing. Written again from its record." in mended
    assert mended[-1] == "The next run transcribes again the recordings whose records were moved aside."


def test_json_is_exact_and_whole(records: Records, dest: Path) -> None:
    name = "a\x1b[2J\n.txt"
    file(dest / name, b"words\n")
    result = call(dest, "--json")
    assert result.exit_code == 1
    said = json.loads(result.stdout)
    assert said["is_clean"] is False
    assert said["version"] == 1
    assert said["problems"] == [
        {
            "kind": "text_without_record",
            "path": name,
            "reason": "It is the text of no record: its record was lost, or another tool or a person wrote it.",
            "mended": None,
        }
    ]
    shown = "\n".join(lines(checked(dest), repair=False))
    assert visible(name) in shown
    assert "\x1b" not in shown
