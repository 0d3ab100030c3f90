"""Parts of a server's jobs by themselves: the disk, the plan, the notes, and what becomes of queues and databases."""

import errno
import json
import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fastapi.exceptions import RequestValidationError

from nightscribe.server.errors import from_nightscribe, from_validation
from nightscribe.server.jobs.follower import Followed, Follower
from nightscribe.server.jobs.model import Job, Refused, State
from nightscribe.server.jobs.planning import Plan
from nightscribe.server.jobs.signals import KEPT, Signals
from nightscribe.server.jobs.spool import Spool
from nightscribe.server.jobs.wishes import Wishes, job_request, wishes_of_form
from nightscribe.shared.destination.erasure import discard, recordings_of_requests
from nightscribe.shared.destination.keys import (
    failure_key,
    hash_key,
    parts_folder,
    submitted_key,
    transcript_key,
)
from nightscribe.shared.destination.notes import SUBMITTED_FOR_S, Notes
from nightscribe.shared.destination.records import Records
from nightscribe.shared.errors import AudioError, MachineError, PermanentError, ValueRefused
from nightscribe.shared.model.activity import Activity
from nightscribe.shared.model.jobs import Layout, Options
from nightscribe.shared.model.transcript import Part, utc_now
from nightscribe.shared.queue.address import interactive_address
from nightscribe.shared.settings import Settings
from nightscribe.shared.storage.folder.source import FolderSource
from nightscribe.shared.storage.folder.store import FolderStore

OPTIONS = Options(engine="faster-whisper", model="tiny.en", language="en")
NOW = utc_now()


def job(job_id: str = "1" * 32, **changes: Any) -> Job:
    """A job that waits."""
    made = Job(
        id=job_id, state=State.QUEUED, owner="", name="a.wav", recording="uploads/a.wav", size=9, interactive=False,
        ephemeral=False, uploaded=True, options=OPTIONS, formats=("txt",), layout=Layout(), created_at=NOW,
    )  # fmt: skip
    return replace(made, **changes)


def plan(made: Job, *cuts: float) -> Plan:
    """What its messages consist of."""
    return Plan(made.id, made.recording, "9-abc", made.size, "uploads/a", OPTIONS, ("txt",), Layout(), cuts)


def test_the_records_of_requests_lie_apart_from_the_library() -> None:
    for key in (transcript_key, hash_key, failure_key, parts_folder):
        asked = key(".nightscribe-requests/1.wav")
        assert asked.startswith(".nightscribe/requests/")
        assert asked.removeprefix(".nightscribe/requests/") == key("1.wav").removeprefix(".nightscribe/")
        assert not key("a/.nightscribe-requests/1.wav").startswith(".nightscribe/requests/")


def test_messages_are_known_by_the_job_and_by_no_director() -> None:
    one, other = plan(job()), plan(job("2" * 32), 600.0, 1200.0)
    [message] = one.messages()
    assert message.redo == "1" * 32
    assert message.version == 1  # every worker reads it
    assert [each.slices[0].index for each in other.messages()] == [0, 1, 2]
    assert len({each.id for each in (*one.messages(), *other.messages())}) == 4


def test_the_interactive_queue_is_named_after_the_other() -> None:
    assert interactive_address("nightscribe.fifo") == "nightscribe-interactive.fifo"
    url = "https://sqs.eu-central-1.amazonaws.com/123456789012/ours.fifo"
    assert interactive_address(url) == url.replace("ours", "ours-interactive")
    with pytest.raises(ValueError, match="70"):
        interactive_address("x" * 60 + ".fifo")


def test_the_records_of_requests_name_their_recordings(tmp_path: Path) -> None:
    records, made = Records(FolderStore(tmp_path)), plan(job())
    asked = replace(made, recording=".nightscribe-requests/1.wav")
    part = Part(segments=(), engine="e", language=None, container_s=None, decoded_s=600, processing_s=1)
    records.partial_results.put(asked.messages()[0], asked.slice_at(0), part)
    for n, key in enumerate((transcript_key, failure_key, hash_key)):
        records.store.put(key(f".nightscribe-requests/{n + 2}.wav"), b"{}")
    recordings = recordings_of_requests(records)
    assert recordings == {f".nightscribe-requests/{n}.wav" for n in (1, 2, 3, 4)}
    for each in recordings:
        discard(records, each)
    assert list(records.store.walk("")) == []


# The disk


@pytest.fixture
def source(tmp_path: Path) -> FolderSource:
    """A source with its destination inside."""
    (tmp_path / "source" / "dest").mkdir(parents=True)
    return FolderSource(tmp_path / "source", leave_out=tmp_path / "source" / "dest")


def test_a_file_arrives_whole_or_not_at_all(
    source: FolderSource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = Spool(source, tmp_path / "elsewhere", most_bytes=10)
    assert spool.folder.parent == source.root
    incoming = spool.begin("a.mp3", 6)
    incoming.write(b"abc")
    with pytest.raises(Refused, match="3 of 6"):
        incoming.finish()
    incoming = spool.begin("a.mp3")
    with pytest.raises(Refused) as refused:
        incoming.write(b"x" * 11)
    assert refused.value.code == "too_large"
    incoming.abort()
    monkeypatch.setattr("nightscribe.server.jobs.spool.shutil.disk_usage", lambda _: SimpleNamespace(free=2**28 + 5))
    with pytest.raises(MachineError) as full:
        spool.begin("a.mp3", 6)
    assert full.value.code == "disk_full"
    assert list(spool.folder.iterdir()) == []

    incoming = spool.begin("a.mp3", 3)

    def write(_: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    assert incoming._file
    monkeypatch.setattr(incoming, "_file", SimpleNamespace(write=write, close=incoming._file.close))
    with pytest.raises(MachineError) as full:
        incoming.write(b"abc")
    assert full.value.code == "disk_full"
    incoming.abort()


def test_a_file_becomes_a_recording_and_replaces_none(source: FolderSource, tmp_path: Path) -> None:
    spool = Spool(source, tmp_path, most_bytes=10)

    def arrived(content: bytes) -> Path:
        incoming = spool.begin("a.wav")
        incoming.write(content)
        return incoming.finish().path

    first, second = arrived(b"one"), arrived(b"two")
    assert source.add(first, "x/y/a.wav")
    assert not first.exists()
    assert not source.add(second, "x/y/a.wav")
    assert second.read_bytes() == b"two"
    assert (source.root / "x/y/a.wav").read_bytes() == b"one"
    (source.root / "out").symlink_to(tmp_path)
    for path in ("out/a.wav", "dest/a.wav", "dest/sub/a.wav"):
        with pytest.raises(PermanentError):
            source.add(second, path)
    source.remove("x/y/a.wav")
    source.remove("x/y/a.wav")
    assert [folder.recordings for folder in source.folders() if folder.recordings] == []
    (source.root / ".nightscribe-requests").mkdir()
    (source.root / ".nightscribe-requests/1.wav").write_bytes(b"")
    assert list(source.requests(-1)) == [".nightscribe-requests/1.wav"]
    assert list(source.requests(3600)) == []


# Notes


def test_notes_of_a_queued_recording_count_for_a_day(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = FolderStore(tmp_path)
    notes, key = Notes(store), submitted_key("uploads/a.wav")
    assert notes.submitted() == frozenset()
    notes.submit("uploads/a.wav", "1" * 32)
    notes.cancel("1" * 32)
    assert (notes.submitted(), notes.counts(key)) == (frozenset({key}), True)
    assert json.loads((tmp_path / key).read_text()) == {"recording": "uploads/a.wav", "job": "1" * 32}
    assert notes.is_cancelled("1" * 32)
    assert not notes.is_cancelled("2" * 32)
    notes.remove_old()
    assert notes.submitted()
    monkeypatch.setattr(store, "age_s", lambda _: SUBMITTED_FOR_S + 1)
    assert not notes.counts(key)
    monkeypatch.setattr(store, "age_s", lambda _: 30 * 24 * 3600.0)
    notes.remove_old()
    assert (notes.submitted(), notes.is_cancelled("1" * 32)) == (frozenset(), False)


# What a client wishes


def test_wishes_follow_the_settings_where_they_say_nothing() -> None:
    settings = Settings(model="small", language="auto", languages="de,fr", formats="txt,vtt", speakers="auto")
    asked = job_request(Wishes(), settings, owner="me", folder="uploads")
    assert (asked.options.model, asked.options.languages, asked.formats) == ("small", ("de", "fr"), ("txt", "vtt"))
    assert (asked.interactive, asked.ephemeral) == (None, False)
    wishes = wishes_of_form(
        {"language": ["German"], "formats": ["srt, txt"], "speakers": ["2"], "interactive": ["true"]}
    )
    asked = job_request(wishes, settings, owner="me", folder="uploads", keep=False)
    assert (asked.options.language, asked.options.languages, asked.options.speakers) == ("de", (), "2")
    assert (asked.formats, asked.interactive, asked.ephemeral) == ((), True, True)
    both = job_request(wishes_of_form({"languages": ["es", "ca"]}), settings, owner="", folder="")
    assert both.options.languages == ("ca", "es")
    for fields in ({"language": ["xx-yy"]}, {"task": ["summarize"]}, {"engine": ["any"]}, {"line_chars": ["1"]}):
        with pytest.raises(RequestValidationError):
            wishes_of_form(fields)
    with pytest.raises(RequestValidationError):
        job_request(wishes_of_form({"min_speakers": ["5"], "max_speakers": ["2"]}), settings, owner="", folder="")
    with pytest.raises(ValueRefused):
        job_request(wishes_of_form({"formats": ["xyz"]}), settings, owner="", folder="")


def test_a_refusal_says_in_whole_sentences_what_to_do() -> None:
    with pytest.raises(RequestValidationError) as refused:
        wishes_of_form({"language": ["xx-yy"]})
    assert re.search(r"[^.]\.$", from_validation(refused.value).problem.message)
    not_sound = from_nightscribe(AudioError("It holds text, not sound.", code="text_not_sound"))
    assert (not_sound.status, not_sound.problem.action) == (422, "Send another file.")


# Following


def test_progress_is_what_the_workers_report_and_what_is_stored(tmp_path: Path) -> None:
    records, seen = Records(FolderStore(tmp_path)), list[Job]()
    lane = SimpleNamespace(check=lambda **_: False, send=lambda _: True, trouble="")
    follower = Follower(
        records, {True: lane, False: lane}, settle=lambda *_: True, changed=lambda _, made: seen.append(made)  # type: ignore[dict-item]
    )  # fmt: skip
    first, second = job(), job("2" * 32, recording="b.wav", duration_s=1200.0)
    cut = replace(plan(second, 600.0), recording="b.wav")
    follower.add(Followed(first, plan(first)))
    follower.add(Followed(second, cut))
    assert [follower.get(each.id).place for each in (first, second)] == [0, 1]  # type: ignore[union-attr]
    assert [follower.n_queued(interactive=each) for each in (True, False)] == [0, 2]
    part = Part(segments=(), engine="e", language=None, container_s=None, decoded_s=600, processing_s=1)
    records.partial_results.put(cut.messages()[0], cut.slice_at(0), part)
    began = utc_now()
    records.report(Activity(worker="w", recording="b.wav", message="m", done_s=300.0, began_at=began, updated_at=began))
    follower._look()
    running = follower.get(second.id)
    assert running is not None
    assert (running.state, running.done_s, running.progress, running.place) == (State.RUNNING, 900.0, 0.75, None)
    assert running.left_s is not None
    assert [each.id for each in seen] == [second.id]
    assert follower.get(first.id).place == 0  # type: ignore[union-attr]
    assert follower.n_queued(interactive=False) == 1


def test_a_listener_learns_what_it_has_missed_while_that_is_known() -> None:
    signals = Signals()
    for n in range(3):
        signals.send("progress", job(done_s=float(n)))
    missed = signals.since(1)
    assert missed is not None
    assert [event.number for event in missed] == [2, 3]
    assert signals.since(3) == []
    assert signals.since(4) is None
    for _ in range(KEPT):
        signals.send("progress", job())
    assert signals.since(2) is None
    ended = []
    with signals.listening(lambda _: None, ended=lambda: ended.append(1)):
        signals.close()
    assert (ended, signals.is_closed) == ([1], True)
