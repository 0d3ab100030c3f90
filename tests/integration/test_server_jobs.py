"""Recordings that are handed in at a server, on their way through real queues, workers and a database."""

import threading
from dataclasses import replace
from pathlib import Path

import pytest
from support.serving import ASKED, REQUEST, Desk
from support.waiting import wait_until
from support.workplace import Dictated, unhurried, working

from nightscribe.server.jobs.model import Busy, Job, JobEvent, NoSuchJob, NotFinished, Refused, State
from nightscribe.server.jobs.store import JobStore
from nightscribe.shared.errors import PermanentError, RetryableError


@pytest.fixture(scope="module")
def clip(clips: list[Path]) -> bytes:
    """Three seconds in which somebody speaks."""
    return clips[0].read_bytes()


@pytest.fixture
def desk(sqs_environment: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    """A server's jobs, without workers."""
    monkeypatch.setattr("nightscribe.worker.loop.POLL_S", 0)
    monkeypatch.setattr("nightscribe.worker.status_reporter.REPORT_EVERY_S", 0.02)
    unhurried(monkeypatch)
    return Desk.at(tmp_path)


def other(clip: bytes, n: int) -> bytes:
    """Another clip of the same length; `n` from 1 on."""
    return clip[:-1] + bytes([clip[-1] ^ n])


def test_an_upload_becomes_a_recording_and_a_transcript(desk: Desk, clip: bytes) -> None:
    heard: list[JobEvent] = []
    with desk.open() as jobs, jobs.signals.listening(heard.append):
        job = jobs.submit(desk.upload(clip, "../../Ein Vortrag?.wav"), REQUEST)
        assert (job.state, job.name, job.recording) == (
            State.QUEUED,
            "../../Ein Vortrag?.wav",
            "uploads/Ein Vortrag_.wav",
        )
        assert desk.files() == ["uploads/Ein Vortrag_.wav"]
        assert len(desk.batch.scan().missing) == 0  # a director leaves it alone
        with pytest.raises(NotFinished):
            jobs.transcript(job.id)
        with working(desk.batch.worker(Dictated())):
            assert jobs.wait(job.id, 30).state is State.FINISHED
        transcript = jobs.transcript(job.id)
        assert transcript.segments[0].text.strip() == Dictated.TEXT
        assert transcript.redo == job.id
    assert [event.kind for event in heard if event.kind not in ("running", "progress")] == ["queued", "finished"]
    assert desk.batch.texts == ["uploads/Ein Vortrag_.srt", "uploads/Ein Vortrag_.txt"]
    scan = desk.batch.scan()
    assert (scan.n_finished, len(scan.missing)) == (1, 0)


def test_a_request_leaves_nothing_behind(desk: Desk, clip: bytes) -> None:
    with desk.open(keep_results_s=0.0, refresh_on_use=False) as jobs:
        job = jobs.submit(desk.upload(clip), ASKED)
        assert job.recording.startswith(".nightscribe-requests/")
        with working(desk.interactive.worker(Dictated())):
            assert jobs.wait(job.id, 30).state is State.FINISHED
            assert desk.batch.scan().states() == dict.fromkeys(desk.batch.scan().states(), 0)
            assert desk.batch.texts == []
            wait_until(lambda: desk.files() == [], what="that the sound is removed")
            jobs._next_sweep = 0.0
            wait_until(lambda: not jobs.list(), what="that the result is removed")
        with pytest.raises(NoSuchJob):
            jobs.transcript(job.id)
    assert list(desk.records.store.walk(".nightscribe/requests/")) == []


def test_a_full_queue_refuses_and_a_repeated_upload_joins(desk: Desk, clip: bytes) -> None:
    with desk.open(most_interactive=1) as jobs:
        first = jobs.submit(desk.upload(clip), ASKED)
        assert jobs.submit(desk.upload(clip), ASKED).id == first.id
        with pytest.raises(Busy) as caught:
            jobs.submit(desk.upload(other(clip, 1)), ASKED)
        assert 1 <= caught.value.retry_after_s <= 60
        with pytest.raises(Busy):
            jobs.submit(desk.upload(clip), replace(ASKED, owner="somebody else"))
        second = jobs.submit(desk.upload(other(clip, 1)), REQUEST)  # nobody waits for it
        third = jobs.submit(desk.upload(other(clip, 2)), REQUEST)
        assert [jobs.get(each.id).place for each in (first, second, third)] == [0, 0, 1]
        assert third.recording == "uploads/clip (2).wav"
        assert [job.id for job in jobs.list(limit=2)] == [third.id, second.id]
        assert [job.id for job in jobs.list(before=jobs.get(second.id))] == [first.id]
        assert jobs.list(owner="nobody") == []
        with pytest.raises(NoSuchJob):
            jobs.get(first.id, owner="somebody else")
    assert len(desk.files()) == 3  # what was refused or joined is gone


def test_a_job_is_cancelled_while_it_waits_and_while_it_runs(desk: Desk, clip: bytes) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def hold() -> None:
        begun.set()
        go_on.wait(30)

    engine = Dictated(hold)
    with desk.open() as jobs:
        waiting = jobs.submit(desk.upload(clip), ASKED)
        assert jobs.cancel(waiting.id).state is State.CANCELLED
        running = jobs.submit(desk.upload(other(clip, 1)), REQUEST)
        jobs.delete(jobs.submit(desk.upload(other(clip, 2)), REQUEST).id)
        worker = desk.batch.worker(engine)
        with working(desk.interactive.worker(engine), worker):
            wait_until(desk.interactive.is_empty, what="that the message is forgotten")
            assert begun.wait(30)
            wait_until(lambda: jobs.get(running.id).state is State.RUNNING, what="that it is seen to run")
            jobs.cancel(running.id)
            wait_until(
                lambda: worker._attempt and worker._attempt.reporter.is_cancelled, what="that the worker sees it"
            )
            go_on.set()
            wait_until(desk.batch.is_empty, what="that the message is forgotten")
        with pytest.raises(Refused):
            jobs.transcript(running.id)
        assert jobs.get(running.id).state is State.CANCELLED
    assert desk.files() == ["uploads/clip.wav"]  # that of the deleted job is gone
    assert desk.batch.texts == []
    assert list(desk.records.store.walk(".nightscribe/parts/")) == []


def test_a_server_that_was_killed_goes_on(desk: Desk, clip: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it had accepted is queued again, whether or not a queue still has it, and a database may be away."""
    with desk.open() as jobs:
        one = jobs.submit(desk.upload(clip), ASKED)
        two = jobs.submit(desk.upload(other(clip, 1)), REQUEST)
        for lane in (desk.batch.queue, desk.interactive.queue):
            lane._client.purge_queue(QueueUrl=lane._url)
    settle, tries = JobStore.settle, []

    def settled(store: JobStore, job: Job) -> bool:
        tries.append(job.id)
        if len(tries) < 4:
            raise RetryableError("The server's database has been restarted.", code="database_unreachable")
        return settle(store, job)

    monkeypatch.setattr(JobStore, "settle", settled)
    with desk.open() as jobs, working(desk.interactive.worker(Dictated()), desk.batch.worker(Dictated())):
        assert [jobs.wait(each.id, 30).state for each in (one, two)] == [State.FINISHED] * 2


def test_what_is_no_recording_fails_or_is_refused(desk: Desk, clip: bytes) -> None:
    with desk.open() as jobs, working(desk.interactive.worker(Dictated())):
        for content, name, code in (
            (b"", "clip.wav", "empty"),
            (clip, "notes.txt", "not_audio"),
            (b"These are words.\n" * 100, "clip.wav", "text_not_sound"),
        ):
            with pytest.raises(PermanentError) as refused:
                jobs.submit(desk.upload(content, name), REQUEST)
            assert refused.value.code == code
        job = jobs.wait(jobs.submit(desk.upload(b"These are words.\n" * 100), ASKED).id, 30)
        assert (job.state, job.error_code) == (State.FAILED, "text_not_sound")
        for path in ("../x.wav", "/etc/x.wav", ".hidden/x.wav", "gone.wav", "a//b.wav"):
            with pytest.raises(PermanentError):
                jobs.submit(path, REQUEST)
    assert desk.files() == []


def test_a_recording_of_the_source_is_submitted_by_its_path(desk: Desk, clip: bytes) -> None:
    (desk.batch.source / "talk.wav").write_bytes(clip)
    with desk.open() as jobs, working(desk.batch.worker(Dictated())):
        first = jobs.submit("talk.wav", REQUEST)
        assert jobs.wait(first.id, 30).state is State.FINISHED
        assert jobs.submit("talk.wav", REQUEST).state is State.FINISHED  # at once
        translate = replace(REQUEST, options=REQUEST.options.model_copy(update={"model": "tiny"}))
        with pytest.raises(Refused, match="other options"):
            jobs.submit("talk.wav", translate)
        again = jobs.submit("talk.wav", replace(translate, redo=True))
        assert jobs.wait(again.id, 30).state is State.FINISHED
        assert jobs.transcript(again.id).options.model == "tiny"
    assert desk.batch.texts == ["talk.srt", "talk.txt"]
