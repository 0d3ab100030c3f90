"""What is forgotten is gone for good: no file holds a word of it, and no run makes it again unless that is allowed."""

import hashlib
import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from making import WHEN, failure, file, part, run_of, segment, slice_of, transcript
from making import job as job_of
from support.buckets import TestBucket

import nightscribe
from nightscribe.cli.forget import NOTHING
from nightscribe.cli.main import cli
from nightscribe.director.scan.scanner import Scan, Scanner
from nightscribe.services.correct import correct_passage
from nightscribe.services.forget import Forgotten, allow, forget, forget_old
from nightscribe.services.names import is_exactly
from nightscribe.services.request import Request
from nightscribe.services.run_progress import RunProgress
from nightscribe.services.search import index, search
from nightscribe.services.watch import RETENTION_EVERY_S, _Retention
from nightscribe.shared.destination.keys import TRANSCRIPTS, failure_key, parts_folder, transcript_key
from nightscribe.shared.destination.records import Records
from nightscribe.shared.destination.tombstones import Tombstones
from nightscribe.shared.errors import ValueRefused
from nightscribe.shared.model.speakers import Speaker
from nightscribe.shared.model.transcript import Transcript, utc_now
from nightscribe.shared.model.voice import Voice
from nightscribe.shared.settings import Settings, load_settings
from nightscribe.shared.storage.base import Location, StorageOptions
from nightscribe.shared.storage.fingerprint import fingerprint
from nightscribe.shared.storage.folder.location import FolderLocation
from nightscribe.views.summary import summary

FORMATS = ("txt", "vtt", "srt")
SECRET = "The password is swordfish."
LONG = bytes(range(256)) * 1_000  # longer than its fingerprint covers
RECORDINGS = {"2012/talk.mp3": LONG, "2012/clip.mp3": b"a short one", "call.mp3": b"another short one"}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Three recordings."""
    for name, content in RECORDINGS.items():
        file(tmp_path / "source" / name, content)
    return tmp_path / "source"


@pytest.fixture(params=["folder", "bucket"])
def dest(request: pytest.FixtureRequest, tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch) -> Location:
    """A destination in which all are finished."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    if request.param == "folder":
        (tmp_path / "dest").mkdir()
        place: Location = FolderLocation(tmp_path / "dest")
    else:
        bucket: TestBucket = request.getfixturevalue("bucket")
        place = bucket.at("texts/")
    fill(place, source)
    return place


@pytest.fixture
def folder(tmp_path: Path, source: Path) -> FolderLocation:
    """The same in a folder."""
    (tmp_path / "dest").mkdir()
    fill(FolderLocation(tmp_path / "dest"), source)
    return FolderLocation(tmp_path / "dest")


def records_of(place: Location) -> Records:
    return Records(place.open_store(Settings().storage))


def fill(place: Location, source: Path) -> None:
    records = records_of(place)
    for name in RECORDINGS:
        made = made_from(source, name)
        records.finish(
            made, FORMATS, sha256=hashlib.sha256(RECORDINGS[name]).hexdigest() if name.endswith("talk.mp3") else None
        )
    records.put_run(run_of(source=str(source), ended_at=WHEN))


def made_from(source: Path, name: str, **changes: Any) -> Transcript:
    content = (source / name).read_bytes()
    values = {
        "recording": name,
        "stem": name.removesuffix(".mp3"),
        "size": len(content),
        "mtime_ns": (source / name).stat().st_mtime_ns,
        "fingerprint": fingerprint(len(content), lambda first, n: content[first : first + n]),
        "decoded_s": 10.0,
    }
    return transcript(segment(0, 4, f"This is {name}."), segment(4, 8, SECRET), **(values | changes))


def scanned(place: Location, source: Path, **more: Any) -> Scan:
    recordings = FolderLocation(source).open_source(StorageOptions())
    return Scanner(recordings, records_of(place), FORMATS, settle_s=0, **more).scan()


def forgotten(place: Location, *names: str, **more: Any) -> Forgotten:
    return forget(place, names, options=Settings().storage, **more)


def contents(place: Location, root: Path) -> Iterator[bytes]:
    """Every file of the destination, and of the cache."""
    store = records_of(place).store
    for key in store.walk(""):
        yield key.encode() + (store.get(key) or b"")
    yield from (path.read_bytes() for path in (root / "cache").rglob("*") if path.is_file())


@pytest.mark.usefixtures("sockets")
def test_nothing_is_left_of_what_is_forgotten_and_it_does_not_come_back(
    dest: Location, source: Path, tmp_path: Path
) -> None:
    records = records_of(dest)
    store = records.store
    for name in ("2012/clip.mp3", "call.mp3"):  # only one of them says it
        revised = made_from(source, name, segments=(segment(0, 1, "Nothing."),))
        records.finish(revised, FORMATS)
    correct_passage(dest, "2012/talk.mp3", 5, "The password is swordfish42.", by="Mallory", options=Settings().storage)
    index(dest, options=Settings().storage)
    store.put("2012/talk.txt", b"Edited by hand: swordfish.\n")
    store.put("2012/talk (kept).txt", b"swordfish")
    store.put("2012/talk (kept 2).srt", b"swordfish")
    store.put("2012/talk (notes).txt", b"mine")
    store.put("2012/talk.tsv", b"mine, too")
    records.fail(failure(recording="2012/talk.mp3"))
    records.partial_results.put(job_of(), slice_of("2012/talk.mp3"), part(segment(0, 1, SECRET)))
    store.put(".nightscribe/damaged/2/transcripts/2012/talk.mp3.json", SECRET.encode())
    dry = forgotten(dest, "2012/talk.mp3", dry_run=True)
    [found] = dry.recordings
    assert found.edited == ("2012/talk.txt",)
    assert (len(found.texts), len(found.kept), found.n_corrections) == (3, 2, 1)
    assert sum(b"swordfish" in content for content in contents(dest, tmp_path)) >= 8
    done = forgotten(dest, "2012/talk.mp3")
    assert [each.recording for each in done.recordings] == ["2012/talk.mp3"]
    assert sorted(store.names("2012/")) == sorted(
        ["clip.srt", "clip.txt", "clip.vtt", "talk (kept 2).srt", "talk (kept).txt", "talk (notes).txt", "talk.tsv"]
    )
    for key in ("2012/talk (kept).txt", "2012/talk (kept 2).srt", "2012/talk (notes).txt", "2012/talk.tsv"):
        store.delete(key)
    assert not any(
        word in content for content in contents(dest, tmp_path) for word in (b"swordfish", b"talk", b"Mallory")
    )
    assert not search(dest, "swordfish", options=Settings().storage).result.hits
    for more in ({}, {"redo": True}, {"retry_failed": True}):
        scan = scanned(dest, source, **more)
        assert (scan.n_forgotten, scan.n_recordings) == (1, 3)
        assert len(scan.missing) == (2 if "redo" in more else 0)


def test_kept_copies_are_deleted_on_request(folder: FolderLocation) -> None:
    (folder.path / "call (kept).txt").write_text(SECRET)
    assert forgotten(folder, "call.mp3").n_kept == 1
    assert (folder.path / "call (kept).txt").exists()
    fill(folder, folder.path.parent / "source")
    forgotten(folder, "call.mp3", kept_too=True)
    assert not (folder.path / "call (kept).txt").exists()


def test_a_renamed_recording_stays_forgotten_and_another_one_of_that_name_does_not(
    folder: FolderLocation, source: Path
) -> None:
    forgotten(folder, "2012")
    assert scanned(folder, source).n_forgotten == 2
    (source / "2012/talk.mp3").rename(source / "moved.mp3")
    (source / "2012/clip.mp3").rename(source / "also moved.mp3")
    scan = scanned(folder, source)
    assert (scan.n_forgotten, len(scan.missing)) == (2, 0)
    # Same size, same ends, another middle.
    other = bytearray(LONG)
    other[len(other) // 2] ^= 1
    file(source / "2012/talk.mp3", bytes(other))
    file(source / "elsewhere.mp3", bytes(other))
    scan = scanned(folder, source)
    assert [each.recording.path for each in scan.missing] == ["elsewhere.mp3"]  # at the old path, the ends decide
    file(source / "2012/talk.mp3", b"new" + LONG)
    file(source / "2012/clip.mp3", b"a Short one")
    assert {each.recording.path for each in scanned(folder, source).missing} == {
        "elsewhere.mp3", "2012/talk.mp3", "2012/clip.mp3",
    }  # fmt: skip


def test_what_a_worker_finishes_afterwards_is_deleted_by_the_next_scan(folder: FolderLocation, source: Path) -> None:
    made = made_from(source, "call.mp3")
    forgotten(folder, "call.mp3")
    records_of(folder).finish(made, FORMATS)
    assert scanned(folder, source, dry_run=True).n_forgotten == 1
    assert (folder.path / "call.txt").exists()
    assert scanned(folder, source).n_forgotten == 1
    assert not (folder.path / "call.txt").exists()
    assert not (folder.path / transcript_key("call.mp3")).exists()


def test_recordings_without_a_transcript_can_be_forgotten(folder: FolderLocation, source: Path) -> None:
    records = records_of(folder)
    for name in ("failed.mp3", "begun.mp3"):
        file(source / name, name.encode())
    content = b"failed.mp3"
    print_ = fingerprint(len(content), lambda first, n: content[first : first + n])
    records.fail(failure(recording="failed.mp3", fingerprint=print_, size=len(content)))
    records.partial_results.put(job_of(), slice_of("begun.mp3"), part(segment(0, 1, SECRET)))
    done = forgotten(folder, "failed.mp3", "begun.mp3")
    assert [each.recording for each in done.recordings] == ["begun.mp3", "failed.mp3"]
    assert not (folder.path / failure_key("failed.mp3")).exists()
    assert not (folder.path / parts_folder("begun.mp3")).exists()
    scan = scanned(folder, source)
    assert (scan.n_forgotten, len(scan.missing)) == (2, 0)


def test_a_forgotten_recording_is_allowed_again(folder: FolderLocation, source: Path) -> None:
    forgotten(folder, "2012", "call.mp3")
    assert allow(folder, ["nowhere.mp3"]).n_allowed == 0
    (source / "2012/clip.mp3").rename(source / "moved.mp3")
    assert (allow(folder, ["call.mp3"], dry_run=True).n_allowed, scanned(folder, source).n_forgotten) == (1, 3)
    assert allow(folder, ["call.mp3"]).n_left == 2
    assert {each.recording.path for each in scanned(folder, source).missing} == {"call.mp3"}
    assert allow(folder, ["moved*"], source=FolderLocation(source)).n_allowed == 1
    assert allow(folder, ["2012/*"]).n_allowed == 1  # where the last run had its recordings
    assert scanned(folder, source).n_forgotten == 0


def test_forgetting_can_be_repeated_after_it_was_interrupted(folder: FolderLocation, source: Path) -> None:
    """The record comes last, because it says where the texts are."""
    store = records_of(folder).store
    (folder.path / "call.txt").unlink()
    done = forgotten(folder, "call.mp3")
    assert done.recordings[0].records[0] == transcript_key("call.mp3")
    assert len(Tombstones(store).load()) == 1
    assert not forgotten(folder, "call.mp3").recordings


def test_voiceprints_of_a_forgotten_recording_are_deleted(folder: FolderLocation, source: Path) -> None:
    records = records_of(folder)
    speakers = tuple(
        Speaker(label=f"Speaker {n}", embedding=f"print{n}", clean_s=9.0, voice=f"v00000{n}", name="Anna")
        for n in (1, 2)
    )
    records.finish(made_from(source, "call.mp3", speakers=speakers), FORMATS)
    records.voices.put(Voice(id="v000001", name="Anna", voiceprints=("print1",), changed_at=WHEN))
    records.voices.put(Voice(id="v000002", name="Berta", voiceprints=("print2", "other"), changed_at=WHEN))
    forgotten(folder, "call.mp3")
    assert [(each.id, each.voiceprints) for each in records.voices] == [("v000002", ("other",))]


def test_a_record_of_a_newer_release_is_left_alone(folder: FolderLocation) -> None:
    path = folder.path / transcript_key("call.mp3")
    failed = folder.path / failure_key("call.mp3")
    file(failed, b'{"version": 99}')
    content = path.read_bytes()
    done = forgotten(folder, "call.mp3")
    assert (done.recordings, done.newer) == ((), ("call.mp3",))
    assert path.read_bytes() == content


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["2012/talk.mp3"], {"2012/talk.mp3"}),
        (["2012"], {"2012/talk.mp3", "2012/clip.mp3"}),
        (["2012/"], {"2012/talk.mp3", "2012/clip.mp3"}),
        (["*.mp3"], set(RECORDINGS)),
        (["2012/*"], {"2012/talk.mp3", "2012/clip.mp3"}),
        (["talk"], set()),
        (["20"], set()),
        (["/"], set()),
        ([""], set()),
    ],
)
def test_only_whole_names_choose_what_is_deleted(names: list[str], expected: set[str]) -> None:
    assert {name for name in RECORDINGS if is_exactly(name, names)} == expected


def test_without_a_name_nothing_is_forgotten(folder: FolderLocation) -> None:
    with pytest.raises(ValueRefused, match="Give the paths of the recordings to forget"):
        forgotten(folder)


# By age


def test_transcripts_of_an_age_are_forgotten(folder: FolderLocation, source: Path) -> None:
    records = records_of(folder)
    records.finish(made_from(source, "call.mp3", finished_at=utc_now() - timedelta(days=2)), FORMATS)
    (folder.path / "2012/talk (kept).txt").write_text(SECRET)
    done = forget_old(folder, 30)
    assert [each.recording for each in done.recordings] == ["2012/clip.mp3", "2012/talk.mp3"]
    assert not list((folder.path / "2012").iterdir())
    assert list(records.store.walk(TRANSCRIPTS)) == [transcript_key("call.mp3")]
    progress = RunProgress(scanned(folder, source), None, forgotten=("2012/talk.mp3",))  # type: ignore[arg-type]
    said = list(summary(progress, elapsed_s=1, dest=folder, formats=FORMATS, interrupted=False))
    assert "Forgotten for good because of their age: 1 transcript." in said
    assert any("2 recordings forgotten for good, left alone" in line for line in said)


def test_a_watching_director_forgets_once_an_hour(folder: FolderLocation, source: Path) -> None:
    now = [0.0]
    settings = load_settings(forget_after_days=30)
    retention = _Retention(Request(FolderLocation(source), folder, settings), lambda: now[0])
    retention.apply()
    assert not (folder.path / "call.txt").exists()
    allow(folder, ["call.mp3"])
    records_of(folder).finish(made_from(source, "call.mp3"), FORMATS)
    retention.apply()
    assert (folder.path / "call.txt").exists()
    now[0] += RETENTION_EVERY_S
    retention.apply()
    assert not (folder.path / "call.txt").exists()


# The command, and Python


def call(*arguments: str | Path, **more: Any) -> Result:
    return CliRunner().invoke(cli, ["forget", *map(str, arguments)], prog_name="nightscribe", **more)


def test_the_command_shows_asks_and_deletes(folder: FolderLocation, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder.path / "call.srt").write_text(SECRET)
    (folder.path / "call (kept).txt").write_text(SECRET)
    shown = call(folder.path, "call.mp3", "--dry-run")
    assert shown.exit_code == 0
    assert shown.stdout.splitlines() == [
        "To be deleted for good, of 1 recording:",
        "  call.mp3: 3 texts, 1 record",
        "Among them 1 text that somebody has changed:",
        "  call.srt",
        "Only with --kept, 1 copy of edited texts:",
        "  call (kept).txt",
    ]
    refused = call(folder.path, "call.mp3")
    assert (refused.exit_code, (folder.path / "call.txt").exists()) == (2, True)
    assert "Give --yes, or --dry-run" in refused.stderr
    monkeypatch.setattr("nightscribe.cli.forget.has_person", lambda: True)
    assert call(folder.path, "call.mp3", input="n\n").exit_code == 1
    assert (folder.path / "call.txt").exists()
    done = call(folder.path, "call.mp3", input="y\nn\n")
    assert done.exit_code == 0
    assert "Also delete 1 copy of edited texts?" in done.stdout
    assert (folder.path / "call (kept).txt").exists()
    assert "Forgotten for good: 1 recording, 3 texts." in done.stdout
    assert not (folder.path / "call.txt").exists()
    assert call(folder.path, "call.mp3", "--yes").stdout == f"{NOTHING}\n"
    assert (
        call(folder.path, "call.mp3", "--allow").stdout
        == "Allowed again: 1 recording, which the next run transcribes.\n"
    )
    assert call(folder.path, "call.mp3", "--allow").exit_code == 1


def test_the_command_prints_json(folder: FolderLocation) -> None:
    found = json.loads(call(folder.path, "call.mp3", "--yes", "--json").stdout)
    assert [each["recording"] for each in found["recordings"]] == ["call.mp3"]
    assert len(found["recordings"][0]["texts"]) == 3
    assert call(folder.path, "call.mp3", "--json").exit_code == 2


def test_python_forgets_too(folder: FolderLocation) -> None:
    assert nightscribe.open_destination(folder.path).forget("2012") == ("2012/clip.mp3", "2012/talk.mp3")
    assert [path.name for path in (folder.path / ".nightscribe/transcripts").iterdir()] == ["call.mp3.json"]
